//! ListOffsets (2), v1–11: offsets by time, and the special places of a log.
//!
//! Nothing is tiered, so the earliest local offset is the earliest, the latest tiered none. Runs
//! on the owners: one call per core.

use std::rc::Rc;

use engine::ids::LeaderEpoch;
use engine::partition::{FoundOffset, OffsetQuery, ReadBound};
use futures_util::future::join_all;
use replication::cores::PartitionKey;
use wire::error_code::ErrorCode;
use wire::msg::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use wire::primitives::Uuid;

use super::Cx;
use super::errors::{Coded, check_epoch};
use super::scatter::Scatter;
use crate::conn::reply::Reply;
use crate::core::Core;

/// The partitions of one core in one request.
pub(crate) struct Work(Vec<Part>);

struct Part {
    key: PartitionKey,
    /// The leader epoch that the client knows; −1 for none.
    epoch: LeaderEpoch,
    query: OffsetQuery,
    up_to: ReadBound,
}

/// What was found for the parts, in their order; none where no record matches.
pub(crate) type Outcome = Vec<Result<Option<FoundOffset>, ErrorCode>>;

pub(super) async fn handle(cx: &Cx, request: ListOffsetsRequest<'_>) -> Reply {
    let up_to = match (request.replica_id, request.isolation_level) {
        (-1, 1) => ReadBound::LastStable,
        (-1, _) => ReadBound::HighWatermark,
        _ => ReadBound::LogEnd,
    };
    let mut found = Vec::new();
    let mut scatter = Scatter::new();
    for topic in &request.topics {
        let id = cx.topic_id(topic.name, Uuid::ZERO, i16::MAX);
        for asked in &topic.partitions {
            let place = id.and_then(|id| cx.home(id, asked.partition_index));
            let place = place.and_then(|place| Ok((place, query(&asked, cx.version)?)));
            let slot = found.len();
            found.push(match place {
                Err(code) => Err(code),
                Ok(((key, home), query)) => {
                    let epoch = LeaderEpoch(asked.current_leader_epoch);
                    scatter.add(home.core, slot, Part { key, epoch, query, up_to });
                    Ok(None)
                }
            });
        }
    }
    for (slot, outcome) in scatter.ask(cx, |parts| Work(parts.into_vec())).await {
        found[slot] = outcome.unwrap_or_else(|error| Err(error.code()));
    }
    let mut found = found.into_iter();
    let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|asked| {
                partition_response(cx.version, &asked, found.next().expect("one for each"))
            })
            .collect(),
    });
    cx.reply(&ListOffsetsResponse { throttle_time_ms: cx.throttle_ms(), topics: topics.collect() })
}

fn query(asked: &ListOffsetsPartition, version: i16) -> Result<OffsetQuery, ErrorCode> {
    let (since, query) = match asked.timestamp {
        -1 => (1, OffsetQuery::Latest),
        -2 => (1, OffsetQuery::Earliest),
        -3 => (7, OffsetQuery::MaxTimestamp),
        -4 => (8, OffsetQuery::EarliestLocal),
        -5 => (9, OffsetQuery::LatestTiered),
        -6 => (11, OffsetQuery::EarliestPendingUpload),
        ..-6 => return Err(ErrorCode::UNSUPPORTED_VERSION),
        at_ms => (1, OffsetQuery::AtTime(at_ms)),
    };
    if version < since { Err(ErrorCode::UNSUPPORTED_VERSION) } else { Ok(query) }
}

fn partition_response(
    version: i16,
    asked: &ListOffsetsPartition,
    found: Result<Option<FoundOffset>, ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let partition_index = asked.partition_index;
    match found {
        Ok(Some(found)) => ListOffsetsPartitionResponse {
            partition_index,
            error_code: ErrorCode::NONE.into(),
            timestamp: found.timestamp_ms,
            offset: found.offset.0,
            leader_epoch: match found.epoch {
                Some(epoch) if version >= 4 => epoch.0,
                _ => -1,
            },
        },
        Ok(None) => ListOffsetsPartitionResponse {
            partition_index,
            ..ListOffsetsPartitionResponse::default()
        },
        Err(code) => ListOffsetsPartitionResponse {
            partition_index,
            error_code: code.into(),
            ..ListOffsetsPartitionResponse::default()
        },
    }
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work(parts): Work) -> Outcome {
    join_all(parts.into_iter().map(|part| find(&core, part))).await
}

async fn find(core: &Core, part: Part) -> Result<Option<FoundOffset>, ErrorCode> {
    let partition = core.partitions.open(part.key).map_err(|error| error.code())?;
    check_epoch(&partition, part.epoch)?;
    partition.list_offset(part.query, part.up_to).await.map_err(|error| error.code())
}
