//! What a crash left: reads the end of a log, keeps what is whole, sets the rest aside.
//!
//! Reading starts where an earlier run knew everything to be synced. From there on batches must
//! check, and offsets and leader epochs must not go backwards: Kafka's format has no salt, so an
//! old batch in a reused place would check too. Behind the first that does not fit, the log ends;
//! what follows is moved to a file that neither Kafka nor Odradek takes for part of the log.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use super::aside::Tail;
use super::checkpoint::Entry;
use super::epochs::EpochCache;
use super::open::{Listing, LogSpec, indexes_from_files, indexes_of_entry};
use super::relearn::{load_snapshot, replay};
use super::scan::{End, Found, Scanner};
use super::segment::{Indexes, Newest, Segment};
use super::site::Site;
use super::truncate::remove_if_there;
use super::{FileKind, aside, capture, text};
use crate::buf::BLOCK;
use crate::error::{LogError, OpenError};
use crate::ids::Offset;
use crate::producer::ProducerStates;
use crate::rt::File;
use crate::rt::sim::Plant;

/// What opening a log had to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes that had to be read.
    pub rescanned_bytes: u64,
    /// Bytes that did not belong to a whole batch, without zeros.
    pub cut_bytes: u64,
    /// Where they are kept.
    pub aside: Vec<PathBuf>,
    /// Offsets whose records are gone, zeros in their place: the first, and the one behind the
    /// last.
    pub lost: Vec<(i64, i64)>,
}

/// Bytes behind the log's end for which the disk had no other place.
#[derive(Clone, Debug)]
pub(super) struct Leftover {
    pub(super) end: u64,
    pub(super) len: u64,
    pub(super) why: String,
}

/// A log as it may be served.
pub(super) struct Recovered {
    pub(super) segments: BTreeMap<i64, Rc<Segment>>,
    pub(super) log_start: i64,
    pub(super) end: i64,
    pub(super) epochs: EpochCache,
    pub(super) producers: ProducerStates,
    pub(super) high_watermark: i64,
    /// Closed segments that were read: what stands beside them has to be written again.
    pub(super) reread: Vec<Rc<Segment>>,
    pub(super) report: Report,
    pub(super) leftover: Option<Leftover>,
}

/// One run over one log.
pub(super) struct Recovery<'a> {
    site: &'a Site,
    spec: &'a LogSpec,
    epochs: EpochCache,
    producers: ProducerStates,
    /// Batches below this offset are known to `producers`.
    producers_from: i64,
    /// The offset that the next batch must not be below.
    next: i64,
    reread: Vec<Rc<Segment>>,
    report: Report,
    leftover: Option<Leftover>,
    /// Whether the hints in `spec` are about this log.
    trusts_hints: bool,
}

/// Where in the log to start reading.
#[derive(Clone, Copy, Debug)]
struct Start {
    base: i64,
    position: u64,
    /// Offset of the batch there, if it is known.
    offset: i64,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(site: &'a Site, spec: &'a LogSpec) -> Self {
        Self {
            site,
            spec,
            epochs: EpochCache::default(),
            producers: ProducerStates::new(site.cx.producer_limits(), Offset::ZERO),
            producers_from: 0,
            next: 0,
            reread: Vec::new(),
            report: Report::default(),
            leftover: None,
            trusts_hints: true,
        }
    }

    /// Whatever was noted under this name was about another log.
    pub(super) fn forget_hints(&mut self) {
        self.trusts_hints = false;
    }

    pub(super) async fn run(mut self, listing: &Listing) -> Result<Recovered, OpenError> {
        if !self.spec.closed_in_order {
            // Files whose names a killed process saw, or made, need not survive a power loss yet.
            let synced = self.site.cx.rt.sync_dir(&self.spec.path).await;
            synced.map_err(|error| LogError::io("sync", &self.spec.path, &error))?;
        }
        self.epochs = self.read_epochs().await?;
        let mut segments: BTreeMap<i64, Rc<Segment>> = BTreeMap::new();
        for (&base, &bytes) in &listing.segments {
            segments.insert(base, self.site.segment(base, bytes));
        }
        self.drop_misplaced(&mut segments).await?;
        let first = segments.first_key_value().map_or(0, |(base, _)| *base);
        let noted = self.spec.entries.iter().map(|entry| entry.log_start).max();
        let noted = self.spec.log_start.max(noted).filter(|_| self.trusts_hints);
        let log_start = noted.unwrap_or(first).max(first);
        if segments.is_empty() {
            self.next = log_start;
            self.producers = ProducerStates::new(self.site.cx.producer_limits(), Offset(log_start));
        } else {
            let start = self.start(&segments, listing, first).await?;
            self.rescan(&mut segments, start).await?;
        }
        // Offsets below the log's start are not given again, whatever else was lost.
        self.next = self.next.max(log_start);
        self.epochs.truncate_end(self.next);
        self.epochs.truncate_start(log_start);
        self.producers.on_log_start(Offset(log_start));
        let now = self.site.cx.rt.wall_ms();
        if self.site.cx.rt.planted(Plant::ForgottenProducers) {
            self.producers = ProducerStates::new(self.site.cx.producer_limits(), Offset(self.next));
        }
        self.producers.expire(now);
        Ok(Recovered {
            segments,
            log_start,
            end: self.next,
            epochs: self.epochs,
            producers: self.producers,
            reread: self.reread,
            high_watermark: self.spec.entries.first().map_or(0, |entry| entry.high_watermark),
            report: self.report,
            leftover: self.leftover,
        })
    }

