//! Who owns a region, and when its memory may be used again.
//!
//! Owner core only. A [`Lease`] is the right to write a region's unfinished part and to cut slices
//! of its finished part. When it ends while slices are still out, the memory moves to the pool's
//! list of pinned regions and comes back once the last of them is gone.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use super::slice::{Slice, Token};

/// Memory with a stable address, as a pool holds it.
pub(super) trait Memory: 'static {
    fn bytes(&self) -> usize;
}

/// Bytes of a pool by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// Held by the owner core: being filled, or cached.
    pub leased_bytes: usize,
    /// Let go of by the owner, kept by slices elsewhere.
    pub pinned_bytes: usize,
}

/// Accounts for leases of memory `M` and takes it back when nobody reads it any more.
pub(super) struct LeasePool<M: Memory> {
    pinned: RefCell<VecDeque<Pinned<M>>>,
    usage: Cell<PoolUsage>,
    /// Takes memory that nobody reads any more.
    recycle: Box<dyn Fn(M)>,
    /// Tokens that nobody shares, for the next leases.
    spare: RefCell<Vec<Arc<Token>>>,
}

struct Pinned<M> {
    memory: M,
    token: Arc<Token>,
}

/// The right to one region. `finished` bytes from its start may be shared and are never written
/// again; the rest belongs to the holder alone.
pub(super) struct Lease<M: Memory> {
    ptr: NonNull<u8>,
    capacity: usize,
    finished: Cell<usize>,
    /// The unfinished part is being written by `extend`.
    filling: Cell<bool>,
    /// Some until dropped.
    memory: Option<M>,
    token: Option<Arc<Token>>,
    pool: Rc<LeasePool<M>>,
}

impl<M: Memory> LeasePool<M> {
    pub(super) fn new(recycle: impl Fn(M) + 'static) -> Rc<Self> {
        Rc::new(Self {
            pinned: RefCell::default(),
            usage: Cell::default(),
            recycle: Box::new(recycle),
            spare: RefCell::default(),
        })
    }

    /// Starts a lease of `memory`, whose bytes start at `ptr`.
    ///
    /// # Safety
    /// `ptr` addresses `memory.bytes()` initialised bytes that stay put and allocated until
    /// `memory` is dropped, and that nobody else reads or writes except as a device buffer.
    pub(super) unsafe fn lease(self: &Rc<Self>, memory: M, ptr: NonNull<u8>) -> Lease<M> {
        self.reap(REAP_STEP);
        let capacity = memory.bytes();
        let mut usage = self.usage.get();
        usage.leased_bytes += capacity;
        self.usage.set(usage);
        Lease {
            ptr,
            capacity,
            finished: Cell::new(0),
            filling: Cell::new(false),
            memory: Some(memory),
            token: Some(self.token(capacity)),
            pool: Rc::clone(self),
        }
    }

    /// Looks at up to `limit` pinned regions and recycles those that nobody reads any more.
    pub(super) fn reap(&self, limit: usize) {
        let steps = limit.min(self.pinned.borrow().len());
        for _ in 0..steps {
            let Some(mut pin) = self.pinned.borrow_mut().pop_front() else { return };
            // `get_mut` orders the last reader's drop before the reuse of the memory.
            if Arc::get_mut(&mut pin.token).is_some() {
                let mut usage = self.usage.get();
                usage.pinned_bytes -= pin.memory.bytes();
                self.usage.set(usage);
                self.take_back(pin.memory, pin.token);
            } else {
                self.pinned.borrow_mut().push_back(pin);
            }
        }
    }

    pub(super) fn usage(&self) -> PoolUsage {
        self.reap(usize::MAX);
        self.usage.get()
    }

    fn token(&self, region_bytes: usize) -> Arc<Token> {
        let spare = self.spare.borrow_mut().pop();
        spare.map_or_else(|| Token::pooled(region_bytes), |token| Token::renew(token, region_bytes))
    }

    /// Nobody else has the token.
    fn take_back(&self, memory: M, token: Arc<Token>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < TOKENS_KEPT {
            spare.push(token);
        }
        drop(spare);
        (self.recycle)(memory);
    }

