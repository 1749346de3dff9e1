//! Buffers for what sockets receive.
//!
//! One pool per core. A buffer is filled by its holder, gives away its front as [`Slice`]s (one
//! frame each) and keeps the rest; its memory returns here after the holder and the last slice.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

use super::lease::{Lease, LeasePool, Memory, PoolUsage};
use super::slice::Slice;

/// Recycles frame buffers by power-of-two size; keeps at most `keep_bytes` for reuse.
#[derive(Clone)]
pub struct FramePool(Rc<Inner>);

struct Inner {
    leases: Rc<LeasePool<Heap>>,
    free: Rc<RefCell<Free>>,
}

struct Free {
    /// Index = log2 of the size.
    classes: [Vec<Heap>; usize::BITS as usize],
    bytes: usize,
    keep_bytes: usize,
}

/// A buffer with one holder. Dereferences to the part that was not given away yet.
pub struct FrameBuf(Lease<Heap>);

impl FramePool {
    /// A pool that keeps up to `keep_bytes` of unused memory.
    #[must_use]
    pub fn new(keep_bytes: usize) -> Self {
        let free = Rc::new(RefCell::new(Free {
            classes: std::array::from_fn(|_| Vec::new()),
            bytes: 0,
            keep_bytes,
        }));
        let back = Rc::clone(&free);
        let leases = LeasePool::new(move |heap: Heap| back.borrow_mut().put(heap));
        Self(Rc::new(Inner { leases, free }))
    }

    /// A buffer of at least `bytes`; its contents are leftovers of earlier frames.
    #[must_use]
    pub fn take(&self, bytes: usize) -> FrameBuf {
        let size = bytes.max(SMALLEST).next_power_of_two();
        self.0.leases.reap(TAKE_REAP);
        let heap = self.0.free.borrow_mut().get(size).unwrap_or_else(|| Heap::new(size));
        let ptr = heap.ptr;
        // SAFETY: `Heap` owns `size` zero-initialised bytes at `ptr` until it is dropped, and
        // nobody else has the pointer.
        FrameBuf(unsafe { self.0.leases.lease(heap, ptr) })
    }

    /// Bytes in use, and bytes kept only by slices.
    #[must_use]
    pub fn usage(&self) -> PoolUsage {
        self.0.leases.usage()
    }

    /// Bytes kept for reuse.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.0.free.borrow().bytes
    }
}

impl Free {
    fn get(&mut self, size: usize) -> Option<Heap> {
        let heap = self.classes[size.trailing_zeros() as usize].pop()?;
        self.bytes -= size;
        Some(heap)
    }

    fn put(&mut self, heap: Heap) {
        if self.bytes + heap.size <= self.keep_bytes {
            self.bytes += heap.size;
            self.classes[heap.size.trailing_zeros() as usize].push(heap);
        }
    }
}

impl FrameBuf {
    /// Gives away the first `len` bytes for good; the buffer goes on behind them.
    ///
    /// # Panics
    /// When fewer than `len` bytes are left.
    #[must_use]
    pub fn split_to(&mut self, len: usize) -> Slice {
        let at = self.0.finished();
        self.0.finish(len);
        self.0.slice(at, at + len)
    }

    /// Bytes of the whole buffer, including what was given away.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl Deref for FrameBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.rest()
    }
}

impl DerefMut for FrameBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.rest_mut()
    }
}

/// Heap memory with a raw owner, so that no reference to the whole of it ever exists.
struct Heap {
    ptr: NonNull<u8>,
    size: usize,
}

impl Heap {
    fn new(size: usize) -> Self {
        let layout = Self::layout(size);
        // SAFETY: the size is at least `SMALLEST`, so not zero.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(raw) else { handle_alloc_error(layout) };
        Self { ptr, size }
    }

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 64).expect("frame limits are far below the address space")
    }
}

impl Memory for Heap {
    fn bytes(&self) -> usize {
        self.size
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, dropped once.
        unsafe { dealloc(self.ptr.as_ptr(), Self::layout(self.size)) }
    }
}

/// Smallest buffer: a page.
const SMALLEST: usize = 4096;
/// Pinned buffers looked at for each new one.
const TAKE_REAP: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_returns_after_the_last_slice() {
        let pool = FramePool::new(1 << 20);
        let mut frame = pool.take(5000);
        assert_eq!(frame.capacity(), 8192);
        frame[..4].copy_from_slice(b"abcd");
        let first = frame.split_to(2);
        frame[2] = b'x';
        let second = frame.split_to(3);
        assert_eq!((&*first, &*second), (&b"ab"[..], &b"cdx"[..]));
        drop(frame);
        assert_eq!(pool.usage(), PoolUsage { leased_bytes: 0, pinned_bytes: 8192 });
        drop(first);
        assert_eq!(pool.usage().pinned_bytes, 8192);
        drop(second);
        assert_eq!(pool.usage(), PoolUsage::default());
        assert_eq!(pool.free_bytes(), 8192);
        assert_eq!(pool.take(8192).len(), 8192);
        assert_eq!(pool.free_bytes(), 8192);
    }

    #[test]
    fn slices_outlive_their_pool() {
        let pool = FramePool::new(0);
        let mut frame = pool.take(10);
        frame[0] = 9;
        let slice = frame.split_to(1);
        drop(frame);
        drop(pool);
        let seen = std::thread::spawn(move || slice[0]).join().expect("the thread only reads");
        assert_eq!(seen, 9);
    }

    #[test]
    fn keeps_no_more_than_told() {
        let pool = FramePool::new(4096);
        let (a, b) = (pool.take(1), pool.take(1));
        drop(a);
        drop(b);
        assert_eq!(pool.free_bytes(), 4096);
    }
}
