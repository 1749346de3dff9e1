//! A consumer that belongs to no group's members, notes how far it has come in a group of its own,
//! and asks.

use std::collections::BTreeSet;

use wire::error_code::ErrorCode;
use wire::msg::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use wire::msg::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use wire::msg::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
};

use super::Client;
use crate::history::{Event, Place};

pub(super) async fn run(mut client: Client) {
    let group = format!("group{}", client.rng.below(u64::MAX));
    let mut next = 0;
    while !client.scene.is_over() {
        client.think().await;
        let Some(place) = client.scene.some_place(&mut client.rng) else {
            client.back_off().await;
            continue;
        };
        let code = match client.rng.below(8) {
            0 => client.find_coordinator(&group).await,
            1 | 2 => client.fetch_offset(&group, None, place).await.map(|(code, _)| code),
            _ => {
                next += 1;
                let committer = Committer::NOBODY;
                client.commit(&Commit { group: &group, committer, place, offset: next }).await
            }
        };
        // Until somebody looks for a coordinator there is none.
        if code == Some(ErrorCode::NOT_COORDINATOR) {
            client.find_coordinator(&group).await;
        }
        if code != Some(ErrorCode::NONE) {
            client.back_off().await;
        }
    }
}

/// How far a group has come in a partition.
pub(super) struct Commit<'a> {
    pub(super) group: &'a str,
    pub(super) committer: Committer<'a>,
    pub(super) place: Place,
    pub(super) offset: i64,
}

/// Who says so.
#[derive(Clone, Copy)]
pub(super) struct Committer<'a> {
    /// Or epoch.
    pub(super) generation: i32,
    /// Its id.
    pub(super) member: &'a str,
    /// See [`Event::CommitSent`].
    pub(super) reign: u64,
}

impl Committer<'_> {
    /// One who is no member.
    const NOBODY: Self = Self { generation: -1, member: "", reign: 0 };
}

impl Client {
    /// Asks for everything that was committed in the run.
    pub(crate) async fn audit_offsets(&mut self) {
        let committed: BTreeSet<(String, Place)> = {
            let history = self.scene.history.borrow();
            let committed = history.events.iter().filter_map(|(_, event)| match event {
                Event::Committed { group, place, .. } => Some((group.clone(), *place)),
                _ => None,
            });
            committed.collect()
        };
        let deadline = self.scene.now() + super::audit::PATIENCE;
        for (group, place) in committed {
            while !self.scene.is_doomed(place.topic) {
                match self.fetch_offset(&group, None, place).await {
                    Some((ErrorCode::NONE, _)) => break,
                    told if self.scene.now() > deadline => {
                        let message = format!("{group} does not tell its offset: {told:?}");
                        return self.scene.violate("alive", message);
                    }
                    _ => self.back_off().await,
                }
            }
        }
    }

    pub(super) async fn find_coordinator(&mut self, group: &str) -> Option<ErrorCode> {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec![group].into(),
            ..FindCoordinatorRequest::default()
        };
        let answer = self.ask(6, &request, |cur, version| {
            let response = FindCoordinatorResponse::decode(cur, version)?;
            Ok(response.coordinators.first().map(|found| ErrorCode(found.error_code)))
        });
        answer.await.flatten()
    }

    /// Notes it. `None` without an answer.
    pub(super) async fn commit(&mut self, commit: &Commit<'_>) -> Option<ErrorCode> {
        let Commit { group, committer, place, offset } = *commit;
        let partition = OffsetCommitRequestPartition {
            partition_index: place.partition,
            committed_offset: offset,
            ..OffsetCommitRequestPartition::default()
        };
        let topic = OffsetCommitRequestTopic {
            topic_id: place.topic,
            partitions: vec![partition].into(),
            ..OffsetCommitRequestTopic::default()
        };
        let request = OffsetCommitRequest {
            group_id: group,
            generation_id_or_member_epoch: committer.generation,
            member_id: committer.member,
            topics: vec![topic].into(),
            ..OffsetCommitRequest::default()
        };
        let (group, reign) = (group.to_owned(), committer.reign);
        self.scene.note(Event::CommitSent { group: group.clone(), place, offset, reign });
        let answer = self.ask(10, &request, |cur, version| {
            let response = OffsetCommitResponse::decode(cur, version)?;
            let topic = response.topics.first();
            let partition = topic.and_then(|topic| topic.partitions.first());
            Ok(partition.map(|partition| ErrorCode(partition.error_code)))
        });
        let code = answer.await.flatten();
        if code == Some(ErrorCode::NONE) {
            self.scene.note(Event::Committed { group, place, offset, reign });
        }
        code
    }

    /// Asks for it, as somebody with this member id and epoch, or nobody. `None` without an answer.
    pub(super) async fn fetch_offset(
        &mut self,
        group: &str,
        who: Option<(&str, i32)>,
        place: Place,
    ) -> Option<(ErrorCode, i64)> {
        let topic = OffsetFetchRequestTopics {
            topic_id: place.topic,
            partition_indexes: vec![place.partition].into(),
            ..OffsetFetchRequestTopics::default()
        };
        let asked = OffsetFetchRequestGroup {
            group_id: group,
            member_id: who.map(|(member, _)| member),
            member_epoch: who.map_or(-1, |(_, epoch)| epoch),
            topics: Some(vec![topic].into()),
        };
        let request =
            OffsetFetchRequest { groups: vec![asked].into(), ..OffsetFetchRequest::default() };
        let sent = self.scene.now();
        let answer = self.ask(10, &request, |cur, version| {
            let response = OffsetFetchResponse::decode(cur, version)?;
            let group = response.groups.first();
            Ok(group.map(|group| {
                let topic = group.topics.first();
                let partition = topic.and_then(|topic| topic.partitions.first());
                let (code, offset) = partition.map_or((group.error_code, -1), |partition| {
                    (partition.error_code, partition.committed_offset)
                });
                (ErrorCode(code), offset)
            }))
        });
        let (code, offset) = answer.await.flatten()?;
        if code == ErrorCode::NONE {
            let group = group.to_owned();
            self.scene.note(Event::OffsetFetched { group, place, sent, offset });
        }
        Some((code, offset))
    }
}
