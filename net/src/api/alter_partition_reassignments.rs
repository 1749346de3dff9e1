//! AlterPartitionReassignments (45), v0–1: where replicas shall be, decided by the controller.

use engine::ids::{BrokerId, PartitionId};
use replication::controller::reassign::{AlterReassignments, Reassign};
use wire::error_code::ErrorCode;
use wire::msg::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};

use super::Cx;
use super::errors::Failure;
use crate::conn::reply::Reply;

pub(super) async fn handle(cx: &Cx, request: AlterPartitionReassignmentsRequest<'_>) -> Reply {
    let mut partitions = Vec::new();
    for topic in &request.topics {
        partitions.extend(topic.partitions.iter().map(|asked| Reassign {
            topic: topic.name.to_owned(),
            partition: PartitionId(asked.partition_index),
            replicas: asked.replicas.map(|replicas| replicas.iter().map(BrokerId).collect()),
        }));
    }
    let allow_replication_factor_change = request.allow_replication_factor_change;
    let change = AlterReassignments { partitions, allow_replication_factor_change };
    // Where replicas are is the cluster's business, whatever the topic, as in Kafka.
    let outcomes = match cx.permits_cluster() {
        Ok(()) => cx.change(change).await,
        Err(code) => Err(Failure::bare(code)),
    };
    let (failed, results): (Option<Failure>, Vec<Option<Failure>>) = match outcomes {
        Ok(outcomes) => {
            let told = outcomes.into_iter().map(|outcome| outcome.result.err().map(Failure::from));
            (None, told.collect())
        }
        Err(failure) => (Some(failure), Vec::new()),
    };
    let mut rest = results.iter();
    let responses = request.topics.iter().map(|topic| ReassignableTopicResponse {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|asked| {
                let failure = rest.next().and_then(Option::as_ref).or(failed.as_ref());
                ReassignablePartitionResponse {
                    partition_index: asked.partition_index,
                    error_code: failure.map_or(ErrorCode::NONE, |failure| failure.code).into(),
                    error_message: failure.and_then(|failure| failure.message.as_deref()),
                }
            })
            .collect(),
    });
    let responses = responses.collect();
    let failed = failed.as_ref();
    cx.reply(&AlterPartitionReassignmentsResponse {
        throttle_time_ms: cx.throttle_ms(),
        allow_replication_factor_change,
        error_code: failed.map_or(ErrorCode::NONE, |failure| failure.code).into(),
        error_message: failed.and_then(|failure| failure.message.as_deref()),
        responses,
    })
}
