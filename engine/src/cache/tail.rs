//! The newest chunks of each log.
//!
//! Per log the chunks are in file order and without a hole, from some position to the log's end;
//! a later chunk may start inside an earlier one, because an unfinished block is copied to the
//! chunk that follows. Across logs, the chunk that came first goes first.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use super::SegmentUid;
use crate::buf::Chunk;

/// Bytes that all tails of a core may keep.
pub(crate) struct TailBudget {
    bytes_max: usize,
    bytes: Cell<usize>,
    /// For each cached chunk one reference to its log, in the order of their coming.
    order: RefCell<VecDeque<Weak<Tail>>>,
}

/// The cached tail of one log.
pub(crate) struct Tail {
    me: Weak<Self>,
    budget: Rc<TailBudget>,
    chunks: RefCell<VecDeque<Cached>>,
    /// References to this log in the budget's order; never fewer than chunks.
    claims: Cell<usize>,
}

struct Cached {
    segment: SegmentUid,
    chunk: Rc<Chunk>,
    /// The device has it up to here. Nothing is evicted that the device has not.
    written: u64,
}

impl TailBudget {
    pub(crate) fn new(bytes_max: usize) -> Rc<Self> {
        Rc::new(Self { bytes_max, bytes: Cell::new(0), order: RefCell::default() })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Evicts written chunks, oldest first, until the budget holds or only unwritten ones are left.
    fn make_room(&self) {
        let mut looks = self.order.borrow().len();
        while self.bytes.get() > self.bytes_max && looks > 0 {
            looks -= 1;
            let Some(first) = self.order.borrow_mut().pop_front() else { return };
            let Some(tail) = first.upgrade() else { continue };
            if !tail.evict_first() {
                self.order.borrow_mut().push_back(first);
            }
        }
    }
}

impl Tail {
    pub(crate) fn new(budget: &Rc<TailBudget>) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            me: me.clone(),
            budget: Rc::clone(budget),
            chunks: RefCell::default(),
            claims: Cell::new(0),
        })
    }

    /// Adds the chunk that appends go to from now on. One that starts where an older one starts
    /// holds all of its bytes and takes its place.
    pub(crate) fn push(&self, segment: SegmentUid, chunk: &Rc<Chunk>) {
        let superseded = {
            let mut chunks = self.chunks.borrow_mut();
            let same = chunks
                .back()
                .is_some_and(|last| last.segment == segment && last.chunk.start() == chunk.start());
            let superseded = if same { chunks.pop_back() } else { None };
            chunks.push_back(Cached { segment, chunk: Rc::clone(chunk), written: 0 });
            superseded
        };
        self.budget.bytes.set(self.budget.bytes.get() + chunk.capacity());
        self.release(superseded);
        if self.claims.get() < self.chunks.borrow().len() {
            self.claims.set(self.claims.get() + 1);
            self.budget.order.borrow_mut().push_back(self.me.clone());
        }
        self.budget.make_room();
    }

    /// Notes that the device has `chunk` up to the position `end`: unless it is filled further, it
    /// may be evicted.
    pub(crate) fn mark_written(&self, chunk: &Rc<Chunk>, end: u64) {
        {
            let mut chunks = self.chunks.borrow_mut();
            let found = chunks.iter_mut().rev().find(|cached| Rc::ptr_eq(&cached.chunk, chunk));
            if let Some(cached) = found {
                cached.written = end;
            }
        }
        self.budget.make_room();
    }

    /// The newest chunk that holds the byte at `pos`.
    pub(crate) fn find(&self, segment: SegmentUid, pos: u64) -> Option<Rc<Chunk>> {
        let chunks = self.chunks.borrow();
        let after = chunks.partition_point(|c| (c.segment, c.chunk.start()) <= (segment, pos));
        let cached = &chunks[after.checked_sub(1)?];
        (cached.segment == segment && pos < cached.chunk.end()).then(|| Rc::clone(&cached.chunk))
    }

    /// Forgets everything of `segment` and of later ones: its bytes are about to change.
    pub(crate) fn forget_from(&self, segment: SegmentUid) {
        loop {
            let last = {
                let mut chunks = self.chunks.borrow_mut();
                match chunks.back() {
                    Some(last) if last.segment >= segment => chunks.pop_back(),
                    _ => return,
                }
            };
            self.release(last);
        }
    }

    /// Forgets what was cached of `segment` and of earlier ones: the files are gone.
    pub(crate) fn forget_through(&self, segment: SegmentUid) {
        loop {
            let first = {
                let mut chunks = self.chunks.borrow_mut();
                match chunks.front() {
                    Some(first) if first.segment <= segment => chunks.pop_front(),
                    _ => return,
                }
            };
            self.release(first);
        }
    }

    fn evict_first(&self) -> bool {
        let first = {
            let mut chunks = self.chunks.borrow_mut();
            match chunks.front() {
                // A claim without a chunk: it was superseded or forgotten.
                None => None,
                Some(first) if first.written == first.chunk.end() => {
                    // Nobody would find what it is filled with from now on.
                    first.chunk.seal();
                    chunks.pop_front()
                }
                Some(_) => return false,
            }
        };
        self.claims.set(self.claims.get().saturating_sub(1));
        self.release(first);
        true
    }

    fn release(&self, cached: Option<Cached>) {
        if let Some(cached) = cached {
            self.budget.bytes.set(self.budget.bytes.get() - cached.chunk.capacity());
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let bytes: usize = self.chunks.get_mut().iter().map(|c| c.chunk.capacity()).sum();
        self.budget.bytes.set(self.budget.bytes.get() - bytes);
    }
}