    /// Sets empty segments in the middle aside: whoever began one went on without it, so it would
    /// hide what the segment before it has.
    async fn drop_misplaced(
        &mut self,
        segments: &mut BTreeMap<i64, Rc<Segment>>,
    ) -> Result<(), OpenError> {
        let middle = segments.values().skip(1).take(segments.len().saturating_sub(2));
        let empty: Vec<_> = middle.filter(|segment| segment.size() == 0).cloned().collect();
        for segment in empty {
            aside::keep_segment(self.site, &segment, &mut self.report).await?;
            segments.remove(&segment.base);
        }
        Ok(())
    }

    /// Where to start, with the producers as of there or earlier.
    async fn start(
        &mut self,
        segments: &BTreeMap<i64, Rc<Segment>>,
        listing: &Listing,
        first: i64,
    ) -> Result<Start, OpenError> {
        for entry in &self.spec.entries {
            if let Some(start) = self.start_at(entry, segments).await? {
                return Ok(start);
            }
        }
        let base_of =
            |offset: i64| segments.range(..=offset).next_back().map_or(first, |(base, _)| *base);
        // An empty one at the end may be misplaced: the one before it tells.
        let filled = segments.iter().rev().find(|(_, segment)| segment.size() > 0);
        let last = filled.map_or(first, |(base, _)| *base);
        let whole_below = match self.spec.closed_in_order {
            true => i64::MAX,
            false if self.spec.ours => last,
            false => base_of(self.spec.recovery_point.unwrap_or(first)),
        };
        let known = snapshots_at_most(&listing.snapshots, whole_below);
        let dir = &self.spec.path;
        let limits = self.site.cx.producer_limits();
        let rt = &self.site.cx.rt;
        self.producers = load_snapshot(rt, dir, known.iter().copied(), limits, first).await?;
        self.producers_from = self.producers.end().0;
        let base = base_of(self.producers_from.min(whole_below)).min(last);
        if !(self.spec.closed_in_order && base == last) {
            return Ok(Start { base, position: 0, offset: base });
        }
        let segment = &segments[&last];
        let position = match indexes_from_files(&self.site.cx, segment, i64::MAX).await? {
            Some(indexes) => {
                let relative = segment.relative(self.producers_from).unwrap_or(0);
                let position = u64::from(indexes.offsets.floor(relative));
                adopt_indexes(segment, indexes);
                position
            }
            None => 0,
        };
        Ok(Start { base, position, offset: base })
    }

    /// Behind what a checkpoint's entry covers, if the entry is true of this log.
    async fn start_at(
        &mut self,
        entry: &Entry,
        segments: &BTreeMap<i64, Rc<Segment>>,
    ) -> Result<Option<Start>, OpenError> {
        let Some(segment) = segments.get(&entry.segment) else { return Ok(None) };
        let path = segment.path(FileKind::Log);
        let file = segment.file(&self.site.cx).await?;
        if !capture::fits(entry, &file, segment.size(), &path).await? {
            return Ok(None);
        }
        let now = self.site.cx.rt.wall_ms();
        let (limits, end) = (self.site.cx.producer_limits(), Offset(entry.offset));
        self.producers = ProducerStates::from_image(limits, &entry.producers, end, now);
        self.producers_from = entry.offset;
        self.epochs = EpochCache::from_entries(entry.epochs.iter().copied());
        let Some(indexes) = indexes_of_entry(&self.site.cx, segment, entry).await? else {
            return Ok(Some(Start { base: entry.segment, position: 0, offset: entry.segment }));
        };
        segment.set_saved((indexes.offsets.len(), indexes.times.len()));
        segment.set_indexes(Some(indexes));
        segment.set_newest(Newest { timestamp_ms: entry.newest_ms, offset: entry.newest_offset });
        segment.set_first_timestamp_ms(entry.first_ms);
        segment.set_last_batch(entry.last_batch);
        if entry.txn_entries == 0 {
            segment.start_txns();
        }
        let (base, position, offset) = (entry.segment, entry.position, entry.offset);
        Ok(Some(Start { base, position, offset }))
    }

