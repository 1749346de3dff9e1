//! How far a group has come: fetched, committed, forgotten.

use std::collections::BTreeMap;

use anyhow::Result;
use wire::error_code::ErrorCode;
use wire::msg::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use wire::msg::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
};
use wire::msg::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse};

use super::{Committed, Committer, Outcomes, is_coordinators};
use crate::client::conn::{Conn, refused};
use crate::client::partitions::{TopicPartition, by_topic};

pub(super) fn fetch(
    conn: &mut Conn,
    group: &str,
    member: Option<&Committer<'_>>,
) -> Result<BTreeMap<TopicPartition, Committed>> {
    let groups = [OffsetFetchRequestGroup {
        group_id: group,
        member_id: member.filter(|by| !by.member_id.is_empty()).map(|by| by.member_id),
        member_epoch: member.map_or(-1, |by| by.epoch),
        topics: None,
    }];
    let old = conn.version::<OffsetFetchRequest<'_>>()? < 8;
    let request = match old {
        true => OffsetFetchRequest { group_id: group, topics: None, ..Default::default() },
        false => OffsetFetchRequest { groups: (&groups).into(), ..Default::default() },
    };
    let answer: OffsetFetchResponse<'_> = conn.call_at_most(VERSION_OF_NAMES, &request)?;
    refused(answer.error_code, None)?;
    let mut offsets = BTreeMap::new();
    for topic in &answer.topics {
        offsets.extend(topic.partitions.iter().map(|it| {
            let (offset, leader_epoch) = (it.committed_offset, it.committed_leader_epoch);
            let at = TopicPartition::new(topic.name, it.partition_index);
            (at, Committed { offset, leader_epoch })
        }));
    }
    for found in &answer.groups {
        refused(found.error_code, None)?;
        for topic in &found.topics {
            offsets.extend(topic.partitions.iter().map(|it| {
                let (offset, leader_epoch) = (it.committed_offset, it.committed_leader_epoch);
                let at = TopicPartition::new(topic.name, it.partition_index);
                (at, Committed { offset, leader_epoch })
            }));
        }
    }
    offsets.retain(|_, committed| committed.offset >= 0);
    Ok(offsets)
}

pub(super) fn commit(
    conn: &mut Conn,
    group: &str,
    by: &Committer<'_>,
    offsets: &BTreeMap<TopicPartition, i64>,
) -> Result<Outcomes> {
    let partition = |(partition_index, committed_offset)| OffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        committed_metadata: Some(""),
        ..Default::default()
    };
    let topics = by_topic(offsets.iter().map(|(at, offset)| (at, *offset))).into_iter();
    let topics = topics.map(|(name, of)| OffsetCommitRequestTopic {
        name,
        partitions: of.into_iter().map(partition).collect::<Vec<_>>().into(),
        ..Default::default()
    });
    let request = OffsetCommitRequest {
        group_id: group,
        generation_id_or_member_epoch: by.epoch,
        member_id: by.member_id,
        group_instance_id: by.instance_id,
        topics: topics.collect::<Vec<_>>().into(),
        ..Default::default()
    };
    let answer: OffsetCommitResponse<'_> = conn.call_at_most(VERSION_OF_NAMES, &request)?;
    let mut outcomes = Outcomes::new();
    for topic in &answer.topics {
        for it in &topic.partitions {
            if is_coordinators(ErrorCode(it.error_code)) {
                refused(it.error_code, None)?;
            }
            let at = TopicPartition::new(topic.name, it.partition_index);
            outcomes.insert(at, ErrorCode(it.error_code));
        }
    }
    Ok(outcomes)
}

pub(super) fn delete(
    conn: &mut Conn,
    group: &str,
    partitions: &[TopicPartition],
) -> Result<Outcomes> {
    let topics = by_topic(partitions.iter().map(|at| (at, ()))).into_iter();
    let topics = topics.map(|(name, of)| {
        let of = of.into_iter();
        let partition = |(partition_index, ())| OffsetDeleteRequestPartition { partition_index };
        let partitions = of.map(partition).collect::<Vec<_>>().into();
        OffsetDeleteRequestTopic { name, partitions }
    });
    let request =
        OffsetDeleteRequest { group_id: group, topics: topics.collect::<Vec<_>>().into() };
    let answer: OffsetDeleteResponse<'_> = conn.call(&request)?;
    refused(answer.error_code, None)?;
    let mut outcomes = Outcomes::new();
    for topic in &answer.topics {
        outcomes.extend(topic.partitions.iter().map(|it| {
            let at = TopicPartition::new(topic.name, it.partition_index);
            (at, ErrorCode(it.error_code))
        }));
    }
    Ok(outcomes)
}

/// The newest versions of OffsetCommit and OffsetFetch have topic ids instead of names.
const VERSION_OF_NAMES: i16 = 9;
