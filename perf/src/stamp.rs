//! The mark that every batch (raw) or record (client) carries, so that lies are found.
//!
//! ```text
//!  0 run        4  which run of the harness wrote it
//!  4 lane       4  which stream of numbers it belongs to; the top bit: what `rest` covers
//!  8 sequence   8  from 0, by one, in each lane
//! 16 sent_ns    8  intended time of sending, nanoseconds since 1970
//! 24 rest       4  CRC-32C of what follows the stamp: up to the value's end, or the batch's
//! 28 check      4  CRC-32C of the 28 bytes before
//! ```
//!
//! A lane belongs to one connection and one partition, so within a partition its numbers must
//! come back in order, each once.

/// A stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Which run wrote it.
    pub(crate) run: u32,
    /// Stream of numbers; below 2^31.
    pub(crate) lane: u32,
    /// Whether `rest` covers the whole rest of the batch.
    pub(crate) to_batch_end: bool,
    /// Number in the lane.
    pub(crate) sequence: u64,
    /// Intended time of sending, nanoseconds since 1970.
    pub(crate) sent_ns: u64,
    /// CRC-32C of what follows.
    pub(crate) rest: u32,
}

impl Stamp {
    /// The bytes.
    #[must_use]
    pub(crate) fn encode(&self) -> [u8; STAMP_BYTES] {
        let lane = self.lane | if self.to_batch_end { TO_BATCH_END } else { 0 };
        let mut out = [0; STAMP_BYTES];
        out[0..4].copy_from_slice(&self.run.to_be_bytes());
        out[4..8].copy_from_slice(&lane.to_be_bytes());
        out[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        out[16..24].copy_from_slice(&self.sent_ns.to_be_bytes());
        out[24..28].copy_from_slice(&self.rest.to_be_bytes());
        let check = crc32c::crc32c(&out[..28]);
        out[28..].copy_from_slice(&check.to_be_bytes());
        out
    }

    /// Reads one from the start of `bytes`; none when it is too short or does not add up.
    #[must_use]
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<STAMP_BYTES>()?;
        let u32_at = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let u64_at = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));
        (crc32c::crc32c(&bytes[..28]) == u32_at(28)).then(|| Self {
            run: u32_at(0),
            lane: u32_at(4) & !TO_BATCH_END,
            to_batch_end: u32_at(4) & TO_BATCH_END != 0,
            sequence: u64_at(8),
            sent_ns: u64_at(16),
            rest: u32_at(24),
        })
    }
}

/// Length of a stamp.
pub(crate) const STAMP_BYTES: usize = 32;

const TO_BATCH_END: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_and_a_flipped_bit_is_seen() {
        let stamp = Stamp {
            run: 7,
            lane: 1_000_000,
            to_batch_end: true,
            sequence: u64::MAX - 1,
            sent_ns: 1_795_000_000_000_000_000,
            rest: 0xdead_beef,
        };
        let bytes = stamp.encode();
        assert_eq!(Stamp::decode(&bytes), Some(stamp));
        for bit in 0..STAMP_BYTES * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Stamp::decode(&bad), None, "bit {bit}");
        }
        assert_eq!(Stamp::decode(&bytes[..31]), None);
    }
}
