//! A leader's appends.

use std::ops::ControlFlow;
use std::rc::Rc;

use config::TopicConfig;
use smallvec::SmallVec;

use super::read::ReadBound;
use super::state::LeaderSpec;
use super::turned_away::{self, Sent};
use super::unfinished::Unfinished;
use super::{Origin, Partition};
use crate::batch::control::EndTxnMarker;
use crate::batch::header::{BatchHeader, BatchView, TimestampType};
use crate::batch::validate::{
    AppendBatch, ChecksumCheck, InvalidBatch, Placement, ValidateError, ValidateOptions, Validated,
    validate,
};
use crate::buf::Slice;
use crate::compress::{Codec, Compression};
use crate::error::AppendError;
use crate::ids::{LeaderEpoch, Offset};
use crate::log::Load;
use crate::producer::{AppendPlan, AppendedBatch, PlanRules, ProducerError, Step};
use crate::waiters::FifoGuard;

/// What a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Acks {
    /// Nothing.
    None,
    /// The leader's append.
    Leader,
    /// The high watermark; refused while too few replicas are in sync.
    #[default]
    All,
}

/// How to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendOptions {
    /// What the producer waits for.
    pub acks: Acks,
    /// Who appends, which decides what is checked.
    pub origin: Origin,
    /// Only under this leader epoch, if given.
    pub expected_epoch: Option<LeaderEpoch>,
    /// The transaction coordinator confirmed the producer's transaction (KIP-890).
    pub txn_verified: bool,
    /// `transaction.version` under which a marker is written.
    pub transaction_version: i16,
}

impl Default for AppendOptions {
    /// A client's `acks=all` without a transaction.
    fn default() -> Self {
        Self {
            acks: Acks::All,
            origin: Origin::Client,
            expected_epoch: None,
            txn_verified: false,
            transaction_version: 0,
        }
    }
}

/// Where records are in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub first: Offset,
    /// Offset of the last record.
    pub last: Offset,
    /// When the broker dated the records, Unix ms; −1 where producers do.
    pub log_append_time_ms: i64,
    /// The log's first offset.
    pub log_start: Offset,
    /// The log had the batch already; this is where.
    pub duplicate: bool,
}

/// Batches that may be appended, and where they go.
struct Admitted {
    /// Of the leadership under which they may.
    epoch: LeaderEpoch,
    validated: Validated,
    /// Their headers as they will be stored.
    placed: SmallVec<[BatchHeader; 1]>,
    plan: AppendPlan,
}

impl Admitted {
    fn load(&self) -> Load {
        let last = self.placed.last().expect("validation passes at least one batch");
        Load {
            bytes: self.validated.size() as u64,
            max_timestamp_ms: self.placed.iter().map(|h| h.max_timestamp).max().unwrap_or(-1),
            last_offset: last.last_offset().0,
        }
    }
}

impl Partition {
    /// Appends what a client, a coordinator or the controller sent. Appends of one partition take
    /// effect in the order of their first poll. Done when the records are in the log's memory;
    /// [`Partition::acked`] waits for more.
    ///
    /// # Errors
    /// Nothing was appended. After `DiskFull` the partition goes on once there is room.
    pub async fn append_as_leader(
        self: &Rc<Self>,
        records: Slice,
        options: AppendOptions,
    ) -> Result<Appended, AppendError> {
        let turn = self.log.turn.lock().await;
        let appended = self.append_in_turn(&records, options).await;
        self.end_turn(turn, &records, options.origin, appended)
    }

    /// The same, at once, if there is nothing to wait for: which is so but for a new segment, a
    /// file that must grow, a full queue to the device, and somebody whose turn it is. `None` if
    /// there is; then nothing has happened.
    pub fn append_now(
        self: &Rc<Self>,
        records: &Slice,
        options: AppendOptions,
    ) -> Option<Result<Appended, AppendError>> {
        let turn = self.log.turn.try_lock()?;
        let appended = match self.admit(records, options) {
            Err(error) => Err(error),
            Ok(ControlFlow::Break(known)) => Ok(known),
            Ok(ControlFlow::Continue(admitted)) => {
                if !self.log.prepare_now(admitted.load()) {
                    return None;
                }
                Ok(self.put(records, admitted, options.origin))
            }
        };
        Some(self.end_turn(turn, records, options.origin, appended))
    }

    async fn append_in_turn(
        &self,
        records: &Slice,
        options: AppendOptions,
    ) -> Result<Appended, AppendError> {
        let admitted = match self.admit(records, options)? {
            ControlFlow::Continue(admitted) => Box::new(admitted),
            ControlFlow::Break(known) => return Ok(known),
        };
        self.log.prepare(admitted.load()).await?;
        if self.leader()?.epoch != admitted.epoch {
            return Err(AppendError::NotLeader);
        }
        Ok(self.put(records, *admitted, options.origin))
    }

