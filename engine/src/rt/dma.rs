//! Aligned buffers for direct I/O, recycled per core.
//!
//! The first touch of a fresh page costs more than copying it, so a buffer returns to its core's
//! pool when dropped and is handed out again with whatever it held. The pool keeps classes of
//! powers of two and at most a budget of idle bytes; [`DmaPool::trim`] gives back what has not been
//! wanted since the last trim.
//!
//! Where the bytes are depends on the form of the runtime: the simulator's are plain allocations;
//! a real core's are glommio's [`DmaBuffer`]s, so that a file writes them without a copy, and what
//! a read returned stays where glommio put it.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    cell::{Cell, RefCell},
    fmt,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    rc::Rc,
};

use glommio::io::{DmaBuffer, ReadResult};

/// Alignment of buffers, positions and lengths in direct I/O.
pub const DMA_ALIGN: usize = 4096;

/// An aligned buffer of a multiple of 4096 bytes; its contents when handed out are unspecified
/// (zero, or what an earlier user of this core left). Not `Send`: it returns to its core's pool.
pub struct DmaBuf {
    /// `None` only inside its drop.
    memory: Option<Memory>,
    len: usize,
    pool: DmaPool,
}

/// A core's pool of idle buffers; cheap to clone.
#[derive(Clone)]
pub(super) struct DmaPool(Rc<Shared>);

struct Shared {
    idle: RefCell<Idle>,
    make: fn(usize) -> Memory,
    /// Bytes of read results that are in use.
    read: Cell<usize>,
}

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

/// Where a buffer's bytes are; all of them are initialised.
enum Memory {
    /// A plain allocation: the simulator's.
    Plain(Plain),
    /// A buffer that a file can write. Shared while a write of it is in flight, of which the
    /// kernel may still read after whoever wanted it is gone.
    Device(Rc<DmaBuffer>),
    /// A copy that one write needs, of just its length; it goes back to glommio.
    Once(Rc<DmaBuffer>),
    /// What a read returned, and how many bytes were asked for. Never written.
    Read(ReadResult, usize),
}

/// An owned, aligned, initialised allocation.
struct Plain {
    start: NonNull<u8>,
    layout: Layout,
}

impl DmaBuf {
    /// Bytes the allocation behind this buffer takes: the next power of two from its length.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.memory().size()
    }

    /// Shortens the buffer; the rest of the allocation stays reserved until it is dropped.
    ///
    /// # Panics
    /// When `len` is more than the buffer's length.
    pub fn truncate(&mut self, len: usize) {
        assert!(len <= self.len, "truncate a buffer of {} bytes to {len}", self.len);
        self.len = len;
    }

    /// Where the bytes are; stable for as long as nobody borrows the buffer to write to it.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.memory().as_ptr()
    }

    /// What glommio can write without a copy, if that is just the first `len` bytes.
    pub(super) fn device(&self, len: usize) -> Option<&Rc<DmaBuffer>> {
        match self.memory() {
            Memory::Device(buffer) | Memory::Once(buffer) if buffer.len() == len => Some(buffer),
            _ => None,
        }
    }

    /// Whether a write in flight still refers to the memory, so that writing to it means to copy it.
    #[must_use]
    pub fn is_shared(&mut self) -> bool {
        self.memory.as_mut().and_then(Memory::exclusive).is_none()
    }

    fn memory(&self) -> &Memory {
        self.memory.as_ref().expect("only a dropped buffer has no memory")
    }

    /// Moves the bytes to memory that only this buffer refers to.
    #[cold]
    fn unshare(&mut self) {
        let mut own = self.pool.get(self.len.next_multiple_of(DMA_ALIGN).max(DMA_ALIGN));
        own[..self.len].copy_from_slice(self);
        own.truncate(self.len);
        *self = own;
    }
}

impl Deref for DmaBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let start = self.memory().as_ptr();
        // SAFETY: the memory is initialised and at least `len` long. It is written only through
        // `deref_mut`, which takes the buffer exclusively.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }
}

impl DerefMut for DmaBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        if self.memory.as_mut().and_then(Memory::exclusive).is_none() {
            self.unshare();
        }
        let memory = self.memory.as_mut().and_then(Memory::exclusive);
        let start = memory.expect("memory fresh from the pool is not shared");
        // SAFETY: as in `deref`; nobody else refers to the memory, not even the kernel, and
        // `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.len) }
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
        if let Some(memory) = self.memory.take() {
            self.pool.put(memory);
        }
    }
}

