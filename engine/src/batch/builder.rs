//! Writes batches: for the metadata log, coordinators, the command line and tests.

use super::header::{
    Attributes, BatchHeader, HEADER_BYTES, LENGTH_PREFIX_BYTES, NO_SEQUENCE, NO_TIMESTAMP,
    TimestampType, seal,
};
use super::varint::{put_varint, put_varlong, varlong_len};
use crate::compress::{Codec, Codecs, Compression};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// What a batch says beside its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// Offset of the first record; 0 where a partition's leader assigns it.
    pub base_offset: Offset,
    /// −1 where a partition's leader assigns it.
    pub leader_epoch: LeaderEpoch,
    /// How the records are stored.
    pub compression: Compression,
    /// Who dates the records; with LogAppendTime all have `append_time`.
    pub timestamp_type: TimestampType,
    /// Unix ms; looked at with LogAppendTime only.
    pub append_time: i64,
    /// Producer's id, or −1.
    pub producer_id: ProducerId,
    /// Producer's epoch, or −1.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record, or −1.
    pub base_sequence: i32,
    /// Whether the records belong to a transaction.
    pub transactional: bool,
    /// Whether brokers read the records, not users.
    pub control: bool,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::NONE,
            compression: Compression::new(Codec::None),
            timestamp_type: TimestampType::CreateTime,
            append_time: NO_TIMESTAMP,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch(-1),
            base_sequence: NO_SEQUENCE,
            transactional: false,
            control: false,
        }
    }
}

/// One record to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// Unix ms, or −1.
    pub timestamp: i64,
    /// `None` is null.
    pub key: Option<&'a [u8]>,
    /// `None` is null.
    pub value: Option<&'a [u8]>,
    /// In order; a value of `None` is null.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// Collects records into one batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// Room for the header, then the records so far.
    bytes: Vec<u8>,
    count: i32,
    /// Time of the first record, which the others are relative to.
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new(options: BatchOptions) -> Self {
        Self {
            options,
            bytes: vec![0; HEADER_BYTES],
            count: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    /// Adds a record at the next offset.
    ///
    /// # Panics
    /// When the batch would pass 2 GiB, which a caller bounds by [`BatchBuilder::size`].
    pub fn push(&mut self, record: &NewRecord<'_>) {
        let timestamp = match self.options.timestamp_type {
            TimestampType::CreateTime => record.timestamp,
            TimestampType::LogAppendTime => self.options.append_time,
        };
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let delta = timestamp.wrapping_sub(self.base_timestamp);
        let body = body_len(record, delta, self.count);
        let out = &mut self.bytes;
        put_varint(out, i32::try_from(body).expect("a record is below 2 GiB"));
        out.push(0);
        put_varlong(out, delta);
        put_varint(out, self.count);
        put_nullable(out, record.key);
        put_nullable(out, record.value);
        put_varint(out, len_i32(record.headers.len()));
        for (key, value) in record.headers {
            put_nullable(out, Some(key));
            put_nullable(out, *value);
        }
        self.count = self.count.checked_add(1).expect("a batch is below 2 GiB");
    }

    /// Records so far.
    #[must_use]
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Bytes of the batch so far, before compression.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The finished batch. Without records its last offset is its base offset, as in the batches
    /// that compaction leaves empty.
    ///
    /// # Panics
    /// When the batch passes 2 GiB.
    #[must_use]
    pub fn build(self, codecs: &mut Codecs) -> Vec<u8> {
        let options = self.options;
        let mut bytes = self.bytes;
        if options.compression.codec() != Codec::None {
            let mut packed = Vec::with_capacity(bytes.len() / 2);
            packed.resize(HEADER_BYTES, 0);
            codecs.compress(options.compression, &bytes[HEADER_BYTES..], &mut packed);
            bytes = packed;
        }
        let header = BatchHeader {
            base_offset: options.base_offset,
            length: len_i32(bytes.len() - LENGTH_PREFIX_BYTES),
            leader_epoch: options.leader_epoch,
            crc: 0,
            attributes: Attributes::of_codec(options.compression.codec())
                .with_timestamp_type(options.timestamp_type)
                .with_transactional(options.transactional)
                .with_control(options.control),
            last_offset_delta: (self.count - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            records_count: self.count,
        };
        bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
        seal(&mut bytes);
        bytes
    }
}

/// Bytes of a record after its length field.
fn body_len(record: &NewRecord<'_>, timestamp_delta: i64, offset_delta: i32) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|(key, value)| nullable_len(Some(key)) + nullable_len(*value))
        .sum();
    1 + varlong_len(timestamp_delta)
        + varlong_len(i64::from(offset_delta))
        + nullable_len(record.key)
        + nullable_len(record.value)
        + varlong_len(i64::from(len_i32(record.headers.len())))
        + headers
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varlong_len(i64::from(len_i32(bytes.len()))) + bytes.len())
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(out, len_i32(bytes.len()));
            out.extend_from_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

fn len_i32(len: usize) -> i32 {
    i32::try_from(len).expect("a batch is below 2 GiB")
}
