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

use super::epochs::EpochCache;
use super::open::{Listing, LogSpec, indexes_from_files};
use super::relearn::{load_snapshot, replay};
use super::scan::{End, Found, Scanner};
use super::segment::{Indexes, Newest, Segment};
use super::site::Site;
use super::{FileKind, aside, text};
use crate::error::{LogError, OpenError};
use crate::ids::Offset;
use crate::producer::{ProducerLimits, ProducerStates};
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
}

/// A log as it may be served.
pub(super) struct Recovered {
    pub(super) segments: BTreeMap<i64, Rc<Segment>>,
    pub(super) log_start: i64,
    pub(super) end: i64,
    pub(super) epochs: EpochCache,
    pub(super) producers: ProducerStates,
    pub(super) report: Report,
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
    report: Report,
}

/// Where in the log to start reading.
#[derive(Clone, Copy, Debug)]
struct Start {
    base: i64,
    position: u64,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(site: &'a Site, spec: &'a LogSpec) -> Self {
        Self {
            site,
            spec,
            epochs: EpochCache::default(),
            producers: ProducerStates::new(ProducerLimits::default(), Offset::ZERO),
            producers_from: 0,
            next: 0,
            report: Report::default(),
        }
    }

    pub(super) async fn run(mut self, listing: &Listing) -> Result<Recovered, OpenError> {
        self.epochs = self.read_epochs().await?;
        let mut segments: BTreeMap<i64, Rc<Segment>> = BTreeMap::new();
        for (&base, &bytes) in &listing.segments {
            segments.insert(base, self.site.segment(base, bytes));
        }
        let first = segments.first_key_value().map_or(0, |(base, _)| *base);
        let log_start = self.spec.log_start.unwrap_or(first).max(first);
        if segments.is_empty() {
            self.next = log_start;
            self.producers = ProducerStates::new(ProducerLimits::default(), Offset(log_start));
        } else {
            let start = self.start(&segments, listing, first).await?;
            self.rescan(&mut segments, start).await?;
        }
        let log_start = log_start.min(self.next);
        self.epochs.truncate_end(self.next);
        self.epochs.truncate_start(log_start);
        self.producers.on_log_start(Offset(log_start));
        let now = self.site.cx.rt.wall_ms();
        if self.site.cx.rt.planted(Plant::ForgottenProducers) {
            self.producers = ProducerStates::new(ProducerLimits::default(), Offset(self.next));
        }
        self.producers.expire(now);
        Ok(Recovered {
            segments,
            log_start,
            end: self.next,
            epochs: self.epochs,
            producers: self.producers,
            report: self.report,
        })
    }

    /// Where to start, with the producers as of there or earlier.
    async fn start(
        &mut self,
        segments: &BTreeMap<i64, Rc<Segment>>,
        listing: &Listing,
        first: i64,
    ) -> Result<Start, OpenError> {
        let base_of =
            |offset: i64| segments.range(..=offset).next_back().map_or(first, |(base, _)| *base);
        let last = segments.last_key_value().map_or(first, |(base, _)| *base);
        let whole_below = match self.spec.closed_in_order {
            true => i64::MAX,
            false => base_of(self.spec.recovery_point.unwrap_or(first)),
        };
        let known = snapshots_at_most(&listing.snapshots, whole_below);
        let dir = &self.spec.path;
        let limits = ProducerLimits::default();
        let rt = &self.site.cx.rt;
        self.producers = load_snapshot(rt, dir, known.iter().copied(), limits, first).await?;
        self.producers_from = self.producers.end().0;
        let base = base_of(self.producers_from.min(whole_below));
        if !(self.spec.closed_in_order && base == last) {
            return Ok(Start { base, position: 0 });
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
        Ok(Start { base, position })
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
        self.next = start.base;
        if start.position == 0 {
            self.epochs.truncate_end(start.base);
        }
        let todo: Vec<_> = segments.range(start.base..).map(|(_, s)| Rc::clone(s)).collect();
        let mut whole = true;
        for segment in &todo {
            if !whole || segment.base < self.next {
                whole = false;
                aside::keep_segment(self.site, segment, &mut self.report).await?;
                segments.remove(&segment.base);
                continue;
            }
            self.next = segment.base;
            let position = if segment.base == start.base { start.position } else { 0 };
            whole = self.rescan_segment(segment, position).await?;
        }
        Ok(())
    }

    /// False when something other than zeros had to be cut from its end.
    async fn rescan_segment(
        &mut self,
        segment: &Rc<Segment>,
        start: u64,
    ) -> Result<bool, OpenError> {
        let path = segment.path(FileKind::Log);
        let failed = |error: io::Error| LogError::io("read", &path, &error);
        let file = segment.file(&self.site.cx).await?;
        let len = file.len().await.map_err(failed)?;
        let interval = self.spec.config.index_interval_bytes;
        let mut scanner = Scanner::new(&self.site.cx.rt, file.clone(), start, len);
        if start == 0 {
            segment.set_indexes(Some(Indexes::default()));
            segment.set_newest(Newest::NONE);
            segment.start_txns();
        }
        segment.set_size(start);
        let why = loop {
            let found = match scanner.next(|_| ()).await.map_err(failed)? {
                Ok(found) => found,
                Err(End::OfFile) => break String::new(),
                Err(end) => break end.to_string(),
            };
            if let Err(why) = self.take(segment, &found) {
                break why;
            }
            segment.note_batch(&found.header, found.position, interval);
        };
        if self.site.cx.rt.planted(Plant::LostTruncation) {
            segment.set_size(len);
        }
        let end = segment.size();
        self.report.rescanned_bytes += end - start;
        let mut whole = true;
        if len > end {
            whole = aside::cut(self.site, segment, end, len, &why, &mut self.report).await?;
        }
        // What was read may still be in the device's cache only; it is about to be served.
        file.sync().await.map_err(|error| LogError::io("sync", &path, &error))?;
        segment.set_on_disk(end);
        Ok(whole)
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