impl fmt::Debug for DmaBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DmaBuf({} of {} bytes)", self.len, self.capacity())
    }
}

impl DmaPool {
    /// A pool of plain memory that keeps at most `idle_bytes_max` bytes for reuse.
    pub(super) fn new(idle_bytes_max: usize) -> Self {
        Self::made_by(idle_bytes_max, |size| Memory::Plain(Plain::new(size)))
    }

    /// The same, of buffers that glommio's files can write.
    pub(super) fn device(idle_bytes_max: usize) -> Self {
        Self::made_by(idle_bytes_max, |size| Memory::Device(Rc::new(zeroed(size))))
    }

    fn made_by(bytes_max: usize, make: fn(usize) -> Memory) -> Self {
        let idle = RefCell::new(Idle { classes: Vec::new(), bytes: 0, bytes_max });
        Self(Rc::new(Shared { idle, make, read: Cell::new(0) }))
    }

    /// A buffer of `len` bytes, recycled if one of its class is idle.
    pub(super) fn get(&self, len: usize) -> DmaBuf {
        assert!(
            len > 0 && len.is_multiple_of(DMA_ALIGN),
            "a direct I/O buffer of {len} bytes is not a positive multiple of {DMA_ALIGN}"
        );
        let size = len.next_power_of_two();
        let memory = self.0.idle.borrow_mut().take(size);
        let memory = memory.unwrap_or_else(|| (self.0.make)(size));
        DmaBuf { memory: Some(memory), len, pool: self.clone() }
    }

    /// A buffer that is made for one write.
    pub(super) fn once(&self, copy: DmaBuffer) -> DmaBuf {
        let len = copy.len();
        DmaBuf { memory: Some(Memory::Once(Rc::new(copy))), len, pool: self.clone() }
    }

    /// A buffer of what a read of `asked` bytes returned: the same memory, unless so much of that
    /// kind is in use that the next reads would lack it.
    pub(super) fn adopt(&self, read: ReadResult, asked: usize) -> DmaBuf {
        let len = read.len();
        self.0.read.set(self.0.read.get() + asked);
        let mut buf = DmaBuf { memory: Some(Memory::Read(read, asked)), len, pool: self.clone() };
        if self.0.read.get() > READ_BYTES_MAX {
            buf.unshare();
        }
        buf
    }

    /// Frees the idle buffers that were not needed since the last call; how many bytes that were.
    pub(super) fn trim(&self) -> usize {
        let mut freed = Vec::new();
        let mut idle = self.0.idle.borrow_mut();
        for class in &mut idle.classes {
            let spare = class.low_water.min(class.idle.len());
            freed.extend(class.idle.drain(..spare));
            class.low_water = class.idle.len();
        }
        let bytes = freed.iter().map(Memory::size).sum::<usize>();
        idle.bytes -= bytes;
        bytes
    }

    /// Bytes kept for reuse now.
    pub(super) fn idle_bytes(&self) -> usize {
        self.0.idle.borrow().bytes
    }

    fn put(&self, mut memory: Memory) {
        let size = memory.size();
        match memory {
            Memory::Read(..) => return self.0.read.set(self.0.read.get() - size),
            Memory::Once(_) => return,
            Memory::Plain(_) | Memory::Device(_) => {}
        }
        // What a write in flight still refers to is freed with it.
        if memory.exclusive().is_none() {
            return;
        }
        let mut idle = self.0.idle.borrow_mut();
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
    fn size(&self) -> usize {
        match self {
            Self::Plain(plain) => plain.layout.size(),
            Self::Device(buffer) | Self::Once(buffer) => buffer.len(),
            Self::Read(_, asked) => *asked,
        }
    }

    fn as_ptr(&self) -> *const u8 {
        match self {
            Self::Plain(plain) => plain.start.as_ptr(),
            Self::Device(buffer) | Self::Once(buffer) => buffer.as_ptr(),
            Self::Read(read, _) => read.as_ptr(),
        }
    }

    /// Where to write, if nobody else refers to these bytes.
    fn exclusive(&mut self) -> Option<NonNull<u8>> {
        match self {
            Self::Plain(plain) => Some(plain.start),
            Self::Device(buffer) => NonNull::new(Rc::get_mut(buffer)?.as_mut_ptr()),
            Self::Once(_) | Self::Read(..) => None,
        }
    }
}

impl Plain {
    fn new(size: usize) -> Self {
        let layout = Layout::from_size_align(size, DMA_ALIGN).expect("a buffer fits into memory");
        // SAFETY: the layout's size is not zero: `DmaPool::get` asks for at least `DMA_ALIGN`.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) });
        let Some(start) = start else { handle_alloc_error(layout) };
        Self { start, layout }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // SAFETY: `start` came from `new` with this layout, and is freed only here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// Fresh memory from the heap, not from the little that glommio registers with the kernel: this
/// may be kept for long.
fn zeroed(size: usize) -> DmaBuffer {
    let mut buffer = glommio::allocate_dma_buffer_global(size);
    // SAFETY: the buffer owns `size` bytes from there on.
    unsafe { buffer.as_mut_ptr().write_bytes(0, size) };
    buffer
}

/// So much of glommio's memory may be kept by the results of reads; the rest is for operations in
/// flight. A result beyond it is copied, which is cheaper than a read into fresh pages.
const READ_BYTES_MAX: usize = GLOMMIO_BYTES / 2;

/// What glommio allocates for a core at its start, to read into and to write parts of buffers from.
pub(super) const GLOMMIO_BYTES: usize = 8 << 20;

impl fmt::Debug for DmaPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DmaPool({} idle bytes)", self.idle_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(bytes_max: usize, test: impl Fn(DmaPool)) {
        test(DmaPool::new(bytes_max));
        test(DmaPool::device(bytes_max));
    }

