//! Record batches of format 2, written and read by this crate's own code, so that a broker's idea
//! of the format is not checked against itself.
//!
//! ```text
//!  0 base offset 8 | 8 length 4 | 12 leader epoch 4 | 16 magic 1 | 17 CRC-32C of the rest 4
//! 21 attributes 2 | 23 last offset delta 4 | 27 first and 35 last timestamp 8+8
//! 43 producer id 8, 51 epoch 2, 53 base sequence 4 | 57 record count 4 | 61 records
//! ```

use anyhow::{Context, Result, bail, ensure};

use crate::codec;
use crate::stamp::STAMP_BYTES;
use crate::workload::Codec;

/// A producer's id and epoch.
pub(crate) type Identity = (i64, i16);

/// Collects records into a batch.
#[derive(Debug)]
pub(crate) struct BatchBuilder {
    bytes: Vec<u8>,
    count: i32,
    timestamp_ms: i64,
    identity: Identity,
}

impl BatchBuilder {
    /// An empty batch, all of whose records have one timestamp.
    pub(crate) fn new(timestamp_ms: i64, identity: Option<Identity>) -> Self {
        Self {
            bytes: vec![0; BATCH_OVERHEAD],
            count: 0,
            timestamp_ms,
            identity: identity.unwrap_or((-1, -1)),
        }
    }

    /// Adds a record and returns where in the batch its value lies, to be filled.
    pub(crate) fn push(&mut self, key: Option<&[u8]>, value_len: usize) -> usize {
        let key_len = key.map_or(-1, |key| key.len() as i64);
        let body = 1
            + 1
            + varint_len(i64::from(self.count))
            + varint_len(key_len)
            + key.map_or(0, <[u8]>::len)
            + varint_len(value_len as i64)
            + value_len
            + 1;
        put_varint(&mut self.bytes, body as i64);
        self.bytes.extend_from_slice(&[0, 0]);
        put_varint(&mut self.bytes, i64::from(self.count));
        put_varint(&mut self.bytes, key_len);
        self.bytes.extend_from_slice(key.unwrap_or_default());
        put_varint(&mut self.bytes, value_len as i64);
        let value_at = self.bytes.len();
        self.bytes.resize(value_at + value_len + 1, 0);
        self.count += 1;
        value_at
    }

    /// The batch so far, to fill values in.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Bytes so far, uncompressed.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Records so far.
    pub(crate) fn count(&self) -> i32 {
        self.count
    }

    /// The batch, sealed; `base_sequence` counts only with an identity.
    pub(crate) fn finish(mut self, codec: Codec, base_sequence: i32) -> Result<Vec<u8>> {
        if codec != Codec::None {
            let stored = codec::compress(codec, &self.bytes[BATCH_OVERHEAD..])?;
            self.bytes.truncate(BATCH_OVERHEAD);
            self.bytes.extend_from_slice(&stored);
        }
        let (producer_id, producer_epoch) = self.identity;
        let base_sequence = if producer_id < 0 { -1 } else { base_sequence };
        let length = i32::try_from(self.bytes.len() - 12).context("a batch is below 2 GiB")?;
        let bytes = &mut self.bytes;
        put(bytes, 8, &length.to_be_bytes());
        put(bytes, 12, &(-1_i32).to_be_bytes());
        put(bytes, 16, &[2]);
        put(bytes, 21, &codec::attribute(codec).to_be_bytes());
        put(bytes, 23, &(self.count - 1).to_be_bytes());
        put(bytes, 27, &self.timestamp_ms.to_be_bytes());
        put(bytes, 35, &self.timestamp_ms.to_be_bytes());
        put(bytes, 43, &producer_id.to_be_bytes());
        put(bytes, 51, &producer_epoch.to_be_bytes());
        put(bytes, BASE_SEQUENCE_AT, &base_sequence.to_be_bytes());
        put(bytes, 57, &self.count.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[CRC_COVERS_FROM..]);
        put(bytes, CRC_AT, &crc.to_be_bytes());
        Ok(self.bytes)
    }
}

