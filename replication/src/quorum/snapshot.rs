//! Snapshot files: `<end offset, 20 digits>-<epoch, 10 digits>.checkpoint`.
//!
//! ```text
//! control batch   SnapshotHeader · from kraft.version 1: KRaftVersion, KRaftVoters
//! data batches    the image's records
//! control batch   SnapshotFooter
//! ```
//!
//! Offsets count from 0 inside the file; the epoch of every batch is that of the last record
//! contained. Written to `<name>.part`, synced, renamed: a file without its footer is no snapshot.

use std::fmt;
use std::time::Duration;

use engine::batch::header::{BatchError, Batches};
use engine::ids::{LeaderEpoch, Offset};
use wire::error::EncodeError;
use wire::record::control::{KRaftVersionRecord, SnapshotFooterRecord, SnapshotHeaderRecord};

use super::voters::{VoterSet, voters_record};
use crate::features::MetadataVersion;
use crate::image::{Image, LoadError, Loader, Provenance};
use crate::record::{self, BatchPlace, Content, ControlRecord, MetadataRecord, OpenError};

/// Which prefix of the log a snapshot stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotId {
    /// Offset after the last record contained.
    pub end: Offset,
    /// Epoch of that record.
    pub epoch: i32,
}

impl SnapshotId {
    /// The snapshot of the empty log, which only formatting writes.
    pub const EMPTY_LOG: Self = Self { end: Offset::ZERO, epoch: 0 };

    /// From a file's name; `None` if it is not a snapshot's.
    #[must_use]
    pub fn parse(file_name: &str) -> Option<Self> {
        let (end, epoch) = file_name.strip_suffix(".checkpoint")?.split_once('-')?;
        let digits =
            |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(end, 20) || !digits(epoch, 10) {
            return None;
        }
        Some(Self { end: Offset(end.parse().ok()?), epoch: epoch.parse().ok()? })
    }
}

/// The file's name.
impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:010}.checkpoint", self.end.0, self.epoch)
    }
}

/// Everything a snapshot file says.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The image, with the provenance of the file's name.
    pub image: Image,
    /// `kraft.version` and voters, from level 1 on.
    pub voters: Vec<ControlRecord>,
}

/// Why a file is not a usable snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Not record batches.
    #[error("{id}: {cause}")]
    Batch {
        /// The file.
        id: SnapshotId,
        /// Why.
        cause: BatchError,
    },
    /// A batch that can't be opened.
    #[error("{id}: {cause}")]
    Open {
        /// The file.
        id: SnapshotId,
        /// Why.
        cause: OpenError,
    },
    /// Records that contradict each other.
    #[error("{id}: {cause}")]
    Load {
        /// The file.
        id: SnapshotId,
        /// Why.
        cause: LoadError,
    },
    /// It does not start with its header.
    #[error("{0} does not start with a snapshot header")]
    NoHeader(SnapshotId),
    /// It does not end with its footer: writing it was cut short.
    #[error("{0} does not end with a snapshot footer")]
    NoFooter(SnapshotId),
}

/// The content of a snapshot file of `image`. `voters` as from `Quorum::snapshot_voters`.
///
/// # Errors
/// If a string in it is beyond what the format can say, which replay does not let in.
///
/// # Panics
/// If the image ends inside a batch: such an image must not be a snapshot.
pub fn encode(
    image: &Image,
    voters: Option<&(i16, VoterSet)>,
    now_ms: i64,
) -> Result<Vec<u8>, EncodeError> {
    let provenance = image.provenance();
    assert!(provenance.batch_aligned, "a snapshot ends between two batches");
    let version = image.features().metadata_version().unwrap_or(MetadataVersion::MINIMUM);
    let place = Place { epoch: provenance.epoch, now_ms };
    file(place, provenance.timestamp_ms, voters, &image.snapshot_records(), version)
}

