//! Device buffers: what an append fills, what the device writes, what a reader is served from.
//!
//! Owner core only; only [`Slice`]s leave it. A chunk covers a block-aligned stretch of one file.
//! It is filled from its front, sealed when it goes to the device, and then stays as cache. The
//! bytes of a chunk that was read from the device are complete from the start.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;

use super::lease::{Lease, LeasePool, Memory, PoolUsage};
use super::slice::Slice;
use crate::rt::{DmaBuf, Rt};

/// Unit of device writes, and of what a torn write can leave half done at most.
pub(crate) const BLOCK: usize = 4096;

/// Hands out chunks and accounts for their memory.
pub struct ChunkPool {
    rt: Rt,
    leases: Rc<LeasePool<Rc<DmaBuf>>>,
}

/// Bytes of one file from the block-aligned position `start` on.
pub struct Chunk {
    start: u64,
    lease: Lease<Rc<DmaBuf>>,
    sealed: Cell<bool>,
}

impl ChunkPool {
    /// A pool over the runtime's buffers, which do the recycling.
    #[must_use]
    pub fn new(rt: Rt) -> Self {
        Self { rt, leases: LeasePool::new(drop) }
    }

    /// An empty chunk of `bytes` (a power of two of at least one block) at file position `start`.
    #[must_use]
    pub fn take(&self, bytes: usize, start: u64) -> Rc<Chunk> {
        assert!(bytes.is_power_of_two() && bytes >= BLOCK, "chunk of {bytes} bytes");
        let chunk = self.lease(self.rt.alloc(bytes), start);
        Rc::new(chunk)
    }

    /// What was read from the file at `start`, as a finished chunk.
    #[must_use]
    pub fn adopt(&self, read: DmaBuf, start: u64) -> Rc<Chunk> {
        let chunk = self.lease(read, start);
        chunk.lease.finish(chunk.lease.capacity());
        chunk.sealed.set(true);
        Rc::new(chunk)
    }

    /// Bytes held here, and bytes kept only by slices elsewhere.
    #[must_use]
    pub fn usage(&self) -> PoolUsage {
        self.leases.usage()
    }

    fn lease(&self, buf: DmaBuf, start: u64) -> Chunk {
        assert!(start.is_multiple_of(BLOCK as u64), "chunk at unaligned position {start}");
        let ptr = NonNull::new(buf.as_ptr().cast_mut()).expect("a buffer is never null");
        // SAFETY: a `DmaBuf` owns its initialised bytes at a fixed address until dropped. From
        // here on it is only read by the device, and only after the chunk was sealed.
        let lease = unsafe { self.leases.lease(Rc::new(buf), ptr) };
        Chunk { start, lease, sealed: Cell::new(false) }
    }
}

impl Chunk {
    /// File position of the first byte.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// File position behind the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.lease.finished() as u64
    }

    /// Bytes of memory.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.lease.capacity()
    }

    /// Bytes that still fit; none once sealed.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.sealed.get() { 0 } else { self.lease.capacity() - self.lease.finished() }
    }

    /// Lets `fill` write into the room, and counts in what it says it wrote.
    ///
    /// # Panics
    /// When the chunk is sealed: the device may be reading it.
    pub fn extend_with(&self, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        assert!(!self.sealed.get(), "a sealed chunk is never written");
        self.lease.extend(fill)
    }

    /// Copies as much of `bytes` as fits; returns how much that was.
    pub fn extend(&self, bytes: &[u8]) -> usize {
        self.extend_with(|room| {
            let count = bytes.len().min(room.len());
            room[..count].copy_from_slice(&bytes[..count]);
            count
        })
    }

    /// Ends filling. Returns the buffer and the length to write: the contents padded with zeros
    /// to whole blocks, since recycled memory is not clean.
    pub fn seal(&self) -> (Rc<DmaBuf>, usize) {
        let filled = self.lease.finished();
        let padded = filled.next_multiple_of(BLOCK);
        if !self.sealed.replace(true) {
            self.lease.extend(|room| {
                room[..padded - filled].fill(0);
                0
            });
        }
        (Rc::clone(self.lease.memory()), padded)
    }

    /// Whether filling has ended.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.sealed.get()
    }

    /// The bytes from file position `pos` to the end of the chunk.
    #[must_use]
    pub fn bytes_from(&self, pos: u64) -> &[u8] {
        &self.lease.done()[self.index(pos)..]
    }

    /// A slice of the bytes in `from..to` (file positions).
    #[must_use]
    pub fn slice(&self, from: u64, to: u64) -> Slice {
        self.lease.slice(self.index(from), self.index(to))
    }

    fn index(&self, pos: u64) -> usize {
        assert!(pos >= self.start && pos <= self.end(), "position {pos} outside of a chunk");
        usize::try_from(pos - self.start).expect("a chunk is smaller than the address space")
    }
}

impl Memory for Rc<DmaBuf> {
    fn bytes(&self) -> usize {
        self.as_ref().len()
    }
}
