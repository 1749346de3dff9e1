//! The 61 bytes in front of a batch's records.
//!
//! ```text
//!  0 baseOffset i64            broker     │ outside the checksum
//!  8 batchLength i32           producer   │  (bytes after this field)
//! 12 partitionLeaderEpoch i32  broker     │
//! 16 magic i8 = 2              producer   │
//! 17 crc u32                   CRC-32C of everything from 21 on
//! 21 attributes i16            codec 0–2, append time 3, transactional 4, control 5, horizon 6
//! 23 lastOffsetDelta i32
//! 27 baseTimestamp i64         ms
//! 35 maxTimestamp i64          ms
//! 43 producerId i64 · 51 producerEpoch i16 · 53 baseSequence i32
//! 57 recordsCount i32
//! 61 records, or one compressed blob of them
//! ```
//!
//! Reading checks lengths and the magic, nothing else: whoever takes a batch from outside also
//! asks [`BatchView::checksum_holds`].

use std::ops::Deref;

use crate::checksum::{Behind, crc32c};
use crate::compress::Codec;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 61;

/// Bytes of base offset and length: what the length field doesn't count.
pub const LENGTH_PREFIX_BYTES: usize = 12;

/// The format that is stored; 0 and 1 died with Kafka 4.0.
pub const MAGIC: i8 = 2;

/// "No timestamp", as the format writes it.
pub const NO_TIMESTAMP: i64 = -1;

/// "No sequence", as the format writes it.
pub const NO_SEQUENCE: i32 = -1;

/// Who dated the records of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer; each record has its own.
    #[default]
    CreateTime,
    /// The broker on append; all records have the batch's maximum.
    LogAppendTime,
}

