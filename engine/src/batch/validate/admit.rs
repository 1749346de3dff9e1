//! One batch from a client or a coordinator: is it sound, and in which form is it stored.

use super::append::AppendBatch;
use super::error::{
    InvalidBatch, RECORD_ERRORS_MAX, RecordErrors, RecordRefusal, RefusalReason, ValidateError,
};
use super::{ChecksumCheck, Origin, ValidateOptions};
use crate::batch::builder::{BatchBuilder, BatchOptions, NewRecord};
use crate::batch::header::{
    ATTRIBUTES, Attributes, BatchHeader, BatchView, HEADER_BYTES, LENGTH_PREFIX_BYTES,
    NO_TIMESTAMP, TimestampType, seal,
};
use crate::batch::records::{Record, Records};
use crate::batch::scratch::Scratch;
use crate::checksum::crc32c;
use crate::compress::{Codec, Codecs, Compression, DecompressError};

/// Checks `batch`, which lies at `start` of its request.
pub(super) fn admit(
    batch: &BatchView<'_>,
    start: usize,
    options: &ValidateOptions,
    scratch: &mut Scratch,
) -> Result<AppendBatch, ValidateError> {
    check_size(batch, options)?;
    let id = batch.attributes.codec_id();
    let codec = batch.attributes.codec();
    let known = codec.ok_or(ValidateError::UnsupportedCompressionType { id });
    let target = codec.and_then(|codec| recompression(batch, codec, options));
    let open = codec != Some(Codec::None)
        && (target.is_some()
            || options.compacted
            || options.open_compressed
            || claims_the_impossible(batch)
            || claims_too_many(batch, codec, options.opened_bytes_max));
    if open || target.is_some() || options.checksum == ChecksumCheck::Now {
        check_checksum(batch)?;
    }
    if options.origin == Origin::Client {
        check_shape(batch)?;
    }
    let codec = known?;
    let (payload, codecs) = if open {
        let limit = options.opened_bytes_max;
        scratch.decompress(codec, batch.payload(), limit).map_err(unopened)?
    } else {
        (batch.payload(), scratch.codecs())
    };
    let seen = if open || codec == Codec::None {
        walk(batch, payload, options)?
    } else {
        glance(batch, options)?
    };
    if codec == Codec::None
        && let Some((index, delta)) = seen.misplaced
    {
        return Err(InvalidBatch::OffsetDelta { index, delta }.into());
    }
    let (who, max_timestamp) = match options.timestamp_type {
        TimestampType::LogAppendTime => (TimestampType::LogAppendTime, options.now),
        TimestampType::CreateTime => (TimestampType::CreateTime, seen.max_timestamp),
    };
    let kept = Compression::new(codec);
    let rewritten = if seen.misplaced.is_some() {
        // Clients that number wrongly under compression are mended, as in Kafka.
        Some(renumber(batch, payload, target.unwrap_or(kept), codecs)?)
    } else {
        target.map(|target| repack(batch, payload, target, codecs))
    };
    let Some(mut bytes) = rewritten else {
        let as_is = AppendBatch::as_is(batch, start, options.checksum);
        return Ok(as_is.dated(who, max_timestamp));
    };
    if bytes.len() > options.message_bytes_max {
        let limit = options.message_bytes_max;
        return Err(ValidateError::MessageTooLarge { size: bytes.len(), limit });
    }
    seal_rewritten(&mut bytes, who, max_timestamp);
    Ok(AppendBatch::rewritten(bytes))
}

pub(super) fn check_size(
    batch: &BatchView<'_>,
    options: &ValidateOptions,
) -> Result<(), ValidateError> {
    let (size, limit) = (batch.size(), options.message_bytes_max);
    if size > limit { Err(ValidateError::MessageTooLarge { size, limit }) } else { Ok(()) }
}

pub(super) fn check_checksum(batch: &BatchView<'_>) -> Result<(), ValidateError> {
    let (stored, computed) = (batch.crc, crc32c(&batch.bytes()[ATTRIBUTES..]));
    if stored == computed {
        Ok(())
    } else {
        Err(ValidateError::CorruptChecksum { stored, computed })
    }
}

