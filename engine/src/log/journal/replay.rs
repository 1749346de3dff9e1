//! What a crash left in the journals goes to the files, before any log is opened.
//!
//! Every byte in a journal was acknowledged, or was about to be, and its place in a file is known.
//! Bytes that are in the file already are written again, which changes nothing. Where the file has a
//! whole batch that is another one, somebody else wrote there: then nothing is started, since either
//! side may be right.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use wire::primitives::Uuid;

use super::FRAME_BYTES;
use super::format::{self, BadHead, Entry, HEAD_BYTES, Head, Target};
use crate::batch::header::{BatchHeader, BatchView};
use crate::buf::BLOCK;
use crate::error::DirError;
use crate::log::FileKind;
use crate::log::open::topic_id;
use crate::rt::{File, OpenMode, Rt};

/// What was in the journals of a log directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// Journals with something in them.
    pub(crate) journals: usize,
    /// Logs that got bytes.
    pub(crate) logs: usize,
    /// The bytes.
    pub(crate) bytes: u64,
}

/// Bytes for the segments of one log, by base offset; stretches in the order of their entries.
type Stretches = BTreeMap<i64, Vec<(u64, Vec<u8>)>>;
/// By partition directory, topic and partition.
type Wanted = BTreeMap<(String, Uuid, i32), Stretches>;

/// Looks whether every journal in the log directory `root`, whichever core's it was, can be replayed,
/// and changes nothing. `closed_in_order` says that the last program to use the directory did so.
///
/// # Errors
/// When a journal is of a newer release or another directory, or damaged, or somebody else used the
/// directory since. When a file cannot be read.
pub(crate) async fn check(
    rt: &Rt,
    root: &Path,
    directory: Option<Uuid>,
    closed_in_order: bool,
) -> Result<(), DirError> {
    for path in journals(rt, root).await? {
        let Some(found) = Found::read(rt, path).await? else { continue };
        found.check(directory, closed_in_order)?;
        found.put(rt, root, Act::Compare).await?;
    }
    Ok(())
}

/// Replays every journal in the log directory `root`, which were [checked](check), and leaves them
/// empty.
///
/// # Errors
/// When a file cannot be read or written: what was replayed until then is replayed again.
pub(crate) async fn replay(rt: &Rt, root: &Path) -> Result<Replayed, DirError> {
    let mut replayed = Replayed::default();
    for path in journals(rt, root).await? {
        let Some(found) = Found::read(rt, path).await? else { continue };
        let (logs, bytes) = found.put(rt, root, Act::Write).await?;
        found.empty(rt).await?;
        replayed.journals += 1;
        replayed.logs += logs;
        replayed.bytes += bytes;
    }
    Ok(replayed)
}

async fn journals(rt: &Rt, root: &Path) -> Result<Vec<PathBuf>, DirError> {
    let listed = rt.list_dir(root).await.map_err(|error| DirError::io("list", root, &error))?;
    let named = listed.iter().filter(|entry| super::is_journal(&entry.name.to_string_lossy()));
    Ok(named.map(|entry| root.join(&entry.name)).collect())
}

/// What is done with the bytes for a log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Only looks whether they may be written.
    Compare,
    Write,
}

/// A journal with something in it.
struct Found {
    path: PathBuf,
    heads: Vec<(u64, Head)>,
    wanted: Wanted,
}

impl Found {
    async fn read(rt: &Rt, path: PathBuf) -> Result<Option<Self>, DirError> {
        let failed = |error: io::Error| DirError::io("read", &path, &error);
        let file = rt.open(&path, OpenMode::Read).await.map_err(failed)?;
        let len = file.len().await.map_err(failed)?;
        let half = len / 2;
        if half < HEAD_BYTES as u64 || !half.is_multiple_of(BLOCK as u64) {
            // It was never whole, so nothing was ever in it.
            return Ok(None);
        }
        let mut heads = Vec::new();
        for start in [0, half] {
            let block = file.read_at(start, HEAD_BYTES).await.map_err(failed)?;
            match Head::decode(&block) {
                Ok(head) if head.half_bytes == half => heads.push((start, head)),
                Ok(_) => return Err(DirError::unreadable(&path, "of another size than it says")),
                Err(BadHead::Damaged) if block.iter().all(|byte| *byte == 0) => {}
                Err(newer @ BadHead::Newer(_)) => {
                    return Err(DirError::unreadable(&path, newer.to_string()));
                }
                Err(BadHead::Damaged) => return Err(damaged(&path)),
            }
        }
        heads.retain(|(_, head)| head.in_use);
        if heads.is_empty() {
            return Ok(None);
        }
        heads.sort_unstable_by_key(|(_, head)| head.generation);
        let mut wanted = Wanted::new();
        for (start, head) in &heads {
            read_half(&file, &path, *start, head, &mut wanted).await?;
        }
        file.close().await.map_err(failed)?;
        Ok(Some(Self { path, heads, wanted }))
    }