    async fn read_epochs(&self) -> Result<EpochCache, OpenError> {
        let path = self.spec.path.join(EPOCHS_FILE);
        let bytes = match self.site.cx.rt.read_file(&path, EPOCHS_MAX).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(EpochCache::default());
            }
            Err(error) => return Err(LogError::io("read", &path, &error).into()),
        };
        let entries = text::decode(&bytes)
            .and_then(|lines| lines.into_iter().map(text::pair).collect::<Result<Vec<_>, _>>());
        let entries =
            entries.map_err(|reason| OpenError::Unreadable { path: path.clone(), reason })?;
        Ok(EpochCache::from_entries(entries))
    }

    /// Reads everything from `start` on; cuts the log at the first thing that does not fit.
    async fn rescan(
        &mut self,
        segments: &mut BTreeMap<i64, Rc<Segment>>,
        start: Start,
    ) -> Result<(), OpenError> {
        self.next = start.offset;
        let todo: Vec<_> = segments.range(start.base..).map(|(_, s)| Rc::clone(s)).collect();
        let (mut whole, mut tail) = (true, Tail::None);
        for segment in &todo {
            let first = segment.base == start.base;
            if !whole || (!first && segment.base < self.next) {
                whole &= segment.size() == 0;
                aside::keep_segment(self.site, segment, &mut self.report).await?;
                segments.remove(&segment.base);
                continue;
            }
            let mut position = 0;
            if first {
                position = start.position;
            } else {
                if tail == Tail::Zeros && self.next < segment.base {
                    self.miss(self.next, segment.base);
                }
                self.next = segment.base;
            }
            tail = self.rescan_segment(segment, position).await?;
            whole = matches!(tail, Tail::None | Tail::Zeros);
            self.reread.push(Rc::clone(segment));
        }
        // The last one is the active segment.
        self.reread.pop();
        Ok(())
    }

    /// Notes records that were synced once and are zeros now.
    fn miss(&mut self, first: i64, behind: i64) {
        let log = &*self.site.name;
        tracing::error!(log, first, behind, "records are lost: there are zeros in their place");
        self.site.cx.metrics.damage_found.inc();
        self.report.lost.push((first, behind));
    }

    /// Reads a segment from `start` on; answers what lay behind its last batch.
    async fn rescan_segment(
        &mut self,
        segment: &Rc<Segment>,
        start: u64,
    ) -> Result<Tail, OpenError> {
        let path = segment.path(FileKind::Log);
        let failed = |error: io::Error| LogError::io("read", &path, &error);
        let file = segment.file(&self.site.cx).await?;
        let len = file.len().await.map_err(failed)?;
        let (mut start, mut read) = (start, self.scan(segment, &file, start, len).await?);
        if start > 0 && segment.size() == start && self.next == segment.base {
            // An index told where to start, not at which offset: without a whole batch there, only
            // those before it can say where the log ends.
            start = 0;
            read = self.scan(segment, &file, 0, len).await?;
        }
        let (seen, why) = read;
        if self.site.cx.rt.planted(Plant::LostTruncation) {
            segment.set_size(len);
        }
        let end = segment.size();
        self.report.rescanned_bytes += end - start;
        let mut tail = Tail::None;
        if seen != end {
            segment.resume_sidecar(&self.site.cx, end).await?;
        }
        if len > end {
            segment.cut_sidecar_file(&self.site.cx, end).await?;
            tail = aside::cut(self.site, segment, end, len, &why, &mut self.report).await?;
        }
        if tail == Tail::InPlace {
            self.leftover = Some(Leftover { end, len, why });
        }
        self.harden(segment, &file, start, end).await?;
        segment.set_on_disk(end);
        Ok(tail)
    }

    /// Makes what was read durable, which is about to be served.
    ///
    /// A sync alone may not do it: if one failed before the process ended, what it left behind
    /// can still be read and counts as written, yet no later sync writes it. So it is all written
    /// again, and the length is set again.
    async fn harden(
        &self,
        segment: &Segment,
        file: &File,
        start: u64,
        end: u64,
    ) -> Result<(), LogError> {
        let path = segment.path(FileKind::Log);
        let hardened: io::Result<()> = async {
            if !self.spec.closed_in_order {
                self.rewrite(file, start, end).await?;
                if self.leftover.is_none() {
                    file.truncate(end).await?;
                }
            }
            file.sync().await
        }
        .await;
        hardened.map_err(|error| LogError::io("make durable", &path, &error))
    }

    /// Writes the blocks of `start..end` again, as they are; the file may become longer by zeros.
    async fn rewrite(&self, file: &File, start: u64, end: u64) -> io::Result<()> {
        let mut at = start - start % BLOCK as u64;
        while at < end {
            let valid = usize::try_from((end - at).min(REWRITE_BYTES)).expect("a piece");
            let len = valid.next_multiple_of(BLOCK);
            let read = file.read_at(at, len).await?;
            if read.len() < valid {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut piece = self.site.cx.rt.alloc(len);
            let (whole, padding) = piece.split_at_mut(read.len());
            whole.copy_from_slice(&read);
            padding.fill(0);
            file.write_at(Rc::new(piece), len, at).await?;
            at += len as u64;
        }
        Ok(())
    }

    /// Reads the batches of `start..len` as far as they continue the log. Answers how far it read,
    /// and why no further.
    async fn scan(
        &mut self,
        segment: &Rc<Segment>,
        file: &File,
        start: u64,
        len: u64,
    ) -> Result<(u64, String), OpenError> {
        let interval = self.spec.config.index_interval_bytes;
        let mut scanner = Scanner::new(&self.site.cx.rt, file.clone(), start, len);
        if start == 0 {
            self.epochs.truncate_end(segment.base);
            segment.set_indexes(Some(Indexes::default()));
            segment.set_newest(Newest::NONE);
            segment.set_last_batch(None);
        }
        if self.producers_from <= segment.base {
            segment.start_txns();
        } else if !segment.has_txns() {
            segment.txns(&self.site.cx).await?;
            segment.truncate_txns(self.producers_from);
        }
        segment.set_size(start);
        match start {
            0 => self.restart_sidecar(segment).await?,
            _ => segment.resume_sidecar(&self.site.cx, start).await?,
        }
        let mut seen = start;
        loop {
            let next = scanner.next(|bytes| {
                segment.note_bytes(seen, bytes);
                seen += bytes.len() as u64;
            });
            let next = next
                .await
                .map_err(|error| LogError::io("read", &segment.path(FileKind::Log), &error))?;
            let found = match next {
                Ok(found) => found,
                Err(End::OfFile) => return Ok((seen, String::new())),
                Err(end) => return Ok((seen, end.to_string())),
            };
            if let Err(why) = self.take(segment, &found) {
                return Ok((seen, why));
            }
            segment.note_batch(&found.header, found.position, interval);
        }
    }

    /// Begins a sidecar anew, together with the reading of its segment.
    async fn restart_sidecar(&self, segment: &Segment) -> Result<(), LogError> {
        remove_if_there(&self.site.cx.rt, &segment.path(FileKind::Sidecar)).await?;
        segment.start_sidecar();
        Ok(())
    }

    /// Whether a batch that checks continues the log; if so, what it teaches is taken in.
    fn take(&mut self, segment: &Segment, found: &Found) -> Result<(), String> {
        let header = &found.header;
        let (base, epoch) = (header.base_offset.0, header.leader_epoch.0);
        if base < self.next {
            return Err(format!("offset {base} after {}", self.next - 1));
        }
        if epoch >= 0
            && let Some(before) = self.epochs.at(base).filter(|before| epoch < *before)
        {
            return Err(format!("leader epoch {epoch} after {before}"));
        }
        if header.last_offset_delta < 0 || header.next_offset().0 <= base {
            return Err(format!("impossible last offset of batch {base}"));
        }
        self.epochs.assign(epoch, base);
        self.next = header.next_offset().0;
        if base >= self.producers_from {
            let now = self.site.cx.rt.wall_ms();
            let aborted = replay(&mut self.producers, found, now);
            segment.note_aborted(&aborted);
        }
        Ok(())
    }
}

/// Takes in what a segment's index files say.
pub(super) fn adopt_indexes(segment: &Segment, indexes: Indexes) {
    if let Some((timestamp_ms, relative)) = indexes.times.last() {
        let offset = segment.base + i64::from(relative);
        segment.set_newest(Newest { timestamp_ms, offset });
    }
    segment.set_saved((indexes.offsets.len(), indexes.times.len()));
    segment.set_indexes(Some(indexes));
}

/// Those of the sorted `snapshots` that are not behind `offset`.
pub(super) fn snapshots_at_most(snapshots: &[i64], offset: i64) -> &[i64] {
    &snapshots[..snapshots.partition_point(|&at| at <= offset)]
}

/// Kafka's file of leader epochs.
pub(super) const EPOCHS_FILE: &str = "leader-epoch-checkpoint";
/// Bytes of one that has an epoch for every start of a busy broker in decades.
const EPOCHS_MAX: usize = 16 << 20;
/// Bytes that are written again at a time.
const REWRITE_BYTES: u64 = 1 << 20;