    fn end_turn(
        &self,
        turn: FifoGuard<'_>,
        records: &Slice,
        origin: Origin,
        appended: Result<Appended, AppendError>,
    ) -> Result<Appended, AppendError> {
        if let Err(error) = &appended
            && origin == Origin::Client
            && turned_away::is_for_now(error)
            && let Some(sent) = BatchHeader::decode(records).ok().and_then(|head| sent(&head))
        {
            self.turned_away.borrow_mut().note(self.cx.rt.now(), sent);
        }
        drop(turn);
        self.readers[ReadBound::LogEnd as usize].wake_below(self.log.log_end());
        appended
    }

    /// Checks what came, and decides where it goes; a batch that the log has already is known.
    fn admit(
        &self,
        records: &Slice,
        options: AppendOptions,
    ) -> Result<ControlFlow<Appended, Admitted>, AppendError> {
        self.check_open()?;
        let epoch = self.leader_for(&options)?.epoch;
        let validated = self.validate(records, epoch, options.origin)?;
        let placed = self.place(&validated, epoch, options.origin)?;
        self.check_turned_away(&placed[0], options.origin)?;
        Ok(match self.plan(records, &validated, &placed, options)? {
            ControlFlow::Continue(plan) => {
                ControlFlow::Continue(Admitted { epoch, validated, placed, plan })
            }
            ControlFlow::Break(known) => ControlFlow::Break(self.answer_duplicate(&known)),
        })
    }

    /// Appends what was admitted, for which the log is prepared.
    fn put(&self, records: &Slice, admitted: Admitted, origin: Origin) -> Appended {
        let Admitted { validated, placed, plan, .. } = admitted;
        self.write(records, &validated, &placed, origin, plan);
        if !self.turned_away.borrow().is_empty() {
            self.turned_away.borrow_mut().forget(placed[0].producer_id);
        }
        self.traffic.bytes_in.add(validated.size() as u64);
        for header in &placed {
            self.traffic.records_in.add(u64::try_from(header.records_count).unwrap_or(0));
        }
        let last = placed.last().expect("validation passes at least one batch");
        let append_time = last.attributes.timestamp_type() == TimestampType::LogAppendTime;
        Appended {
            first: placed[0].base_offset,
            last: last.last_offset(),
            log_append_time_ms: if append_time { last.max_timestamp } else { -1 },
            log_start: Offset(self.log.log_start()),
            duplicate: false,
        }
    }

    fn leader_for(&self, options: &AppendOptions) -> Result<LeaderSpec, AppendError> {
        let leader = self.leader()?;
        if let Some(expected) = options.expected_epoch
            && expected != leader.epoch
        {
            return Err(AppendError::OtherEpoch { expected, current: leader.epoch });
        }
        let (isr, min) = (leader.isr_count, leader.min_isr_effective());
        if options.acks == Acks::All && isr < min {
            return Err(AppendError::NotEnoughReplicas { isr, min });
        }
        Ok(leader)
    }

    pub(super) fn validate(
        &self,
        records: &Slice,
        epoch: LeaderEpoch,
        origin: Origin,
    ) -> Result<Validated, ValidateError> {
        let config = self.log.config();
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let options = ValidateOptions {
            origin,
            now: self.cx.rt.wall_ms(),
            leader_epoch: epoch,
            message_bytes_max: size(config.max_message_bytes),
            segment_bytes: size(config.segment_bytes),
            timestamp_type: match config.message_timestamp_type {
                config::TimestampType::CreateTime => TimestampType::CreateTime,
                config::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
            },
            timestamp_before_max_ms: config.message_timestamp_before_max_ms,
            timestamp_after_max_ms: config.message_timestamp_after_max_ms,
            compression: compression(&config),
            compacted: config.cleanup_policy.compact,
            open_compressed: config.odradek_batch_validation == config::BatchValidation::Records,
            checksum: ChecksumCheck::Now,
            ..ValidateOptions::default()
        };
        validate(records, &options, &mut self.cx.scratch.borrow_mut())
    }

    /// The headers as they will be stored, but for checksums.
    pub(super) fn place(
        &self,
        validated: &Validated,
        epoch: LeaderEpoch,
        origin: Origin,
    ) -> Result<SmallVec<[BatchHeader; 1]>, AppendError> {
        let end = Offset(self.log.log_end());
        let mut next = end;
        let mut placed = SmallVec::new();
        for batch in &validated.batches {
            let header = match origin {
                Origin::Controller | Origin::Replica => batch.header_at(Placement::AsIs),
                _ => batch.header_at(Placement::At(next, epoch)),
            };
            if origin == Origin::Controller && header.base_offset != next {
                return Err(AppendError::Misplaced { found: header.base_offset, expected: next });
            }
            next = header.next_offset();
            placed.push(header);
        }
        if placed.is_empty() {
            return Err(ValidateError::from(InvalidBatch::NoBatch).into());
        }
        Ok(placed)
    }