    #[test]
    fn recycles_within_its_class_and_budget() {
        both(12 * 1024, |pool| {
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
        });
    }

    #[test]
    fn trim_frees_what_nobody_needed() {
        both(1 << 20, |pool| {
            drop((pool.get(4096), pool.get(4096)));
            assert_eq!(pool.trim(), 0, "both were in use since the last trim");
            drop(pool.get(4096));
            assert_eq!(pool.trim(), 4096);
            assert_eq!(pool.idle_bytes(), 4096, "one of the two was needed");
            assert_eq!(pool.trim(), 4096);
            assert_eq!(pool.idle_bytes(), 0);
        });
    }

    #[test]
    fn large_buffers_come_and_go() {
        both(1 << 20, |pool| {
            let mut large = pool.get(512 << 10);
            assert!(large.iter().all(|b| *b == 0));
            large.fill(1);
            drop((large, pool.get(4 << 20)));
            assert_eq!(pool.idle_bytes(), 512 << 10);
        });
    }

    #[test]
    fn what_a_write_refers_to_is_neither_changed_nor_reused() {
        let pool = DmaPool::device(1 << 20);
        let mut buf = pool.get(8192);
        buf.fill(1);
        buf.truncate(5000);
        assert!(buf.device(4096).is_none(), "glommio writes whole buffers");
        let in_flight = Rc::clone(buf.device(8192).unwrap());
        let before = buf.as_ptr();
        buf[0] = 2;
        assert_ne!(buf.as_ptr(), before, "written in a copy");
        assert_eq!((buf.len(), buf[0], buf[4999]), (5000, 2, 1));
        assert_eq!(in_flight.as_bytes()[0], 1);
        assert_eq!(pool.idle_bytes(), 0);
        drop(buf);
        let buf = pool.get(8192);
        let in_flight = Rc::clone(buf.device(8192).unwrap());
        drop(buf);
        assert_eq!(pool.idle_bytes(), 0, "its write is not over");
        drop(in_flight);
    }

    #[test]
    fn a_result_of_a_read_is_copied_before_it_is_changed() {
        let pool = DmaPool::device(1 << 20);
        let mut buf = pool.adopt(ReadResult::default(), 4096);
        assert_eq!((buf.len(), buf.capacity()), (0, 4096));
        assert!(buf.is_empty() && buf.as_mut().is_empty());
        assert!(buf.device(4096).is_some(), "writable memory by now");
        assert_eq!(pool.0.read.get(), 0);
        let kept = pool.adopt(ReadResult::default(), READ_BYTES_MAX);
        assert!(kept.device(READ_BYTES_MAX).is_none());
        assert_eq!(
            pool.adopt(ReadResult::default(), 4096).device(4096).map(|b| b.len()),
            Some(4096)
        );
        drop(kept);
        assert_eq!(pool.0.read.get(), 0);
    }

    #[test]
    #[should_panic(expected = "not a positive multiple")]
    fn refuses_an_unaligned_length() {
        let _ = DmaPool::new(0).get(100);
    }
}
