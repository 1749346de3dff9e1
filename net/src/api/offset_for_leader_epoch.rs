//! OffsetForLeaderEpoch (23), v2–4: where a leader epoch ended. Runs on the owners: one call per
//! core.

use std::rc::Rc;

use engine::ids::LeaderEpoch;
use engine::partition::EpochEnd;
use replication::cores::PartitionKey;
use wire::error_code::ErrorCode;
use wire::msg::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
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
    known: LeaderEpoch,
    /// The epoch whose end is asked for.
    asked: LeaderEpoch,
}

/// Where the epochs end, in the parts' order; none where that is not known.
pub(crate) type Outcome = Vec<Result<Option<EpochEnd>, ErrorCode>>;

pub(super) async fn handle(cx: &Cx, request: OffsetForLeaderEpochRequest<'_>) -> Reply {
    let mut found = Vec::new();
    let mut scatter = Scatter::new();
    for topic in &request.topics {
        let id = cx.topic_id(topic.topic, Uuid::ZERO, i16::MAX);
        for asked in &topic.partitions {
            let slot = found.len();
            found.push(match id.and_then(|id| cx.home(id, asked.partition)) {
                Err(code) => Err(code),
                Ok((key, home)) => {
                    let known = LeaderEpoch(asked.current_leader_epoch);
                    let asked = LeaderEpoch(asked.leader_epoch);
                    scatter.add(home.core, slot, Part { key, known, asked });
                    Ok(None)
                }
            });
        }
    }
    for (slot, outcome) in scatter.ask(cx, |parts| Work(parts.into_vec())).await {
        found[slot] = outcome.unwrap_or_else(|error| Err(error.code()));
    }
    let mut found = found.into_iter();
    let topics = request.topics.iter().map(|topic| OffsetForLeaderTopicResult {
        topic: topic.topic,
        partitions: topic
            .partitions
            .iter()
            .map(|asked| epoch_end(asked.partition, found.next().expect("one for each")))
            .collect(),
    });
    let topics = topics.collect();
    cx.reply(&OffsetForLeaderEpochResponse { throttle_time_ms: cx.throttle_ms(), topics })
}

fn epoch_end(partition: i32, found: Result<Option<EpochEnd>, ErrorCode>) -> EpochEndOffset {
    let none = EpochEndOffset { partition, ..EpochEndOffset::default() };
    match found {
        Ok(Some(end)) => {
            EpochEndOffset { leader_epoch: end.epoch.0, end_offset: end.end.0, ..none }
        }
        Ok(None) => none,
        Err(code) => EpochEndOffset { error_code: code.into(), ..none },
    }
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work(parts): Work) -> Outcome {
    let find = |part: Part| {
        let partition = core.partitions.open(part.key).map_err(|error| error.code())?;
        check_epoch(&partition, part.known)?;
        Ok(partition.epoch_end(part.asked))
    };
    parts.into_iter().map(find).collect()
}
