//! Replaying the metadata log: its newest snapshot, then the batches behind it.
//!
//! It is done on the files as they lie, before anything is changed, so that what cannot be followed
//! is refused first. Where recovery then ends the log elsewhere, it is done again on the open log.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::rc::Rc;

use engine::batch::header::{BatchError, BatchView, Batches, HEADER_BYTES, is_zero_header};
use engine::ids::{LeaderEpoch, Offset, TopicId};
use engine::partition::{Partition, ReadBound, ReadSpec};
use engine::rt::OpenMode;
use replication::image::Loader;
use replication::quorum::snapshot::SnapshotId;
use replication::quorum::{Recovered, format};
use replication::record::{self, Content, MetadataRecord, OpenError};

use super::files::{MetaFiles, failed};
use crate::boot::BootError;

/// What replay found.
#[derive(Clone)]
pub(crate) struct Replayed {
    pub(super) loader: Loader,
    /// Its log end is where replay is.
    pub(super) quorum: Recovered,
    /// End of the newest snapshot.
    pub(super) snapshot_end: Offset,
    /// Bytes of the log behind it.
    pub(super) bytes_since: u64,
    /// Topics that the log deletes, by name.
    pub(super) removed: BTreeMap<String, BTreeSet<TopicId>>,
}

impl Replayed {
    /// Replays the files as they lie. The log ends at the first batch that is not whole or does not
    /// go on from the one before, as recovery will find; below the offset `synced` there must be
    /// none such.
    pub(super) async fn from_files(files: &MetaFiles, synced: Offset) -> Result<Self, BootError> {
        let mut replayed = Self::begin(files).await?;
        let segments = files.segments().await?;
        let begin = replayed.end();
        let first = segments.first().map_or(Offset::ZERO, |(base, _)| Offset(*base));
        let skip = segments.partition_point(|(base, _)| *base <= begin.0).saturating_sub(1);
        // What a log without the snapshot's end ends at does not matter to who has to mend it.
        replayed.check_range(files, first, begin.max(first))?;
        let mut reader = Reader { next: first, epoch: LeaderEpoch(-1) };
        for (index, (base, path)) in segments.iter().enumerate().skip(skip) {
            if index == skip {
                reader.next = Offset(*base);
            }
            let ended = match reader.next == Offset(*base) {
                true => reader.read(files, path, &mut replayed).await?,
                false => Some(format!("the next segment begins at {base}")),
            };
            let Some(why) = ended else { continue };
            if reader.next < synced || reader.next < Offset(*base) {
                let (at, path) = (reader.next, path.display());
                return Err(BootError::Metadata(format!(
                    "{path}: damaged at offset {at} ({why}); restore the directory from a copy"
                )));
            }
            break;
        }
        replayed.check_range(files, first, reader.next)?;
        Ok(replayed)
    }

    /// Replays the open log.
    pub(super) async fn from_log(
        files: &MetaFiles,
        partition: &Rc<Partition>,
    ) -> Result<Self, BootError> {
        let mut replayed = Self::begin(files).await?;
        let offsets = partition.offsets();
        replayed.check_range(files, offsets.log_start, offsets.log_end)?;
        while replayed.end() < offsets.log_end {
            let from = replayed.end();
            let spec = ReadSpec {
                from,
                max_bytes: READ_BYTES,
                at_least_one: true,
                up_to: ReadBound::LogEnd,
            };
            let read = partition.read(spec).await;
            let read = read.map_err(|error| BootError::Metadata(error.to_string()))?;
            let bytes: Vec<u8> =
                read.slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            for batch in Batches::new(&bytes) {
                let batch = batch.map_err(|error| BootError::Metadata(error.to_string()))?;
                let taken = replayed.take(&batch)?;
                taken.map_err(|error| BootError::Metadata(error.to_string()))?;
            }
            if replayed.end() == from {
                return Err(BootError::Metadata(format!("nothing can be read at offset {from}")));
            }
            files.rt.turn().await;
        }
        Ok(replayed)
    }

    /// Where replay is.
    pub(super) fn end(&self) -> Offset {
        self.quorum.log_end
    }

    /// At the newest snapshot.
    async fn begin(files: &MetaFiles) -> Result<Self, BootError> {
        let mut quorum = Recovered::default();
        quorum.election = files.election().await?;
        let mut loader = Loader::default();
        if let Some(id) = files.snapshots().await?.pop() {
            let (read, _) = files.snapshot(id).await?;
            let at =
                if id == SnapshotId::EMPTY_LOG { format::BEFORE_LOG } else { Offset(id.end.0 - 1) };
            read.voters.iter().for_each(|voters| quorum.observe(at, voters));
            loader = Loader::new(read.image);
            quorum.last_epoch = id.epoch;
            quorum.log_end = id.end;
        }
        let snapshot_end = quorum.log_end;
        let removed = BTreeMap::new();
        Ok(Self { loader, quorum, snapshot_end, bytes_since: 0, removed })
    }

