//! Giving up the end of a log.

use std::rc::Rc;

use super::Log;
use super::appender::Appender;
use super::reader::Held;
use super::segment::Segment;
use crate::error::LogError;

impl Log {
    /// Cuts the log at `end`, or at the start of the batch that `end` lies in. The caller holds
    /// the append lock. Durable when done.
    ///
    /// Later segments go first and from the back, so a crash on the way leaves a longer prefix of
    /// the same log. A failure stops the log: nobody could say what it holds.
    pub(crate) async fn truncate_to(self: &Rc<Self>, end: i64) -> Result<(), LogError> {
        if end >= self.log_end() {
            return Ok(());
        }
        let end = end.max(self.log_start());
        self.clear_leftover().await?;
        self.appender().drain().await?;
        let place = self.look_until(|log, held: &Held| log.look_up(end, held)).await?;
        let Some(place) = place else { return Ok(()) };
        let floor = Rc::clone(&self.segments_from(end)[0]);
        let (position, new_end) = match Rc::ptr_eq(&place.segment, &floor) {
            true => (place.position, place.header.base_offset.0.min(end)),
            // Compaction left a gap there.
            false => (floor.size(), end),
        };
        // Records below the log's start are gone for good: their offsets are not given again.
        let new_end = new_end.max(self.log_start());
        match self.cut_files(&floor, position, new_end).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(&format!("cannot truncate: {error}"))),
        }
    }

    async fn cut_files(
        self: &Rc<Self>,
        segment: &Rc<Segment>,
        position: u64,
        end: i64,
    ) -> Result<(), LogError> {
        let rt = self.site.cx.rt.clone();
        let later: Vec<_> = self.segments_from(segment.base).into_iter().skip(1).collect();
        self.appender().leave_journal().await?;
        let files = self.files.lock().await;
        segment.pin(&self.site.cx);
        self.appender().rest();
        for gone in later.iter().rev() {
            self.forget(gone);
            for path in gone.paths() {
                remove_if_there(&rt, &path).await?;
            }
        }
        let place = self.site.path();
        if !later.is_empty() {
            rt.sync_dir(&place).await.map_err(|e| LogError::io("sync", &place, &e))?;
        }
        segment.cut_sidecar_file(&self.site.cx, position).await?;
        let file = segment.file(&self.site.cx).await?;
        let path = segment.path(super::FileKind::Log);
        let failed = |error| LogError::io("truncate", &path, &error);
        file.truncate(position).await.map_err(failed)?;
        file.sync().await.map_err(failed)?;
        self.forget(segment);
        segment.set_size(position);
        segment.cut_indexes(position, end);
        // One that was closed may not have them in memory.
        segment.txns(&self.site.cx).await?;
        segment.truncate_txns(end);
        segment.resume_sidecar(&self.site.cx, position).await?;
        self.rescan_newest(segment).await?;
        // Their old ends would be taken for entries of what is appended now.
        self.save_indexes(segment).await;
        let appender = self.make_appender(segment, end).await?;
        self.switch_to(segment, appender, end);
        self.rebuild_producers(end).await?;
        drop(files);
        self.note_change();
        self.save_epochs().await;
        Ok(())
    }

    fn switch_to(&self, segment: &Rc<Segment>, appender: Rc<Appender>, end: i64) {
        let mut state = self.state.borrow_mut();
        state.segments.split_off(&(segment.base + 1));
        state.active = Rc::clone(segment);
        state.appender = appender;
        state.log_end = end;
        if state.epochs.truncate_end(end) {
            state.epochs_changed = true;
        }
        self.ends.set([None; 2]);
        self.truncations.set(self.truncations.get() + 1);
        // What is appended from here on is dirty.
        self.cleaned_through.set(self.cleaned_through.get().map(|through| through.min(end)));
    }

    /// Drops everything cached of a segment whose bytes change or go.
    pub(super) fn forget(&self, segment: &Segment) {
        self.site.tail.forget_from(segment.uid);
        self.site.cx.cold.forget(segment.uid);
    }
}

pub(super) async fn remove_if_there(
    rt: &crate::rt::Rt,
    path: &std::path::Path,
) -> Result<(), LogError> {
    match rt.remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LogError::io("remove", path, &error))
        }
        _ => Ok(()),
    }
}
