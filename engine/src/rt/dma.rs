//! Aligned buffers for direct I/O, recycled per core.
//!
//! The first touch of a fresh page costs more than copying it, so a buffer returns to its core's
//! pool when dropped and is handed out again with whatever it held. The pool keeps classes of
//! powers of two and at most a budget of idle bytes; [`DmaPool::trim`] gives back what has not been
//! wanted since the last trim. Large buffers are mapped one by one, so that what is given back goes
//! to the system and not into the heap's fragments.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    cell::RefCell,
    ffi::c_void,
    fmt,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    rc::Rc,
};

/// Alignment of buffers, positions and lengths in direct I/O.
pub const DMA_ALIGN: usize = 4096;

/// An aligned buffer of a multiple of 4096 bytes; its contents when handed out are unspecified
/// (zero, or what an earlier user of this core left). Not `Send`: it returns to its core's pool.
pub struct DmaBuf {
    memory: Memory,
    len: usize,
    pool: DmaPool,
}

/// A core's pool of idle buffers; cheap to clone.
#[derive(Clone)]
pub(super) struct DmaPool(Rc<RefCell<Idle>>);

struct Idle {
    /// By class: buffers of `DMA_ALIGN << class` bytes.
    classes: Vec<Class>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct Class {
    idle: Vec<Memory>,
    /// The fewest idle buffers seen since the last trim: nobody needed these.
    low_water: usize,
}

/// An owned, aligned, initialised allocation.
struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

impl DmaBuf {
    /// Bytes the allocation behind this buffer takes: the next power of two from its length.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.memory.layout.size()
    }

    /// Shortens the buffer; the rest of the allocation stays reserved until it is dropped.
    ///
    /// # Panics
    /// When `len` is more than the buffer's length.
    pub fn truncate(&mut self, len: usize) {
        assert!(len <= self.len, "truncate a buffer of {} bytes to {len}", self.len);
        self.len = len;
    }

    /// Where the bytes are; stable for the life of the buffer.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.memory.start.as_ptr()
    }
}

impl Deref for DmaBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the allocation is initialised (zeroed when made), at least `len` long, and only
        // this buffer refers to it.
        unsafe { std::slice::from_raw_parts(self.memory.start.as_ptr(), self.len) }
    }
}

impl DerefMut for DmaBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for DmaBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for DmaBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl Drop for DmaBuf {
    fn drop(&mut self) {
        let memory = self.memory.take();
        self.pool.put(memory);
    }
}

impl fmt::Debug for DmaBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DmaBuf({} of {} bytes)", self.len, self.capacity())
    }
}

impl DmaPool {
    /// A pool that keeps at most `idle_bytes_max` bytes for reuse.
    pub(super) fn new(idle_bytes_max: usize) -> Self {
        Self(Rc::new(RefCell::new(Idle {
            classes: Vec::new(),
            bytes: 0,
            bytes_max: idle_bytes_max,
        })))
    }

    /// A buffer of `len` bytes, recycled if one of its class is idle.
    pub(super) fn get(&self, len: usize) -> DmaBuf {
        assert!(
            len > 0 && len.is_multiple_of(DMA_ALIGN),
            "a direct I/O buffer of {len} bytes is not a positive multiple of {DMA_ALIGN}"
        );
        let size = len.next_power_of_two();
        let memory = self.0.borrow_mut().take(size).unwrap_or_else(|| Memory::new(size));
        DmaBuf { memory, len, pool: self.clone() }
    }

    /// Frees the idle buffers that were not needed since the last call; true if there were any.
    pub(super) fn trim(&self) -> bool {
        let mut freed = Vec::new();
        {
            let mut idle = self.0.borrow_mut();
            for class in &mut idle.classes {
                let spare = class.low_water.min(class.idle.len());
                freed.extend(class.idle.drain(..spare));
                class.low_water = class.idle.len();
            }
            idle.bytes -= freed.iter().map(|m| m.layout.size()).sum::<usize>();
        }
        !freed.is_empty()
    }

    /// Bytes kept for reuse now.
    pub(super) fn idle_bytes(&self) -> usize {
        self.0.borrow().bytes
    }

