//! One core's checkpoint of its logs in one directory: `odradek-core-<n>.checkpoint`.
//!
//! It says of every log how far it was synced and what was known there, so that a start reads only
//! what came later. Written whole and atomically, by the owner core, after every 64 MiB of appends,
//! on roll, on DeleteRecords and on close. What it says of a log is a fact about a *prefix*: true
//! as long as the batch in front of `position` is the one named here, which a start checks. So a
//! later truncation, another core's stale file, or a Kafka in between do no harm.

use rkyv::rancor;
use rkyv::{Archive, Deserialize, Serialize};
use wire::primitives::Uuid;

use super::own::{self, Kind, OwnFileError};
use crate::producer::ProducerImage;

/// The file's payload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// The directory's generation in which it was written.
    pub(crate) generation: u64,
    pub(crate) entries: Vec<Entry>,
}

/// What was known of one log.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) topic_id: [u8; 16],
    pub(crate) partition: i32,
    /// First readable offset; DeleteRecords moves it only after this was written.
    pub(crate) log_start: i64,
    /// High watermark then; a hint.
    pub(crate) high_watermark: i64,
    /// Active segment, and the synced bytes of it that this entry covers; [`Entry::NO_SEGMENT`]
    /// where only the log start could be noted.
    pub(crate) segment: i64,
    pub(crate) position: u64,
    /// Offset of the next record there.
    pub(crate) offset: i64,
    /// Batch that ends at `position`; `None` in an empty segment.
    pub(crate) last_batch: Option<LastBatch>,
    /// Largest timestamp of the segment and the last offset of its batch, or −1.
    pub(crate) newest_ms: i64,
    pub(crate) newest_offset: i64,
    /// Timestamp of the segment's first batch.
    pub(crate) first_ms: Option<i64>,
    /// Entries of the index files that speak of what lies before `position`; synced.
    pub(crate) index_entries: u32,
    pub(crate) time_index_entries: u32,
    /// Entries of the file of aborted transactions, likewise.
    pub(crate) txn_entries: u32,
    /// Leader epochs and where each starts.
    pub(crate) epochs: Vec<(i32, i64)>,
    /// Producers as of `offset`.
    pub(crate) producers: Vec<ProducerImage>,
}

/// Recognises a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct LastBatch {
    pub(crate) position: u64,
    pub(crate) base_offset: i64,
    pub(crate) crc: u32,
}

impl Entry {
    /// No segment has this base.
    pub(crate) const NO_SEGMENT: i64 = -1;

    /// The log's topic id and partition.
    pub(crate) fn key(&self) -> (Uuid, i32) {
        (Uuid(self.topic_id), self.partition)
    }
}

impl Checkpoint {
    /// The name of a core's file.
    pub(crate) fn file_name(core: u16) -> String {
        format!("{PREFIX}{core}{SUFFIX}")
    }

    /// The core that a file of this name belongs to.
    pub(crate) fn parse_name(name: &str) -> Option<u16> {
        name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let payload = rkyv::to_bytes::<rancor::Error>(self);
        own::encode(KIND, &payload.expect("memory is the only thing that can fail"))
    }

    pub(crate) fn decode(file: &[u8]) -> Result<Self, OwnFileError> {
        own::restore(KIND, file)
    }
}

const KIND: Kind = Kind { name: *b"CKPT", version: 1 };
const PREFIX: &str = "odradek-core-";
const SUFFIX: &str = ".checkpoint";

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::log::own::tests::check_damage;

    /// What is noted of some log.
    pub(in crate::log) fn a_log() -> Entry {
        let last_batch = Some(LastBatch { position: 7, base_offset: 98, crc: 0xabcd });
        Entry {
            topic_id: [5; 16],
            partition: 3,
            log_start: 1,
            high_watermark: 90,
            segment: 40,
            position: 4_711,
            offset: 99,
            last_batch,
            newest_ms: 1_700_000_000_000,
            newest_offset: 97,
            first_ms: Some(1_600_000_000_000),
            index_entries: 12,
            time_index_entries: 8,
            txn_entries: 2,
            epochs: vec![(0, 0), (4, 50)],
            producers: Vec::new(),
        }
    }

    fn sample() -> Checkpoint {
        Checkpoint { generation: 77, entries: vec![a_log()] }
    }

    #[test]
    fn round_trip_and_damage() {
        let file = sample().encode();
        assert_eq!(Checkpoint::decode(&file), Ok(sample()));
        check_damage(&file, |bad| Checkpoint::decode(bad).is_ok());
    }

    #[test]
    fn names() {
        assert_eq!(Checkpoint::file_name(3), "odradek-core-3.checkpoint");
        assert_eq!(Checkpoint::parse_name("odradek-core-3.checkpoint"), Some(3));
        assert_eq!(Checkpoint::parse_name("odradek-core-x.checkpoint"), None);
    }

    #[test]
    fn the_released_format_is_still_read() {
        let released = include_bytes!("fixtures/checkpoint-v1.bin");
        assert_eq!(Checkpoint::decode(released), Ok(sample()));
    }
}
