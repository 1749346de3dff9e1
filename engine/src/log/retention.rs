//! Letting go of a log's beginning: by age, by size, by DeleteRecords.
//!
//! Whole segments go, oldest first. Their files are renamed to `.deleted`, as Kafka does, and
//! removed `file.delete.delay.ms` later, so that a reader in the middle of one finishes.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::Log;
use super::segment::Segment;
use super::{FileKind, names};
use crate::error::LogError;

impl Log {
    /// Removes the segments that `cleanup.policy` and the log start no longer keep, as far as
    /// they are below `high_watermark`. Answers how many went.
    pub(crate) async fn apply_retention(
        self: &Rc<Self>,
        high_watermark: i64,
        now_ms: i64,
    ) -> Result<usize, LogError> {
        let gone = self.expired(high_watermark, now_ms).await?;
        if gone == 0 {
            return Ok(0);
        }
        let _shape = self.shape.lock().await;
        let _turn = self.turn.lock().await;
        self.check_open()?;
        // Looked at again: the lock may have been long in coming.
        let gone = self.expired(high_watermark, now_ms).await?;
        let mut segments = self.segments_from(i64::MIN);
        if gone == segments.len() {
            // There is always a segment to append to.
            match self.roll().await {
                // What goes makes the room for it.
                Err(LogError::DiskFull { .. }) => drop(segments.pop()),
                rolled => rolled?,
            }
        }
        segments.truncate(gone);
        // What is still being written beside one of them would come back under its old name.
        let _files = self.files.lock().await;
        for segment in &segments {
            self.remove_segment(segment).await?;
        }
        let place = self.site.path();
        let synced = self.site.cx.rt.sync_dir(&place).await;
        synced.map_err(|error| LogError::io("sync", &place, &error))?;
        Ok(segments.len())
    }

    /// How many segments from the front may go.
    async fn expired(self: &Rc<Self>, high_watermark: i64, now_ms: i64) -> Result<usize, LogError> {
        let config = self.config();
        let segments = self.segments_from(i64::MIN);
        let log_start = self.log_start();
        let limit = config.retention_bytes.filter(|_| config.cleanup_policy.delete);
        let mut surplus = limit.map_or(0, |limit| self.size_bytes().saturating_sub(limit));
        let mut gone = 0;
        for (at, segment) in segments.iter().enumerate() {
            let next = segments.get(at + 1).map(|next| next.base);
            let end = next.unwrap_or_else(|| self.log_end());
            if end > high_watermark || (next.is_none() && segment.size() == 0) {
                break;
            }
            let passed = end <= log_start && next.is_some();
            let surplus_here = surplus > 0 && surplus >= segment.size();
            let old = match config.retention_ms.filter(|_| config.cleanup_policy.delete) {
                Some(keep_ms) if !passed && !surplus_here => {
                    now_ms.saturating_sub(self.age_from(segment).await?) > keep_ms
                }
                _ => false,
            };
            if !(passed || surplus_here || old) {
                break;
            }
            surplus = surplus.saturating_sub(segment.size());
            gone = at + 1;
        }
        Ok(gone)
    }

    /// The time that a segment's age counts from: its largest timestamp, or where its records have
    /// none the time of its last change, as in Kafka.
    async fn age_from(self: &Rc<Self>, segment: &Rc<Segment>) -> Result<i64, LogError> {
        let newest = self.newest_of(segment).await?;
        if newest >= 0 {
            return Ok(newest);
        }
        let file = segment.file(&self.site.cx).await?;
        let modified = file.modified_ms().await;
        modified.map_err(|error| LogError::io("look at", &segment.path(FileKind::Log), &error))
    }

    /// Takes a segment out of the log and renames its files. The caller holds the append lock, and
    /// a later segment exists.
    async fn remove_segment(&self, segment: &Rc<Segment>) -> Result<(), LogError> {
        let Some(next) = self.next_base(segment) else { return Ok(()) };
        // An open file outlives its name.
        segment.pin(&self.site.cx);
        segment.file(&self.site.cx).await?;
        self.state.borrow_mut().segments.remove(&segment.base);
        self.raise_log_start(next);
        self.forget_oldest(segment);
        let rt = &self.site.cx.rt;
        let mut doomed = Vec::new();
        let snapshot = segment.path(FileKind::Snapshot);
        for path in segment.paths().into_iter().rev().chain([snapshot]) {
            let to = names::deleted(&path);
            match rt.rename(&path, &to).await {
                Ok(()) => doomed.push(to),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(LogError::io("rename", &path, &error)),
            }
        }
        self.site.cx.metrics.segments_deleted.inc();
        tracing::info!(log = &*self.site.name, segment = segment.base, "a segment is deleted");
        let delay = u64::try_from(self.config().file_delete_delay_ms).unwrap_or(0);
        self.site.dir().doom(doomed, Duration::from_millis(delay));
        Ok(())
    }

    /// Drops what is cached of a segment that nothing in the log is older than.
    pub(super) fn forget_oldest(&self, segment: &Segment) {
        // A cleaned one has nothing there, and its number does not tell its age.
        if segment.uid < self.active().uid {
            self.site.tail.forget_through(segment.uid);
        }
    }

    /// Renames the log's directory so that it is no partition any more, and leaves its removal to
    /// the log directory.
    pub(crate) async fn delete(self: &Rc<Self>, doomed_name: &str) -> Result<(), LogError> {
        self.abandon();
        let _shape = self.shape.lock().await;
        let _turn = self.turn.lock().await;
        let _files = self.files.lock().await;
        let rt = &self.site.cx.rt;
        // It may have moved while the locks were waited for.
        let (from, dir) = (self.site.path(), self.site.dir());
        let to: PathBuf = dir.path().join(doomed_name);
        rt.rename(&from, &to).await.map_err(|e| LogError::io("rename", &from, &e))?;
        self.site.place().moved_to(to.clone());
        rt.sync_dir(dir.path()).await.map_err(|e| LogError::io("sync", dir.path(), &e))?;
        for segment in self.segments_from(i64::MIN) {
            self.forget(&segment);
            segment.close_file();
        }
        let delay = u64::try_from(self.config().file_delete_delay_ms).unwrap_or(0);
        dir.doom(vec![to], Duration::from_millis(delay));
        Ok(())
    }
}
