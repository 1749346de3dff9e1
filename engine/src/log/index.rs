//! Sparse indexes of a segment, in Kafka's format.
//!
//! Held in memory as on disk, big-endian entries of 8 (offset) and 12 (time) bytes. The active
//! segment's files trail the log: they are written behind each checkpoint, on roll and on close,
//! and rebuilt by reading the segment where they do not fit it.

/// Offset to file position, one entry for every `index.interval.bytes` of log. An entry names the
/// last offset of a batch and the position where that batch starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OffsetIndex {
    /// (offset relative to the segment's base, position); both strictly rising.
    entries: Vec<(u32, u32)>,
}

/// Timestamp to offset: "no batch up to `offset` is later than `timestamp`".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeIndex {
    /// (milliseconds, offset relative to the segment's base); timestamps strictly rising.
    entries: Vec<(i64, u32)>,
}

/// An index file that cannot belong to its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("index entry {entry} is out of order or outside of the segment")]
pub(crate) struct BadIndex {
    pub(crate) entry: usize,
}

impl OffsetIndex {
    /// Bytes of one entry.
    pub(crate) const ENTRY: usize = 8;

    /// Adds an entry; one that does not rise is left out.
    pub(crate) fn push(&mut self, relative: u32, position: u32) {
        if self.entries.last().is_none_or(|&(offset, at)| relative > offset && position > at) {
            self.entries.push((relative, position));
        }
    }

    /// Position from which to look for relative offset `target`.
    pub(crate) fn floor(&self, target: u32) -> u32 {
        let after = self.entries.partition_point(|&(offset, _)| offset <= target);
        after.checked_sub(1).map_or(0, |at| self.entries[at].1)
    }

    /// Greatest indexed batch start at or before `position`.
    pub(crate) fn floor_position(&self, position: u64) -> u32 {
        let after = self.entries.partition_point(|&(_, at)| u64::from(at) <= position);
        after.checked_sub(1).map_or(0, |at| self.entries[at].1)
    }

    /// Batch start that the last entry names; 0 without one.
    pub(crate) fn last_position(&self) -> u32 {
        self.entries.last().map_or(0, |&(_, at)| at)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Drops what lies at or behind `position`.
    pub(crate) fn truncate(&mut self, position: u64) {
        let keep = self.entries.partition_point(|&(_, at)| u64::from(at) < position);
        self.entries.truncate(keep);
    }

    /// The file's bytes from entry `from` on.
    pub(crate) fn encode(&self, from: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity((self.entries.len() - from) * Self::ENTRY);
        for (offset, position) in &self.entries[from..] {
            bytes.extend_from_slice(&offset.to_be_bytes());
            bytes.extend_from_slice(&position.to_be_bytes());
        }
        bytes
    }

    /// Reads a file of a segment with `log_bytes` of data. Kafka leaves zeros behind the last
    /// entry of a live index.
    pub(crate) fn decode(bytes: &[u8], log_bytes: u64) -> Result<Self, BadIndex> {
        let mut index = Self::default();
        for (entry, raw) in bytes.chunks_exact(Self::ENTRY).enumerate() {
            let (offset, position) = (be_u32(raw, 0), be_u32(raw, 4));
            // The first batch of a segment is never indexed: a position of 0 is padding.
            if position == 0 {
                break;
            }
            let rises = index.entries.last().is_none_or(|&(o, p)| offset > o && position > p);
            if !rises || u64::from(position) >= log_bytes {
                return Err(BadIndex { entry });
            }
            index.entries.push((offset, position));
        }
        Ok(index)
    }
}

impl TimeIndex {
    /// Bytes of one entry.
    pub(crate) const ENTRY: usize = 12;

    /// Adds an entry; one whose timestamp does not rise is left out.
    pub(crate) fn push(&mut self, timestamp_ms: i64, relative: u32) {
        let rises = self
            .entries
            .last()
            .is_none_or(|&(last, offset)| timestamp_ms > last && relative >= offset);
        if rises {
            self.entries.push((timestamp_ms, relative));
        }
    }

