//! The `.txnindex` file of a segment: the transactions that were aborted by a marker in it.
//!
//! ```text
//! { version i16 = 0 · producerId i64 · firstOffset i64 · lastOffset i64 · lastStableOffset i64 }…
//! ```
//!
//! Appended to by the partition's owner core right after the marker, ordered by last offset;
//! rebuilt from the segment when it is missing or wrong. The file exists once it has an entry.

use crate::ids::{Offset, ProducerId};

/// One aborted transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Its producer.
    pub producer_id: ProducerId,
    /// Offset of its first record.
    pub first: Offset,
    /// Offset of its marker.
    pub last: Offset,
    /// The last stable offset that the marker made possible. Transactions of later entries begin
    /// at or after it, so a search that has reached it is over.
    pub last_stable: Offset,
}

impl AbortedTxn {
    /// The entry's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
        bytes[2..10].copy_from_slice(&self.producer_id.0.to_be_bytes());
        bytes[10..18].copy_from_slice(&self.first.0.to_be_bytes());
        bytes[18..26].copy_from_slice(&self.last.0.to_be_bytes());
        bytes[26..].copy_from_slice(&self.last_stable.0.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; ENTRY_BYTES]) -> Result<Self, TxnIndexError> {
        let version = i16::from_be_bytes([bytes[0], bytes[1]]);
        if version != VERSION {
            return Err(TxnIndexError::Version { version });
        }
        let (fields, _) = bytes[2..].as_chunks::<8>();
        let [producer_id, first, last, last_stable] = *fields else {
            unreachable!("34 bytes are a version and four fields of eight")
        };
        Ok(Self {
            producer_id: ProducerId(i64::from_be_bytes(producer_id)),
            first: Offset(i64::from_be_bytes(first)),
            last: Offset(i64::from_be_bytes(last)),
            last_stable: Offset(i64::from_be_bytes(last_stable)),
        })
    }
}

/// The aborted transactions of one segment, in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnIndex {
    entries: Vec<AbortedTxn>,
}

impl TxnIndex {
    /// Reads the file of the segment with this base offset. An entry that was cut at the end is
    /// left out: its marker is behind the last sync, and recovery writes it again.
    ///
    /// # Errors
    /// When an entry is of a newer version, or out of order: rebuild the index.
    pub fn decode(file: &[u8], base: Offset) -> Result<Self, TxnIndexError> {
        let mut entries = Vec::with_capacity(file.len() / ENTRY_BYTES);
        let mut before = base.0.saturating_sub(1);
        for bytes in file.as_chunks::<ENTRY_BYTES>().0 {
            let entry = AbortedTxn::decode(bytes)?;
            if entry.last.0 <= before || entry.first > entry.last {
                return Err(TxnIndexError::Order { last: entry.last, before: Offset(before) });
            }
            before = entry.last.0;
            entries.push(entry);
        }
        Ok(Self { entries })
    }

    /// The whole file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.entries.iter().flat_map(AbortedTxn::encode).collect()
    }

    /// Adds an entry, whose marker is the newest of the segment.
    ///
    /// # Panics
    /// When it is not.
    pub fn push(&mut self, entry: AbortedTxn) {
        let newest = self.entries.last().is_none_or(|last| last.last < entry.last);
        assert!(newest, "aborted transactions are indexed in the order of their markers");
        self.entries.push(entry);
    }

    /// Adds to `found` the transactions with records in `from..until`. `true`: later segments
    /// hold no more of them.
    pub fn collect(&self, from: Offset, until: Offset, found: &mut Vec<AbortedTxn>) -> bool {
        for entry in &self.entries {
            if entry.last >= from && entry.first < until {
                found.push(*entry);
            }
            if entry.last_stable >= until {
                return true;
            }
        }
        false
    }

    /// Drops what a log that ends at `end` has no marker of; answers the bytes that the file
    /// keeps.
    pub fn truncate(&mut self, end: Offset) -> usize {
        let kept = self.entries.partition_point(|entry| entry.last < end);
        self.entries.truncate(kept);
        kept * ENTRY_BYTES
    }

    /// The entries, by marker.
    #[must_use]
    pub fn entries(&self) -> &[AbortedTxn] {
        &self.entries
    }
}

/// Why a file is not a transaction index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxnIndexError {
    /// An entry of a version that is not known.
    #[error("aborted transaction has unknown version {version}")]
    Version {
        /// What it says.
        version: i16,
    },
    /// Entries are not ordered by their markers, or one lies before its segment.
    #[error("aborted transaction ends at {last}, not after {before}")]
    Order {
        /// The entry's marker.
        last: Offset,
        /// The marker before it, or the offset before the segment.
        before: Offset,
    },
}

const VERSION: i16 = 0;

/// Bytes of one entry.
pub const ENTRY_BYTES: usize = 34;
