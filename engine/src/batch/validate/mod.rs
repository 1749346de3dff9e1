//! What a partition may append: a pure function from bytes and rules to batches or a refusal.
//!
//! ```text
//! bytes ─► frame (lengths, magic) ─► size, checksum, shape ─► records ─► as they are
//!                                                                    └─► re-sealed, recompressed
//! ```
//!
//! Records are stored as the producer sent them. Uncompressed records are walked. A compressed
//! batch is opened only for a compacted topic (every record needs a key), to be recompressed, when
//! [`ValidateOptions::open_compressed`] asks for it, or when its header can't be true (times the
//! wrong way round, more records than the bytes can hold); otherwise the header's times are
//! checked. Kafka opens every compressed batch: a documented difference.
//!
//! A batch that goes into the log as it came costs no allocation. One that is opened uses the
//! core's [`Scratch`](super::Scratch), whose size [`ValidateOptions::opened_bytes_max`] bounds.

mod admit;
mod append;
mod error;
#[cfg(test)]
mod tests;

use smallvec::SmallVec;

pub use append::{AppendBatch, Placement};
pub use error::{
    InvalidBatch, RECORD_ERRORS_MAX, RecordError, RecordErrors, RecordRefusal, RefusalReason,
    ValidateError,
};

use super::header::{BatchError, BatchView, Batches, TimestampType};
use super::scratch::Scratch;
use crate::compress::Compression;
use crate::ids::{LeaderEpoch, Offset};

/// Who appends; decides how much is taken on trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A Produce request: nothing is trusted, exactly one batch.
    Client,
    /// A group or transaction coordinator on this broker: may write control batches and needs no
    /// sequence.
    Coordinator,
    /// The metadata quorum's leader on this node: offsets and epoch are already in the batches.
    Controller,
    /// A follower's fetch: the leader has validated and placed the batches.
    Replica,
}

/// The rules of one partition at one moment.
#[derive(Clone, Copy, Debug)]
pub struct ValidateOptions {
    /// Who appends.
    pub origin: Origin,
    /// Unix ms.
    pub now: i64,
    /// The partition's epoch. A controller's batches must carry it; of a follower's fetch,
    /// batches of a later epoch and everything behind them are left out (KAFKA-18723).
    pub leader_epoch: LeaderEpoch,
    /// `max.message.bytes`: largest batch from a producer, before and after recompression.
    pub message_bytes_max: usize,
    /// `segment.bytes`: nothing larger fits any file.
    pub segment_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `compression.type` with its level; `None` stands for `producer`.
    pub compression: Option<Compression>,
    /// Whether `cleanup.policy` holds `compact`: every record needs a key.
    pub compacted: bool,
    /// `odradek.batch.validation=records`: also walk what is compressed.
    pub open_compressed: bool,
    /// What a compressed batch may open to.
    pub opened_bytes_max: usize,
    /// When the checksum of a batch that stays as it is gets compared.
    pub checksum: ChecksumCheck,
}

impl Default for ValidateOptions {
    /// A client's append to a topic with Kafka's defaults, at time 0.
    fn default() -> Self {
        Self {
            origin: Origin::Client,
            now: 0,
            leader_epoch: LeaderEpoch::NONE,
            message_bytes_max: 1_048_588,
            segment_bytes: 1 << 30,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compression: None,
            compacted: false,
            open_compressed: false,
            opened_bytes_max: OPENED_BYTES_MAX,
            checksum: ChecksumCheck::Now,
        }
    }
}

/// When a checksum is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumCheck {
    /// Before [`validate`] answers.
    Now,
    /// By [`AppendBatch::copy_to`], in the same pass that copies; a batch that is opened is
    /// checked first all the same, and a refusal for anything else is only given when the
    /// checksum holds.
    OnCopy,
}

/// What may be appended. Offsets are relative to the log's end until a batch is placed.
#[derive(Debug, Default)]
pub struct Validated {
    /// In order. Exactly one from a client; none is possible from a replica.
    pub batches: SmallVec<[AppendBatch; 1]>,
}

impl Validated {
    /// Bytes to append.
    #[must_use]
    pub fn size(&self) -> usize {
        self.batches.iter().map(AppendBatch::size).sum()
    }

    /// Offsets that the batches take up.
    #[must_use]
    pub fn offset_count(&self) -> i64 {
        self.batches.iter().map(|batch| i64::from(batch.header().last_offset_delta) + 1).sum()
    }
}