/// A batch as a broker sent it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchView<'a> {
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// Offset of the first record.
    pub(crate) fn base_offset(&self) -> i64 {
        i64::from_be_bytes(self.at(0))
    }

    /// Offset behind the last record.
    pub(crate) fn next_offset(&self) -> i64 {
        self.base_offset() + i64::from(i32::from_be_bytes(self.at(23))) + 1
    }

    /// Number of records it says it has.
    pub(crate) fn count(&self) -> i32 {
        i32::from_be_bytes(self.at(57))
    }

    /// Whether the checksum is that of the content.
    pub(crate) fn is_intact(&self) -> bool {
        crc32c::crc32c(&self.bytes[CRC_COVERS_FROM..]) == u32::from_be_bytes(self.at(CRC_AT))
    }

    /// Whether the broker wrote it for itself (transaction markers).
    pub(crate) fn is_control(&self) -> bool {
        self.attributes() & 0x20 != 0
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the first record's value lies in the batch; none when it is compressed or broken.
    pub(crate) fn first_value(&self) -> Option<(usize, usize)> {
        if self.attributes() & codec::ATTRIBUTE_MASK != 0 {
            return None;
        }
        let mut at = BATCH_OVERHEAD;
        let value = read_record(self.bytes, &mut at)?;
        Some((value.value_at, value.value_len))
    }

    /// The values of all records, in order; decompressed into `room` where needed.
    pub(crate) fn values<'b>(&self, room: &'b mut Vec<u8>) -> Result<Vec<&'b [u8]>>
    where
        'a: 'b,
    {
        let records: &[u8] = match codec::of_attribute(self.attributes())? {
            Codec::None => &self.bytes[BATCH_OVERHEAD..],
            codec => {
                *room = codec::decompress(codec, &self.bytes[BATCH_OVERHEAD..])?;
                room
            }
        };
        let mut at = 0;
        let mut values =
            Vec::with_capacity(usize::try_from(self.count()).unwrap_or(0).min(1 << 16));
        while at < records.len() {
            let record = read_record(records, &mut at).context("a record does not add up")?;
            values.push(&records[record.value_at..record.value_at + record.value_len]);
        }
        ensure!(values.len() as i64 == i64::from(self.count()), "the record count is wrong");
        Ok(values)
    }

    fn attributes(&self) -> i16 {
        i16::from_be_bytes(self.at(21))
    }

    fn at<const N: usize>(&self, at: usize) -> [u8; N] {
        *self.bytes[at..].first_chunk().expect("a batch has a whole header")
    }
}

/// Takes the next batch off `bytes`; none at the end, or where only part of one is left.
pub(crate) fn next_batch<'a>(bytes: &mut &'a [u8]) -> Result<Option<BatchView<'a>>> {
    if bytes.len() < BATCH_OVERHEAD {
        return Ok(None);
    }
    let length = i32::from_be_bytes(*bytes[8..].first_chunk().expect("just measured"));
    let total = usize::try_from(length).map_or(0, |length| length + 12);
    if total < BATCH_OVERHEAD || bytes[16] != 2 {
        bail!("no batch of format 2: length {length}, magic {}", bytes[16]);
    }
    if bytes.len() < total {
        return Ok(None);
    }
    let (batch, rest) = bytes.split_at(total);
    *bytes = rest;
    Ok(Some(BatchView { bytes: batch }))
}

/// Changes a checksum by what changed in the bytes, without reading the others.
///
/// CRC is linear: changing `n` bytes that are followed by `behind` others changes the checksum by
/// the CRC of the difference, moved on over `behind` zeros. That is a 32 × 32 matrix over bits.
#[derive(Clone, Debug)]
pub(crate) struct CrcPatch {
    columns: [u32; 32],
}

impl CrcPatch {
    /// For changes in front of `behind` more covered bytes.
    pub(crate) fn new(behind: usize) -> Self {
        let mut result = Self { columns: std::array::from_fn(|bit| 1 << bit) };
        let mut power = Self { columns: std::array::from_fn(|bit| state_after(1 << bit, &[0])) };
        let mut left = behind;
        while left > 0 {
            if left & 1 == 1 {
                result = power.after(&result);
            }
            power = power.after(&power);
            left >>= 1;
        }
        result
    }

    /// What to xor to the checksum when the bytes change by `difference` (old xor new).
    pub(crate) fn change(&self, difference: &[u8]) -> u32 {
        self.apply(state_after(0, difference))
    }

    fn after(&self, first: &Self) -> Self {
        Self { columns: first.columns.map(|column| self.apply(column)) }
    }