    /// A log must not begin behind the snapshot, nor end before it.
    fn check_range(&self, files: &MetaFiles, start: Offset, end: Offset) -> Result<(), BootError> {
        let from = self.snapshot_end;
        if from >= start && from <= end {
            return Ok(());
        }
        Err(BootError::Metadata(format!(
            "{}: the newest snapshot ends at {from}, but the log goes from {start} to {end}: a \
             file was lost; restore the directory from a copy",
            files.dir.display(),
        )))
    }

    /// Takes in the next batch; what is inside is a batch that is not whole.
    fn take(&mut self, batch: &BatchView<'_>) -> Result<Result<(), OpenError>, BootError> {
        let opened = match record::open(batch) {
            Ok(opened) => opened,
            Err(error @ OpenError::Checksum(_)) => return Ok(Err(error)),
            Err(error) => return Err(BootError::Metadata(error.to_string())),
        };
        match opened.content {
            Content::Metadata(records) => {
                records.iter().for_each(|record| self.note_removal(record));
                self.loader.apply_records(opened.info, &records)?;
            }
            Content::Control(records) => {
                records.iter().for_each(|(at, record)| self.quorum.observe(*at, record));
                self.loader.skip_control(opened.info, opened.end);
            }
        }
        self.quorum.last_epoch = opened.info.epoch;
        self.quorum.log_end = opened.end;
        self.bytes_since += batch.bytes().len() as u64;
        Ok(Ok(()))
    }
}

impl Replayed {
    fn note_removal(&mut self, record: &MetadataRecord) {
        let MetadataRecord::RemoveTopic(removal) = record else { return };
        let id = TopicId(removal.topic_id);
        if let Some(topic) = self.loader.image().topics().get(id) {
            self.removed.entry(topic.name.to_string()).or_default().insert(id);
        }
    }
}

/// Reads segments one after the other.
struct Reader {
    /// End of the last batch.
    next: Offset,
    /// Its epoch.
    epoch: LeaderEpoch,
}

impl Reader {
    /// Reads one segment; answers why the log ends inside, if it does.
    async fn read(
        &mut self,
        files: &MetaFiles,
        path: &Path,
        replayed: &mut Replayed,
    ) -> Result<Option<String>, BootError> {
        let failed = |error: io::Error| failed(path, &error);
        let file = files.rt.open(path, OpenMode::Read).await.map_err(failed)?;
        let (mut at, mut bytes) = (0, Vec::new());
        let ended = loop {
            let (taken, bad) = self.take(&bytes, replayed)?;
            bytes.drain(..taken);
            if bad.is_some() {
                break bad;
            }
            if bytes.len() >= HEADER_BYTES && is_zero_header(&bytes) {
                break None;
            }
            if bytes.len() > BATCH_BYTES_MAX {
                break Some("a batch of an impossible length".to_owned());
            }
            let read = file.read_at(at, READ_BYTES).await.map_err(failed)?;
            if read.is_empty() {
                break (!is_zero_header(&bytes)).then(|| "a batch is cut short".to_owned());
            }
            at += read.len() as u64;
            bytes.extend_from_slice(&read);
            if read.len() < READ_BYTES {
                at = at.next_multiple_of(READ_BYTES as u64);
            }
            files.rt.turn().await;
        };
        file.close().await.map_err(failed)?;
        Ok(ended)
    }

    /// Takes in the whole batches of `bytes`; answers how many bytes they are, and what is wrong
    /// with the next one.
    fn take(
        &mut self,
        bytes: &[u8],
        replayed: &mut Replayed,
    ) -> Result<(usize, Option<String>), BootError> {
        let mut batches = Batches::new(bytes);
        loop {
            let position = batches.position();
            let batch = match batches.next() {
                // The rest of it may be in the bytes to come.
                None | Some(Err(BatchError::Truncated { .. })) => return Ok((position, None)),
                Some(Err(error)) => return Ok((position, Some(error.to_string()))),
                Some(Ok(batch)) => batch,
            };
            if batch.base_offset < self.next || batch.leader_epoch < self.epoch {
                let (offset, epoch) = (batch.base_offset, batch.leader_epoch.0);
                let why = format!("offset {offset} of epoch {epoch} follows");
                return Ok((position, Some(why)));
            }
            if batch.base_offset >= replayed.end()
                && let Err(error) = replayed.take(&batch)?
            {
                return Ok((position, Some(error.to_string())));
            }
            self.next = batch.next_offset();
            self.epoch = batch.leader_epoch;
        }
    }
}

const READ_BYTES: usize = 1 << 20;
/// Twice what Kafka writes at most.
const BATCH_BYTES_MAX: usize = 16 << 20;
