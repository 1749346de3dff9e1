//! A file's bytes: as the running system sees them, as they are certain to survive, and what lies
//! between.
//!
//! The unit of storage is a block of 4096 bytes, shared between the two images until it differs;
//! the unit that a power cut tears is a sector of 512.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    rc::Rc,
};

use crate::rt::rng::Rng;

pub(super) const BLOCK: usize = 4096;
const SECTOR: usize = 512;

pub(super) type Block = [u8; BLOCK];

/// Contents of a file: blocks that are absent read as zeros. No block lies wholly at or beyond
/// `len`, and bytes beyond it are zero.
#[derive(Clone, Default)]
pub(super) struct Image {
    len: u64,
    blocks: BTreeMap<u64, Rc<Block>>,
}

/// A file's two images and the operations that separate them, oldest first.
#[derive(Default)]
pub(super) struct Contents {
    live: Image,
    durable: Image,
    unsynced: VecDeque<Unsynced>,
    next_seq: u64,
    /// What blocks held before their last write, for the bug that reads it.
    before: BTreeMap<u64, Rc<Block>>,
}

struct Unsynced {
    seq: u64,
    change: Change,
    /// A failed sync left it behind: no later sync will write it, as the kernel forgets it too.
    forgotten: bool,
}

enum Change {
    Write(Vec<(u64, Rc<Block>)>),
    SetLen(u64),
}

/// How a power cut treats what was not synced, drawn once per cut so that all-lost, all-kept and
/// mixed outcomes are all common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Odds {
    pub(super) keep: f64,
    pub(super) tear: f64,
}

impl Odds {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let keep = [0.0, 0.0, 0.5, 0.5, 0.9, 1.0][rng.index(6)];
        let tear = [0.0, 0.3, 1.0][rng.index(3)];
        Self { keep, tear }
    }
}

impl Contents {
    pub(super) fn len(&self) -> u64 {
        self.live.len
    }

    pub(super) fn read(&self, pos: u64, buf: &mut [u8]) -> usize {
        self.live.read(pos, buf)
    }

    /// A planted bug's read: every third block as it was before its last write.
    pub(super) fn read_stale(&self, pos: u64, buf: &mut [u8]) -> usize {
        let len = self.live.read(pos, buf);
        let first = pos / BLOCK as u64;
        for (at, block) in (first..).zip(buf[..len].chunks_mut(BLOCK)) {
            if let Some(old) = self.before.get(&at).filter(|_| at % 3 == 0) {
                block.copy_from_slice(&old[..block.len()]);
            }
        }
        len
    }

    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// A completed write, anywhere and of any length; extends the file if it ends beyond.
    pub(super) fn write(&mut self, pos: u64, bytes: &[u8]) {
        let end = pos + bytes.len() as u64;
        let blocks = self.live.compose(pos, bytes);
        let grows = end > self.live.len;
        for (at, _) in &blocks {
            if let Some(block) = self.live.blocks.get(at) {
                self.before.insert(*at, Rc::clone(block));
            }
        }
        self.live.insert(&blocks);
        self.push(Change::Write(blocks));
        if grows {
            self.set_len(end);
        }
    }

