//! What compaction leaves of a batch, by Kafka's rules.
//!
//! A batch keeps its base offset, its last offset, its epoch, its producer and its codec, whatever
//! of its records goes; the records keep their offsets and times. One that loses nothing is kept
//! byte by byte. The first pass over a batch with a tombstone (or with a marker of a transaction of
//! which nothing is left) writes into it until when it is to be kept (KIP-534): the base timestamp
//! becomes that horizon, which attribute bit 6 says, and the records' deltas count from there.

use super::header::{
    Attributes, BatchHeader, BatchView, HEADER_BYTES, LENGTH_PREFIX_BYTES, NO_TIMESTAMP,
    TimestampType, seal,
};
use super::records::{Record, RecordError, Records};
use super::scratch::Scratch;
use super::search::SearchError;
use super::varint::{put_varint, put_varlong, varlong_len};
use crate::compress::{Codec, Compression};

/// How to treat one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SiftRules {
    /// When nothing is left of it, the batch stays as a header without records.
    pub(crate) keep_empty: bool,
    /// None of its records stays.
    pub(crate) discard_records: bool,
    /// A transaction marker that has outlived its records: it gets a horizon, as tombstones do.
    pub(crate) outlived_marker: bool,
    /// Horizon for a batch that has none yet, Unix ms.
    pub(crate) horizon_ms: i64,
    /// Most that a compressed batch may open to.
    pub(crate) opened_bytes_max: usize,
}

/// What came of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sifted {
    /// It is gone.
    Gone,
    /// It stays as it was.
    Whole,
    /// It is another one now, of as many records.
    Rewritten(i32),
}

/// Why a batch could not be looked into.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiftError {
    #[error(transparent)]
    Open(#[from] SearchError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("a batch passes 2 GiB once its records have another base timestamp")]
    TooLarge,
}

/// Memory for sifting, reused from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct Sieve {
    keep: Vec<bool>,
    payload: Vec<u8>,
}

