//! Moves what cannot be part of a log out of its way, without losing a byte of it.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::recovery::Report;
use super::segment::Segment;
use super::site::Site;
use super::{FileKind, names};
use crate::buf::BLOCK;
use crate::error::{LogError, is_full};
use crate::rt::{File, OpenMode};

/// What became of the bytes behind a segment's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// There were none.
    None,
    /// They were zeros.
    Zeros,
    /// They are in a file of their own.
    Aside,
    /// They are where they were, since the disk has no room for a copy: nothing may be appended.
    InPlace,
}

/// Cuts a segment file from byte `end` on; `len` is its length. What is there beside zeros is
/// copied to a file of its own first.
///
/// # Errors
/// When the copy cannot be made; the segment is unchanged then, but for zeros at its end.
pub(super) async fn cut(
    site: &Site,
    segment: &Segment,
    end: u64,
    len: u64,
    why: &str,
    report: &mut Report,
) -> Result<Tail, LogError> {
    let path = segment.path(FileKind::Log);
    let failed = |action: &'static str| {
        let path = path.clone();
        move |error: io::Error| LogError::io(action, &path, &error)
    };
    let file = segment.file(&site.cx).await?;
    let data_end = last_nonzero(&file, end, len).await.map_err(failed("read"))?;
    // The last bytes of a batch may be zeros: whole blocks are kept.
    let data_end =
        if data_end > end { data_end.next_multiple_of(BLOCK as u64).min(len) } else { end };
    // Zeros first: on a full disk this frees the room that the copy needs.
    if data_end < len {
        file.truncate(data_end).await.map_err(failed("truncate"))?;
    }
    if data_end == end {
        return Ok(Tail::Zeros);
    }
    let (name, bytes) = (FileKind::Log.name(segment.base), data_end - end);
    let kept = match copy(site, &file, end, data_end, &name).await {
        Ok(kept) => kept,
        Err(error) if is_full(&error) => {
            tracing::error!(
                log = &*site.name,
                segment = segment.base,
                position = end,
                bytes,
                why,
                "bytes behind the end of the log stay where they are: the disk is full"
            );
            return Ok(Tail::InPlace);
        }
        Err(error) => return Err(LogError::io("set aside", &path, &error)),
    };
    tracing::warn!(
        log = &*site.name, segment = segment.base, position = end, bytes, why,
        kept = %kept.display(), "bytes behind the end of the log were set aside"
    );
    report.cut_bytes += bytes;
    report.aside.push(kept);
    file.truncate(end).await.map_err(failed("truncate"))?;
    Ok(Tail::Aside)
}

/// Renames all files of a segment that cannot follow the log's end.
pub(super) async fn keep_segment(
    site: &Site,
    segment: &Rc<Segment>,
    report: &mut Report,
) -> Result<(), LogError> {
    let rt = &site.cx.rt;
    let dir = site.path();
    report.cut_bytes += segment.size();
    for path in segment.paths() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kept = free_name(site, &name, "unreachable").await;
        let kept = kept.map_err(|error| LogError::io("look at", &dir, &error))?;
        match rt.rename(&path, &kept).await {
            Ok(()) => report.aside.push(kept),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(LogError::io("rename", &path, &error)),
        }
    }
    rt.sync_dir(&dir).await.map_err(|error| LogError::io("sync", &dir, &error))?;
    tracing::warn!(
        log = &*site.name,
        segment = segment.base,
        bytes = segment.size(),
        "a segment behind a damaged one was set aside"
    );
    Ok(())
}

/// End of the last byte in `from..len` that is not zero; `from` when all are.
async fn last_nonzero(file: &File, from: u64, len: u64) -> io::Result<u64> {
    let floor = from - from % BLOCK as u64;
    let mut piece_end = len;
    while piece_end > floor {
        let whole = piece_end.next_multiple_of(BLOCK as u64);
        let start = whole.saturating_sub(PIECE).max(floor);
        let read = file.read_at(start, usize::try_from(whole - start).unwrap_or(BLOCK)).await?;
        let bytes = &read[..read.len().min(usize::try_from(piece_end - start).unwrap_or(0))];
        if let Some(at) = bytes.iter().rposition(|&byte| byte != 0) {
            return Ok((start + at as u64 + 1).max(from));
        }
        piece_end = start;
    }
    Ok(from)
}

/// A name under which nothing is kept yet.
async fn free_name(site: &Site, name: &str, label: &str) -> io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let label = if number == 0 { label.to_owned() } else { format!("{label}-{number}") };
        let path = site.path().join(names::aside(name, &label));
        if !site.cx.rt.exists(&path).await? {
            return Ok(path);
        }
        number += 1;
    }
}

/// Copies `from..to` of `file`, which is called `name`, into a new file, durably.
async fn copy(site: &Site, file: &File, from: u64, to: u64, name: &str) -> io::Result<PathBuf> {
    let into = free_name(site, name, &format!("from-{from}")).await?;
    let copied = copy_into(site, file, from, to, &into).await;
    if copied.is_err() {
        // Half a copy is worth nothing, and takes room.
        let _ = site.cx.rt.remove_file(&into).await;
    }
    copied.map(|()| into)
}

async fn copy_into(site: &Site, file: &File, from: u64, to: u64, into: &Path) -> io::Result<()> {
    let rt = &site.cx.rt;
    let out = rt.open(into, OpenMode::CreateNew).await?;
    let base = from - from % BLOCK as u64;
    let mut at = base;
    while at < to {
        let len = usize::try_from((to - at).min(PIECE)).unwrap_or(BLOCK).next_multiple_of(BLOCK);
        let read = file.read_at(at, len).await?;
        // Written block by block where the original has it, then cut at both ends.
        let mut block = rt.alloc(len);
        block.fill(0);
        block[..read.len()].copy_from_slice(&read);
        let skip = usize::try_from(from.saturating_sub(at)).unwrap_or(0);
        block[..skip].fill(0);
        out.write_at(Rc::new(block), len, at - base).await?;
        at += len as u64;
    }
    out.truncate(to - base).await?;
    out.sync().await?;
    rt.sync_dir(&site.path()).await
}

/// Bytes read at a time.
const PIECE: u64 = 1 << 20;
