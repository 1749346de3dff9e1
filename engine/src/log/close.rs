//! What a log writes beside its records, and how it ends.
//!
//! All of it can be made again from the records, so a failure here never stops a log; it makes the
//! next start longer. None of it is trusted without a check.

use std::rc::Rc;
use std::time::Duration;

use super::recovery::EPOCHS_FILE;
use super::segment::Segment;
use super::{FileKind, Log, text};
use crate::error::LogError;

impl Log {
    /// Ends in order: everything synced, files cut to their data, state written. Whoever waits is
    /// told.
    pub(crate) async fn close(self: &Rc<Self>) -> Result<(), LogError> {
        let _turn = self.turn.lock().await;
        self.check_open()?;
        let (active, appender) = (self.active(), self.appender());
        appender.drain().await?;
        if let Err(error) = appender.trim().await {
            return Err(self.fail(&format!("cannot trim a segment: {error}")));
        }
        active.finish_time_index();
        self.save_segment(&active).await;
        self.save_snapshot(self.log_end()).await;
        self.save_epochs().await;
        self.state.borrow_mut().closed = true;
        appender.rest();
        for segment in self.segments_from(i64::MIN) {
            segment.close_file();
        }
        self.progressed();
        Ok(())
    }

    /// Stops serving at once, whatever is in flight: the files are about to go.
    pub(crate) fn abandon(&self) {
        self.state.borrow_mut().closed = true;
        self.appender().rest();
        self.progressed();
    }

    /// Frees what a log needs only while it is written: once nothing was appended for a while, the
    /// flush task ends and the file is cut to its data.
    pub(crate) async fn rest_if_idle(&self) -> Result<(), LogError> {
        let appender = self.appender();
        if !appender.is_idle(IDLE) {
            return Ok(());
        }
        // Whoever appends now is not idle.
        let Some(_turn) = self.turn.try_lock() else { return Ok(()) };
        appender.rest();
        match appender.trim().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(&format!("cannot trim a segment: {error}"))),
        }
    }

    /// Writes the files beside a segment's records.
    pub(super) async fn save_segment(&self, segment: &Rc<Segment>) {
        self.save_indexes(segment).await;
        if let Some(txns) = segment.txns_to_save() {
            self.save(segment, FileKind::TxnIndex, &txns).await;
        }
    }

    /// Writes both index files.
    pub(super) async fn save_indexes(&self, segment: &Rc<Segment>) {
        let encoded =
            segment.with_indexes(|i| (i.offsets.encode(0), i.times.encode(0))).unwrap_or_default();
        self.save(segment, FileKind::Index, &encoded.0).await;
        self.save(segment, FileKind::TimeIndex, &encoded.1).await;
    }

    async fn save(&self, segment: &Segment, kind: FileKind, bytes: &[u8]) {
        let path = segment.path(kind);
        if let Err(error) = self.site.cx.rt.write_file(&path, bytes).await {
            tracing::warn!(path = %path.display(), %error, "cannot write a file beside the log");
        }
    }

    /// Writes the producers' state as of `offset`, which is the log's end now.
    pub(super) async fn save_snapshot(&self, offset: i64) {
        let bytes = self.producers(|producers| producers.snapshot());
        let path = FileKind::Snapshot.path(&self.site.place.get(), offset);
        if let Err(error) = self.site.cx.rt.replace_file(&path, &bytes).await {
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
        let path = self.site.place.get().join(EPOCHS_FILE);
        let text = text::encode(lines.into_iter());
        if let Err(error) = self.site.cx.rt.replace_file(&path, text.as_bytes()).await {
            self.state.borrow_mut().epochs_changed = true;
            tracing::warn!(path = %path.display(), %error, "cannot write the leader epochs");
        }
    }
}

/// Time without an append after which a log gives back its room.
const IDLE: Duration = Duration::from_secs(10);
