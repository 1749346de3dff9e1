//! OffsetCommit (8), v2–10: notes how far a group has come.
//!
//! Runs on the core that owns the group's partition of `__consumer_offsets`: one hop. Answered when
//! the offsets are durable.

use std::rc::Rc;
use std::sync::Arc;

use engine::group::{CommitRequest, NewOffset};
use engine::ids::PartitionId;
use futures_util::future::{Either, select};
use replication::image::Topic;
use wire::error_code::ErrorCode;
use wire::msg::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use super::authz::{Operation, ResourceKind};
use super::{Cx, groups};
use crate::conn::reply::Reply;
use crate::core::Core;

/// Offsets of a group in this partition of `__consumer_offsets`.
pub(crate) struct Work {
    shard: i32,
    request: CommitRequest,
}

/// What became of each.
pub(crate) type Outcome = groups::Parts;

pub(super) async fn handle(cx: &Cx, request: OffsetCommitRequest<'_>) -> Reply {
    // A code for each partition; those without one are committed, in order.
    let mut codes: Vec<Option<ErrorCode>> = Vec::new();
    let mut offsets = Vec::new();
    let group = cx.permits_group(request.group_id);
    for topic in &request.topics {
        let known = group.and_then(|()| find(cx, &topic));
        for partition in &topic.partitions {
            let id = PartitionId(partition.partition_index);
            codes.push(match &known {
                Err(code) => Some(*code),
                Ok(topic) if topic.partition(id).is_none() => {
                    Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
                }
                Ok(topic) => {
                    offsets.push(NewOffset {
                        topic: Arc::clone(&topic.name),
                        topic_id: topic.id.0,
                        partition: partition.partition_index,
                        offset: partition.committed_offset,
                        leader_epoch: partition.committed_leader_epoch,
                        metadata: partition.committed_metadata.unwrap_or("").to_owned(),
                        retention_ms: Some(request.retention_time_ms).filter(|ms| *ms != -1),
                    });
                    None
                }
            });
        }
    }
    let count = offsets.len();
    let parts = match offsets.is_empty() {
        true => Vec::new(),
        false => match commit(cx, &request, offsets).await {
            Ok(parts) => parts,
            Err(code) => vec![Err(code); count],
        },
    };
    answer(cx, &request, groups::codes(codes, parts))
}

/// A topic that may be committed to.
fn find(cx: &Cx, topic: &OffsetCommitRequestTopic<'_>) -> Result<Arc<Topic>, ErrorCode> {
    let image = cx.image();
    let by_id = cx.version >= 10;
    let (known, unknown) = match by_id {
        true => {
            (image.topics().get(engine::ids::TopicId(topic.topic_id)), ErrorCode::UNKNOWN_TOPIC_ID)
        }
        false => (image.topics().named(topic.name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    };
    let name = known.map_or(topic.name, |topic| &topic.name);
    if !cx.allows(Operation::Read, ResourceKind::Topic, name) {
        return Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    }
    known.cloned().ok_or(unknown)
}

async fn commit(cx: &Cx, request: &OffsetCommitRequest<'_>, offsets: Vec<NewOffset>) -> Outcome {
    let (shard, core) = cx.group_home(request.group_id)?;
    let request = CommitRequest {
        group: request.group_id.to_owned(),
        generation: request.generation_id_or_member_epoch,
        member: request.member_id.to_owned(),
        instance: request.group_instance_id.map(str::to_owned),
        knows_epochs: cx.version >= 9,
        offsets,
    };
    let told = cx.call(core, Work { shard, request }).await;
    match told.unwrap_or(Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)) {
        // Clients that do not know that a group may not exist.
        Err(ErrorCode::GROUP_ID_NOT_FOUND) if cx.version < 9 => Err(ErrorCode::ILLEGAL_GENERATION),
        told => told,
    }
}

fn answer(
    cx: &Cx,
    request: &OffsetCommitRequest<'_>,
    mut codes: impl Iterator<Item = ErrorCode>,
) -> Reply {
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: codes.next().expect("one for each").into(),
            })
            .collect(),
    });
    let topics = topics.collect();
    cx.reply(&OffsetCommitResponse { throttle_time_ms: cx.throttle_ms(), topics })
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work { shard, request }: Work) -> Outcome {
    let host = core.groups.host(shard)?;
    let committed = host.ask(|shard, now, ticket| shard.commit(now, ticket, &request));
    let late = core.deadlines.at(core.rt.now() + host.commit_timeout());
    let told = match select(Box::pin(committed), late).await {
        Either::Left((told, _)) => told?,
        // It may yet be kept.
        Either::Right(_) => return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
    };
    groups::parts(told)
}