    /// A producer that the log does not know begins with what was turned away, if something was.
    fn check_turned_away(&self, batch: &BatchHeader, origin: Origin) -> Result<(), ProducerError> {
        let away = self.turned_away.borrow();
        if away.is_empty() || origin != Origin::Client {
            return Ok(());
        }
        let first = sent(batch).and_then(|sent| away.before(self.cx.rt.now(), sent));
        let Some(first) = first else { return Ok(()) };
        if self.log.producers(|producers| producers.get(batch.producer_id).is_some()) {
            return Ok(());
        }
        Err(ProducerError::OutOfOrderSequence {
            producer_id: batch.producer_id,
            offset: batch.base_offset,
            sequence: batch.base_sequence,
            last: first - 1,
        })
    }

    fn plan(
        &self,
        records: &Slice,
        validated: &Validated,
        placed: &[BatchHeader],
        options: AppendOptions,
    ) -> Result<ControlFlow<AppendedBatch, AppendPlan>, AppendError> {
        let rules = PlanRules {
            origin: options.origin,
            verified: options.txn_verified,
            transaction_version: options.transaction_version,
        };
        let mut plan = AppendPlan::new(rules);
        for (batch, header) in validated.batches.iter().zip(placed) {
            let marker = marker(records, batch);
            let step = self.log.producers(|producers| plan.add(producers, header, marker))?;
            if let Step::Duplicate(known) = step {
                return Ok(ControlFlow::Break(known));
            }
        }
        Ok(ControlFlow::Continue(plan))
    }

    /// Appends what was validated, placed and planned.
    pub(super) fn write(
        &self,
        records: &Slice,
        validated: &Validated,
        placed: &[BatchHeader],
        origin: Origin,
        plan: AppendPlan,
    ) {
        let unfinished = Unfinished::begin(&self.log, "an append");
        let as_is = matches!(origin, Origin::Controller | Origin::Replica);
        let mut count = 0;
        for (batch, header) in validated.batches.iter().zip(placed) {
            let placement = match as_is {
                true => Placement::AsIs,
                false => Placement::At(header.base_offset, header.leader_epoch),
            };
            let pieces = batch.pieces(records, placement);
            let (head, payload) = pieces.expect("validation compared the checksums");
            self.log.append(&head, payload);
            count += u64::try_from(header.records_count).unwrap_or(0);
        }
        self.log.commit(count);
        self.log.producers_applied(plan);
        unfinished.done();
    }

    fn answer_duplicate(&self, known: &AppendedBatch) -> Appended {
        let dated =
            self.log.config().message_timestamp_type == config::TimestampType::LogAppendTime;
        Appended {
            first: known.first,
            last: known.last,
            log_append_time_ms: if dated { known.timestamp } else { -1 },
            log_start: Offset(self.log.log_start()),
            duplicate: true,
        }
    }
}

fn sent(batch: &BatchHeader) -> Option<Sent> {
    let BatchHeader { producer_id: id, producer_epoch: epoch, base_sequence: sequence, .. } =
        *batch;
    batch.has_producer().then_some(Sent { id, epoch, sequence })
}

/// What `compression.type` asks batches to be stored as; `None` for "as they came".
fn compression(config: &TopicConfig) -> Option<Compression> {
    let (codec, level) = match config.compression_type {
        config::CompressionType::Producer => return None,
        config::CompressionType::Uncompressed => (Codec::None, None),
        config::CompressionType::Gzip => (Codec::Gzip, Some(config.compression_gzip_level)),
        config::CompressionType::Snappy => (Codec::Snappy, None),
        config::CompressionType::Lz4 => (Codec::Lz4, Some(config.compression_lz4_level)),
        config::CompressionType::Zstd => (Codec::Zstd, Some(config.compression_zstd_level)),
    };
    let leveled = level.and_then(|level| Compression::with_level(codec, level).ok());
    Some(leveled.unwrap_or_else(|| Compression::new(codec)))
}

/// What a control batch of a producer says.
fn marker(records: &Slice, batch: &AppendBatch) -> Option<EndTxnMarker> {
    let header = batch.header();
    if !header.attributes.is_control() || !header.has_producer() {
        return None;
    }
    let view = BatchView::decode(&records[batch.source_range()?]).ok()?;
    EndTxnMarker::of_batch(&view).ok().flatten()
}
