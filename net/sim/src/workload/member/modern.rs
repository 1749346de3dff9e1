//! KIP-848's protocol: the node assigns, and a member says what it has given up before anybody else
//! gets it.

use std::collections::BTreeSet;
use std::time::Duration;

use wire::error_code::ErrorCode;
use wire::msg::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use wire::primitives::Uuid;

use super::{Member, SHARED};

/// What it has yet to do and say.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What it is to have: of the rest it has to give up all.
    target: BTreeSet<i32>,
    /// When it has given that up.
    gives_up_at: Option<Duration>,
    /// What it has is to be told.
    tells_owned: bool,
    /// An answer was lost: everything is to be told.
    tells_all: bool,
}

/// An answer.
struct Beaten {
    code: ErrorCode,
    epoch: i32,
    /// None for as before.
    assignment: Option<BTreeSet<i32>>,
}

impl Member {
    /// Joins, or says that it is alive, what is new, and what it has.
    pub(super) async fn beat_modern(&mut self, topic: Uuid) {
        self.give_up_if_due(topic).await;
        if self.id.is_empty() {
            self.id = format!("member{}", self.number);
        }
        let asked = self.client.scene.now();
        let Some(told) = self.say(topic).await else {
            self.modern.tells_all = true;
            return;
        };
        match told.code {
            ErrorCode::NONE => {
                (self.modern.tells_owned, self.modern.tells_all) = (false, false);
                self.epoch = told.epoch;
                self.beat_at = self.client.scene.now() + self.crew.pace.beat;
                self.take_for_proof(asked, Some(told.code));
                if let Some(assignment) = told.assignment {
                    self.take(topic, asked, assignment);
                }
            }
            ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::FENCED_MEMBER_EPOCH
            // The group has become a classic one, or is gone.
            | ErrorCode::GROUP_ID_NOT_FOUND => {
                self.forget();
                self.client.back_off().await;
            }
            code => {
                self.modern.tells_all = true;
                self.wait_for_coordinator(Some(code)).await;
            }
        }
    }

    async fn say(&mut self, topic: Uuid) -> Option<Beaten> {
        let joins = self.epoch == 0;
        let all = joins || self.modern.tells_all;
        let has: Vec<i32> = self.has.keys().copied().collect();
        let has = TopicPartitions { topic_id: topic, partitions: has.into() };
        let owned = if self.has.is_empty() { vec![] } else { vec![has] };
        let timeout = i32::try_from(self.crew.pace.rebalance.as_millis()).expect("short");
        let request = ConsumerGroupHeartbeatRequest {
            group_id: &self.crew.group,
            member_id: &self.id,
            member_epoch: self.epoch,
            rebalance_timeout_ms: if all { timeout } else { -1 },
            subscribed_topic_names: all.then(|| vec![SHARED].into()),
            topic_partitions: (all || self.modern.tells_owned).then(|| owned.into()),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let answer = self.client.ask(1, &request, |cur, version| {
            let response = ConsumerGroupHeartbeatResponse::decode(cur, version)?;
            let assignment = response.assignment.map(|assignment| {
                let topics = assignment.topic_partitions.iter();
                topics.flat_map(|topic| topic.partitions.iter().collect::<Vec<_>>()).collect()
            });
            let (code, epoch) = (ErrorCode(response.error_code), response.member_epoch);
            Ok(Beaten { code, epoch, assignment })
        });
        answer.await
    }

    /// It is to have these. What else it has it does not give up at once.
    fn take(&mut self, topic: Uuid, asked: Duration, assignment: BTreeSet<i32>) {
        self.told(topic, asked, &assignment, true);
        // It says so when it has got something.
        self.modern.tells_owned = self.modern.target != assignment;
        self.modern.target = assignment;
        let keeps_all = self.has.keys().all(|partition| self.modern.target.contains(partition));
        self.modern.gives_up_at = match (keeps_all, self.modern.gives_up_at) {
            (true, _) => None,
            (false, Some(at)) => Some(at),
            (false, None) => {
                // It has work to finish, and goes on with its heartbeats meanwhile.
                let micros = self.crew.pace.session_micros() / 2;
                let after = Duration::from_micros(self.client.rng.below(micros));
                Some(self.client.scene.now() + after)
            }
        };
        if self.modern.gives_up_at.is_some() {
            self.modern.tells_owned = false;
        }
    }

    /// Gives up what it is not to have any more, and will say so.
    async fn give_up_if_due(&mut self, topic: Uuid) {
        let now = self.client.scene.now();
        if self.modern.gives_up_at.is_none_or(|at| at > now) {
            return;
        }
        if self.client.rng.one_in(2) {
            self.commit_some(topic).await;
        }
        // Sent away meanwhile, it has nothing left.
        let all: BTreeSet<i32> = self.has.keys().copied().collect();
        self.give_up(&all.difference(&self.modern.target).copied().collect());
        self.modern.gives_up_at = None;
        self.modern.tells_owned = true;
    }

    pub(super) fn is_giving_up(&self) -> bool {
        self.modern.gives_up_at.is_some()
    }

    /// Whether the answer comes or not, it is gone.
    pub(super) async fn leave_modern(&mut self) {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: &self.crew.group,
            member_id: &self.id,
            member_epoch: LEAVES,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let left = self.client.ask(1, &request, |cur, version| {
            Ok(ErrorCode(ConsumerGroupHeartbeatResponse::decode(cur, version)?.error_code))
        });
        left.await;
    }
}

/// Epoch of who goes for good.
const LEAVES: i32 = -1;
