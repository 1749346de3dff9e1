//! Why an append is refused: one variant for each of Kafka's codes, with Kafka's texts.

use std::fmt;

use crate::batch::header::BatchError;
use crate::batch::records;
use crate::compress::DecompressError;
use crate::ids::{LeaderEpoch, Offset};

/// Why nothing of a request is appended. Each variant stands for one error code of the protocol.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValidateError {
    /// CORRUPT_MESSAGE: damaged on the way, or cut; sending it again may help.
    #[error("Record is corrupt ({0})")]
    CorruptMessage(BatchError),
    /// CORRUPT_MESSAGE: the checksum says that bytes changed.
    #[error("Record is corrupt (stored crc = {stored}, computed crc = {computed})")]
    CorruptChecksum {
        /// What the batch carries.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// INVALID_RECORD: the client wrote something that no retry mends.
    #[error(transparent)]
    InvalidRecord(#[from] InvalidBatch),
    /// INVALID_TIMESTAMP: records are dated outside of what the topic takes.
    #[error("One or more records have been rejected due to invalid timestamp")]
    InvalidTimestamp(RecordErrors),
    /// MESSAGE_TOO_LARGE: a client that sees it splits its batch.
    #[error(
        "Message batch size is {size} bytes which exceeds the maximum configured size of {limit}."
    )]
    MessageTooLarge {
        /// Bytes of the batch, as it came or as it would be stored.
        size: usize,
        /// `max.message.bytes`.
        limit: usize,
    },
    /// MESSAGE_TOO_LARGE: a batch that must be opened opens to too much.
    #[error("The record batch cannot be validated: {0}")]
    OpensTooLarge(DecompressError),
    /// RECORD_LIST_TOO_LARGE: no segment can hold the batch.
    #[error(
        "Message batch size is {size} bytes, which exceeds the maximum configured segment size of {limit}."
    )]
    RecordListTooLarge {
        /// Bytes to append.
        size: usize,
        /// `segment.bytes`.
        limit: usize,
    },
    /// UNSUPPORTED_COMPRESSION_TYPE: nobody defined this codec.
    #[error("Unknown compression type id: {id}")]
    UnsupportedCompressionType {
        /// Bits 0–2 of the attributes.
        id: u8,
    },
    /// UNSUPPORTED_FOR_MESSAGE_FORMAT: format 0 or 1, from a log that an old Kafka wrote.
    #[error("Record batches with magic {magic} are not supported")]
    UnsupportedForMessageFormat {
        /// 0 or 1.
        magic: i8,
    },
}

