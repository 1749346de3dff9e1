//! Fetch (1), v4–18: records from the cores that own their partitions.
//!
//! ```text
//! read what is there ── enough, an error, or no time ──▶ answer
//!        ▲   │ less than min_bytes
//!        │   ▼
//!        └─ wait on every owner: for a record, the deadline, or the client to go
//! ```
//!
//! No sessions: every answer says 0, and clients send every partition each time.

use std::rc::Rc;
use std::time::Duration;

use engine::buf::Slice;
use engine::ids::{CoreId, LeaderEpoch, Offset};
use engine::partition::{AbortedTxn, Offsets, ReadBound, ReadSpec};
use futures_util::FutureExt;
use futures_util::future::{Either, select, select_all};
use replication::cores::PartitionKey;
use smallvec::SmallVec;
use wire::error::DecodeError;
use wire::error_code::ErrorCode;
use wire::msg::fetch::{
    AbortedTransaction, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use wire::primitives::{self, Uuid};

use super::Cx;
use super::errors::{Coded, check_epoch};
use super::scatter::Scatter;
use crate::conn::budget::Ticket;
use crate::conn::read::Frame;
use crate::conn::reply::{Records, Reply};
use crate::core::Core;

/// Reads of the partitions of one core in one request.
pub(crate) struct Work {
    parts: Vec<Part>,
    bound: ReadBound,
    /// Over the parts of this core.
    max_bytes: usize,
    /// Whether the first batch may exceed the limits.
    at_least_one: bool,
}

/// Waits until one of the parts has something to read.
pub(crate) struct Wait {
    parts: Vec<Part>,
    bound: ReadBound,
}

/// One partition to read.
#[derive(Clone, Copy, Debug)]
struct Part {
    key: PartitionKey,
    epoch: LeaderEpoch,
    from: Offset,
    max_bytes: usize,
}

/// What was read of the parts, in their order.
pub(crate) type Outcome = Vec<Result<Got, (ErrorCode, Option<Offsets>)>>;

/// What was read of one partition.
#[derive(Debug)]
pub(crate) struct Got {
    slices: SmallVec<[Slice; 4]>,
    bytes: usize,
    offsets: Offsets,
    aborted: Vec<AbortedTxn>,
}

/// What is left of a request once its buffer is given back.
struct Plan {
    topics: Vec<Topic>,
    bound: ReadBound,
    min_bytes: usize,
    max_bytes: usize,
    max_wait: Duration,
}

struct Topic {
    name: String,
    id: Uuid,
    /// Index, and where it is to be read.
    partitions: Vec<(i32, Asked)>,
}

type Asked = Result<(CoreId, Part), ErrorCode>;

/// Outcomes in the request's order.
type Outcomes = Vec<Result<Got, (ErrorCode, Option<Offsets>)>>;

pub(super) async fn handle(cx: &Cx, frame: Frame) -> Reply {
    let plan = match Plan::read(cx, &frame) {
        Ok(plan) => plan,
        Err(error) => return Reply::Close(error.into()),
    };
    drop(frame);
    let deadline = cx.core.rt.now() + plan.max_wait;
    let mut charge = cx.core.pinned.acquire(plan.max_bytes).await;
    let mut outcomes = plan.fetch(cx).await;
    while !plan.is_enough(&outcomes) && cx.core.rt.now() < deadline {
        let waiting = Box::pin(plan.wait(cx, &outcomes));
        drop((outcomes, charge));
        let over = Box::pin(select(Box::pin(cx.interrupted()), cx.core.rt.sleep_until(deadline)));
        let over = matches!(select(waiting, over).await, Either::Right(_));
        charge = cx.core.pinned.acquire(plan.max_bytes).await;
        outcomes = plan.fetch(cx).await;
        if over {
            break;
        }
    }
    plan.answer(cx, outcomes, charge)
}

impl Plan {
    fn read(cx: &Cx, frame: &Frame) -> Result<Self, DecodeError> {
        let request: FetchRequest<'_> = frame.decode(cx.version)?;
        let topics = request.topics.iter().map(|topic| {
            let id = cx.topic_id(topic.topic, topic.topic_id, 13);
            let partitions = topic.partitions.iter().map(|asked| {
                let place = id.and_then(|id| cx.home(id, asked.partition));
                let part = place.map(|(key, home)| {
                    let max_bytes = usize::try_from(asked.partition_max_bytes).unwrap_or(0);
                    let epoch = LeaderEpoch(asked.current_leader_epoch);
                    let from = Offset(asked.fetch_offset);
                    (home.core, Part { key, epoch, from, max_bytes })
                });
                (asked.partition, part)
            });
            let partitions = partitions.collect();
            Topic { name: topic.topic.to_owned(), id: topic.topic_id, partitions }
        });
        let topics: Vec<Topic> = topics.collect();
        let parts = topics.iter().flat_map(|topic| &topic.partitions);
        let wanted = parts.flat_map(|(_, part)| part).map(|(_, part)| part.max_bytes);
        let limits = [
            wanted.fold(0, usize::saturating_add),
            usize::try_from(request.max_bytes).unwrap_or(0),
            usize::try_from(cx.core.node.config.fetch_max_bytes).unwrap_or(usize::MAX),
            cx.core.pinned_by_connection,
        ];
        Ok(Self {
            topics,
            bound: match request.isolation_level {
                1 => ReadBound::LastStable,
                _ => ReadBound::HighWatermark,
            },
            min_bytes: usize::try_from(request.min_bytes).unwrap_or(0),
            max_bytes: limits.into_iter().min().expect("not empty"),
            max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
        })
    }

    fn parts(&self) -> impl Iterator<Item = (usize, &Asked)> {
        self.topics.iter().flat_map(|topic| &topic.partitions).map(|(_, part)| part).enumerate()
    }

    /// Reads every partition, core by core, until the limit over all is reached.
    async fn fetch(&self, cx: &Cx) -> Outcomes {
        let mut outcomes: Outcomes = Vec::new();
        let mut cores: Vec<(CoreId, Vec<usize>, Vec<Part>)> = Vec::new();
        for (slot, part) in self.parts() {
            match part {
                Err(code) => outcomes.push(Err((*code, None))),
                Ok((core, part)) => {
                    // Overwritten below, for every core is asked.
                    outcomes.push(Err((ErrorCode::UNKNOWN_SERVER_ERROR, None)));
                    match cores.iter_mut().find(|(known, ..)| known == core) {
                        Some((_, slots, parts)) => {
                            slots.push(slot);
                            parts.push(*part);
                        }
                        None => cores.push((*core, vec![slot], vec![*part])),
                    }
                }
            }
        }
        let mut left = self.max_bytes;
        let mut at_least_one = true;
        for (core, slots, parts) in cores {
            let work = Work { parts, bound: self.bound, max_bytes: left, at_least_one };
            let read = cx.call(core, work).await;
            let bytes = got_bytes(read.as_deref().unwrap_or_default());
            cx.conn.traffic.note(core, bytes);
            left = left.saturating_sub(bytes);
            at_least_one &= bytes == 0;
            match read {
                Ok(read) => {
                    slots.into_iter().zip(read).for_each(|(slot, got)| outcomes[slot] = got);
                }
                Err(error) => {
                    slots.into_iter().for_each(|slot| outcomes[slot] = Err((error.code(), None)));
                }
            }
        }
        outcomes
    }

    fn is_enough(&self, outcomes: &Outcomes) -> bool {
        got_bytes(outcomes) >= self.min_bytes
            || outcomes.is_empty()
            || outcomes.iter().any(Result::is_err)
    }

    /// Resolves when any partition has more than was read.
    fn wait<'a>(&self, cx: &'a Cx, outcomes: &Outcomes) -> impl Future<Output = ()> + use<'a> {
        let mut scatter = Scatter::new();
        for ((slot, part), outcome) in self.parts().zip(outcomes) {
            if let (Ok((core, part)), Ok(got)) = (part, outcome) {
                let from = match self.bound {
                    ReadBound::LogEnd => got.offsets.log_end,
                    ReadBound::HighWatermark => got.offsets.high_watermark,
                    ReadBound::LastStable => got.offsets.last_stable,
                };
                scatter.add(*core, slot, Part { from, ..*part });
            }
        }
        let bound = self.bound;
        let waits = scatter
            .cores()
            .map(|(core, parts)| Box::pin(cx.call(core, Wait { parts: parts.to_vec(), bound })));
        select_all(waits.collect::<Vec<_>>()).map(drop)
    }

    fn answer(&self, cx: &Cx, outcomes: Outcomes, mut charge: Ticket) -> Reply {
        let mut records = Records::default();
        let mut outcomes = outcomes.into_iter();
        let responses = self.topics.iter().map(|topic| FetchableTopicResponse {
            topic: &topic.name,
            topic_id: topic.id,
            partitions: topic
                .partitions
                .iter()
                .map(|(index, _)| {
                    let outcome = outcomes.next().expect("one for each");
                    self.partition_data(*index, outcome, &mut records)
                })
                .collect(),
        });
        let response = FetchResponse {
            throttle_time_ms: cx.throttle_ms(),
            responses: responses.collect(),
            ..FetchResponse::default()
        };
        charge.resize(records.pinned_bytes());
        cx.reply_with(&response, records, Some(charge))
    }

    fn partition_data<'a>(
        &self,
        partition_index: i32,
        outcome: Result<Got, (ErrorCode, Option<Offsets>)>,
        records: &mut Records,
    ) -> PartitionData<'a> {
        let none = PartitionData { partition_index, records: None, ..PartitionData::default() };
        match outcome {
            Ok(got) => {
                let aborted = got.aborted.iter().map(|aborted| AbortedTransaction {
                    producer_id: aborted.producer_id.0,
                    first_offset: aborted.first.0,
                });
                let read_committed = self.bound == ReadBound::LastStable;
                let aborted_transactions = read_committed.then(|| aborted.collect());
                let (token, len) = records.push(got.slices);
                PartitionData {
                    high_watermark: got.offsets.high_watermark.0,
                    last_stable_offset: got.offsets.last_stable.0,
                    log_start_offset: got.offsets.log_start.0,
                    aborted_transactions,
                    records: Some(primitives::Records::Spliced { token, len }),
                    ..none
                }
            }
            Err((code, offsets)) => PartitionData {
                error_code: code.into(),
                high_watermark: offsets.map_or(-1, |offsets| offsets.high_watermark.0),
                last_stable_offset: offsets.map_or(-1, |offsets| offsets.last_stable.0),
                log_start_offset: offsets.map_or(-1, |offsets| offsets.log_start.0),
                aborted_transactions: None,
                records: Some(primitives::Records::Inline(&[])),
                ..none
            },
        }
    }
}

