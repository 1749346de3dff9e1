//! A cleaned segment takes the place of those it was made from, whatever happens in between.
//!
//! ```text
//!  .cleaned ──1──▶ .swap ──────────────3──▶ (no suffix)
//!             old segments ──2──▶ .deleted ── after file.delete.delay.ms ──▶ gone
//! ```
//!
//! The names are durable after each step. Before the end of step 1 a start removes what was
//! written; after it a start finishes: the `.swap` segment replaces every segment that begins inside
//! of its offsets. These are Kafka's steps and names, so either finishes what the other began.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::super::names::{self, Stage};
use super::super::scan::Scanner;
use super::super::segment::Segment;
use super::super::truncate::remove_if_there;
use super::super::{FileKind, Log};
use crate::cx::EngineCx;
use crate::error::LogError;
use crate::rt::{OpenMode, Rt};

impl Log {
    /// Puts `fresh`, whose files are `.cleaned`, into the place of `old`, if the log still has those
    /// and was not truncated since it had been so `truncations` times. The caller pinned them with
    /// all they need in memory.
    ///
    /// # Errors
    /// `Retry` when the log changed, as any error before step 1: the caller removes the files.
    /// `Failed` later.
    pub(super) async fn swap(
        self: &Rc<Self>,
        fresh: &Rc<Segment>,
        old: &[Rc<Segment>],
        truncations: u64,
    ) -> Result<(), LogError> {
        let _shape = self.shape.lock().await;
        self.check_open()?;
        if truncations != self.truncations.get() {
            return Err(LogError::Retry);
        }
        {
            let state = self.state.borrow();
            let there = |segment: &Rc<Segment>| {
                state.segments.get(&segment.base).is_some_and(|s| Rc::ptr_eq(s, segment))
            };
            let active = old.iter().any(|segment| Rc::ptr_eq(segment, &state.active));
            if active || !old.iter().all(there) {
                return Err(LogError::Retry);
            }
        }
        // Whoever writes a file beside one of them has seen it unpinned.
        drop(self.files.lock().await);
        match self.swap_files(fresh, old).await {
            Ok(doomed) => {
                let delay = u64::try_from(self.config().file_delete_delay_ms).unwrap_or(0);
                self.site.dir().doom(doomed, Duration::from_millis(delay));
            }
            Err(error) => return Err(self.fail(&format!("cannot swap segments: {error}"))),
        }
        {
            let mut state = self.state.borrow_mut();
            for segment in old {
                state.segments.remove(&segment.base);
            }
            state.segments.insert(fresh.base, Rc::clone(fresh));
        }
        for segment in old {
            self.forget_oldest(segment);
            self.site.cx.cold.forget_ready(segment.uid);
        }
        if let Some(pages) = fresh.pages_to_save() {
            self.save_blocks(fresh, pages).await;
        }
        fresh.unpin(&self.site.cx);
        Ok(())
    }

    /// Renames everything; answers what waits for removal.
    async fn swap_files(
        &self,
        fresh: &Segment,
        old: &[Rc<Segment>],
    ) -> Result<Vec<PathBuf>, LogError> {
        let (rt, dir) = (&self.site.cx.rt, self.site.path());
        for kind in SWAPPED {
            let from = kind.path_at(&dir, fresh.base, Stage::Cleaned);
            rename_if_there(rt, &from, &kind.path_at(&dir, fresh.base, Stage::Swap)).await?;
        }
        sync(rt, &dir).await?;
        let mut doomed = Vec::new();
        for segment in old {
            for kind in FileKind::ALL {
                // As of the segment's first offset, which stays.
                if kind == FileKind::Snapshot && segment.base == fresh.base {
                    continue;
                }
                let from = kind.path(&dir, segment.base);
                let to = names::deleted(&from);
                if rename_if_there(rt, &from, &to).await? {
                    doomed.push(to);
                }
            }
        }
        sync(rt, &dir).await?;
        for kind in SWAPPED {
            let from = kind.path_at(&dir, fresh.base, Stage::Swap);
            rename_if_there(rt, &from, &kind.path(&dir, fresh.base)).await?;
        }
        sync(rt, &dir).await?;
        Ok(doomed)
    }

    /// Removes what was written of a segment that does not come to be.
    pub(super) async fn discard_cleaned(&self, base: i64) {
        let (rt, dir) = (&self.site.cx.rt, self.site.path());
        for kind in SWAPPED {
            let path = kind.path_at(&dir, base, Stage::Cleaned);
            match rt.remove_file(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove a leftover");
                }
                _ => {}
            }
        }
    }
}

