//! Produce (0), v3–13: record batches go to the cores that own their partitions.
//!
//! ```text
//! connection core                                owner core
//! names → ids → owners, one call per core  ──▶  appends of all partitions, first poll in order
//! gather, encode, answer                   ◀──  acks=all: when the high watermark has passed
//! ```
//!
//! v7 zstd: a batch in it is refused before.
//!
//! Transactional produce is refused until transactions exist.

use std::rc::Rc;
use std::time::Duration;

use engine::batch::validate::{Origin, RecordError};
use engine::buf::Slice;
use engine::error::AppendError;
use engine::partition::{Acks, AppendOptions, Appended, Partition};
use futures_util::FutureExt;
use futures_util::future::{Either, join_all, select};
use replication::controller::names::is_internal;
use replication::cores::PartitionKey;
use wire::error_code::ErrorCode;
use wire::msg::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData, TopicProduceResponse,
};
use wire::primitives::Records;

use super::Cx;
use super::errors::{Coded, Failure, check_codec};
use super::scatter::{Parts, Scatter};
use crate::conn::read::Frame;
use crate::conn::reply::{Refusal, Reply};
use crate::core::Core;

/// The partitions of one core in one request.
pub(crate) struct Work {
    acks: Acks,
    timeout: Duration,
    parts: Parts<Part>,
}

/// One partition's batches.
struct Part {
    key: PartitionKey,
    records: Slice,
}

/// What became of the parts, in their order.
pub(crate) type Outcome = Parts<Result<Appended, Refused>>;

/// Why nothing was appended, or not acknowledged.
#[derive(Debug)]
pub(crate) struct Refused {
    failure: Failure,
    records: Vec<RecordError>,
}

/// A partition of the request, and what became of it.
struct Slot<'a> {
    index: i32,
    topic: &'a str,
    outcome: Option<Result<Appended, Refused>>,
}

pub(super) async fn handle(cx: &Cx, frame: Frame) -> Reply {
    let request: ProduceRequest<'_> = match cx.decode(&frame).await {
        Ok(request) => request,
        Err(refusal) => return Reply::Close(refusal),
    };
    let acks = match (request.acks, request.transactional_id) {
        (_, Some(_)) => Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        (0, None) => Ok(Acks::None),
        (1, None) => Ok(Acks::Leader),
        (-1, None) => Ok(Acks::All),
        _ => Err(ErrorCode::INVALID_REQUIRED_ACKS),
    };
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let mut plan = Plan { cx, frame: &frame, slots: Parts::new(), scatter: Scatter::new() };
    for topic in &request.topic_data {
        plan.add(&topic, acks.err());
    }
    let Plan { mut slots, scatter, .. } = plan;
    for (core, parts) in scatter.cores() {
        cx.conn.traffic.note(core, parts.iter().map(|part| part.records.len()).sum());
    }
    let acks = acks.unwrap_or(Acks::None);
    for (slot, outcome) in scatter.ask(cx, |parts| Work { acks, timeout, parts }).await {
        let outcome = outcome.unwrap_or_else(|error| Err(Failure::told(&error).into()));
        slots[slot].outcome = Some(outcome);
    }
    answer(cx, &request, &slots)
}

/// Sorts the partitions of a request by owner.
struct Plan<'a> {
    cx: &'a Cx,
    frame: &'a Frame,
    slots: Parts<Slot<'a>>,
    scatter: Scatter<Part>,
}

impl<'a> Plan<'a> {
    fn add(&mut self, topic: &TopicProduceData<'a>, refused: Option<ErrorCode>) {
        let id = match refused {
            Some(code) => Err(code),
            None => self.cx.topic_id(topic.name, topic.topic_id, 13),
        };
        for data in &topic.partition_data {
            let index = data.index;
            let bytes = match data.records {
                Some(Records::Inline(bytes)) => bytes,
                _ => &[],
            };
            let home = id.and_then(|topic| self.cx.home(topic, index));
            let home = home.and_then(|home| check_codec(bytes, self.cx.version).map(|()| home));
            let slot = self.slots.len();
            let outcome = match home {
                Err(code) => Some(Err(Failure::bare(code).into())),
                Ok((key, home)) => {
                    let records = match bytes {
                        [] => Slice::empty(),
                        bytes => self.frame.bytes.subslice_of(bytes),
                    };
                    self.scatter.add(home.core, slot, Part { key, records });
                    None
                }
            };
            self.slots.push(Slot { index, topic: topic.name, outcome });
        }
    }
}

fn answer(cx: &Cx, request: &ProduceRequest<'_>, slots: &[Slot<'_>]) -> Reply {
    if request.acks == 0 {
        let failed = slots.iter().find_map(|slot| match &slot.outcome {
            Some(Err(refused)) => Some((slot, refused)),
            _ => None,
        });
        return match failed {
            None => Reply::Silent,
            Some((slot, refused)) => {
                let Failure { code, message } = &refused.failure;
                let message = message.as_deref().unwrap_or(code.message());
                let told = format!("{}-{}: {code}: {message}", slot.topic, slot.index);
                Reply::Close(Refusal::Unacknowledged(told))
            }
        };
    }
    let responses: Parts<_> = slots.iter().map(partition_response).collect();
    let mut rest = responses.as_slice();
    let topics = request.topic_data.iter().map(|topic| {
        let (own, later) = rest.split_at(topic.partition_data.len());
        rest = later;
        let TopicProduceData { name, topic_id, .. } = topic;
        TopicProduceResponse { name, topic_id, partition_responses: own.into() }
    });
    let topics: Parts<_> = topics.collect();
    cx.reply(&ProduceResponse {
        responses: topics.as_slice().into(),
        throttle_time_ms: cx.throttle_ms(),
        ..ProduceResponse::default()
    })
}

