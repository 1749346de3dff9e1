//! The last steps of a move, while appends wait.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use wire::primitives::Uuid;

use super::super::appender::AppenderSpec;
use super::super::dir::LogDir;
use super::super::names::{DELETED_SUFFIX, Stage};
use super::super::open::METADATA_FILE;
use super::super::recovery::EPOCHS_FILE;
use super::super::segment::{Place, Segment};
use super::super::{FileKind, Log, text};
use super::copy::Copies;
use super::{Note, Relocation, SWITCH_BYTES};
use crate::buf::BLOCK;
use crate::error::LogError;
use crate::rt::{OpenMode, Rt};

impl Log {
    /// Copies the rest and goes on in the copy; false if too much was appended to do that now.
    ///
    /// # Errors
    /// The log is where it was; after `Failed` nobody knows.
    pub(super) async fn switch_to_copy<'a>(
        self: &Rc<Self>,
        to: &'a Relocation,
        copies: &mut Copies<'a>,
    ) -> Result<bool, LogError> {
        let _shape = self.shape.lock().await;
        let _turn = self.turn.lock().await;
        self.check_open()?;
        copies.reconcile(self).await?;
        if copies.behind(self) > 2 * SWITCH_BYTES {
            return Ok(false);
        }
        self.clear_leftover().await?;
        self.appender().drain().await?;
        copies.advance(self, None).await?;
        // Whoever writes a file beside a segment is done.
        let _files = self.files.lock().await;
        let (fresh, segments) = copies.close_active(self).await?;
        self.copy_beside(to).await?;
        self.appender().leave_journal().await?;
        self.leave_note(to, &fresh).await?;
        let mut spec = to.site.appender_spec(&fresh, self.log_end(), &self.config()).await?;
        spec.tail = Rc::clone(&self.site.tail);
        self.check_open()?;
        to.check()?;
        if to.is_cancelled() {
            return Ok(false);
        }
        let committing = Committing(self);
        let committed = self.commit_move(to).await;
        if committed.is_ok() {
            let (dir, place) = self.go_on(to, &fresh, segments, spec);
            std::mem::forget(committing);
            self.retire(&dir, &place).await;
        } else {
            std::mem::forget(committing);
        }
        committed.map(|()| true)
    }

    /// Brings along what stands beside the segments and is of no segment.
    async fn copy_beside(&self, to: &Relocation) -> Result<(), LogError> {
        let (rt, from, place) = (&self.site.cx.rt, self.site.path(), to.site.path());
        let listed = rt.list_dir(&from).await;
        for entry in listed.map_err(|error| LogError::io("list", &from, &error))? {
            let name = entry.name.to_string_lossy();
            let known = [EPOCHS_FILE, METADATA_FILE, Note::FILE].contains(&&*name)
                || FileKind::parse(&name).is_some()
                || Stage::parse(&name).is_some()
                || [DELETED_SUFFIX, ".tmp"].iter().any(|suffix| name.ends_with(suffix));
            if entry.is_dir || known {
                continue;
            }
            let path = from.join(&entry.name);
            let copied = copy_file(rt, &path, &place.join(&entry.name)).await;
            copied.map_err(|error| LogError::io("copy", &path, &error))?;
        }
        let lines = self.epochs(|epochs| {
            let lines = epochs.entries().iter().map(|(epoch, start)| format!("{epoch} {start}"));
            lines.collect::<Vec<_>>()
        });
        let (path, text) = (place.join(EPOCHS_FILE), text::encode(lines.into_iter()));
        let written = rt.write_file(&path, text.as_bytes()).await;
        written.map_err(|error| LogError::io("write", &path, &error))
    }

    /// Writes down what is known of the log, durably with everything else in the copy.
    async fn leave_note(&self, to: &Relocation, fresh: &Segment) -> Result<(), LogError> {
        let mut entry = self.entry_now();
        let (offsets, times) =
            fresh.with_indexes(|i| (i.offsets.len(), i.times.len())).unwrap_or_default();
        entry.index_entries = u32::try_from(offsets).unwrap_or(0);
        entry.time_index_entries = u32::try_from(times).unwrap_or(0);
        entry.txn_entries = u32::try_from(fresh.txn_count()).unwrap_or(0);
        let from = self.site.dir().contents().meta.directory_id.unwrap_or(Uuid::ZERO).0;
        let note = Note { from, id: to.id.0, entry };
        let path = to.site.path().join(Note::FILE);
        let written = self.site.cx.rt.replace_file(&path, &note.encode()).await;
        written.map_err(|error| LogError::io("write", &path, &error))
    }

    /// Gives the copy the log's name: from here on it is the log.
    async fn commit_move(&self, to: &Relocation) -> Result<(), LogError> {
        let (rt, from, target) = (&self.site.cx.rt, to.site.path(), to.target());
        let path = target.partition_path(&self.site.topic, self.site.partition);
        let renamed = rt.rename(&from, &path).await;
        let is_renamed = renamed.is_ok();
        let error = match renamed {
            Ok(()) => match rt.sync_dir(target.path()).await {
                Ok(()) => {
                    to.site.place().moved_to(path);
                    return Ok(());
                }
                Err(error) => LogError::io("sync", target.path(), &error),
            },
            Err(error) => LogError::io("rename", &from, &error),
        };
        // The next start may find the copy under the log's name, or not: this tells it to let go of
        // it. Without, records that are appended from here on could be lost.
        let stayed = self.site.path().join(Note::stayed(to.id));
        if let Err(second) = rt.replace_file(&stayed, b"").await {
            return Err(self.fail(&format!("cannot be moved, nor stay: {error}; {second}")));
        }
        if is_renamed {
            // To be discarded there; if that fails, too, the next start does it.
            drop(rt.rename(&path, &from).await);
        }
        Err(error)
    }

    /// Takes the copy for the log, in memory; answers where it was before.
    fn go_on(
        self: &Rc<Self>,
        to: &Relocation,
        fresh: &Rc<Segment>,
        segments: BTreeMap<i64, Rc<Segment>>,
        spec: AppenderSpec,
    ) -> (Rc<LogDir>, Rc<Place>) {
        let (old, appender) = (self.segments_from(i64::MIN), self.appender());
        for segment in old.iter().rev() {
            self.forget(segment);
        }
        let next = self.appender_of(spec);
        if let Some(error) = appender.failure() {
            next.fail(error);
        }
        appender.rest();
        let dir = self.site.dir();
        let place = self.site.move_to(&to.site);
        dir.leave(self);
        let closed = {
            let mut state = self.state.borrow_mut();
            state.segments = segments;
            state.active = Rc::clone(fresh);
            state.appender = next;
            state.epochs_changed = true;
            state.closed
        };
        if !closed {
            self.site.dir().register(self);
        }
        self.ends.set([None; 2]);
        // Compaction read segments that are the log's no more.
        self.truncations.set(self.truncations.get() + 1);
        self.note_change();
        for segment in &old {
            segment.unpin(&self.site.cx);
        }
        self.progressed();
        (dir, place)
    }

    /// Takes the log's old directory out of sight, as a deleted one's. If that fails the note tells
    /// the next start what it is.
    async fn retire(&self, dir: &Rc<LogDir>, place: &Place) {
        let rt = &self.site.cx.rt;
        let from = place.get();
        let to = dir.doomed_path(&self.site.topic, self.site.partition);
        let retired: io::Result<()> = async {
            place.set_moving(true);
            let renamed = rt.rename(&from, &to).await;
            if renamed.is_ok() {
                place.moved_to(to.clone());
            }
            place.set_moving(false);
            renamed?;
            rt.sync_dir(dir.path()).await
        }
        .await;
        match retired {
            Ok(()) => {
                let delay = u64::try_from(self.config().file_delete_delay_ms).unwrap_or(0);
                dir.doom(vec![to], Duration::from_millis(delay));
            }
            Err(error) => tracing::error!(
                path = %from.display(), %error, "what was moved away stays until the next start"
            ),
        }
    }
}

/// A panic while the copy takes the log's name leaves open which one is the log.
struct Committing<'a>(&'a Log);

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        // Told where the log fails.
        let _ = self.0.fail("a move was interrupted");
    }
}

async fn copy_file(rt: &Rt, from: &Path, to: &Path) -> io::Result<()> {
    let source = rt.open(from, OpenMode::Read).await?;
    let target = rt.open(to, OpenMode::Create).await?;
    let len = source.len().await?;
    let mut at = 0;
    while at < len {
        let read = source.read_at(at, COPY_BYTES).await?;
        if read.is_empty() {
            break;
        }
        let mut buf = rt.alloc(read.len().next_multiple_of(BLOCK));
        buf.fill(0);
        buf[..read.len()].copy_from_slice(&read);
        let count = buf.len();
        target.write_at(Rc::new(buf), count, at).await?;
        at += read.len() as u64;
    }
    target.truncate(len).await?;
    target.sync().await?;
    source.close().await?;
    target.close().await
}

/// Bytes of one read and write.
const COPY_BYTES: usize = 1 << 20;
