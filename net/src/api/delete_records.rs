//! DeleteRecords (21), v0–2: raises the first offset of partitions. Runs on the owners: one call
//! per core.
//!
//! With one replica there is no follower to wait for, so the timeout has nothing to limit.

use std::rc::Rc;

use engine::ids::{LeaderEpoch, Offset};
use futures_util::future::join_all;
use replication::controller::names::is_internal;
use replication::cores::PartitionKey;
use wire::error_code::ErrorCode;
use wire::msg::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};
use wire::primitives::Uuid;

use super::Cx;
use super::errors::{Coded, check_epoch};
use super::scatter::Scatter;
use crate::conn::reply::Reply;
use crate::core::Core;
use crate::mesh;

/// The partitions of one core in one request, and the offset that each shall start at.
pub(crate) struct Work(Vec<(PartitionKey, Offset)>);

/// Where the parts start now, in their order.
pub(crate) type Outcome = Vec<Result<Offset, ErrorCode>>;

pub(super) async fn handle(cx: &Cx, request: DeleteRecordsRequest<'_>) -> Reply {
    let mut starts = Vec::new();
    let mut scatter = Scatter::new();
    for topic in &request.topics {
        let id = match is_internal(topic.name) {
            true => Err(ErrorCode::INVALID_TOPIC_EXCEPTION),
            false => cx.topic_id(topic.name, Uuid::ZERO, i16::MAX),
        };
        for asked in &topic.partitions {
            let slot = starts.len();
            starts.push(match id.and_then(|id| cx.home(id, asked.partition_index)) {
                Err(code) => Err(code),
                Ok((key, home)) => {
                    scatter.add(home.core, slot, (key, Offset(asked.offset)));
                    Ok(Offset(asked.offset))
                }
            });
        }
    }
    for (slot, outcome) in scatter.ask(cx, |parts| Work(parts.into_vec())).await {
        starts[slot] = outcome.unwrap_or_else(|error| Err(error.code()));
    }
    let mut starts = starts.into_iter();
    let topics = request.topics.iter().map(|topic| DeleteRecordsTopicResult {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|asked| {
                let start = starts.next().expect("one for each");
                DeleteRecordsPartitionResult {
                    partition_index: asked.partition_index,
                    low_watermark: start.map_or(-1, |start| start.0),
                    error_code: start.err().unwrap_or(ErrorCode::NONE).into(),
                }
            })
            .collect(),
    });
    let topics = topics.collect();
    cx.reply(&DeleteRecordsResponse { throttle_time_ms: cx.throttle_ms(), topics })
}

/// Deletes the records of one partition below an offset, as a client's request would.
pub(crate) async fn delete_before(
    core: &Rc<Core>,
    key: PartitionKey,
    before: Offset,
) -> Result<(), String> {
    let Some(home) = core.partitions.home(key) else { return Err("not on this node".into()) };
    let outcome = mesh::call(core, home.core, Work(vec![(key, before)])).await;
    match outcome.map_err(|error| error.code()).map(|mut starts| starts.pop()) {
        Ok(Some(Ok(_))) => Ok(()),
        Ok(Some(Err(code))) | Err(code) => Err(code.to_string()),
        Ok(None) => Err("no answer".into()),
    }
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work(parts): Work) -> Outcome {
    join_all(parts.into_iter().map(|(key, before)| delete(&core, key, before))).await
}

async fn delete(core: &Core, key: PartitionKey, before: Offset) -> Result<Offset, ErrorCode> {
    let partition = core.partitions.open(key).map_err(|error| error.code())?;
    check_epoch(&partition, LeaderEpoch::NONE)?;
    let policy = partition.config().cleanup_policy;
    if policy.compact && !policy.delete {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    partition.delete_records(before).await.map_err(|error| error.code())
}
