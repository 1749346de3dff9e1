//! Topics: created, grown, deleted, their records too.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use wire::error_code::ErrorCode;
use wire::msg::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsResponse,
    CreatePartitionsTopic,
};
use wire::msg::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
    CreateTopicsResponse,
};
use wire::msg::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use wire::msg::delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};

use super::cluster::Cluster;
use super::conn::{Refusal, check_with};
use super::partitions::{TopicPartition, by_topic};

/// A topic to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewTopic<'a> {
    pub(crate) name: &'a str,
    /// None for the broker's own default (KIP-464).
    pub(crate) partitions: Option<i32>,
    /// None for the broker's own default.
    pub(crate) replication_factor: Option<i16>,
    /// The brokers of each partition, in place of the two numbers.
    pub(crate) assignment: &'a [Vec<i32>],
    pub(crate) configs: &'a [(&'a str, &'a str)],
}

/// Creates a topic.
pub(crate) fn create(cluster: &mut Cluster, new: &NewTopic<'_>) -> Result<()> {
    let configs = new.configs.iter();
    let configs = configs.map(|&(name, value)| CreatableTopicConfig { name, value: Some(value) });
    let assignments = (0..).zip(new.assignment).map(|(partition_index, brokers)| {
        CreatableReplicaAssignment { partition_index, broker_ids: brokers.into() }
    });
    let topics = [CreatableTopic {
        name: new.name,
        num_partitions: new.partitions.unwrap_or(BROKERS_DEFAULT),
        replication_factor: new.replication_factor.unwrap_or(BROKERS_DEFAULT as i16),
        assignments: assignments.collect::<Vec<_>>().into(),
        configs: configs.collect::<Vec<_>>().into(),
    }];
    let request = CreateTopicsRequest {
        topics: (&topics).into(),
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let answer: CreateTopicsResponse<'_> = cluster.any().call(&request)?;
    let result = answer.topics.first().context(SILENCE)?;
    check_with(result.error_code, result.error_message, &format!("topic {}", new.name))
}

/// Deletes a topic and all its records.
pub(crate) fn delete(cluster: &mut Cluster, name: &str) -> Result<()> {
    let topics = [DeleteTopicState { name: Some(name), ..Default::default() }];
    let plain = [name];
    let mut request = DeleteTopicsRequest { timeout_ms: TIMEOUT_MS, ..Default::default() };
    // Version 6 replaced the names by pairs of name and id.
    if cluster.any().version::<DeleteTopicsRequest<'_>>()? >= 6 {
        request.topics = (&topics).into();
    } else {
        request.topic_names = (&plain).into();
    }
    let answer: DeleteTopicsResponse<'_> = cluster.any().call(&request)?;
    let result = answer.responses.first().context(SILENCE)?;
    check_with(result.error_code, result.error_message, &format!("topic {name}"))
}

/// Adds partitions until there are `count`; the new ones on these brokers, if any are named.
pub(crate) fn grow(
    cluster: &mut Cluster,
    topic: &str,
    count: i32,
    brokers_of_new: &[Vec<i32>],
) -> Result<()> {
    let assignments = brokers_of_new.iter();
    let assignments =
        assignments.map(|brokers| CreatePartitionsAssignment { broker_ids: brokers.into() });
    let assignments = assignments.collect::<Vec<_>>();
    let topics = [CreatePartitionsTopic {
        name: topic,
        count,
        assignments: (!assignments.is_empty()).then(|| assignments.into()),
    }];
    let request = CreatePartitionsRequest {
        topics: (&topics).into(),
        timeout_ms: TIMEOUT_MS,
        validate_only: false,
    };
    let answer: CreatePartitionsResponse<'_> = cluster.any().call(&request)?;
    let result = answer.results.first().context(SILENCE)?;
    check_with(result.error_code, result.error_message, &format!("topic {topic}"))
}

/// Deletes the records before these offsets, −1 for all of a partition; tells where each partition
/// begins then, or why it was left as it is.
pub(crate) fn delete_records(
    cluster: &mut Cluster,
    before: &BTreeMap<TopicPartition, i64>,
) -> Result<BTreeMap<TopicPartition, Result<i64, Refusal>>> {
    let names: Vec<&str> = before.keys().map(|at| &*at.topic).collect();
    let topics = cluster.topics_of(names)?;
    let mut outcomes = BTreeMap::new();
    let mut leaders: BTreeMap<i32, Vec<(&TopicPartition, i64)>> = BTreeMap::new();
    for (at, &offset) in before {
        match topics.get(&at.topic).and_then(|topic| topic.partition(at.partition)) {
            Some(partition) => leaders.entry(partition.leader).or_default().push((at, offset)),
            None => {
                let gone = Refusal::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0, None);
                outcomes.insert(at.clone(), Err(gone));
            }
        }
    }
    for (leader, wanted) in leaders {
        let topics = by_topic(wanted).into_iter().map(|(name, of)| {
            let of = of.into_iter();
            let partitions = of.map(|(partition_index, offset)| DeleteRecordsPartition {
                partition_index,
                offset,
            });
            DeleteRecordsTopic { name, partitions: partitions.collect::<Vec<_>>().into() }
        });
        let request = DeleteRecordsRequest {
            topics: topics.collect::<Vec<_>>().into(),
            timeout_ms: TIMEOUT_MS,
        };
        let answer: DeleteRecordsResponse<'_> = cluster.broker(leader)?.call(&request)?;
        for topic in &answer.topics {
            outcomes.extend(topic.partitions.iter().map(|it| {
                let outcome = match ErrorCode(it.error_code) {
                    ErrorCode::NONE => Ok(it.low_watermark),
                    _ => Err(Refusal::new(it.error_code, None)),
                };
                (TopicPartition::new(topic.name, it.partition_index), outcome)
            }));
        }
    }
    Ok(outcomes)
}

const SILENCE: &str = "the broker said nothing of the topic";

/// In place of a number of partitions or replicas: the broker's own default.
const BROKERS_DEFAULT: i32 = -1;

const TIMEOUT_MS: i32 = 30_000;
