//! ListPartitionReassignments (46), v0: partitions whose replicas are on the move, as this core's
//! image has them.

use engine::ids::PartitionId;
use replication::image::{Partition, Topic};
use wire::msg::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment, OngoingTopicReassignment,
};

use super::Cx;
use crate::conn::reply::Reply;

pub(super) async fn handle(cx: &Cx, request: ListPartitionReassignmentsRequest<'_>) -> Reply {
    if let Err(code) = cx.permits_cluster() {
        let throttle_time_ms = cx.throttle_ms();
        return cx.reply(&ListPartitionReassignmentsResponse {
            throttle_time_ms,
            error_code: code.into(),
            error_message: Some(code.message()),
            ..ListPartitionReassignmentsResponse::default()
        });
    }
    let image = cx.image();
    let topics: Vec<_> = match &request.topics {
        None => {
            let of = |topic| (topic_name(topic), moving(topic.partitions()));
            image.topics().iter().map(|topic| of(topic)).collect()
        }
        Some(asked) => {
            let named = asked.iter().filter_map(|asked| {
                let topic = image.topics().named(asked.name)?;
                let partitions = asked.partition_indexes.iter().filter_map(|index| {
                    let id = PartitionId(index);
                    Some((id, topic.partition(id)?))
                });
                Some((topic_name(topic), moving(partitions)))
            });
            named.collect()
        }
    };
    let ongoing = topics.into_iter().filter(|(_, partitions)| !partitions.is_empty());
    let topics = ongoing
        .map(|(name, partitions)| OngoingTopicReassignment { name, partitions: partitions.into() });
    cx.reply(&ListPartitionReassignmentsResponse {
        throttle_time_ms: cx.throttle_ms(),
        topics: topics.collect(),
        ..ListPartitionReassignmentsResponse::default()
    })
}

fn topic_name(topic: &Topic) -> &str {
    &topic.name
}

fn moving<'a, P: AsRef<Partition> + 'a>(
    partitions: impl Iterator<Item = (PartitionId, &'a P)>,
) -> Vec<OngoingPartitionReassignment<'a>> {
    let moving = partitions.filter(|(_, partition)| partition.as_ref().is_reassigning());
    let ongoing = moving.map(|(id, partition)| {
        let partition = partition.as_ref();
        OngoingPartitionReassignment {
            partition_index: id.0,
            replicas: partition.replicas.iter().map(|id| id.0).collect(),
            adding_replicas: partition.adding.iter().map(|id| id.0).collect(),
            removing_replicas: partition.removing.iter().map(|id| id.0).collect(),
        }
    });
    ongoing.collect()
}