impl Sieve {
    /// Appends to `out` what is left of `batch` when `keep` chose among its records.
    pub(crate) fn sift(
        &mut self,
        batch: &BatchView<'_>,
        rules: SiftRules,
        scratch: &mut Scratch,
        mut keep: impl FnMut(&Record<'_>) -> bool,
        out: &mut Vec<u8>,
    ) -> Result<Sifted, SiftError> {
        self.keep.clear();
        let mut tombstones = false;
        let mut kept = 0;
        if !rules.discard_records {
            let payload = scratch.open(batch, rules.opened_bytes_max)?;
            for record in Records::new(payload, batch.records_count)? {
                let record = record?;
                let keeps = keep(&record);
                self.keep.push(keeps);
                kept += i32::from(keeps);
                tombstones |= keeps && record.value.is_none();
            }
        }
        let old_horizon = batch.attributes.has_delete_horizon();
        let new_horizon = (tombstones || rules.outlived_marker) && !old_horizon;
        if kept == 0 {
            return Ok(match rules.keep_empty {
                true => {
                    out.extend_from_slice(&empty(batch));
                    Sifted::Rewritten(0)
                }
                false => Sifted::Gone,
            });
        }
        if kept == batch.records_count && !new_horizon {
            out.extend_from_slice(batch.bytes());
            return Ok(Sifted::Whole);
        }
        let base = match (new_horizon, old_horizon) {
            (true, _) => Some(rules.horizon_ms),
            (false, true) => Some(batch.base_timestamp),
            (false, false) => None,
        };
        self.rewrite(batch, base, rules, scratch, out)?;
        Ok(Sifted::Rewritten(kept))
    }

    /// Writes the records that stay as a batch of their own; `horizon_ms` is its base timestamp,
    /// or else the first record's.
    fn rewrite(
        &mut self,
        batch: &BatchView<'_>,
        horizon_ms: Option<i64>,
        rules: SiftRules,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), SiftError> {
        self.payload.clear();
        let (mut base, mut max, mut count) = (horizon_ms, NO_TIMESTAMP, 0);
        let opened = scratch.open(batch, rules.opened_bytes_max)?;
        let records = Records::new(opened, batch.records_count)?;
        for (record, _) in records.zip(&self.keep).filter(|(_, keep)| **keep) {
            let record = record?;
            let timestamp = record.timestamp(batch);
            let base = *base.get_or_insert(timestamp);
            max = max.max(timestamp);
            count += 1;
            put_record(&mut self.payload, &record, timestamp.wrapping_sub(base));
        }
        if batch.attributes.timestamp_type() == TimestampType::LogAppendTime {
            max = batch.max_timestamp;
        }
        let codec = batch.attributes.codec().unwrap_or(Codec::None);
        let start = out.len();
        out.resize(start + HEADER_BYTES, 0);
        scratch.codecs().compress(Compression::new(codec), &self.payload, out);
        let length = i32::try_from(out.len() - start - LENGTH_PREFIX_BYTES);
        let header = BatchHeader {
            length: length.map_err(|_| SiftError::TooLarge)?,
            attributes: batch.attributes.with_delete_horizon(horizon_ms.is_some()),
            base_timestamp: base.unwrap_or(NO_TIMESTAMP),
            max_timestamp: max,
            records_count: count,
            ..*batch.header()
        };
        out[start..start + HEADER_BYTES].copy_from_slice(&header.encode());
        seal(&mut out[start..]);
        if self.payload.capacity() > KEPT_BYTES_MAX {
            self.payload = Vec::new();
        }
        Ok(())
    }
}

/// The batch without records: its producer's last sequence and its last offset stay known.
fn empty(batch: &BatchView<'_>) -> [u8; HEADER_BYTES] {
    let attributes = Attributes::default()
        .with_timestamp_type(batch.attributes.timestamp_type())
        .with_transactional(batch.attributes.is_transactional())
        .with_control(batch.attributes.is_control());
    let header = BatchHeader {
        length: (HEADER_BYTES - LENGTH_PREFIX_BYTES) as i32,
        attributes,
        base_timestamp: NO_TIMESTAMP,
        records_count: 0,
        ..*batch.header()
    };
    let mut bytes = header.encode();
    seal(&mut bytes);
    bytes
}

/// A record as it was, but for the time that its delta counts from.
fn put_record(out: &mut Vec<u8>, record: &Record<'_>, timestamp_delta: i64) {
    let len = |bytes: Option<&[u8]>| {
        bytes.map_or(1, |bytes| varlong_len(bytes.len() as i64) + bytes.len())
    };
    let headers = record.headers.raw();
    let body = 1
        + varlong_len(timestamp_delta)
        + varlong_len(i64::from(record.offset_delta))
        + len(record.key)
        + len(record.value)
        + varlong_len(record.headers.len() as i64)
        + headers.len();
    put_varlong(out, body as i64);
    out.push(record.attributes.cast_unsigned());
    put_varlong(out, timestamp_delta);
    put_varint(out, record.offset_delta);
    for bytes in [record.key, record.value] {
        match bytes {
            Some(bytes) => {
                put_varlong(out, bytes.len() as i64);
                out.extend_from_slice(bytes);
            }
            None => put_varint(out, -1),
        }
    }
    put_varlong(out, record.headers.len() as i64);
    out.extend_from_slice(headers);
}

/// What is kept between batches: one ordinary batch, opened.
const KEPT_BYTES_MAX: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::builder::{BatchBuilder, BatchOptions, NewRecord};
    use crate::compress::Codecs;
    use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

    const RULES: SiftRules = SiftRules {
        keep_empty: false,
        discard_records: false,
        outlived_marker: false,
        horizon_ms: 9_000,
        opened_bytes_max: 1 << 20,
    };