    /// Relative offset from which to look for the first record at or after `timestamp_ms`.
    pub(crate) fn floor(&self, timestamp_ms: i64) -> u32 {
        let after = self.entries.partition_point(|&(at, _)| at < timestamp_ms);
        after.checked_sub(1).map_or(0, |at| self.entries[at].1)
    }

    /// The largest timestamp up to relative offset `relative`, as far as it is indexed.
    pub(crate) fn newest_at(&self, relative: u32) -> Option<i64> {
        let after = self.entries.partition_point(|&(_, offset)| offset <= relative);
        after.checked_sub(1).map(|at| self.entries[at].0)
    }

    /// The last entry: the largest timestamp of the indexed part and its relative offset.
    pub(crate) fn last(&self) -> Option<(i64, u32)> {
        self.entries.last().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Drops what speaks of offsets at or behind `relative`.
    pub(crate) fn truncate(&mut self, relative: u32) {
        let keep = self.entries.partition_point(|&(_, offset)| offset < relative);
        self.entries.truncate(keep);
    }

    /// The file's bytes from entry `from` on.
    pub(crate) fn encode(&self, from: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity((self.entries.len() - from) * Self::ENTRY);
        for (timestamp_ms, offset) in &self.entries[from..] {
            bytes.extend_from_slice(&timestamp_ms.to_be_bytes());
            bytes.extend_from_slice(&offset.to_be_bytes());
        }
        bytes
    }

    /// Reads a file of a segment whose last offset is `last_relative`.
    pub(crate) fn decode(bytes: &[u8], last_relative: u32) -> Result<Self, BadIndex> {
        let mut index = Self::default();
        for (entry, raw) in bytes.chunks_exact(Self::ENTRY).enumerate() {
            let timestamp_ms = i64::from_be_bytes(raw[..8].try_into().expect("8 bytes"));
            let offset = be_u32(raw, 8);
            if timestamp_ms == 0 && offset == 0 {
                break;
            }
            if offset > last_relative
                || index.last().is_some_and(|(last, at)| timestamp_ms <= last || offset < at)
            {
                return Err(BadIndex { entry });
            }
            index.entries.push((timestamp_ms, offset));
        }
        Ok(index)
    }
}

fn be_u32(raw: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(raw[at..at + 4].try_into().expect("4 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_index_finds_and_round_trips() {
        let mut index = OffsetIndex::default();
        assert_eq!(index.floor(5), 0);
        for (offset, position) in [(9, 100), (19, 5000), (19, 6000), (40, 9000)] {
            index.push(offset, position);
        }
        assert_eq!(index.len(), 3);
        assert_eq!((index.floor(8), index.floor(9), index.floor(39)), (0, 100, 5000));
        assert_eq!((index.floor_position(99), index.floor_position(8999)), (0, 5000));
        let mut bytes = index.encode(0);
        bytes.extend_from_slice(&[0; 64]);
        assert_eq!(OffsetIndex::decode(&bytes, 10_000), Ok(index.clone()));
        assert_eq!(OffsetIndex::decode(&bytes, 9000), Err(BadIndex { entry: 2 }));
        bytes[0] = 1;
        assert_eq!(OffsetIndex::decode(&bytes, 10_000), Err(BadIndex { entry: 1 }));
        assert_eq!(OffsetIndex::decode(&[0; 80], 10_000), Ok(OffsetIndex::default()));
        index.truncate(5000);
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn time_index_finds_and_round_trips() {
        let mut index = TimeIndex::default();
        for (timestamp, offset) in [(1000, 3), (900, 5), (1500, 9)] {
            index.push(timestamp, offset);
        }
        assert_eq!(index.last(), Some((1500, 9)));
        assert_eq!((index.floor(1000), index.floor(1001), index.floor(9999)), (0, 3, 9));
        let newest = [2, 3, 8, 9].map(|relative| index.newest_at(relative));
        assert_eq!(newest, [None, Some(1000), Some(1000), Some(1500)]);
        let bytes = index.encode(0);
        assert_eq!(TimeIndex::decode(&bytes, 9), Ok(index.clone()));
        assert_eq!(TimeIndex::decode(&bytes, 8), Err(BadIndex { entry: 1 }));
        index.truncate(9);
        assert_eq!(index.len(), 1);
    }
}
