//! The copy of a log that moves: one fresh segment for each of the log's.
//!
//! Files end in `.cleaned` until their segment is whole and closed, as compaction's do: whoever
//! finds an unfinished copy, Kafka too, does without those.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use super::super::FileKind;
use super::super::clean::sink::Sink;
use super::super::clean::source::Source;
use super::super::clean::swap::SWAPPED;
use super::super::names::Stage;
use super::super::segment::Segment;
use super::super::truncate::remove_if_there;
use super::super::{Log, Pace};
use super::Relocation;
use crate::batch::header::BatchHeader;
use crate::cache::SegmentUid;
use crate::error::LogError;

/// What was copied so far.
pub(super) struct Copies<'a> {
    to: &'a Relocation,
    /// Of closed segments, by base offset: which segment of the log it is the copy of.
    done: BTreeMap<i64, (SegmentUid, Rc<Segment>)>,
    /// Of the segment that was being copied last, mostly the active one.
    open: Option<Open<'a>>,
    /// Of the log when the copy began.
    truncations: u64,
}

struct Open<'a> {
    original: Rc<Segment>,
    sink: Sink<'a>,
}

impl<'a> Copies<'a> {
    pub(super) fn new(log: &Log, to: &'a Relocation) -> Self {
        Self { to, done: BTreeMap::new(), open: None, truncations: log.truncations.get() }
    }

    /// Takes out what the log does not have any more.
    pub(super) async fn reconcile(&mut self, log: &Log) -> Result<(), LogError> {
        let cut = log.truncations.get() != self.truncations;
        self.truncations = log.truncations.get();
        let there: BTreeMap<i64, SegmentUid> =
            log.segments_from(i64::MIN).iter().map(|segment| (segment.base, segment.uid)).collect();
        let is_there = |base: i64, uid| !cut && there.get(&base) == Some(&uid);
        let open = self.open.take();
        let rt = &log.site.cx.rt;
        match open {
            Some(open) if is_there(open.original.base, open.original.uid) => self.open = Some(open),
            Some(open) => {
                let place = self.to.site.path();
                let path = FileKind::Log.path_at(&place, open.original.base, Stage::Cleaned);
                remove_if_there(rt, &path).await?;
            }
            None => {}
        }
        let gone = self.done.iter().filter(|(base, (uid, _))| !is_there(**base, *uid));
        let gone: Vec<i64> = gone.map(|(base, _)| *base).collect();
        for base in gone {
            let Some((_, fresh)) = self.done.remove(&base) else { continue };
            fresh.pin(&log.site.cx);
            for path in fresh.paths() {
                remove_if_there(rt, &path).await?;
            }
            remove_if_there(rt, &fresh.path(FileKind::Snapshot)).await?;
        }
        self.count();
        Ok(())
    }

    /// Whether the log's end was cut off since the last look.
    pub(super) fn are_of_cut_log(&self, log: &Log) -> bool {
        log.truncations.get() != self.truncations
    }

    /// Bytes of the log that are not in the copy.
    pub(super) fn behind(&self, log: &Log) -> u64 {
        let segments = log.segments_from(i64::MIN);
        let missing = segments.iter().filter(|segment| {
            self.done.get(&segment.base).is_none_or(|(uid, _)| *uid != segment.uid)
        });
        let copied = |segment: &Rc<Segment>| match &self.open {
            Some(open) if Rc::ptr_eq(&open.original, segment) => open.sink.segment.size(),
            _ => 0,
        };
        missing.map(|segment| segment.size().saturating_sub(copied(segment))).sum()
    }

    /// Copies everything that the log has now; what is appended meanwhile need not be with it.
    pub(super) async fn advance(
        &mut self,
        log: &Rc<Log>,
        pace: Option<&Pace>,
    ) -> Result<(), LogError> {
        for segment in log.segments_from(i64::MIN) {
            if self.done.get(&segment.base).is_some_and(|(uid, _)| *uid == segment.uid) {
                continue;
            }
            if self.to.is_cancelled() {
                return Ok(());
            }
            let closed = log.next_base(&segment).is_some();
            log.check_open()?;
            if !closed {
                log.appender().drain().await?;
            }
            let mut open = self.resume(log, &segment).await?;
            let copied = self.copy(log, &mut open, pace).await;
            self.open = Some(open);
            copied?;
            if closed && log.next_base(&segment).is_some() && !self.to.is_cancelled() {
                self.close(log).await?;
            }
        }
        Ok(())
    }