    fn sample(codec: Codec, who: TimestampType, tombstone: bool) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: Offset(40),
            leader_epoch: LeaderEpoch(3),
            compression: Compression::new(codec),
            timestamp_type: who,
            append_time: 777,
            producer_id: ProducerId(5),
            producer_epoch: ProducerEpoch(2),
            base_sequence: 11,
            ..BatchOptions::default()
        });
        let keys = [b"a", b"b", b"c", b"d"];
        for (at, key) in keys.iter().enumerate() {
            let headers = [(&b"h"[..], None), (&b"i"[..], Some(&b"j"[..]))];
            builder.push(&NewRecord {
                timestamp: 100 + at as i64 * 10,
                key: Some(*key),
                value: (!tombstone || at != 2).then_some(&b"value value value"[..]),
                headers: &headers,
            });
        }
        builder.build(&mut Codecs::default())
    }

    type Seen = Vec<(i64, i64, Vec<u8>, Option<Vec<u8>>, usize)>;

    fn seen(bytes: &[u8]) -> (BatchHeader, Seen) {
        let view = BatchView::decode(bytes).expect("a batch");
        assert!(view.checksum_holds());
        assert_eq!(view.bytes().len(), bytes.len());
        let mut scratch = Scratch::default();
        let payload = scratch.open(&view, 1 << 20).expect("opens");
        let records = Records::new(payload, view.records_count).expect("a count");
        let records = records.map(|record| {
            let record = record.expect("whole");
            let value = record.value.map(<[u8]>::to_vec);
            let key = record.key.expect("a key").to_vec();
            (record.offset(&view).0, record.timestamp(&view), key, value, record.headers.len())
        });
        (*view.header(), records.collect())
    }

    fn sift(bytes: &[u8], rules: SiftRules, keep: &[u8]) -> (Sifted, Vec<u8>) {
        let view = BatchView::decode(bytes).expect("a batch");
        let mut out = b"before".to_vec();
        let mut scratch = Scratch::default();
        let keeps = |record: &Record<'_>| record.key.is_some_and(|key| keep.contains(&key[0]));
        let sifted = Sieve::default().sift(&view, rules, &mut scratch, keeps, &mut out);
        (sifted.expect("understood"), out.split_off(6))
    }

    #[test]
    fn what_stays_keeps_its_place_time_and_codec() {
        for codec in Codec::ALL {
            for who in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
                let bytes = sample(codec, who, false);
                let (before, all) = seen(&bytes);
                let (sifted, out) = sift(&bytes, RULES, b"bd");
                assert_eq!(sifted, Sifted::Rewritten(2));
                let (after, left) = seen(&out);
                assert_eq!(left, [all[1].clone(), all[3].clone()], "{codec}");
                let base = left[0].1;
                let max = left[1].1;
                let expected = BatchHeader {
                    length: after.length,
                    crc: after.crc,
                    base_timestamp: base,
                    max_timestamp: max,
                    records_count: 2,
                    ..before
                };
                assert_eq!(after, expected, "{codec}");
                assert_eq!(sift(&bytes, RULES, b"abcd"), (Sifted::Whole, bytes.clone()));
                assert_eq!(sift(&bytes, RULES, b""), (Sifted::Gone, Vec::new()));
            }
        }
    }

    #[test]
    fn a_tombstone_gets_its_horizon_once() {
        for codec in Codec::ALL {
            let bytes = sample(codec, TimestampType::CreateTime, true);
            let (_, all) = seen(&bytes);
            let (sifted, out) = sift(&bytes, RULES, b"abcd");
            assert_eq!(sifted, Sifted::Rewritten(4));
            let (header, records) = seen(&out);
            assert!(header.attributes.has_delete_horizon());
            assert_eq!((header.base_timestamp, header.max_timestamp), (9_000, 130));
            assert_eq!(records, all);
            let later = SiftRules { horizon_ms: 20_000, ..RULES };
            assert_eq!(sift(&out, later, b"abcd"), (Sifted::Whole, out.clone()));
            let (_, less) = sift(&out, later, b"ab");
            let (header, records) = seen(&less);
            assert!(header.attributes.has_delete_horizon());
            assert_eq!((header.base_timestamp, header.max_timestamp), (9_000, 110));
            assert_eq!(records, all[..2]);
        }
    }

    #[test]
    fn an_empty_batch_is_the_header_that_kafka_writes() {
        let bytes = sample(Codec::Zstd, TimestampType::CreateTime, true);
        let (before, _) = seen(&bytes);
        let rules = SiftRules { keep_empty: true, ..RULES };
        let (sifted, out) = sift(&bytes, rules, b"");
        assert_eq!((sifted, out.len()), (Sifted::Rewritten(0), HEADER_BYTES));
        let (after, records) = seen(&out);
        let expected = BatchHeader {
            length: 49,
            crc: after.crc,
            attributes: Attributes::default(),
            base_timestamp: -1,
            records_count: 0,
            ..before
        };
        assert_eq!((after, records.len()), (expected, 0));
        let discard = SiftRules { discard_records: true, ..rules };
        assert_eq!(sift(&bytes, discard, b"abcd"), (Sifted::Rewritten(0), out));
    }
}
