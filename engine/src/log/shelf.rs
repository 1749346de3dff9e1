//! Closed segments that have something in memory, the longest unused first.
//!
//! Their open files, indexes and checksums can be read again; a core with a hundred thousand of
//! them must not hold them all. Segments that are appended to, or worked on, are not here.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Weak;

use super::segment::Segment;

/// What one core's closed segments may hold in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShelfLimits {
    /// Segments with an open file.
    pub segments: usize,
    /// Bytes of their indexes and checksums. A full segment of 1 GiB has 5 MiB.
    pub bytes: usize,
}

impl Default for ShelfLimits {
    /// A thousand files are a fiftieth of what a process may usually open; 64 MiB are the indexes
    /// of twelve segments that are read at the same time.
    fn default() -> Self {
        Self { segments: 1_000, bytes: 64 << 20 }
    }
}

/// One core's closed segments that have something in memory.
pub(crate) struct Shelf {
    limits: ShelfLimits,
    /// By the time of their last use.
    entries: RefCell<BTreeMap<u64, Entry>>,
    bytes: Cell<usize>,
    uses: Cell<u64>,
}

struct Entry {
    segment: Weak<Segment>,
    bytes: usize,
}

impl Shelf {
    pub(crate) fn new(limits: ShelfLimits) -> Self {
        Self { limits, entries: RefCell::default(), bytes: Cell::new(0), uses: Cell::new(0) }
    }

    /// Segments and bytes here.
    pub(crate) fn usage(&self) -> (usize, usize) {
        (self.entries.borrow().len(), self.bytes.get())
    }

    /// Puts a segment behind all others, and lets those at the front rest that are too many.
    pub(crate) fn touch(&self, segment: &Segment) {
        self.remove(segment);
        if segment.is_pinned() {
            return;
        }
        let use_number = self.uses.get() + 1;
        self.uses.set(use_number);
        segment.shelved.set(use_number);
        let entry = Entry { segment: segment.weak(), bytes: segment.memory_bytes() };
        self.bytes.set(self.bytes.get() + entry.bytes);
        self.entries.borrow_mut().insert(use_number, entry);
        self.shrink();
    }

    /// Takes a segment out, which keeps what it has.
    pub(crate) fn remove(&self, segment: &Segment) {
        if let Some(entry) = self.entries.borrow_mut().remove(&segment.shelved.replace(0)) {
            self.bytes.set(self.bytes.get() - entry.bytes);
        }
    }

    fn shrink(&self) {
        loop {
            let oldest = {
                let mut entries = self.entries.borrow_mut();
                let over = entries.len() > self.limits.segments.max(1)
                    || (entries.len() > 1 && self.bytes.get() > self.limits.bytes);
                if over { entries.pop_first() } else { None }
            };
            let Some((_, entry)) = oldest else { return };
            self.bytes.set(self.bytes.get() - entry.bytes);
            if let Some(segment) = entry.segment.upgrade() {
                segment.shelved.set(0);
                segment.rest();
            }
        }
    }
}