fn got_bytes(outcomes: &[Result<Got, (ErrorCode, Option<Offsets>)>]) -> usize {
    outcomes.iter().flatten().map(|got| got.bytes).sum()
}

/// The owner's side: reads the parts in order until the limit is reached.
pub(crate) async fn serve(core: Rc<Core>, work: Work) -> Outcome {
    let mut left = work.max_bytes;
    let mut at_least_one = work.at_least_one;
    let mut outcome = Vec::with_capacity(work.parts.len());
    for part in work.parts {
        let max_bytes = part.max_bytes.min(left);
        let got = read(&core, part, max_bytes, at_least_one, work.bound).await;
        if let Ok(got) = &got {
            left = left.saturating_sub(got.bytes);
            at_least_one &= got.bytes == 0;
        }
        outcome.push(got);
    }
    outcome
}

async fn read(
    core: &Core,
    part: Part,
    max_bytes: usize,
    at_least_one: bool,
    up_to: ReadBound,
) -> Result<Got, (ErrorCode, Option<Offsets>)> {
    let partition = core.partitions.open(part.key).map_err(|error| (error.code(), None))?;
    check_epoch(&partition, part.epoch).map_err(|code| (code, None))?;
    let spec = ReadSpec { from: part.from, max_bytes, at_least_one, up_to };
    match partition.read(spec).await {
        Ok(read) => Ok(Got {
            slices: read.slices,
            bytes: read.bytes,
            offsets: read.offsets,
            aborted: read.aborted,
        }),
        Err(error) => Err((error.code(), Some(partition.offsets()))),
    }
}

/// The owner's side of waiting: until one of the parts can be read, or has changed its state.
pub(crate) async fn wait(core: Rc<Core>, work: Wait) {
    let open = work.parts.iter().filter_map(|part| {
        let partition = core.partitions.open(part.key).ok()?;
        Some(partition.readable(part.from, work.bound))
    });
    let waits: Vec<_> = open.collect();
    if waits.len() < work.parts.len() || waits.is_empty() {
        return;
    }
    drop(select_all(waits).await);
}