/// What a client's header must say.
fn check_shape(batch: &BatchView<'_>) -> Result<(), InvalidBatch> {
    let (base_offset, last_offset) = (batch.base_offset, batch.last_offset());
    let count = batch.records_count;
    if batch.last_offset_delta < 0 {
        return Err(InvalidBatch::OffsetRange { base_offset, last_offset });
    }
    if count <= 0 {
        return Err(InvalidBatch::Count { count });
    }
    if i64::from(batch.last_offset_delta) + 1 != i64::from(count) {
        return Err(InvalidBatch::CountOfOffsets { base_offset, last_offset, count });
    }
    if batch.attributes.is_control() {
        return Err(InvalidBatch::Control);
    }
    if batch.has_producer() && batch.base_sequence < 0 {
        let (sequence, producer_id) = (batch.base_sequence, batch.producer_id.0);
        return Err(InvalidBatch::Sequence { sequence, producer_id });
    }
    Ok(())
}

/// What to compress to, when that is not what the batch already has. Control records stay
/// uncompressed if they came so.
fn recompression(
    batch: &BatchView<'_>,
    codec: Codec,
    options: &ValidateOptions,
) -> Option<Compression> {
    let control = batch.attributes.is_control() && codec == Codec::None;
    options.compression.filter(|target| target.codec() != codec && !control)
}

/// Whether the largest timestamp is said to be below the first. Some clients leave the field out
/// under compression, relying on a broker that looks inside; the log's index by time needs the
/// truth, so this one does.
fn claims_the_impossible(batch: &BatchView<'_>) -> bool {
    batch.attributes.timestamp_type() == TimestampType::CreateTime
        && batch.max_timestamp < batch.base_timestamp
}

/// Whether a compressed batch says that it holds more records than its bytes can open to. Offsets
/// are given out by that number, so a closed batch's word is only taken within reason; of one that
/// claims more, the records are counted.
fn claims_too_many(batch: &BatchView<'_>, codec: Option<Codec>, opened_bytes_max: usize) -> bool {
    let bytes = batch.payload().len();
    let growth = match codec {
        // A match of 258 bytes takes at least two bits.
        Some(Codec::Gzip) => 1_032,
        // A copy of 64 bytes takes three.
        Some(Codec::Snappy) => 22,
        // A byte of length stands for 255.
        Some(Codec::Lz4) => 255,
        // A block of 128 KiB takes four.
        Some(Codec::Zstd) => 32_768,
        Some(Codec::None) | None => 1,
    };
    let reason = opened_bytes_max.max(bytes.saturating_mul(OPENED_GROWTH_MAX));
    let opened = bytes.saturating_mul(growth).min(reason);
    usize::try_from(batch.records_count).is_ok_and(|count| count > opened / RECORD_BYTES_MIN)
}

fn unopened(error: DecompressError) -> ValidateError {
    match error {
        DecompressError::TooLarge { .. } => ValidateError::OpensTooLarge(error),
        error @ DecompressError::Broken { .. } => InvalidBatch::Compressed(error).into(),
    }
}

/// What looking at the records (or at the header alone) showed.
struct Seen {
    /// By the producers' clocks.
    max_timestamp: i64,
    /// The first record that is not numbered by its place: (place, delta).
    misplaced: Option<(i32, i32)>,
}

/// Looks at every record.
fn walk(
    batch: &BatchView<'_>,
    payload: &[u8],
    options: &ValidateOptions,
) -> Result<Seen, ValidateError> {
    let records = Records::new(payload, batch.records_count).map_err(InvalidBatch::from)?;
    let mut seen = Seen { max_timestamp: NO_TIMESTAMP, misplaced: None };
    let mut refusals = Refusals::default();
    for (index, record) in (0..).zip(records) {
        let record = record.map_err(InvalidBatch::from)?;
        let timestamp = record.timestamp(batch);
        if options.compacted && record.key.is_none() {
            refusals.add(index, RefusalReason::NoKey);
        } else if let Some(reason) = misdated(batch, timestamp, options) {
            refusals.add(index, reason);
        }
        if record.offset_delta != index && seen.misplaced.is_none() {
            seen.misplaced = Some((index, record.offset_delta));
        }
        seen.max_timestamp = seen.max_timestamp.max(timestamp);
    }
    refusals.into_result()?;
    Ok(seen)
}

/// Looks at the header of a batch that stays closed: its two timestamps are those of records.
fn glance(batch: &BatchView<'_>, options: &ValidateOptions) -> Result<Seen, ValidateError> {
    let max_timestamp = batch.max_timestamp;
    let mut refusals = Refusals::default();
    let first = batch.timestamp_of(0);
    let latest =
        misdated(batch, first, options).or_else(|| misdated(batch, max_timestamp, options));
    if let Some(reason) = latest {
        refusals.add(0, reason);
    }
    refusals.into_result()?;
    Ok(Seen { max_timestamp, misplaced: None })
}