    fn end(&self, memory: M, mut token: Arc<Token>) {
        let bytes = memory.bytes();
        let mut usage = self.usage.get();
        usage.leased_bytes -= bytes;
        if Arc::get_mut(&mut token).is_some() {
            self.usage.set(usage);
            self.take_back(memory, token);
        } else {
            usage.pinned_bytes += bytes;
            self.usage.set(usage);
            self.pinned.borrow_mut().push_back(Pinned { memory, token });
        }
    }
}

impl<M: Memory> Drop for LeasePool<M> {
    fn drop(&mut self) {
        self.reap(usize::MAX);
        // The core goes away while others still read: their bytes must stay, so they are leaked.
        for pin in self.pinned.get_mut().drain(..) {
            mem::forget(pin.memory);
        }
    }
}

impl<M: Memory> Lease<M> {
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn finished(&self) -> usize {
        self.finished.get()
    }

    /// Lets `fill` write the unfinished part; the count it returns becomes finished.
    pub(super) fn extend(&self, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        assert!(!self.filling.replace(true), "a region is written by one hand at a time");
        let at = self.finished.get();
        let room = self.capacity - at;
        // SAFETY: no slice covers bytes past `finished`, which does not move while `filling`, and
        // `filling` keeps every other access to the rest out; the bytes are initialised by the
        // contract of `lease`.
        let rest = unsafe { std::slice::from_raw_parts_mut(self.ptr.add(at).as_ptr(), room) };
        let done = fill(rest);
        assert!(done <= room, "{done} bytes written into {room}");
        self.finished.set(at + done);
        self.filling.set(false);
        done
    }

    /// The unfinished part, mutably: for a holder that has the lease to itself.
    pub(super) fn rest_mut(&mut self) -> &mut [u8] {
        let at = self.finished.get();
        // SAFETY: no slice covers bytes past `finished`; `&mut self` keeps other access away.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(at).as_ptr(), self.capacity - at) }
    }

    /// The unfinished part, to look at.
    pub(super) fn rest(&self) -> &[u8] {
        assert!(!self.filling.get(), "the rest of a region is being written");
        let at = self.finished.get();
        // SAFETY: initialised, and written only through `rest_mut`, which cannot overlap with this
        // borrow, or inside `extend`, which the flag rules out; a later `extend` during this
        // borrow is kept out by the callers: only `FrameBuf` uses `rest`, and never `extend`.
        unsafe { std::slice::from_raw_parts(self.ptr.add(at).as_ptr(), self.capacity - at) }
    }

    /// Declares `len` more bytes finished, as they are.
    pub(super) fn finish(&self, len: usize) {
        assert!(!self.filling.get(), "the rest of a region is being written");
        let at = self.finished.get() + len;
        assert!(at <= self.capacity, "{at} bytes finished of {}", self.capacity);
        self.finished.set(at);
    }

    /// The finished part.
    pub(super) fn done(&self) -> &[u8] {
        // SAFETY: finished bytes are never written again.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.finished.get()) }
    }

    /// A slice of finished bytes.
    pub(super) fn slice(&self, start: usize, end: usize) -> Slice {
        assert!(
            start <= end && end <= self.finished.get(),
            "bytes {start}..{end} of {} finished",
            self.finished.get()
        );
        let token = self.token.as_ref().expect("taken only by drop");
        // SAFETY: inside the region; finished bytes are not written again; the memory waits for
        // the token in `LeasePool::end`.
        unsafe { Slice::from_raw(self.ptr.add(start), end - start, Arc::clone(token)) }
    }

    pub(super) fn memory(&self) -> &M {
        self.memory.as_ref().expect("taken only by drop")
    }
}

impl<M: Memory> Drop for Lease<M> {
    fn drop(&mut self) {
        if let (Some(memory), Some(token)) = (self.memory.take(), self.token.take()) {
            self.pool.end(memory, token);
        }
    }
}

/// Pinned regions looked at for each new lease: enough to keep up with one pinned per lease, small
/// enough not to show.
const REAP_STEP: usize = 4;
/// Tokens kept for reuse; one is 40 bytes.
const TOKENS_KEPT: usize = 256;