    async fn resume(&mut self, log: &Log, segment: &Rc<Segment>) -> Result<Open<'a>, LogError> {
        if let Some(open) = self.open.take_if(|open| Rc::ptr_eq(&open.original, segment)) {
            return Ok(open);
        }
        self.open = None;
        let interval = log.config().index_interval_bytes;
        let sink = Sink::begin(&self.to.site, segment.base, interval).await?;
        sink.segment.set_created_ms(segment.created_ms());
        Ok(Open { original: Rc::clone(segment), sink })
    }

    /// Copies what the segment has now, batch by batch.
    async fn copy(
        &self,
        log: &Rc<Log>,
        open: &mut Open<'a>,
        pace: Option<&Pace>,
    ) -> Result<(), LogError> {
        let (cx, truncations) = (&log.site.cx, self.truncations);
        let mut source = Source::new(cx, &open.original, open.sink.segment.size());
        let mut batch = Vec::new();
        while source.next(&mut batch).await? {
            log.check_open()?;
            self.to.check()?;
            if log.truncations.get() != truncations {
                return Err(LogError::Retry);
            }
            if self.to.is_cancelled() {
                return Ok(());
            }
            let began = cx.rt.now();
            open.sink.push(&batch).await?;
            let header = BatchHeader::decode(&batch).expect("the source checked it");
            self.to.end.set(header.next_offset().0);
            self.to.bytes.set(self.to.bytes.get() + batch.len() as u64);
            if let Some(pace) = pace {
                pace.breathe(batch.len(), began).await;
            }
        }
        Ok(())
    }

    /// Makes the copy of a closed segment whole and durable.
    async fn close(&mut self, log: &Log) -> Result<(), LogError> {
        let Some(Open { original, sink }) = self.open.take() else { return Ok(()) };
        if sink.segment.size() != original.size() {
            return Err(LogError::Retry);
        }
        copy_txns(log, &original, &sink).await?;
        let fresh = sink.finish().await?;
        self.put(log, &original, &fresh).await?;
        fresh.unpin(&log.site.cx);
        if let Some(next) = log.next_base(&original) {
            self.to.end.set(next);
        }
        self.done.insert(original.base, (original.uid, fresh));
        Ok(())
    }

    /// Makes the copy of the active segment, to be appended to, whole and durable: all segments are
    /// in the copy now. Whoever calls keeps appends away.
    pub(super) async fn close_active(
        &mut self,
        log: &Log,
    ) -> Result<(Rc<Segment>, BTreeMap<i64, Rc<Segment>>), LogError> {
        let Some(Open { original, sink }) = self.open.take() else { return Err(LogError::Retry) };
        if !Rc::ptr_eq(&original, &log.active()) || sink.segment.size() != original.size() {
            return Err(LogError::Retry);
        }
        copy_txns(log, &original, &sink).await?;
        let fresh = sink.finish_open().await?;
        self.put(log, &original, &fresh).await?;
        let mut segments: BTreeMap<_, _> =
            self.done.iter().map(|(base, (_, fresh))| (*base, Rc::clone(fresh))).collect();
        segments.insert(fresh.base, Rc::clone(&fresh));
        let there = log.segments_from(i64::MIN);
        let same = there
            .iter()
            .map(|s| (s.base, s.size()))
            .eq(segments.values().map(|s| (s.base, s.size())));
        if same { Ok((fresh, segments)) } else { Err(LogError::Retry) }
    }

    /// Gives a segment's files their names.
    async fn put(
        &self,
        log: &Log,
        original: &Segment,
        fresh: &Rc<Segment>,
    ) -> Result<(), LogError> {
        let (cx, place) = (&log.site.cx, self.to.site.path());
        let snapshot = original.path(FileKind::Snapshot);
        match cx.rt.read_file(&snapshot, SNAPSHOT_MAX).await {
            Ok(bytes) => {
                let path = fresh.path(FileKind::Snapshot);
                let written = cx.rt.write_file(&path, &bytes).await;
                written.map_err(|error| LogError::io("write", &path, &error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(LogError::io("read", &snapshot, &error)),
        }
        if let Some(pages) = fresh.pages_to_save() {
            let saved = fresh.save_pages(cx, pages).await;
            saved.map_err(|error| LogError::io("write", &fresh.path(FileKind::Sidecar), &error))?;
        }
        // The log last: what stands beside it is nothing without it.
        for kind in SWAPPED.into_iter().rev() {
            let from = kind.path_at(&place, fresh.base, Stage::Cleaned);
            rename_if_there(cx, &from, &kind.path(&place, fresh.base)).await?;
        }
        cx.rt.sync_dir(&place).await.map_err(|error| LogError::io("sync", &place, &error))
    }

    fn count(&self) {
        let done: u64 = self.done.values().map(|(_, fresh)| fresh.size()).sum();
        let open = self.open.as_ref().map_or(0, |open| open.sink.segment.size());
        self.to.bytes.set(done + open);
    }
}

async fn copy_txns(log: &Log, original: &Rc<Segment>, sink: &Sink<'_>) -> Result<(), LogError> {
    let txns = original.txns(&log.site.cx).await?;
    let txns = txns.borrow().entries().to_vec();
    sink.segment.note_aborted(&txns);
    Ok(())
}

async fn rename_if_there(cx: &crate::cx::EngineCx, from: &Path, to: &Path) -> Result<(), LogError> {
    match cx.rt.rename(from, to).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LogError::io("rename", from, &error))
        }
        _ => Ok(()),
    }
}

/// Of as many producers as there can be.
const SNAPSHOT_MAX: usize = 1 << 30;
