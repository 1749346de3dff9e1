//! Offsets of partitions: the ends, and those at a time. One request a leader.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use wire::error_code::ErrorCode;
use wire::msg::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};

use super::cluster::Cluster;
use super::conn::Refusal;
use super::partitions::{TopicPartition, by_topic};

/// ListOffsets' names for the two ends.
pub(crate) const EARLIEST: i64 = -2;
pub(crate) const LATEST: i64 = -1;

/// What was found; both −1 where no record is so late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
}

/// By partition, or why there is none.
pub(crate) type Looked = BTreeMap<TopicPartition, Result<Found, Refusal>>;

/// Looks up offsets by timestamp or by one of the special ones. What a broker can't say at the
/// moment is asked again for a while.
pub(crate) fn look_up(
    cluster: &mut Cluster,
    wanted: &BTreeMap<TopicPartition, i64>,
) -> Result<Looked> {
    let deadline = Instant::now() + RETRY_LIMIT;
    let mut looked = Looked::new();
    let mut open = wanted.clone();
    loop {
        looked.extend(look_up_once(cluster, &open)?);
        open.retain(|at, _| {
            looked.get(at).is_some_and(|found| found.as_ref().is_err_and(|e| may_pass(e.code)))
        });
        if open.is_empty() || Instant::now() > deadline {
            return Ok(looked);
        }
        thread::sleep(RETRY_PAUSE);
    }
}

/// The same time for many partitions; an error where one of them has none.
pub(crate) fn all_at<'a>(
    cluster: &mut Cluster,
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
    timestamp: i64,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let wanted = partitions.into_iter().map(|at| (at.clone(), timestamp)).collect();
    let looked = look_up(cluster, &wanted)?.into_iter();
    looked
        .map(|(at, found)| match found {
            Ok(found) => Ok((at, found.offset)),
            Err(refusal) => Err(anyhow::Error::new(refusal).context(at.to_string())),
        })
        .collect()
}

fn look_up_once(cluster: &mut Cluster, wanted: &BTreeMap<TopicPartition, i64>) -> Result<Looked> {
    let names: BTreeSet<&str> = wanted.keys().map(|at| &*at.topic).collect();
    let topics = cluster.topics_of(names)?;
    let mut looked = Looked::new();
    let mut by_leader: BTreeMap<i32, Vec<(&TopicPartition, i64)>> = BTreeMap::new();
    for (at, &timestamp) in wanted {
        let topic = topics.get(&at.topic);
        let partition = topic.and_then(|topic| topic.partition(at.partition));
        match partition.map(|partition| partition.leader) {
            None => {
                let gone = Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0, None);
                looked.insert(at.clone(), Err(gone));
            }
            Some(..0) => {
                let none = Refusal::new(ErrorCode::LEADER_NOT_AVAILABLE.0, None);
                looked.insert(at.clone(), Err(none));
            }
            Some(leader) => by_leader.entry(leader).or_default().push((at, timestamp)),
        }
    }
    for (leader, wanted) in by_leader {
        ask(cluster, leader, wanted, &mut looked)?;
    }
    Ok(looked)
}

fn ask(
    cluster: &mut Cluster,
    leader: i32,
    wanted: Vec<(&TopicPartition, i64)>,
    looked: &mut Looked,
) -> Result<()> {
    let partition = |(partition_index, timestamp)| ListOffsetsPartition {
        partition_index,
        timestamp,
        ..Default::default()
    };
    let topics = by_topic(wanted).into_iter().map(|(name, of)| ListOffsetsTopic {
        name,
        partitions: of.into_iter().map(partition).collect::<Vec<_>>().into(),
    });
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: topics.collect::<Vec<_>>().into(),
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let answer: ListOffsetsResponse<'_> = cluster.broker(leader)?.call(&request)?;
    for topic in &answer.topics {
        for found in &topic.partitions {
            let at = TopicPartition::new(topic.name, found.partition_index);
            let outcome = match ErrorCode(found.error_code) {
                ErrorCode::NONE => {
                    Ok(Found { offset: found.offset, timestamp_ms: found.timestamp })
                }
                _ => Err(Refusal::new(found.error_code, None)),
            };
            looked.insert(at, outcome);
        }
    }
    Ok(())
}

/// A topic that is not there is final: whoever asks by name has a wrong one.
fn may_pass(code: ErrorCode) -> bool {
    code.is_retriable() && code != ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
}

const RETRY_LIMIT: Duration = Duration::from_secs(10);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
const TIMEOUT_MS: i32 = 30_000;
