//! What is known about a log beside its records, learnt again from them.

use std::io;
use std::path::Path;
use std::rc::Rc;

use super::recovery::snapshots_at_most;
use super::scan::{Found, Scanner};
use super::segment::{Newest, Segment};
use super::truncate::remove_if_there;
use super::{FileKind, Log};
use crate::batch::control::EndTxnMarker;
use crate::batch::header::BatchView;
use crate::batch::validate::Origin;
use crate::error::LogError;
use crate::ids::Offset;
use crate::producer::txn_index::AbortedTxn;
use crate::producer::{AppendPlan, PlanRules, ProducerLimits, ProducerStates};
use crate::rt::Rt;
use smallvec::SmallVec;

/// Takes a batch that was read from disk into account.
pub(super) fn replay(
    producers: &mut ProducerStates,
    found: &Found,
    now_ms: i64,
) -> SmallVec<[AbortedTxn; 1]> {
    let mut marker = None;
    if let Some(bytes) = found.control.as_ref().filter(|_| found.header.has_producer()) {
        let view = BatchView::decode(bytes).map_err(|error| error.to_string());
        match view.and_then(|v| EndTxnMarker::of_batch(&v).map_err(|error| error.to_string())) {
            Ok(read) => marker = read,
            Err(reason) => tracing::warn!(
                offset = found.header.base_offset.0,
                reason,
                "a control batch says nothing that is understood"
            ),
        }
    }
    let mut plan = AppendPlan::new(PlanRules::trusting(Origin::Replica));
    let judged = plan.add(producers, &found.header, marker);
    debug_assert!(judged.is_ok(), "a replica's batches are not judged");
    producers.apply(plan, now_ms)
}

/// The newest whole producer snapshot of those at `offsets`; nothing known at `start` without one.
pub(super) async fn load_snapshot(
    rt: &Rt,
    dir: &Path,
    offsets: impl DoubleEndedIterator<Item = i64>,
    limits: ProducerLimits,
    start: i64,
) -> Result<ProducerStates, LogError> {
    for offset in offsets.rev() {
        let path = FileKind::Snapshot.path(dir, offset);
        let bytes = match rt.read_file(&path, SNAPSHOT_MAX).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(LogError::io("read", &path, &error)),
        };
        match ProducerStates::load(limits, &bytes, Offset(offset), rt.wall_ms()) {
            Ok(producers) => return Ok(producers),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a producer snapshot is passed over");
            }
        }
    }
    Ok(ProducerStates::new(limits, Offset(start)))
}

impl Log {
    /// Reads a closed segment to make its indexes anew, and writes them.
    pub(super) async fn rebuild_indexes(&self, segment: &Rc<Segment>) -> Result<(), LogError> {
        let path = segment.path(FileKind::Log);
        let failed = |error: io::Error| LogError::io("read", &path, &error);
        let file = segment.file(&self.site.cx).await?;
        let fresh = self.site.segment(segment.base, 0);
        let interval = self.config().index_interval_bytes;
        let mut scanner = Scanner::new(&self.site.cx.rt, file, 0, segment.size());
        while let Ok(found) = scanner.next(|_| ()).await.map_err(failed)? {
            fresh.note_batch(&found.header, found.position, interval);
        }
        fresh.finish_time_index();
        segment.set_newest(fresh.newest());
        segment.set_first_timestamp_ms(fresh.first_timestamp_ms());
        segment.set_indexes(fresh.with_indexes(Clone::clone));
        let _files = self.files.lock().await;
        // Another may be about to have the name.
        if !segment.is_pinned() {
            self.save_indexes(segment).await;
        }
        Ok(())
    }

    /// Learns the largest timestamp of a segment whose end was cut: from its indexes, and from the
    /// batches behind their last entry.
    pub(super) async fn rescan_newest(&self, segment: &Rc<Segment>) -> Result<(), LogError> {
        let path = segment.path(FileKind::Log);
        let failed = |error: io::Error| LogError::io("read", &path, &error);
        let (from, last) = segment
            .with_indexes(|i| (i.offsets.last_position(), i.times.last()))
            .unwrap_or_default();
        segment.set_newest(last.map_or(Newest::NONE, |(timestamp_ms, relative)| Newest {
            timestamp_ms,
            offset: segment.base + i64::from(relative),
        }));
        segment.set_first_timestamp_ms(None);
        let file = segment.file(&self.site.cx).await?;
        let size = segment.size();
        let mut scanner = Scanner::new(&self.site.cx.rt, file.clone(), 0, size);
        if let Ok(found) = scanner.next(|_| ()).await.map_err(failed)? {
            segment.set_first_timestamp_ms(Some(found.header.max_timestamp));
        }
        let mut scanner = Scanner::new(&self.site.cx.rt, file, u64::from(from), size);
        while let Ok(found) = scanner.next(|_| ()).await.map_err(failed)? {
            segment.note_batch(&found.header, found.position, u64::MAX);
        }
        Ok(())
    }

    /// Forgets what producers did behind `end`, where the log now ends.
    pub(super) async fn rebuild_producers(&self, end: i64) -> Result<(), LogError> {
        let rt = &self.site.cx.rt;
        let dir = self.site.path();
        let entries = rt.list_dir(&dir).await.map_err(|e| LogError::io("list", &dir, &e))?;
        let names = entries.iter().map(|entry| entry.name.to_string_lossy());
        let mut snapshots: Vec<i64> = names
            .filter_map(|name| match FileKind::parse(&name) {
                Some((FileKind::Snapshot, offset)) => Some(offset),
                _ => None,
            })
            .collect();
        snapshots.sort_unstable();
        for &gone in snapshots.iter().filter(|&&offset| offset > end) {
            remove_if_there(rt, &FileKind::Snapshot.path(&dir, gone)).await?;
        }
        let limits = self.site.cx.producer_limits();
        let known = snapshots_at_most(&snapshots, end);
        let log_start = self.log_start();
        let mut producers =
            load_snapshot(rt, &dir, known.iter().copied(), limits, log_start).await?;
        let from = producers.end().0;
        for segment in self.segments_from(from) {
            let path = segment.path(FileKind::Log);
            let file = segment.file(&self.site.cx).await?;
            let mut scanner = Scanner::new(rt, file, 0, segment.size());
            let failed = |error: io::Error| LogError::io("read", &path, &error);
            while let Ok(found) = scanner.next(|_| ()).await.map_err(failed)? {
                if found.header.base_offset.0 >= from {
                    let _ = replay(&mut producers, &found, rt.wall_ms());
                }
            }
        }
        self.state.borrow_mut().producers = producers;
        Ok(())
    }
}

/// A snapshot of as many producers as a partition may have, and as many again.
const SNAPSHOT_MAX: usize = 64 << 20;