    fn put(&self, memory: Memory) {
        let size = memory.layout.size();
        if size == 0 {
            return;
        }
        let mut idle = self.0.borrow_mut();
        if idle.bytes + size <= idle.bytes_max {
            idle.bytes += size;
            idle.class(size).idle.push(memory);
        }
    }
}

impl Idle {
    fn take(&mut self, size: usize) -> Option<Memory> {
        let class = self.class(size);
        let memory = class.idle.pop();
        class.low_water = class.low_water.min(class.idle.len());
        if memory.is_some() {
            self.bytes -= size;
        }
        memory
    }

    fn class(&mut self, size: usize) -> &mut Class {
        let index = (size / DMA_ALIGN).trailing_zeros() as usize;
        if self.classes.len() <= index {
            self.classes.resize_with(index + 1, Class::default);
        }
        &mut self.classes[index]
    }
}

impl Memory {
    fn new(size: usize) -> Self {
        let layout = Layout::from_size_align(size, DMA_ALIGN).expect("a buffer fits into memory");
        let start = if size < MAPPED_FROM_BYTES {
            // SAFETY: the layout's size is not zero: `DmaPool::get` asks for at least `DMA_ALIGN`.
            NonNull::new(unsafe { alloc_zeroed(layout) })
        } else {
            map(size)
        };
        let Some(start) = start else { handle_alloc_error(layout) };
        Self { start, layout }
    }

    /// The memory itself, leaving nothing to free in its place.
    fn take(&mut self) -> Self {
        let start = std::mem::replace(&mut self.start, NonNull::dangling());
        let layout = std::mem::replace(&mut self.layout, Layout::new::<()>());
        Self { start, layout }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        match self.layout.size() {
            0 => {}
            // SAFETY: a layout with a size means that `start` came from `new` with it and was not
            // freed: `take` leaves an empty layout behind. Below the limit that was `alloc_zeroed`.
            1..MAPPED_FROM_BYTES => unsafe { dealloc(self.start.as_ptr(), self.layout) },
            // SAFETY: as above; from the limit on it was a mapping of just this size.
            size => unsafe {
                libc::munmap(self.start.as_ptr().cast::<c_void>(), size);
            },
        }
    }
}

/// Fresh zeroed pages of the process's own.
fn map(size: usize) -> Option<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: an anonymous mapping at an address that the kernel chooses touches no other memory.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast::<u8>()) }
}

/// From this size on a system call per allocation is cheap against touching its pages.
const MAPPED_FROM_BYTES: usize = 64 << 10;

impl fmt::Debug for DmaPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DmaPool({} idle bytes)", self.idle_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recycles_within_its_class_and_budget() {
        let pool = DmaPool::new(12 * 1024);
        let a = pool.get(8192);
        let first = a.as_ptr();
        assert_eq!((a.len(), a.capacity(), first.align_offset(DMA_ALIGN)), (8192, 8192, 0));
        drop(a);
        assert_eq!(pool.idle_bytes(), 8192);
        let b = pool.get(8192);
        assert_eq!(b.as_ptr(), first);
        let c = pool.get(4096 * 3);
        assert_eq!((c.len(), c.capacity()), (12288, 16384));
        drop((b, c));
        assert_eq!(pool.idle_bytes(), 8192, "16 KiB do not fit into the budget beside 8");
    }

    #[test]
    fn trim_frees_what_nobody_needed() {
        let pool = DmaPool::new(1 << 20);
        drop((pool.get(4096), pool.get(4096)));
        assert!(!pool.trim(), "both were in use since the last trim");
        drop(pool.get(4096));
        assert!(pool.trim());
        assert_eq!(pool.idle_bytes(), 4096, "one of the two was needed");
        assert!(pool.trim());
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[test]
    fn large_buffers_come_and_go() {
        let pool = DmaPool::new(1 << 20);
        let mut large = pool.get(512 << 10);
        assert!(large.iter().all(|b| *b == 0));
        large.fill(1);
        drop((large, pool.get(4 << 20)));
        assert_eq!(pool.idle_bytes(), 512 << 10);
    }

    #[test]
    #[should_panic(expected = "not a positive multiple")]
    fn refuses_an_unaligned_length() {
        let _ = DmaPool::new(0).get(100);
    }
}