/// The attribute bits of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    /// The attributes of a data batch with this codec and CreateTime.
    #[must_use]
    pub fn of_codec(codec: Codec) -> Self {
        Self(i16::from(codec.id()))
    }

    /// The id in the codec bits, known or not.
    #[must_use]
    pub fn codec_id(self) -> u8 {
        (self.0 & CODEC_MASK) as u8
    }

    /// The codec, unless the id is one that nobody defined.
    #[must_use]
    pub fn codec(self) -> Option<Codec> {
        Codec::from_id(self.codec_id())
    }

    /// Who dated the records.
    #[must_use]
    pub fn timestamp_type(self) -> TimestampType {
        if self.has(APPEND_TIME) { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    /// Whether the records belong to a transaction.
    #[must_use]
    pub fn is_transactional(self) -> bool {
        self.has(TRANSACTIONAL)
    }

    /// Whether brokers, not users, read the records.
    #[must_use]
    pub fn is_control(self) -> bool {
        self.has(CONTROL)
    }

    /// Whether the base timestamp is a delete horizon (KIP-534), which the cleaner set.
    #[must_use]
    pub fn has_delete_horizon(self) -> bool {
        self.has(DELETE_HORIZON)
    }

    /// The same with another codec.
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Self {
        Self((self.0 & !CODEC_MASK) | i16::from(codec.id()))
    }

    /// The same, dated by `who`.
    #[must_use]
    pub fn with_timestamp_type(self, who: TimestampType) -> Self {
        self.with(APPEND_TIME, who == TimestampType::LogAppendTime)
    }

    /// The same with the transactional bit set or cleared.
    #[must_use]
    pub fn with_transactional(self, on: bool) -> Self {
        self.with(TRANSACTIONAL, on)
    }

    /// The same with the control bit set or cleared.
    #[must_use]
    pub fn with_control(self, on: bool) -> Self {
        self.with(CONTROL, on)
    }

    /// The same with the horizon bit set or cleared.
    #[must_use]
    pub fn with_delete_horizon(self, on: bool) -> Self {
        self.with(DELETE_HORIZON, on)
    }

    fn has(self, bit: i16) -> bool {
        self.0 & bit != 0
    }

    fn with(self, bit: i16, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// The header's fields, decoded. Their order is the format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record the batch ever had.
    pub base_offset: Offset,
    /// Bytes after this field; at least 49 once read.
    pub length: i32,
    /// Leader epoch in which the batch was appended.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C of attributes, everything after them, and the records.
    pub crc: u32,
    /// Codec, timestamp type, transactional, control.
    pub attributes: Attributes,
    /// Offset of the last record the batch ever had, from the base offset on; compaction keeps it.
    pub last_offset_delta: i32,
    /// Unix ms that the records' deltas start from; or the delete horizon.
    pub base_timestamp: i64,
    /// Unix ms: the largest of the records, or when the broker appended them.
    pub max_timestamp: i64,
    /// −1 for none.
    pub producer_id: ProducerId,
    /// −1 for none.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record; −1 for none.
    pub base_sequence: i32,
    /// Records that follow now.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads a header from the start of `bytes`, which may hold less than the whole batch.
    ///
    /// # Errors
    /// When fewer than 61 bytes are there, the length is impossible, or the magic is not 2.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let have = bytes.len();
        if let Some(length) = bytes.first_chunk::<LENGTH_PREFIX_BYTES>() {
            let length = i32::from_be_bytes(at(length, LENGTH));
            if length < LENGTH_MIN {
                return Err(BatchError::Length { length });
            }
        }
        if let Some(magic) = bytes.get(MAGIC_AT).filter(|magic| **magic != MAGIC as u8) {
            return Err(BatchError::Magic { magic: *magic as i8 });
        }
        let header = bytes.first_chunk::<HEADER_BYTES>();
        let header = header.ok_or(BatchError::Truncated { have, need: HEADER_BYTES })?;
        Ok(Self {
            base_offset: Offset(i64::from_be_bytes(at(header, BASE_OFFSET))),
            length: i32::from_be_bytes(at(header, LENGTH)),
            leader_epoch: LeaderEpoch(i32::from_be_bytes(at(header, LEADER_EPOCH))),
            crc: u32::from_be_bytes(at(header, CRC)),
            attributes: Attributes(i16::from_be_bytes(at(header, ATTRIBUTES))),
            last_offset_delta: i32::from_be_bytes(at(header, LAST_OFFSET_DELTA)),
            base_timestamp: i64::from_be_bytes(at(header, BASE_TIMESTAMP)),
            max_timestamp: i64::from_be_bytes(at(header, MAX_TIMESTAMP)),
            producer_id: ProducerId(i64::from_be_bytes(at(header, PRODUCER_ID))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(at(header, PRODUCER_EPOCH))),
            base_sequence: i32::from_be_bytes(at(header, BASE_SEQUENCE)),
            records_count: i32::from_be_bytes(at(header, RECORDS_COUNT)),
        })
    }

    /// The 61 bytes of this header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        put(&mut bytes, BASE_OFFSET, self.base_offset.0.to_be_bytes());
        put(&mut bytes, LENGTH, self.length.to_be_bytes());
        put(&mut bytes, LEADER_EPOCH, self.leader_epoch.0.to_be_bytes());
        put(&mut bytes, MAGIC_AT, MAGIC.to_be_bytes());
        put(&mut bytes, CRC, self.crc.to_be_bytes());
        put(&mut bytes, ATTRIBUTES, self.attributes.0.to_be_bytes());
        put(&mut bytes, LAST_OFFSET_DELTA, self.last_offset_delta.to_be_bytes());
        put(&mut bytes, BASE_TIMESTAMP, self.base_timestamp.to_be_bytes());
        put(&mut bytes, MAX_TIMESTAMP, self.max_timestamp.to_be_bytes());
        put(&mut bytes, PRODUCER_ID, self.producer_id.0.to_be_bytes());
        put(&mut bytes, PRODUCER_EPOCH, self.producer_epoch.0.to_be_bytes());
        put(&mut bytes, BASE_SEQUENCE, self.base_sequence.to_be_bytes());
        put(&mut bytes, RECORDS_COUNT, self.records_count.to_be_bytes());
        bytes
    }

    /// Bytes of the whole batch, header included.
    #[must_use]
    pub fn size(&self) -> usize {
        LENGTH_PREFIX_BYTES + usize::try_from(self.length).expect("decode checked the length")
    }

    /// Offset of the last record. Saturates on a forged delta or base.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// Whether a producer numbered the batch.
    #[must_use]
    pub fn has_producer(&self) -> bool {
        self.producer_id > ProducerId::NONE
    }

    /// Sequence of the last record; −1 when the batch has none.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            NO_SEQUENCE
        } else {
            sequence_after(self.base_sequence, self.last_offset_delta)
        }
    }

    /// The time of a record with this delta, by who dated the batch.
    #[must_use]
    pub fn timestamp_of(&self, timestamp_delta: i64) -> i64 {
        match self.attributes.timestamp_type() {
            TimestampType::CreateTime => self.base_timestamp.wrapping_add(timestamp_delta),
            TimestampType::LogAppendTime => self.max_timestamp,
        }
    }
}