/// Kafka's rule, with its wrapping arithmetic: a time at the end of the range is not let in by an
/// overflow on the way.
fn misdated(
    batch: &BatchHeader,
    timestamp: i64,
    options: &ValidateOptions,
) -> Option<RefusalReason> {
    if options.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP {
        let age = options.now.wrapping_sub(timestamp);
        let outside = age > options.timestamp_before_max_ms
            || age.wrapping_neg() > options.timestamp_after_max_ms;
        return outside.then(|| RefusalReason::Timestamp {
            timestamp,
            earliest: options.now.wrapping_sub(options.timestamp_before_max_ms),
            latest: options.now.wrapping_add(options.timestamp_after_max_ms),
        });
    }
    let by_broker = batch.attributes.timestamp_type() == TimestampType::LogAppendTime;
    by_broker.then_some(RefusalReason::AppendTime)
}

#[derive(Default)]
struct Refusals {
    total: usize,
    listed: Vec<RecordRefusal>,
    misdated: bool,
}

impl Refusals {
    fn add(&mut self, index: i32, reason: RefusalReason) {
        self.total += 1;
        self.misdated |= !matches!(reason, RefusalReason::NoKey);
        if self.listed.len() < RECORD_ERRORS_MAX {
            self.listed.push(RecordRefusal { index, reason });
        }
    }

    fn into_result(self) -> Result<(), ValidateError> {
        if self.total == 0 {
            return Ok(());
        }
        let errors = RecordErrors { total: self.total, listed: self.listed };
        if self.misdated {
            Err(ValidateError::InvalidTimestamp(errors))
        } else {
            Err(InvalidBatch::Records(errors).into())
        }
    }
}

/// The same records under another codec: the payload is compressed anew, nothing inside changes.
fn repack(
    batch: &BatchView<'_>,
    payload: &[u8],
    target: Compression,
    codecs: &mut Codecs,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len() / 2);
    bytes.resize(HEADER_BYTES, 0);
    codecs.compress(target, payload, &mut bytes);
    let length = bytes.len() - LENGTH_PREFIX_BYTES;
    let header = BatchHeader {
        length: i32::try_from(length).expect("a bounded payload compresses to below 2 GiB"),
        attributes: Attributes::of_codec(target.codec())
            .with_transactional(batch.attributes.is_transactional())
            .with_control(batch.attributes.is_control()),
        ..*batch.header()
    };
    bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
    bytes
}

/// The same records, numbered by their place.
fn renumber(
    batch: &BatchView<'_>,
    payload: &[u8],
    target: Compression,
    codecs: &mut Codecs,
) -> Result<Vec<u8>, InvalidBatch> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: batch.base_offset,
        leader_epoch: batch.leader_epoch,
        compression: target,
        producer_id: batch.producer_id,
        producer_epoch: batch.producer_epoch,
        base_sequence: batch.base_sequence,
        transactional: batch.attributes.is_transactional(),
        control: batch.attributes.is_control(),
        ..BatchOptions::default()
    });
    let mut headers = Vec::new();
    for record in Records::new(payload, batch.records_count)? {
        let record: Record<'_> = record?;
        headers.clear();
        headers.extend(record.headers.map(|header| (header.key, header.value)));
        builder.push(&NewRecord {
            timestamp: record.timestamp(batch),
            key: record.key,
            value: record.value,
            headers: &headers,
        });
    }
    Ok(builder.build(codecs))
}

/// Dates and seals a batch that was written anew.
fn seal_rewritten(bytes: &mut [u8], who: TimestampType, max_timestamp: i64) {
    let header = BatchHeader::decode(bytes).expect("written just now");
    let dated = BatchHeader {
        attributes: header.attributes.with_timestamp_type(who),
        max_timestamp,
        ..header
    };
    bytes[..HEADER_BYTES].copy_from_slice(&dated.encode());
    seal(bytes);
}

/// What large batches open to at most, by their size, where nobody looks: as
/// [`OPENED_BYTES_MAX`](super::OPENED_BYTES_MAX) stands to the default `max.message.bytes`.
const OPENED_GROWTH_MAX: usize = 32;
/// A record without anything: its length, attributes, two deltas, and three lengths of nothing.
const RECORD_BYTES_MIN: usize = 7;