impl ValidateError {
    /// What is wrong with single records, as a Produce response lists it. Empty when the batch as
    /// a whole is refused.
    #[must_use]
    pub fn record_errors(&self, topic: &str, partition: i32) -> Vec<RecordError> {
        match self {
            Self::InvalidTimestamp(errors) | Self::InvalidRecord(InvalidBatch::Records(errors)) => {
                let errors = errors.listed.iter();
                errors.map(|refusal| refusal.describe(topic, partition)).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl From<BatchError> for ValidateError {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Magic { magic: magic @ 0..=1 } => {
                Self::UnsupportedForMessageFormat { magic }
            }
            error => Self::CorruptMessage(error),
        }
    }
}

/// One entry of a Produce response's record errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// Position of the record in its batch.
    pub index: i32,
    /// What is wrong with it.
    pub message: String,
}

/// What makes a batch an INVALID_RECORD.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBatch {
    /// A partition without a batch.
    #[error("Produce requests must have at least one record batch per partition")]
    NoBatch,
    /// More than one batch for a partition.
    #[error("Produce requests are only allowed to contain exactly one record batch per partition")]
    SeveralBatches,
    /// A client's batch in a dead format.
    #[error(
        "Produce requests are only allowed to contain record batches with magic version 2, not {magic}"
    )]
    OldMagic {
        /// 0 or 1.
        magic: i8,
    },
    /// Clients number from 0.
    #[error("The baseOffset of the record batch should be 0, but it is {base_offset}")]
    BaseOffset {
        /// What the batch says.
        base_offset: Offset,
    },
    /// The last offset is before the first.
    #[error("Batch has an invalid offset range: [{base_offset}, {last_offset}]")]
    OffsetRange {
        /// First.
        base_offset: Offset,
        /// Last.
        last_offset: Offset,
    },
    /// No records.
    #[error("Invalid reported count for record batch: {count}")]
    Count {
        /// What the batch says.
        count: i32,
    },
    /// Offsets and count disagree.
    #[error(
        "Inconsistent batch offset range [{base_offset}, {last_offset}] and count of records {count}"
    )]
    CountOfOffsets {
        /// First.
        base_offset: Offset,
        /// Last.
        last_offset: Offset,
        /// What the batch says.
        count: i32,
    },
    /// A record does not have the offset that its place gives it.
    #[error("Record {index} has offset delta {delta}")]
    OffsetDelta {
        /// Its place in the batch.
        index: i32,
        /// What it says.
        delta: i32,
    },
    /// Control batches are for brokers.
    #[error("Clients are not allowed to write control records")]
    Control,
    /// A producer id without a sequence.
    #[error("Invalid sequence number {sequence} in record batch with producerId {producer_id}")]
    Sequence {
        /// The base sequence.
        sequence: i32,
        /// The producer.
        producer_id: i64,
    },
    /// The records are not what the batch claims.
    #[error(transparent)]
    Structure(#[from] records::RecordError),
    /// The records don't open.
    #[error("Failed to decompress record stream: {0}")]
    Compressed(DecompressError),
    /// Single records are at fault.
    #[error(transparent)]
    Records(RecordErrors),
    /// A controller's batch carries another epoch than its leader has.
    #[error(
        "Append from Raft leader did not set the batch epoch correctly, expected {expected} but the batch has {found}"
    )]
    LeaderEpoch {
        /// In the batch.
        found: LeaderEpoch,
        /// The partition's.
        expected: LeaderEpoch,
    },
    /// Given offsets that don't grow.
    #[error("Out of order offsets found in append: {first} after {last:?}")]
    OffsetOrder {
        /// Last offset of the batch before, if there is one.
        last: Option<Offset>,
        /// First offset of the batch.
        first: Offset,
    },
}

/// The records at fault. A full message is kept for the first [`RECORD_ERRORS_MAX`], so that a
/// batch of a million bad records doesn't become an answer larger than itself.
#[derive(Debug)]
pub struct RecordErrors {
    /// Records at fault.
    pub total: usize,
    /// The first of them.
    pub listed: Vec<RecordRefusal>,
}

impl fmt::Display for RecordErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "One or more records have been rejected due to {} record errors in total, and only \
             showing the first three errors at most: [",
            self.total
        )?;
        for (place, refusal) in self.listed.iter().take(3).enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}RecordError(batchIndex={}, message='{refusal}')", refusal.index)?;
        }
        f.write_str("]")
    }
}

impl std::error::Error for RecordErrors {}

/// One record at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRefusal {
    /// Position of the record in its batch.
    pub index: i32,
    /// What is wrong with it.
    pub reason: RefusalReason,
}

impl RecordRefusal {
    fn describe(&self, topic: &str, partition: i32) -> RecordError {
        let message = match self.reason {
            RefusalReason::NoKey => format!("{self} in topic partition {topic}-{partition}."),
            _ => self.to_string(),
        };
        RecordError { index: self.index, message }
    }
}

impl fmt::Display for RecordRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            RefusalReason::NoKey => {
                f.write_str("Compacted topic cannot accept message without key")
            }
            RefusalReason::Timestamp { timestamp, earliest, latest } => write!(
                f,
                "Timestamp {timestamp} of message with offset {} is out of range. The timestamp \
                 should be within [{earliest}, {latest}]",
                self.index
            ),
            RefusalReason::AppendTime => write!(
                f,
                "Invalid timestamp type in message with offset {}. Producer should not set \
                 timestamp type to LogAppendTime.",
                self.index
            ),
        }
    }
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// INVALID_RECORD: a compacted topic keeps the last value of each key.
    NoKey,
    /// INVALID_TIMESTAMP: too far from now.
    Timestamp {
        /// The record's, Unix ms.
        timestamp: i64,
        /// Oldest that is taken.
        earliest: i64,
        /// Newest that is taken.
        latest: i64,
    },
    /// INVALID_TIMESTAMP: only brokers date by append time.
    AppendTime,
}

/// Record errors that keep their message.
pub const RECORD_ERRORS_MAX: usize = 1_000;
