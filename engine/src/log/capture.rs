//! What a log says of itself in a checkpoint, and what a start believes of it.

use std::io;
use std::path::Path;
use std::rc::Rc;

use super::checkpoint::{Entry, LastBatch};
use super::dir::{Positions, TopicPartition};
use super::index::{OffsetIndex, TimeIndex};
use super::segment::Segment;
use super::{FileKind, Log, State};
use crate::batch::header::{BatchHeader, HEADER_BYTES};
use crate::buf::BLOCK;
use crate::error::LogError;
use crate::rt::{File, OpenMode};
use crate::waiters::FifoGuard;

impl Log {
    /// Everything known as of now, once it is synced: `None` when nothing changed since the last
    /// time, or when the log fails meanwhile.
    pub(crate) async fn capture(self: &Rc<Self>) -> Option<Entry> {
        let (turn, files) = self.turn_and_files().await;
        if self.check_open().is_err() || !self.changed_since_capture() {
            return None;
        }
        let captured = self.captured_changes();
        let entry = self.entry_now();
        let (segment, appender) = (self.active(), self.appender());
        let tails = segment.index_tails();
        let txns = segment.txns_to_save();
        let pages = segment.pages_to_save();
        drop(turn);
        appender.sync_through(entry.position).await.ok()?;
        if let Some(txns) = txns {
            self.save_txns(&segment, &txns).await.ok()?;
        }
        if let Err(error) = self.write_tails(&segment, tails).await {
            tracing::warn!(log = &*self.site.name, %error, "cannot write an index");
            return None;
        }
        if let Some(pages) = pages {
            self.save_blocks(&segment, pages).await;
        }
        drop(files);
        self.set_captured(captured);
        Some(entry)
    }

    /// Both locks. After a roll that of the files is held for long, and appends are not to wait
    /// for it.
    async fn turn_and_files(&self) -> (FifoGuard<'_>, FifoGuard<'_>) {
        for _ in 0..FREE_LOOKS {
            drop(self.files.lock().await);
            let turn = self.turn.lock().await;
            if let Some(files) = self.files.try_lock() {
                return (turn, files);
            }
        }
        // It rolls all the time.
        let turn = self.turn.lock().await;
        (turn, self.files.lock().await)
    }

    /// The entry of a log whose everything is synced and written.
    pub(super) fn entry_now(&self) -> Entry {
        let (index_entries, time_index_entries) =
            self.active().with_indexes(|i| (i.offsets.len(), i.times.len())).unwrap_or_default();
        let segment = self.active();
        let state = self.state.borrow();
        let newest = segment.newest();
        Entry {
            topic_id: self.site.topic_id.0.0,
            partition: self.site.partition,
            log_start: state.log_start.max(self.intended_start.get()),
            high_watermark: self.high_watermark.get(),
            segment: segment.base,
            position: segment.size(),
            offset: state.log_end,
            last_batch: segment.last_batch(),
            newest_ms: newest.timestamp_ms,
            newest_offset: newest.offset,
            first_ms: segment.first_timestamp_ms(),
            index_entries: u32::try_from(index_entries).unwrap_or(0),
            time_index_entries: u32::try_from(time_index_entries).unwrap_or(0),
            txn_entries: u32::try_from(segment.txn_count()).unwrap_or(0),
            epochs: state.epochs.entries().to_vec(),
            producers: state.producers.image(),
        }
    }

    /// The entry of a log of which only this is known for sure: that it is there, and where it
    /// starts.
    pub(crate) fn bare_entry(&self) -> Entry {
        let log_start = self.noted_log_start();
        Entry {
            topic_id: self.site.topic_id.0.0,
            partition: self.site.partition,
            log_start,
            high_watermark: self.high_watermark.get(),
            segment: Entry::NO_SEGMENT,
            position: 0,
            offset: log_start,
            last_batch: None,
            newest_ms: -1,
            newest_offset: -1,
            first_ms: None,
            index_entries: 0,
            time_index_entries: 0,
            txn_entries: 0,
            epochs: Vec::new(),
            producers: Vec::new(),
        }
    }

    /// The log's positions, for the files that Kafka reads.
    pub(crate) fn positions(&self) -> Positions {
        let state = self.state.borrow();
        Positions {
            recovery_point: recovery_point(&state),
            high_watermark: self.high_watermark.get(),
            log_start: state.log_start,
            cleaned_through: self.cleaned_through.get(),
        }
    }

