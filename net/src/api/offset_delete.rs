//! OffsetDelete (47), v0: forgets how far a group has come, but in topics that it reads.
//!
//! Runs on the core that owns the group's partition of `__consumer_offsets`: one hop.

use std::rc::Rc;

use engine::ids::PartitionId;
use wire::error_code::ErrorCode;
use wire::msg::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};

use super::authz::{Operation, ResourceKind};
use super::{Cx, groups};
use crate::conn::reply::Reply;
use crate::core::Core;

/// Offsets of a group in this partition of `__consumer_offsets`.
pub(crate) struct Work {
    shard: i32,
    group: String,
    places: Vec<(String, i32)>,
}

/// What became of each.
pub(crate) type Outcome = groups::Parts;

pub(super) async fn handle(cx: &Cx, request: OffsetDeleteRequest<'_>) -> Reply {
    let throttle_time_ms = cx.throttle_ms();
    // A code for each partition; the offsets of those without one are forgotten, in order.
    let mut codes: Vec<Option<ErrorCode>> = Vec::new();
    let mut places = Vec::new();
    let image = cx.image();
    for topic in &request.topics {
        let known = image.topics().named(topic.name);
        let denied = !cx.allows(Operation::Read, ResourceKind::Topic, topic.name);
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let there = known.is_some_and(|topic| topic.partition(PartitionId(index)).is_some());
            codes.push(match (denied, there) {
                (true, _) => Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
                (false, false) => Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                (false, true) => {
                    places.push((topic.name.to_owned(), index));
                    None
                }
            });
        }
    }
    let parts = match delete(cx, request.group_id, places).await {
        Ok(parts) => parts,
        Err(code) => {
            let (error_code, topics) = (code.into(), Vec::new().into());
            return cx.reply(&OffsetDeleteResponse { throttle_time_ms, error_code, topics });
        }
    };
    let mut codes = groups::codes(codes, parts);
    let topics = request.topics.iter().map(|topic| OffsetDeleteResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetDeleteResponsePartition {
                partition_index: partition.partition_index,
                error_code: codes.next().expect("one for each").into(),
            })
            .collect(),
    });
    let (error_code, topics) = (ErrorCode::NONE.into(), topics.collect());
    cx.reply(&OffsetDeleteResponse { throttle_time_ms, error_code, topics })
}

async fn delete(cx: &Cx, group: &str, places: Vec<(String, i32)>) -> Outcome {
    let (shard, core) = groups::home_of_members(cx, group)?;
    let work = Work { shard, group: group.to_owned(), places };
    cx.call(core, work).await.unwrap_or(Err(ErrorCode::COORDINATOR_NOT_AVAILABLE))
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work { shard, group, places }: Work) -> Outcome {
    let host = core.groups.host(shard)?;
    groups::parts(host.ask(|shard, _, ticket| shard.delete_offsets(ticket, &group, &places)).await?)
}