    /// A write of which the device took only some sectors before it failed.
    pub(super) fn write_partly(&mut self, pos: u64, bytes: &[u8], rng: &mut Rng) {
        let upto = rng.index(bytes.len() / SECTOR + 1) * SECTOR;
        if upto > 0 {
            self.write(pos, &bytes[..upto]);
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.live.set_len(len);
        self.push(Change::SetLen(len));
    }

    /// Marks where a sync begins: it covers what completed before.
    pub(super) fn sync_mark(&self) -> u64 {
        self.next_seq
    }

    /// A sync that began at `mark` succeeded.
    pub(super) fn synced(&mut self, mark: u64) {
        let mut rest = VecDeque::new();
        for entry in self.unsynced.drain(..) {
            if entry.seq >= mark || entry.forgotten {
                rest.push_back(entry);
            } else {
                self.durable.apply(&entry.change);
            }
        }
        self.unsynced = rest;
    }

    /// A sync that began at `mark` failed: some of what it covered is never written.
    pub(super) fn sync_failed(&mut self, mark: u64, rng: &mut Rng) {
        for entry in &mut self.unsynced {
            entry.forgotten |= entry.seq < mark && rng.chance(0.5);
        }
    }

    /// The power went: what is left is the durable image and a seeded part of what was not synced.
    pub(super) fn lose_power(&mut self, odds: Odds, rng: &mut Rng) {
        // Lengths are metadata and journaled in order: a prefix of their changes survives.
        let lens = self.unsynced.iter().filter(|u| matches!(u.change, Change::SetLen(_))).count();
        let mut lens_kept = match () {
            () if odds.keep >= 1.0 => lens,
            () if odds.keep <= 0.0 => 0,
            () => rng.index(lens + 1),
        };
        // What was written behind a cut that did not survive went to blocks that nobody knows of.
        let mut unknown_from = u64::MAX;
        let mut len_then = self.durable.len;
        for entry in std::mem::take(&mut self.unsynced) {
            match &entry.change {
                Change::SetLen(len) if lens_kept > 0 && !entry.forgotten => {
                    lens_kept -= 1;
                    self.durable.apply(&entry.change);
                    len_then = *len;
                }
                Change::SetLen(len) => {
                    lens_kept = 0;
                    if *len < len_then {
                        unknown_from = unknown_from.min(*len);
                    }
                    len_then = *len;
                }
                Change::Write(blocks) => {
                    let known = blocks.iter().filter(|(at, _)| at * (BLOCK as u64) < unknown_from);
                    let kept = !entry.forgotten && rng.chance(odds.keep);
                    let torn = !entry.forgotten && rng.chance(odds.tear);
                    for (at, block) in known {
                        match (kept, torn) {
                            (true, false) => self.durable.put(*at, Rc::clone(block)),
                            (_, true) => self.durable.tear(*at, block, rng),
                            (false, false) => {}
                        }
                    }
                }
            }
        }
        self.durable.settle();
        self.live = self.durable.clone();
    }

    /// Changes a stored byte behind the file system's back, on the medium and in its cache.
    pub(super) fn corrupt(&mut self, pos: u64, change: impl Fn(u8) -> u8) {
        let (at, inside) = (pos / BLOCK as u64, pos as usize % BLOCK);
        for image in [&mut self.live, &mut self.durable] {
            if pos < image.len {
                let block = Rc::make_mut(image.blocks.entry(at).or_insert_with(zeros));
                block[inside] = change(block[inside]);
            }
        }
        for entry in &mut self.unsynced {
            if let Change::Write(blocks) = &mut entry.change {
                for (_, block) in blocks.iter_mut().filter(|(of, _)| *of == at) {
                    let block = Rc::make_mut(block);
                    block[inside] = change(block[inside]);
                }
            }
        }
    }

    fn push(&mut self, change: Change) {
        self.unsynced.push_back(Unsynced { seq: self.next_seq, change, forgotten: false });
        self.next_seq += 1;
    }
}

impl Image {
    fn read(&self, pos: u64, buf: &mut [u8]) -> usize {
        let len = self.len.saturating_sub(pos).min(buf.len() as u64) as usize;
        let mut done = 0;
        while done < len {
            let at = pos + done as u64;
            let inside = at as usize % BLOCK;
            let n = (BLOCK - inside).min(len - done);
            match self.blocks.get(&(at / BLOCK as u64)) {
                Some(block) => buf[done..done + n].copy_from_slice(&block[inside..inside + n]),
                None => buf[done..done + n].fill(0),
            }
            done += n;
        }
        len
    }

    /// The whole blocks that result from writing `bytes` at `pos`.
    fn compose(&self, pos: u64, bytes: &[u8]) -> Vec<(u64, Rc<Block>)> {
        let mut blocks = Vec::with_capacity(bytes.len() / BLOCK + 2);
        let mut done = 0;
        while done < bytes.len() {
            let at = pos + done as u64;
            let inside = at as usize % BLOCK;
            let n = (BLOCK - inside).min(bytes.len() - done);
            let index = at / BLOCK as u64;
            let mut block = match (n == BLOCK, self.blocks.get(&index)) {
                (false, Some(old)) => **old,
                _ => [0; BLOCK],
            };
            block[inside..inside + n].copy_from_slice(&bytes[done..done + n]);
            blocks.push((index, Rc::new(block)));
            done += n;
        }
        blocks
    }

    fn insert(&mut self, blocks: &[(u64, Rc<Block>)]) {
        for (at, block) in blocks {
            self.put(*at, Rc::clone(block));
        }
    }

    fn put(&mut self, at: u64, block: Rc<Block>) {
        self.blocks.insert(at, block);
    }

    /// Takes each sector of `new` or keeps the old one.
    fn tear(&mut self, at: u64, new: &Block, rng: &mut Rng) {
        let block = Rc::make_mut(self.blocks.entry(at).or_insert_with(zeros));
        for (old, new) in block.chunks_mut(SECTOR).zip(new.chunks(SECTOR)) {
            if rng.chance(0.5) {
                old.copy_from_slice(new);
            }
        }
    }

    fn set_len(&mut self, len: u64) {
        let shrinks = len < self.len;
        self.len = len;
        if shrinks {
            self.settle();
        }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write(blocks) => self.insert(blocks),
            Change::SetLen(len) => self.set_len(*len),
        }
    }

    /// Drops what lies beyond the end.
    fn settle(&mut self) {
        self.blocks.split_off(&self.len.div_ceil(BLOCK as u64));
        let inside = self.len as usize % BLOCK;
        if inside > 0
            && let Some(block) = self.blocks.get_mut(&(self.len / BLOCK as u64))
        {
            Rc::make_mut(block)[inside..].fill(0);
        }
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, {} unsynced", self.live.len, self.unsynced.len())
    }
}

fn zeros() -> Rc<Block> {
    Rc::new([0; BLOCK])
}