    fn check(&self, directory: Option<Uuid>, closed_in_order: bool) -> Result<(), DirError> {
        let away = "move the file away to go on with what the logs have";
        let owner = self.heads.iter().find(|(_, head)| Some(head.directory) != directory);
        if let Some((_, head)) = owner {
            let reason = format!(
                "the commit journal of another log directory, directory.id {}; {away}",
                head.directory
            );
            return Err(DirError::unreadable(&self.path, reason));
        }
        if closed_in_order && !self.wanted.is_empty() {
            let reason = format!(
                "holds records that were acknowledged before a crash, but another program used the \
                 directory since then; {away}"
            );
            return Err(DirError::unreadable(&self.path, reason));
        }
        Ok(())
    }

    /// Takes its bytes to their logs; returns how many logs got some, and the bytes.
    async fn put(&self, rt: &Rt, root: &Path, act: Act) -> Result<(usize, u64), DirError> {
        let (mut logs, mut bytes) = (0, 0);
        for ((name, topic, _), stretches) in &self.wanted {
            let put = put_log(rt, &root.join(name), *topic, stretches, &self.path, act).await?;
            logs += usize::from(put > 0);
            bytes += put;
        }
        Ok((logs, bytes))
    }

    /// Says that nothing in it is needed.
    async fn empty(&self, rt: &Rt) -> Result<(), DirError> {
        let emptied: io::Result<()> = async {
            let file = rt.open(&self.path, OpenMode::ReadWrite).await?;
            for (start, head) in &self.heads {
                let mut block = rt.alloc(HEAD_BYTES);
                Head { in_use: false, ..*head }.encode(&mut block);
                file.write_at(Rc::new(block), HEAD_BYTES, *start).await?;
            }
            file.sync().await?;
            file.close().await
        }
        .await;
        emptied.map_err(|error| DirError::io("empty", &self.path, &error))
    }
}

/// Takes in the frames of one half.
async fn read_half(
    file: &File,
    path: &Path,
    start: u64,
    head: &Head,
    wanted: &mut Wanted,
) -> Result<(), DirError> {
    let failed = |error: io::Error| DirError::io("read", path, &error);
    let (mut at, end) = (start + HEAD_BYTES as u64, start + head.half_bytes);
    let mut number = 0;
    while at < end {
        let count = usize::try_from(end - at).unwrap_or(FRAME_BYTES).min(FRAME_BYTES);
        let bytes = file.read_at(at, count).await.map_err(failed)?;
        let Some((entries, whole)) = format::open(&bytes, head.generation, number) else { break };
        for entry in entries {
            take(wanted, entry);
        }
        at += whole as u64;
        number += 1;
    }
    // The write that a crash tore was the last one.
    while at < end {
        let count = usize::try_from(end - at).unwrap_or(FRAME_BYTES).min(FRAME_BYTES);
        let bytes = file.read_at(at, count).await.map_err(failed)?;
        for block in (0..bytes.len()).step_by(BLOCK) {
            if format::follows(&bytes[block..], head.generation, number) {
                return Err(damaged(path));
            }
        }
        at += count as u64;
    }
    Ok(())
}

fn take(wanted: &mut Wanted, entry: Entry<'_>) {
    let key = |target: Target<'_>| (target.name.to_owned(), target.topic_id, target.partition);
    match entry {
        Entry::Void(target) => drop(wanted.remove(&key(target))),
        Entry::Bytes(target, data) => {
            let stretches = wanted.entry(key(target)).or_default().entry(target.base).or_default();
            match stretches.last_mut() {
                Some((position, bytes)) if *position + bytes.len() as u64 == target.position => {
                    bytes.extend_from_slice(data);
                }
                _ => stretches.push((target.position, data.to_vec())),
            }
        }
    }
}