/// Decides what of `bytes` may be appended.
///
/// # Errors
/// The first reason to refuse, in the order in which Kafka finds them. Nothing of `bytes` may be
/// appended then.
pub fn validate(
    bytes: &[u8],
    options: &ValidateOptions,
    scratch: &mut Scratch,
) -> Result<Validated, ValidateError> {
    let validated = match options.origin {
        Origin::Client => client(bytes, options, scratch),
        Origin::Coordinator => coordinator(bytes, options, scratch),
        Origin::Controller | Origin::Replica => placed(bytes, options),
    };
    scratch.trim();
    let validated = validated?;
    let size = validated.size();
    if options.origin != Origin::Replica && size > options.segment_bytes {
        return Err(ValidateError::RecordListTooLarge { size, limit: options.segment_bytes });
    }
    Ok(validated)
}

fn client(
    bytes: &[u8],
    options: &ValidateOptions,
    scratch: &mut Scratch,
) -> Result<Validated, ValidateError> {
    let mut batches = Batches::new(bytes);
    let batch = match batches.next() {
        None => return Err(InvalidBatch::NoBatch.into()),
        Some(Err(BatchError::Magic { magic: magic @ 0..=1 })) => {
            return Err(InvalidBatch::OldMagic { magic }.into());
        }
        Some(batch) => batch?,
    };
    let rest = &bytes[batches.position()..];
    if !rest.is_empty() {
        // Kafka drops an unfinished batch at the end; acknowledging half of a request is no help.
        BatchView::decode(rest)?;
        return Err(InvalidBatch::SeveralBatches.into());
    }
    if batch.base_offset != Offset::ZERO {
        return Err(unless_corrupt(
            &batch,
            InvalidBatch::BaseOffset { base_offset: batch.base_offset }.into(),
        ));
    }
    let admitted = admit::admit(&batch, 0, options, scratch);
    let admitted = admitted.map_err(|error| unless_corrupt(&batch, error))?;
    Ok(Validated { batches: SmallVec::from_iter([admitted]) })
}

fn coordinator(
    bytes: &[u8],
    options: &ValidateOptions,
    scratch: &mut Scratch,
) -> Result<Validated, ValidateError> {
    let mut validated = Validated::default();
    let mut batches = Batches::new(bytes);
    loop {
        let start = batches.position();
        let Some(batch) = batches.next() else { break };
        validated.batches.push(admit::admit(&batch?, start, options, scratch)?);
    }
    if validated.batches.is_empty() {
        return Err(InvalidBatch::NoBatch.into());
    }
    Ok(validated)
}

/// Batches whose offsets and epochs are given: only lengths, checksums and order are looked at.
fn placed(bytes: &[u8], options: &ValidateOptions) -> Result<Validated, ValidateError> {
    let replica = options.origin == Origin::Replica;
    let mut validated = Validated::default();
    let mut last: Option<Offset> = None;
    let mut batches = Batches::new(bytes);
    loop {
        let start = batches.position();
        let batch = match batches.next() {
            None => break,
            // A leader may cut its answer anywhere.
            Some(Err(BatchError::Truncated { .. })) if replica => break,
            Some(batch) => batch?,
        };
        if replica && batch.leader_epoch > options.leader_epoch {
            break;
        }
        if !replica && batch.leader_epoch != options.leader_epoch {
            let (found, expected) = (batch.leader_epoch, options.leader_epoch);
            return Err(InvalidBatch::LeaderEpoch { found, expected }.into());
        }
        if !replica {
            admit::check_size(&batch, options)?;
        }
        if options.checksum == ChecksumCheck::Now {
            admit::check_checksum(&batch)?;
        }
        let (first, next) = (batch.base_offset, batch.last_offset());
        if next < first || last.is_some_and(|last| first <= last) {
            return Err(unless_corrupt(&batch, InvalidBatch::OffsetOrder { last, first }.into()));
        }
        last = Some(next);
        validated.batches.push(AppendBatch::as_is(&batch, start, options.checksum));
    }
    if validated.batches.is_empty() && !replica {
        return Err(InvalidBatch::NoBatch.into());
    }
    Ok(validated)
}

/// A damaged batch is reported as that, whatever its damage made it look like: a client sends it
/// again then.
fn unless_corrupt(batch: &BatchView<'_>, error: ValidateError) -> ValidateError {
    let too_large = matches!(error, ValidateError::MessageTooLarge { .. });
    if too_large { error } else { admit::check_checksum(batch).err().unwrap_or(error) }
}

/// What a compressed batch may open to unless the options say otherwise: 32 times the default
/// `max.message.bytes`, which covers text that compresses very well.
pub const OPENED_BYTES_MAX: usize = 32 << 20;