    /// The log's name as these files have it.
    pub(crate) fn topic_partition(&self) -> TopicPartition {
        (self.site.topic.clone(), self.site.partition)
    }

    async fn write_tails(&self, segment: &Rc<Segment>, tails: IndexTails) -> io::Result<()> {
        let rt = &self.site.cx.rt;
        for (kind, tail) in [(FileKind::Index, &tails.offsets), (FileKind::TimeIndex, &tails.times)]
        {
            if tail.bytes.is_empty() {
                continue;
            }
            let file = rt.open(&segment.path(kind), OpenMode::Create).await?;
            let mut buf = rt.alloc(tail.bytes.len().next_multiple_of(BLOCK));
            buf.fill(0);
            buf[..tail.bytes.len()].copy_from_slice(&tail.bytes);
            let len = buf.len();
            file.write_at(Rc::new(buf), len, tail.from).await?;
            file.sync().await?;
            if tail.from == 0 {
                rt.sync_dir(&self.site.path()).await?;
            }
        }
        segment.set_saved(tails.entries);
        Ok(())
    }
}

/// The offset below which Kafka need not look: it knows of no journal, and takes what stands
/// beside a segment there for complete.
fn recovery_point(state: &State) -> i64 {
    let before = state.segments.range(..state.active.base).next_back();
    let unsaved = before.filter(|(_, segment)| segment.is_unsaved()).map(|(base, _)| *base);
    let in_file = state.appender.progress().in_file;
    unsaved.map_or(in_file, |base| base.min(in_file))
}

/// The parts of both index files that are not on disk yet, from a block's border on.
pub(super) struct IndexTails {
    offsets: TailBytes,
    times: TailBytes,
    /// Entries of each file once these are written.
    entries: (usize, usize),
}

struct TailBytes {
    from: u64,
    bytes: Vec<u8>,
}

impl Segment {
    pub(super) fn index_tails(&self) -> IndexTails {
        let saved = self.saved();
        let tails = self.with_indexes(|indexes| {
            let entries = (indexes.offsets.len(), indexes.times.len());
            let offsets =
                tail(saved.0, entries.0, OffsetIndex::ENTRY, || indexes.offsets.encode(0));
            let times = tail(saved.1, entries.1, TimeIndex::ENTRY, || indexes.times.encode(0));
            IndexTails { offsets, times, entries }
        });
        let none = || TailBytes { from: 0, bytes: Vec::new() };
        tails.unwrap_or_else(|| IndexTails { offsets: none(), times: none(), entries: saved })
    }
}

/// Bytes from the block in which entry `saved` starts.
fn tail(saved: usize, entries: usize, entry: usize, all: impl FnOnce() -> Vec<u8>) -> TailBytes {
    if saved >= entries {
        return TailBytes { from: 0, bytes: Vec::new() };
    }
    let from = saved * entry / BLOCK * BLOCK;
    TailBytes { from: from as u64, bytes: all().split_off(from) }
}

/// Whether the file's batch in front of an entry's position is the one that the entry names.
pub(super) async fn fits(
    entry: &Entry,
    file: &File,
    len: u64,
    path: &Path,
) -> Result<bool, LogError> {
    let Some(last) = entry.last_batch else { return Ok(entry.position == 0) };
    if entry.position > len || last.position >= entry.position {
        return Ok(false);
    }
    let start = last.position - last.position % BLOCK as u64;
    let read = file.read_at(start, 2 * BLOCK).await;
    let read = read.map_err(|error| LogError::io("read", path, &error))?;
    let at = usize::try_from(last.position - start).expect("inside a block");
    let Some(head) = read.get(at..at + HEADER_BYTES) else { return Ok(false) };
    Ok(BatchHeader::decode(head).is_ok_and(|header| {
        header.crc == last.crc
            && header.base_offset.0 == last.base_offset
            && header.next_offset().0 == entry.offset
            && last.position + header.size() as u64 == entry.position
    }))
}

impl LastBatch {
    pub(super) fn of(header: &BatchHeader, position: u64) -> Self {
        Self { position, base_offset: header.base_offset.0, crc: header.crc }
    }
}

/// How often a checkpoint looks for a moment in which a log writes no files beside its segments.
const FREE_LOOKS: usize = 8;
