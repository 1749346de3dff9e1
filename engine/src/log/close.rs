//! What a log writes beside its records, and how it ends.
//!
//! All of it can be made again from the records, so a failure here never stops a log; it makes the
//! next start longer. None of it is trusted without a check.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::appender::Appender;
use super::blocks::Pages;
use super::recovery::EPOCHS_FILE;
use super::segment::Segment;
use super::truncate::remove_if_there;
use super::{FileKind, Log, text};
use crate::error::LogError;

impl Log {
    /// Ends in order: everything synced, files cut to their data, state written. Whoever waits is
    /// told.
    pub(crate) async fn close(self: &Rc<Self>) -> Result<(), LogError> {
        let _shape = self.shape.lock().await;
        let _turn = self.turn.lock().await;
        self.check_open()?;
        let (active, appender) = (self.active(), self.appender());
        appender.drain().await?;
        self.trim(&appender).await?;
        let _files = self.files.lock().await;
        active.finish_time_index();
        active.close_sidecar();
        self.save_segment(&active).await;
        let producers = self.producers(|producers| producers.snapshot());
        self.save_snapshot(self.log_end(), &producers).await;
        self.save_epochs().await;
        self.site.dir().unregister(self, Some(self.entry_now()));
        self.state.borrow_mut().closed = true;
        appender.rest();
        for segment in self.segments_from(i64::MIN) {
            segment.pin(&self.site.cx);
            segment.close_file();
        }
        self.progressed();
        Ok(())
    }

    /// Stops serving at once, whatever is in flight: the files are about to go.
    pub(crate) fn abandon(&self) {
        self.site.dir().unregister(self, None);
        self.state.borrow_mut().closed = true;
        self.appender().rest();
        self.progressed();
    }

    /// Frees what a log needs only while it is written: once nothing was appended for a while, the
    /// flush task ends and the file is cut to its data.
    pub(crate) async fn rest_if_idle(&self) -> Result<(), LogError> {
        let mut closed = self.segments_from(i64::MIN);
        closed.pop();
        for segment in closed {
            segment.rest_unless_used(&self.site.cx, IDLE * 6);
        }
        let appender = self.appender();
        if !appender.is_idle(IDLE) {
            return Ok(());
        }
        // Whoever appends now is not idle.
        let Some(_turn) = self.turn.try_lock() else { return Ok(()) };
        appender.rest();
        self.trim(&appender).await
    }

    /// Cuts the active segment's file to its data, unless there is something behind it.
    async fn trim(&self, appender: &Appender) -> Result<(), LogError> {
        if self.leftover.borrow().is_some() {
            return Ok(());
        }
        let trimmed = appender.trim().await;
        trimmed.map_err(|error| self.fail(&format!("cannot trim a segment: {error}")))
    }

    /// Writes the files beside a segment's records.
    pub(super) async fn save_segment(&self, segment: &Rc<Segment>) {
        self.save_indexes(segment).await;
        if let Some(txns) = segment.txns_to_save() {
            // Told there, and not to be forgotten: it is in memory only.
            let _ = self.save_txns(segment, &txns).await;
        }
        if let Some(pages) = segment.pages_to_save() {
            self.save_blocks(segment, pages).await;
        }
    }

    /// Writes what the sidecar's file lacks.
    pub(super) async fn save_blocks(&self, segment: &Segment, pages: Pages) {
        let rt = &self.site.cx.rt;
        let saved: io::Result<()> = async {
            if segment.save_pages(&self.site.cx, pages).await? {
                rt.sync_dir(&self.site.path()).await?;
            }
            Ok(())
        }
        .await;
        if let Err(error) = saved {
            tracing::warn!(log = &*self.site.name, %error, "cannot write block checksums");
        }
    }

    /// Writes both index files.
    pub(super) async fn save_indexes(&self, segment: &Rc<Segment>) {
        let encoded = segment.with_indexes(|indexes| {
            let entries = (indexes.offsets.len(), indexes.times.len());
            (indexes.offsets.encode(0), indexes.times.encode(0), entries)
        });
        let (offsets, times, entries) = encoded.unwrap_or_default();
        let offsets = self.save(segment, FileKind::Index, &offsets).await;
        let times = self.save(segment, FileKind::TimeIndex, &times).await;
        if offsets.is_ok() && times.is_ok() {
            segment.set_saved(entries);
            return;
        }
        // Part of an index would be taken for all of it; without a file it is made again.
        for kind in [FileKind::Index, FileKind::TimeIndex] {
            let _ = remove_if_there(&self.site.cx.rt, &segment.path(kind)).await;
        }
        segment.set_saved((0, 0));
    }

    /// Writes the aborted transactions.
    pub(super) async fn save_txns(&self, segment: &Segment, txns: &[u8]) -> io::Result<()> {
        let saved = self.save(segment, FileKind::TxnIndex, txns).await;
        if saved.is_err() {
            segment.set_txns_changed();
        }
        saved
    }

    /// Replaces a file beside a segment; a failure is reported here.
    pub(super) async fn save(
        &self,
        segment: &Segment,
        kind: FileKind,
        bytes: &[u8],
    ) -> io::Result<()> {
        let path = segment.path(kind);
        let saved = self.site.cx.rt.replace_file(&path, bytes).await;
        if let Err(error) = &saved {
            tracing::warn!(path = %path.display(), %error, "cannot write a file beside the log");
        }
        saved
    }

    /// Writes the producers' state as of `offset`.
    pub(super) async fn save_snapshot(&self, offset: i64, producers: &[u8]) {
        let path = FileKind::Snapshot.path(&self.site.path(), offset);
        if let Err(error) = self.site.cx.rt.replace_file(&path, producers).await {
            tracing::warn!(path = %path.display(), %error, "cannot write a producer snapshot");
        }
    }

    /// Writes the leader epochs, if they changed.
    pub(crate) async fn save_epochs(&self) {
        let lines = {
            let mut state = self.state.borrow_mut();
            if !std::mem::take(&mut state.epochs_changed) {
                return;
            }
            let entries = state.epochs.entries().iter();
            entries.map(|(epoch, start)| format!("{epoch} {start}")).collect::<Vec<_>>()
        };
        let path = self.site.path().join(EPOCHS_FILE);
        let text = text::encode(lines.into_iter());
        if let Err(error) = self.site.cx.rt.replace_file(&path, text.as_bytes()).await {
            self.state.borrow_mut().epochs_changed = true;
            tracing::warn!(path = %path.display(), %error, "cannot write the leader epochs");
        }
    }
}

/// Time without an append after which a log gives back its room.
const IDLE: Duration = Duration::from_secs(10);