/// The sequence `delta` (≥ 0) further on. After `i32::MAX` comes 0.
#[must_use]
pub fn sequence_after(sequence: i32, delta: i32) -> i32 {
    sequence.wrapping_add(delta) & i32::MAX
}

/// The sequence `delta` (≥ 0) before. Before 0 comes `i32::MAX`.
#[must_use]
pub fn sequence_before(sequence: i32, delta: i32) -> i32 {
    sequence.wrapping_sub(delta) & i32::MAX
}

/// One whole batch inside a buffer: its decoded header (which this derefs to) and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchView<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// The batch at the start of `bytes`; more may follow.
    ///
    /// # Errors
    /// As [`BatchHeader::decode`], and [`BatchError::Truncated`] when the records are cut.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::decode(bytes)?;
        let need = header.size();
        let truncated = BatchError::Truncated { have: bytes.len(), need };
        Ok(Self { header, bytes: bytes.get(..need).ok_or(truncated)? })
    }

    /// The decoded header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header: the records, compressed or not.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// Whether the stored CRC-32C is that of the bytes. Reads the whole batch.
    #[must_use]
    pub fn checksum_holds(&self) -> bool {
        self.header.crc == crc32c(&self.bytes[ATTRIBUTES..])
    }
}

impl Deref for BatchView<'_> {
    type Target = BatchHeader;

    fn deref(&self) -> &BatchHeader {
        &self.header
    }
}

/// The batches that lie one after the other in a buffer.
///
/// Ends at the end of the buffer, at a header of zeros (the untouched part of a file), or after
/// one error. [`Batches::position`] is the byte after the last whole batch.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    done: bool,
}

impl<'a> Batches<'a> {
    /// Over the batches of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, done: false }
    }

    /// Bytes of the batches yielded so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.position..];
        if self.done || is_zero_header(rest) {
            self.done = true;
            return None;
        }
        let batch = BatchView::decode(rest);
        match &batch {
            Ok(batch) => self.position += batch.bytes().len(),
            Err(_) => self.done = true,
        }
        Some(batch)
    }
}

/// Whether nothing was ever written here: as many header bytes as there are (maybe none) are 0.
#[must_use]
pub fn is_zero_header(bytes: &[u8]) -> bool {
    bytes.iter().take(HEADER_BYTES).all(|byte| *byte == 0)
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes end inside the batch.
    #[error("batch of {need} bytes is cut after {have}")]
    Truncated {
        /// Bytes that are there.
        have: usize,
        /// Bytes that the header, or the batch, takes.
        need: usize,
    },
    /// No batch is that short.
    #[error("batch length {length} is below the header's {LENGTH_MIN}")]
    Length {
        /// The length field.
        length: i32,
    },
    /// Not format v2.
    #[error("batch has magic {magic}, not {MAGIC}")]
    Magic {
        /// The magic byte.
        magic: i8,
    },
}