    fn apply(&self, mut state: u32) -> u32 {
        let mut sum = 0;
        while state != 0 {
            sum ^= self.columns[state.trailing_zeros() as usize];
            state &= state - 1;
        }
        sum
    }
}

/// The register after `bytes`, without CRC's complements at both ends.
fn state_after(state: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!state, bytes)
}

struct RecordPlace {
    value_at: usize,
    value_len: usize,
}

/// Reads the record at `at` and moves `at` behind it.
fn read_record(bytes: &[u8], at: &mut usize) -> Option<RecordPlace> {
    let length = usize::try_from(read_varint(bytes, at)?).ok()?;
    let end = at.checked_add(length).filter(|end| *end <= bytes.len())?;
    *at += 1;
    read_varint(bytes, at)?;
    read_varint(bytes, at)?;
    let key_len = read_varint(bytes, at)?.max(0);
    *at = at.checked_add(usize::try_from(key_len).ok()?)?;
    let value_len = usize::try_from(read_varint(bytes, at)?.max(0)).ok()?;
    let value_at = *at;
    *at = end;
    (value_at.checked_add(value_len)? <= end).then_some(RecordPlace { value_at, value_len })
}

fn read_varint(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn varint_len(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Bytes of a batch before its first record.
pub(crate) const BATCH_OVERHEAD: usize = 61;
/// Bytes of a record beside key and value, at most for what this crate writes.
pub(crate) const RECORD_OVERHEAD: usize = 14;
/// Where the checksum lies, and from where on it covers the batch.
pub(crate) const CRC_AT: usize = 17;
pub(crate) const CRC_COVERS_FROM: usize = 21;
pub(crate) const BASE_SEQUENCE_AT: usize = 53;

const _: () = assert!(STAMP_BYTES < 1 << 6, "the first record of any batch holds a stamp");

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(records: usize, codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::new(1_700_000_000_000, Some((5, 1)));
        for i in 0..records {
            let key = (i % 2 == 1).then_some(&b"key"[..]);
            let at = builder.push(key, 40 + i);
            builder.bytes_mut()[at..at + 40 + i].fill(i as u8);
        }
        builder.finish(codec, 77).expect("small")
    }

    #[test]
    fn what_is_written_is_read() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut two = batch(200, codec);
            two.extend(batch(1, codec));
            two.extend_from_slice(&two.clone()[..80]);
            let mut rest = &two[..];
            let mut room = Vec::new();
            let first = next_batch(&mut rest).expect("sound").expect("whole");
            assert!(first.is_intact() && !first.is_control());
            assert_eq!((first.count(), first.next_offset()), (200, 200));
            let values = first.values(&mut room).expect("sound");
            assert_eq!(values.len(), 200);
            assert!(values.iter().enumerate().all(|(i, v)| *v == vec![i as u8; 40 + i]));
            assert!(next_batch(&mut rest).expect("sound").is_some());
            assert!(next_batch(&mut rest).expect("part of one").is_none());
        }
    }

    #[test]
    fn a_patched_checksum_is_the_right_one() {
        let mut bytes = batch(5, Codec::None);
        let (at, _) = BatchView { bytes: &bytes }.first_value().expect("uncompressed");
        for (at, len) in [(at, 32), (BASE_SEQUENCE_AT, 4), (bytes.len() - 3, 3)] {
            let patch = CrcPatch::new(bytes.len() - at - len);
            let new: Vec<u8> = (0..len).map(|i| i as u8 ^ 0xa5).collect();
            let difference: Vec<u8> = new.iter().zip(&bytes[at..]).map(|(a, b)| a ^ b).collect();
            let crc = u32::from_be_bytes(*bytes[CRC_AT..].first_chunk().expect("long"));
            put(&mut bytes, at, &new);
            put(&mut bytes, CRC_AT, &(crc ^ patch.change(&difference)).to_be_bytes());
            assert!(BatchView { bytes: &bytes }.is_intact(), "at {at}");
        }
    }

    #[test]
    fn rubbish_is_refused() {
        assert!(next_batch(&mut &[0_u8; 100][..]).is_err());
        let mut bytes = batch(2, Codec::None);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let mut rest = &bytes[..];
        assert!(!next_batch(&mut rest).expect("whole").expect("whole").is_intact());
    }
}