/// Finishes, or takes back, the swap that a crash interrupted in the log directory `dir`. To be
/// called before anything else is made of what is in it.
pub(in crate::log) async fn finish_swaps(cx: &EngineCx, dir: &Path) -> Result<(), LogError> {
    let rt = &cx.rt;
    let listed = rt.list_dir(dir).await.map_err(|error| LogError::io("list", dir, &error))?;
    let names: Vec<_> =
        listed.iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect();
    let staged: Vec<_> = names.iter().filter_map(|name| Stage::parse(name)).collect();
    if staged.is_empty() {
        return Ok(());
    }
    let bases: Vec<i64> = names.iter().filter_map(|name| log_base(name)).collect();
    let cleaned = staged.iter().filter(|(stage, ..)| *stage == Stage::Cleaned);
    let first_cleaned = cleaned.map(|(.., base)| *base).min().unwrap_or(i64::MAX);
    let mut swaps = Vec::new();
    for &(stage, kind, base) in &staged {
        let has_log = staged.contains(&(Stage::Swap, FileKind::Log, base));
        if stage == Stage::Swap && base < first_cleaned && has_log {
            if kind == FileKind::Log {
                swaps.push(base);
            }
            continue;
        }
        // Not all of it was durable, so nothing was replaced yet.
        let path = kind.path_at(dir, base, stage);
        tracing::info!(path = %path.display(), "left by a compaction that broke off, removed");
        remove_if_there(rt, &path).await?;
    }
    for base in swaps {
        finish(cx, dir, base, &bases).await?;
    }
    Ok(())
}

async fn finish(cx: &EngineCx, dir: &Path, base: i64, bases: &[i64]) -> Result<(), LogError> {
    let (rt, path) = (&cx.rt, FileKind::Log.path_at(dir, base, Stage::Swap));
    let (end, whole) = measure(rt, &path).await?;
    if !whole && bases.contains(&base) {
        // Damaged later, or without a batch to tell what it replaces: what is there is better.
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let aside = dir.join(names::aside(&name, "damaged"));
        tracing::error!(path = %aside.display(), "a damaged compacted segment was set aside");
        rename_if_there(rt, &path, &aside).await?;
        for kind in SWAPPED {
            remove_if_there(rt, &kind.path_at(dir, base, Stage::Swap)).await?;
        }
        return sync(rt, dir).await;
    }
    tracing::info!(path = %path.display(), "a compaction that was interrupted is finished");
    for &old in bases.iter().filter(|&&old| old == base || (old > base && old < end)) {
        for kind in FileKind::ALL.into_iter().filter(|kind| *kind != FileKind::Snapshot) {
            let from = kind.path(dir, old);
            rename_if_there(rt, &from, &names::deleted(&from)).await?;
        }
    }
    sync(rt, dir).await?;
    for kind in SWAPPED {
        let from = kind.path_at(dir, base, Stage::Swap);
        rename_if_there(rt, &from, &kind.path(dir, base)).await?;
    }
    sync(rt, dir).await
}

/// The offset behind the last batch of a file, and whether the file is whole batches and not none.
async fn measure(rt: &Rt, path: &Path) -> Result<(i64, bool), LogError> {
    let failed = |error: io::Error| LogError::io("read", path, &error);
    let file = rt.open(path, OpenMode::Read).await.map_err(failed)?;
    let len = file.len().await.map_err(failed)?;
    let mut scanner = Scanner::new(rt, file, 0, len);
    let (mut end, mut seen) = (i64::MIN, 0);
    while let Ok(found) = scanner.next(|_| ()).await.map_err(failed)? {
        end = found.header.next_offset().0;
        seen = found.position + found.header.size() as u64;
    }
    Ok((end, seen == len && len > 0))
}

fn log_base(name: &str) -> Option<i64> {
    match FileKind::parse(name) {
        Some((FileKind::Log, base)) => Some(base),
        _ => None,
    }
}

async fn rename_if_there(rt: &Rt, from: &Path, to: &Path) -> Result<bool, LogError> {
    match rt.rename(from, to).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(LogError::io("rename", from, &error)),
    }
}

async fn sync(rt: &Rt, dir: &Path) -> Result<(), LogError> {
    rt.sync_dir(dir).await.map_err(|error| LogError::io("sync", dir, &error))
}

/// The files that a cleaned segment brings along, the log first: without it the others are nothing.
pub(in crate::log) const SWAPPED: [FileKind; 4] =
    [FileKind::Log, FileKind::Index, FileKind::TimeIndex, FileKind::TxnIndex];