fn partition_response<'a>(slot: &'a Slot<'_>) -> PartitionProduceResponse<'a> {
    let index = slot.index;
    match slot.outcome.as_ref().expect("every slot was answered") {
        Ok(appended) => PartitionProduceResponse {
            index,
            base_offset: appended.first.0,
            log_append_time_ms: appended.log_append_time_ms,
            log_start_offset: appended.log_start.0,
            error_message: None,
            ..PartitionProduceResponse::default()
        },
        Err(refused) => PartitionProduceResponse {
            index,
            error_code: refused.failure.code.into(),
            base_offset: -1,
            record_errors: refused
                .records
                .iter()
                .map(|record| BatchIndexAndErrorMessage {
                    batch_index: record.index,
                    batch_index_error_message: Some(&record.message),
                })
                .collect(),
            error_message: refused.failure.message.as_deref(),
            ..PartitionProduceResponse::default()
        },
    }
}

/// The owner's side: appends every part, and for acks=all waits until consumers may see it.
pub(crate) async fn serve(core: Rc<Core>, work: Work) -> Outcome {
    let Work { acks, timeout, mut parts } = work;
    let mut appends: Parts<_> =
        parts.iter().map_while(|part| append_now(&core, part, acks)).collect();
    if appends.len() < parts.len() {
        // Those behind the one that has to wait are begun after it, each in its turn.
        let rest = parts.drain(appends.len()..).map(|part| append(&core, part, acks));
        appends.extend(join_all(rest).await);
    }
    if acks != Acks::All {
        return appends.into_iter().map(|append| append.map(|(appended, _)| appended)).collect();
    }
    let mut timer = core.deadlines.at(core.rt.now() + timeout);
    let mut late = false;
    let mut outcomes = Parts::with_capacity(appends.len());
    for append in appends {
        let (appended, partition) = match append {
            Ok(append) => append,
            Err(refused) => {
                outcomes.push(Err(refused));
                continue;
            }
        };
        let acked = partition.acked(appended.last);
        let acked = if late {
            acked.now_or_never()
        } else {
            match select(acked, &mut timer).await {
                Either::Left((acked, _)) => Some(acked),
                Either::Right(_) => None,
            }
        };
        late |= acked.is_none();
        outcomes.push(match acked {
            Some(Ok(())) => Ok(appended),
            Some(Err(error)) => Err(Failure::told(&error).into()),
            None => Err(Failure::bare(ErrorCode::REQUEST_TIMED_OUT).into()),
        });
    }
    outcomes
}

/// What was appended, and where.
type Begun = Result<(Appended, Rc<Partition>), Refused>;

/// Appends without waiting; `None` where that is not possible.
fn append_now(core: &Core, part: &Part, acks: Acks) -> Option<Begun> {
    let partition = match partition(core, part.key) {
        Ok(partition) => partition,
        Err(refused) => return Some(Err(refused)),
    };
    let appended = partition.append_now(&part.records, options(acks))?;
    Some(begun(core, partition, appended))
}

async fn append(core: &Core, part: Part, acks: Acks) -> Begun {
    let partition = partition(core, part.key)?;
    let appended = partition.append_as_leader(part.records, options(acks)).await;
    begun(core, partition, appended)
}

fn partition(core: &Core, key: PartitionKey) -> Result<Rc<Partition>, Refused> {
    let partition = core.partitions.open(key).map_err(|error| Failure::told(&error))?;
    // What the broker keeps for itself must be what it wrote.
    if is_internal(partition.topic()) {
        return Err(Failure::bare(ErrorCode::INVALID_TOPIC_EXCEPTION).into());
    }
    Ok(partition)
}

fn options(acks: Acks) -> AppendOptions {
    AppendOptions { acks, origin: Origin::Client, ..AppendOptions::default() }
}

fn begun(core: &Core, partition: Rc<Partition>, appended: Result<Appended, AppendError>) -> Begun {
    match appended {
        Ok(appended) => Ok((appended, partition)),
        Err(error) => Err(refused(core, &partition, &error)),
    }
}

fn refused(core: &Core, partition: &Partition, error: &AppendError) -> Refused {
    let records = match error {
        AppendError::Batch(error) => {
            error.record_errors(partition.topic(), partition.partition().0)
        }
        _ => Vec::new(),
    };
    if let AppendError::Log(error) = error
        && let Some(unsaid) = core.quiet.storage.pass(core.rt.now())
    {
        tracing::error!(unsaid, "append refused: {error}");
    }
    let failure = match error {
        AppendError::NotLeader => Failure::bare(error.code()),
        _ => Failure::told(error),
    };
    Refused { failure, records }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { failure, records: Vec::new() }
    }
}