/// Reads a snapshot file.
///
/// # Errors
/// If it is not whole, or says what is not known here.
pub fn decode(id: SnapshotId, bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
    let mut loader = Loader::default();
    let mut voters = Vec::new();
    let (mut timestamp_ms, mut footer) = (None, false);
    for batch in Batches::new(bytes) {
        let batch = batch.map_err(|cause| SnapshotError::Batch { id, cause })?;
        let opened = record::open(&batch).map_err(|cause| SnapshotError::Open { id, cause })?;
        match opened.content {
            Content::Metadata(records) => loader
                .apply_records(opened.info, &records)
                .map_err(|cause| SnapshotError::Load { id, cause })?,
            Content::Control(records) => {
                for (_, record) in records {
                    match record {
                        ControlRecord::SnapshotHeader(header) => {
                            timestamp_ms = Some(header.last_contained_log_timestamp);
                        }
                        ControlRecord::SnapshotFooter(_) => footer = true,
                        other => voters.push(other),
                    }
                }
            }
        }
        if timestamp_ms.is_none() {
            return Err(SnapshotError::NoHeader(id));
        }
    }
    let timestamp_ms = timestamp_ms.ok_or(SnapshotError::NoHeader(id))?;
    if !footer {
        return Err(SnapshotError::NoFooter(id));
    }
    let mut image = loader.image().clone();
    let SnapshotId { end, epoch } = id;
    image.provenance = Provenance { end, epoch, timestamp_ms, batch_aligned: true };
    Ok(Snapshot { image, voters })
}

/// When to write the next snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub bytes_max: u64,
    /// `metadata.log.max.snapshot.interval.ms`; `None` (0 in Kafka) for never by time.
    pub interval: Option<Duration>,
}

/// What has been applied since the newest snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinceSnapshot {
    bytes: u64,
    /// Monotonic time of the first batch since then.
    first: Option<Duration>,
}

impl SinceSnapshot {
    /// Notes a committed batch of `bytes`.
    pub fn applied(&mut self, now: Duration, bytes: u64) {
        self.bytes += bytes;
        self.first.get_or_insert(now);
    }

    /// A snapshot of everything applied was started.
    pub fn taken(&mut self) {
        *self = Self::default();
    }

    /// Whether it is time for one: enough bytes, or the oldest record outside is old enough.
    #[must_use]
    pub fn is_due(&self, now: Duration, policy: SnapshotPolicy) -> bool {
        let old = |first| policy.interval.is_some_and(|interval| now >= first + interval);
        self.bytes >= policy.bytes_max || self.first.is_some_and(old)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) epoch: i32,
    pub(super) now_ms: i64,
}

/// A whole snapshot file.
pub(super) fn file(
    place: Place,
    last_contained_log_timestamp: i64,
    voters: Option<&(i16, VoterSet)>,
    records: &[MetadataRecord],
    version: MetadataVersion,
) -> Result<Vec<u8>, EncodeError> {
    let mut head =
        vec![ControlRecord::SnapshotHeader(SnapshotHeaderRecord { last_contained_log_timestamp })];
    if let Some((level, set)) = voters {
        head.push(ControlRecord::KRaftVersion(KRaftVersionRecord { k_raft_version: *level }));
        head.push(ControlRecord::KRaftVoters(voters_record(set)));
    }
    let mut next = Offset::ZERO;
    let mut at = |count: usize| {
        let (epoch, timestamp_ms) = (LeaderEpoch(place.epoch), place.now_ms);
        let here = BatchPlace { base: next, epoch, timestamp_ms };
        next = next.plus(i64::try_from(count).expect("records in memory"));
        here
    };
    let mut out = record::control_batch(at(head.len()), &head)?;
    let values = record::encode(records, version)?;
    let mut rest = values.as_slice();
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(record::batch_len(rest));
        out.extend(record::metadata_batch(at(batch.len()), batch));
        rest = later;
    }
    let footer = [ControlRecord::SnapshotFooter(SnapshotFooterRecord {})];
    out.extend(record::control_batch(at(1), &footer)?);
    Ok(out)
}
