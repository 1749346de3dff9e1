//! The `.snapshot` file of a segment: Kafka's format, version 1.
//!
//! ```text
//! version i16 = 1 · crc u32 = CRC-32C of the rest · count i32
//! count × { producerId i64 · epoch i16 · lastSequence i32 · lastOffset i64 · offsetDelta i32
//!           timestamp i64 · coordinatorEpoch i32 · currentTxnFirstOffset i64 }
//! ```
//!
//! Written by the partition's owner core when it rolls a segment and on a clean stop; the file's
//! name is the offset it holds for. Of a producer's batches only the newest is kept.

use crate::batch::header::NO_SEQUENCE;
use crate::checksum::crc32c;
use crate::ids::{Offset, ProducerEpoch, ProducerId};

use super::entry::{BatchMark, ProducerEntry};

/// Why a file is not a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It was written by something newer, or never was a snapshot.
    #[error("producer snapshot has unknown version {version}")]
    Version {
        /// What it says.
        version: i16,
    },
    /// Its bytes changed.
    #[error("producer snapshot is corrupt: stored crc {stored}, computed crc {computed}")]
    Checksum {
        /// What it says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// Its length is not that of the entries it claims.
    #[error("producer snapshot of {len} bytes does not hold {count} entries")]
    Length {
        /// Bytes of the file.
        len: usize,
        /// Entries claimed; −1 when not even that is there.
        count: i32,
    },
}

pub(super) fn encode<'a>(
    entries: impl ExactSizeIterator<Item = (&'a ProducerId, &'a ProducerEntry)>,
) -> Vec<u8> {
    let count = i32::try_from(entries.len()).expect("producers are bounded");
    let mut file = Vec::with_capacity(PREFIX_BYTES + 4 + entries.len() * ENTRY_BYTES);
    file.extend_from_slice(&VERSION.to_be_bytes());
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(&count.to_be_bytes());
    for (id, entry) in entries {
        let mark = entry.marks.last();
        let last_offset = mark.map_or(-1, |mark| mark.last_offset.0);
        let last_sequence = mark.map_or(NO_SEQUENCE, |mark| mark.last_sequence);
        file.extend_from_slice(&id.0.to_be_bytes());
        file.extend_from_slice(&entry.epoch.0.to_be_bytes());
        file.extend_from_slice(&last_sequence.to_be_bytes());
        file.extend_from_slice(&last_offset.to_be_bytes());
        file.extend_from_slice(&mark.map_or(0, |mark| mark.offset_delta).to_be_bytes());
        file.extend_from_slice(&entry.last_timestamp.to_be_bytes());
        file.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        let txn = entry.current_txn_first.map_or(-1, |first| first.0);
        file.extend_from_slice(&txn.to_be_bytes());
    }
    let crc = crc32c(&file[PREFIX_BYTES..]);
    file[2..PREFIX_BYTES].copy_from_slice(&crc.to_be_bytes());
    file
}

/// The entries of a snapshot file, in its order.
///
/// # Errors
/// When the file is not a whole, undamaged snapshot of this version.
pub fn decode(file: &[u8]) -> Result<Vec<(ProducerId, ProducerEntry)>, SnapshotError> {
    let len = file.len();
    let (version, rest) = split(file).ok_or(SnapshotError::Length { len, count: -1 })?;
    let version = i16::from_be_bytes(version);
    if version != VERSION {
        return Err(SnapshotError::Version { version });
    }
    let (stored, body) = split(rest).ok_or(SnapshotError::Length { len, count: -1 })?;
    let (stored, computed) = (u32::from_be_bytes(stored), crc32c(body));
    if stored != computed {
        return Err(SnapshotError::Checksum { stored, computed });
    }
    let (count, entries) = split(body).ok_or(SnapshotError::Length { len, count: -1 })?;
    let count = i32::from_be_bytes(count);
    let (entries, []) = entries.as_chunks::<ENTRY_BYTES>() else {
        return Err(SnapshotError::Length { len, count });
    };
    if i32::try_from(entries.len()) != Ok(count) {
        return Err(SnapshotError::Length { len, count });
    }
    Ok(entries.iter().map(entry).collect())
}

fn entry(bytes: &[u8; ENTRY_BYTES]) -> (ProducerId, ProducerEntry) {
    let mut rest = bytes.as_slice();
    let id = ProducerId(i64::from_be_bytes(take(&mut rest)));
    let epoch = ProducerEpoch(i16::from_be_bytes(take(&mut rest)));
    let last_sequence = i32::from_be_bytes(take(&mut rest));
    let last_offset = i64::from_be_bytes(take(&mut rest));
    let offset_delta = i32::from_be_bytes(take(&mut rest));
    let timestamp = i64::from_be_bytes(take(&mut rest));
    let coordinator_epoch = i32::from_be_bytes(take(&mut rest));
    let txn = i64::from_be_bytes(take(&mut rest));
    let mut entry = ProducerEntry::unknown();
    entry.epoch = epoch;
    entry.coordinator_epoch = coordinator_epoch;
    entry.last_timestamp = timestamp;
    entry.current_txn_first = (txn >= 0).then_some(Offset(txn));
    if last_offset >= 0 {
        let last_offset = Offset(last_offset);
        entry.marks.push(BatchMark { last_sequence, last_offset, offset_delta, timestamp });
    }
    (id, entry)
}

fn split<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes.split_first_chunk().map(|(field, rest)| (*field, rest))
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (field, after) = split(rest).expect("an entry holds its fields");
    *rest = after;
    field
}

const VERSION: i16 = 1;

/// Version and checksum: what the checksum does not cover.
const PREFIX_BYTES: usize = 6;

const ENTRY_BYTES: usize = 46;
