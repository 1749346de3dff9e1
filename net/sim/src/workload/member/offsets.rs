//! How far members have come: asked of the group when they get a partition, and noted there while
//! they have it.

use wire::error_code::ErrorCode;
use wire::primitives::Uuid;

use super::{Member, Protocol};
use crate::history::Place;
use crate::workload::committer::{Commit, Committer};

impl Member {
    /// Goes on in one of its partitions, and notes how far.
    pub(super) async fn commit_some(&mut self, topic: Uuid) {
        let held: Vec<i32> = self.has.keys().copied().collect();
        if held.is_empty() {
            return self.rest().await;
        }
        let partition = *self.client.rng.pick(&held);
        let place = Place { topic, partition };
        let holding = &self.has[&partition];
        let (position, reign) = (holding.position, holding.reign);
        let position = match position {
            Some(position) => position,
            None => match self.ask_position(place).await {
                Some(position) => position,
                None => return,
            },
        };
        let next = position + i64::try_from(self.client.rng.between(1, 3)).expect("small");
        if let Some(holding) = self.has.get_mut(&partition) {
            holding.position = Some(next);
        }
        let asked = self.client.scene.now();
        let committer = Committer { generation: self.epoch, member: &self.id, reign };
        let commit = Commit { group: &self.crew.group, committer, place, offset: next };
        let code = self.client.commit(&commit).await;
        self.take_for_proof(asked, code);
        self.take_refusal(code).await;
    }

    /// Where to begin in a partition that is new to it.
    async fn ask_position(&mut self, place: Place) -> Option<i64> {
        // Members of the classic protocol do not say who they are.
        let who = match self.protocol {
            Protocol::Classic => None,
            Protocol::Modern => Some((&*self.id, self.epoch)),
        };
        let told = self.client.fetch_offset(&self.crew.group, who, place).await;
        let (code, offset) = told.map_or((None, -1), |(code, offset)| (Some(code), offset));
        self.take_refusal(code).await;
        (code == Some(ErrorCode::NONE)).then_some(offset.max(0))
    }

    /// Asks where the group is in any partition, as somebody who is no member.
    pub(super) async fn look(&mut self, topic: Uuid, partitions: i32) {
        let partition = self.client.rng.below(u64::try_from(partitions).expect("some"));
        let place = Place { topic, partition: i32::try_from(partition).expect("few") };
        let told = self.client.fetch_offset(&self.crew.group, None, place).await;
        self.wait_for_coordinator_unless_ok(told.map(|(code, _)| code)).await;
    }

    async fn take_refusal(&mut self, code: Option<ErrorCode>) {
        match code {
            // It will be told with its next heartbeat.
            Some(ErrorCode::STALE_MEMBER_EPOCH | ErrorCode::REBALANCE_IN_PROGRESS) => {
                self.beat_at = self.client.scene.now();
            }
            Some(ErrorCode::ILLEGAL_GENERATION) => self.is_in = false,
            // The group has become a classic one, or is gone.
            Some(ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::GROUP_ID_NOT_FOUND) => self.forget(),
            code => self.wait_for_coordinator_unless_ok(code).await,
        }
    }

    async fn wait_for_coordinator_unless_ok(&mut self, code: Option<ErrorCode>) {
        if code != Some(ErrorCode::NONE) {
            self.wait_for_coordinator(code).await;
        }
    }
}