/// Takes its bytes to a log, if it is still there; returns how many.
async fn put_log(
    rt: &Rt,
    place: &Path,
    topic: Uuid,
    stretches: &Stretches,
    journal: &Path,
    act: Act,
) -> Result<u64, DirError> {
    if topic_id(rt, place).await.is_none_or(|found| found.0 != topic) {
        // Deleted, or deleted and made anew.
        return Ok(0);
    }
    let listed = rt.list_dir(place).await.map_err(|error| DirError::io("list", place, &error))?;
    let bases =
        listed.iter().filter_map(|entry| match FileKind::parse(&entry.name.to_string_lossy()) {
            Some((FileKind::Log, base)) => Some(base),
            _ => None,
        });
    let mut bases: Vec<i64> = bases.collect();
    bases.sort_unstable();
    let mut put = 0;
    for (base, stretches) in stretches.iter().filter(|(base, _)| bases.contains(base)) {
        let path = FileKind::Log.path(place, *base);
        let (verb, mode) = match act {
            Act::Compare => ("read", OpenMode::Read),
            Act::Write => ("write", OpenMode::ReadWrite),
        };
        let failed = |error: io::Error| DirError::io(verb, &path, &error);
        let file = rt.open(&path, mode).await.map_err(failed)?;
        let is_last = bases.last() == Some(base);
        for (position, bytes) in stretches {
            let target = SegmentFile { rt, file: &file, is_last, act };
            if !target.put(*position, bytes).await.map_err(failed)? {
                return Err(DirError::unreadable(
                    journal,
                    format!(
                        "holds records that were acknowledged before a crash, but {} has others in \
                         their place at position {position}: another program wrote there; move \
                         the journal away to go on with what the log has",
                        path.display()
                    ),
                ));
            }
            put += bytes.len() as u64;
        }
        if act == Act::Write {
            file.sync().await.map_err(failed)?;
        }
        file.close().await.map_err(failed)?;
    }
    Ok(put)
}

struct SegmentFile<'a> {
    rt: &'a Rt,
    file: &'a File,
    /// No segment follows it.
    is_last: bool,
    act: Act,
}

impl SegmentFile<'_> {
    /// Writes `bytes` at `position`; false if something else is there.
    async fn put(&self, position: u64, bytes: &[u8]) -> io::Result<bool> {
        let len = self.file.len().await?;
        let start = position - position % BLOCK as u64;
        let end = position + bytes.len() as u64;
        let count = usize::try_from(end - start).map_err(io::Error::other)?.next_multiple_of(BLOCK);
        let mut there = vec![0; count];
        let mut at = 0;
        while at < count && start + (at as u64) < len {
            let read = self.file.read_at(start + at as u64, (count - at).min(STEP_BYTES)).await?;
            if read.is_empty() {
                break;
            }
            there[at..at + read.len()].copy_from_slice(&read);
            at += read.len();
        }
        let inside = usize::try_from(position - start).expect("less than a block");
        if there[inside..inside + bytes.len()] == *bytes && end <= len {
            return Ok(true);
        }
        // A segment that has a successor was synced whole before that began.
        if !self.is_last || is_another(&there[inside..], bytes) {
            return Ok(false);
        }
        if self.act == Act::Compare {
            return Ok(true);
        }
        there[inside..inside + bytes.len()].copy_from_slice(bytes);
        for (index, piece) in there.chunks(STEP_BYTES).enumerate() {
            let mut buf = self.rt.alloc(piece.len().next_power_of_two().max(BLOCK));
            buf[..piece.len()].copy_from_slice(piece);
            let at = start + (index * STEP_BYTES) as u64;
            self.file.write_at(Rc::new(buf), piece.len(), at).await?;
        }
        Ok(true)
    }
}

/// Whether a whole batch begins at the front of `there` that is not the one of `ours`.
fn is_another(there: &[u8], ours: &[u8]) -> bool {
    let (Ok(found), Ok(wanted)) = (BatchHeader::decode(there), BatchHeader::decode(ours)) else {
        return false;
    };
    let whole = there.get(..found.size()).and_then(|whole| BatchView::decode(whole).ok());
    whole.is_some_and(|batch| batch.checksum_holds())
        && (found.crc, found.base_offset, found.size())
            != (wanted.crc, wanted.base_offset, wanted.size())
}

fn damaged(path: &Path) -> DirError {
    DirError::unreadable(
        path,
        "damaged, and may hold records that were acknowledged before a crash; restore it, or move \
         it away to go on without them",
    )
}

/// Bytes of one read or write.
const STEP_BYTES: usize = 1 << 20;