/// Sets the base offset of the batch at the start of `batch`; the checksum doesn't cover it.
///
/// # Panics
/// When `batch` is shorter than a header.
pub fn patch_base_offset(batch: &mut [u8], base: Offset) {
    put(header_mut(batch), BASE_OFFSET, base.0.to_be_bytes());
}

/// Sets the leader epoch of the batch at the start of `batch`; the checksum doesn't cover it.
///
/// # Panics
/// When `batch` is shorter than a header.
pub fn patch_leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) {
    put(header_mut(batch), LEADER_EPOCH, epoch.0.to_be_bytes());
}

/// Sets timestamp type and maximum timestamp of the whole batch in `batch`, and its checksum.
///
/// # Panics
/// When `batch` is shorter than a header.
pub fn patch_timestamps(batch: &mut [u8], who: TimestampType, max_timestamp: i64) {
    let payload = &batch[HEADER_BYTES..];
    let sum = PayloadSum::new(crc32c(payload), payload.len());
    stamp(header_mut(batch), who, max_timestamp, sum);
}

/// Sets the checksum of the whole batch in `batch` to that of its bytes.
///
/// # Panics
/// When `batch` is shorter than a header.
pub fn seal(batch: &mut [u8]) {
    let crc = crc32c(&batch[ATTRIBUTES..]);
    put(header_mut(batch), CRC, crc.to_be_bytes());
}

/// All that a header needs to know of its payload to be sealed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PayloadSum {
    /// CRC-32C of the payload alone.
    crc: u32,
    behind: Behind,
}

impl PayloadSum {
    pub(crate) fn new(crc: u32, len: usize) -> Self {
        Self { crc, behind: Behind::of(len) }
    }

    /// The checksum of the batch that consists of `header` and this payload.
    pub(crate) fn behind(&self, header: &[u8; HEADER_BYTES]) -> u32 {
        self.behind.combine(crc32c(&header[ATTRIBUTES..]), self.crc)
    }
}

/// [`patch_timestamps`] on a header alone.
pub(crate) fn stamp(
    header: &mut [u8; HEADER_BYTES],
    who: TimestampType,
    max_timestamp: i64,
    payload: PayloadSum,
) {
    let attributes = Attributes(i16::from_be_bytes(at(header, ATTRIBUTES)));
    put(header, ATTRIBUTES, attributes.with_timestamp_type(who).0.to_be_bytes());
    put(header, MAX_TIMESTAMP, max_timestamp.to_be_bytes());
    let crc = payload.behind(header);
    put(header, CRC, crc.to_be_bytes());
}

fn header_mut(batch: &mut [u8]) -> &mut [u8; HEADER_BYTES] {
    batch.first_chunk_mut().expect("callers pass a batch, which starts with a header")
}

/// The `N` bytes from `from` on; both are constants below, inside `BYTES`.
fn at<const N: usize, const BYTES: usize>(bytes: &[u8; BYTES], from: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[from..from + N]);
    field
}

fn put<const N: usize>(bytes: &mut [u8; HEADER_BYTES], from: usize, field: [u8; N]) {
    bytes[from..from + N].copy_from_slice(&field);
}

const BASE_OFFSET: usize = 0;
const LENGTH: usize = 8;
const LEADER_EPOCH: usize = 12;
const MAGIC_AT: usize = 16;
const CRC: usize = 17;
/// Where the checksum's coverage starts.
pub(crate) const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const BASE_TIMESTAMP: usize = 27;
const MAX_TIMESTAMP: usize = 35;
const PRODUCER_ID: usize = 43;
const PRODUCER_EPOCH: usize = 51;
const BASE_SEQUENCE: usize = 53;
const RECORDS_COUNT: usize = 57;

/// A batch of no records has the header after its length field.
const LENGTH_MIN: i32 = (HEADER_BYTES - LENGTH_PREFIX_BYTES) as i32;

const CODEC_MASK: i16 = 0x07;
const APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;
