//! A read-only view of bytes that may belong to another core.

use std::fmt;
use std::ops::{Bound, Deref, RangeBounds};
use std::ptr::NonNull;
use std::sync::Arc;

/// Immutable bytes, cheap to clone and to cut, free to move between cores.
///
/// The only shared memory between cores. Whoever keeps one keeps the whole region behind it in
/// memory, so holders that wait on a peer account for `region_bytes`, not for `len`.
#[derive(Clone)]
pub struct Slice {
    ptr: NonNull<u8>,
    len: usize,
    token: Arc<Token>,
}

// SAFETY: the bytes in `ptr..ptr + len` are never written while a `Slice` of them exists (a region
// hands out only its finished part), and the memory outlives the token: heap bytes are owned by it,
// pooled bytes are reused by their owner core only after `Arc::get_mut` on the token succeeded,
// which is ordered after every other holder's drop.
unsafe impl Send for Slice {}

/// Keeps a region alive; the reference count is the number of slices plus the owner's own.
pub(super) struct Token {
    /// Bytes that have no pool behind them.
    _heap: Option<Box<[u8]>>,
    region_bytes: usize,
}

impl Token {
    pub(super) fn pooled(region_bytes: usize) -> Arc<Self> {
        Arc::new(Self { _heap: None, region_bytes })
    }

    /// A pooled token for another region.
    ///
    /// # Panics
    /// When it is shared.
    pub(super) fn renew(mut token: Arc<Self>, region_bytes: usize) -> Arc<Self> {
        let own = Arc::get_mut(&mut token).expect("tokens are kept when nobody shares them");
        own.region_bytes = region_bytes;
        token
    }
}

impl Slice {
    /// No bytes at all.
    #[must_use]
    pub fn empty() -> Self {
        Self::from_vec(Vec::new())
    }

    /// Takes over ordinary heap bytes: for small answers, for tests, and for what a codec made.
    #[must_use]
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        let mut heap = bytes.into_boxed_slice();
        let len = heap.len();
        let ptr = NonNull::new(heap.as_mut_ptr()).expect("a box is never null");
        Self { ptr, len, token: Arc::new(Token { _heap: Some(heap), region_bytes: len }) }
    }

    /// # Safety
    /// `ptr..ptr + len` is initialised, is not written while the token is shared, and stays
    /// allocated until the region's owner finds the token unshared.
    pub(super) unsafe fn from_raw(ptr: NonNull<u8>, len: usize, token: Arc<Token>) -> Self {
        Self { ptr, len, token }
    }

    /// The part of this slice in `range`.
    ///
    /// # Panics
    /// When the range is not inside the slice.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(&at) => at,
            Bound::Excluded(&at) => at + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&at) => at + 1,
            Bound::Excluded(&at) => at,
            Bound::Unbounded => self.len,
        };
        assert!(start <= end && end <= self.len, "range {start}..{end} of {} bytes", self.len);
        // SAFETY: `start <= self.len`, so the pointer stays inside the region or one past its end.
        let ptr = unsafe { self.ptr.add(start) };
        Self { ptr, len: end - start, token: Arc::clone(&self.token) }
    }

    /// The slice that covers `part`, which a parser borrowed out of this one.
    ///
    /// # Panics
    /// When `part` does not lie inside this slice.
    #[must_use]
    pub fn subslice_of(&self, part: &[u8]) -> Self {
        if part.is_empty() {
            return self.slice(0..0);
        }
        let base = self.ptr.as_ptr() as usize;
        let at = (part.as_ptr() as usize).wrapping_sub(base);
        assert!(
            at <= self.len && part.len() <= self.len - at,
            "{} bytes that are not part of this slice",
            part.len()
        );
        self.slice(at..at + part.len())
    }

    /// Bytes of memory that this slice keeps from being reused.
    #[must_use]
    pub fn region_bytes(&self) -> usize {
        self.token.region_bytes
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: by the contract of `from_raw`, or because the token owns the heap bytes.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from_vec(bytes)
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice({} of {} bytes)", self.len, self.region_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_share_the_region() {
        let whole = Slice::from_vec((0..100).collect());
        let part = whole.slice(10..20);
        drop(whole);
        assert_eq!(&part[..3], &[10, 11, 12]);
        assert_eq!(part.region_bytes(), 100);
        let found = part.subslice_of(&part[4..6]);
        assert_eq!(&*found, &[14, 15]);
        assert!(part.slice(10..).is_empty());
    }

    #[test]
    #[should_panic(expected = "not part of this slice")]
    fn foreign_bytes_are_refused() {
        let other = [0u8; 4];
        let _ = Slice::from_vec(vec![1, 2, 3, 4]).subslice_of(&other);
    }

    #[test]
    fn crosses_threads() {
        let slice = Slice::from_vec(vec![7; 4096]);
        let copy = slice.clone();
        let sum = std::thread::spawn(move || copy.iter().map(|&b| u64::from(b)).sum::<u64>());
        assert_eq!(sum.join().expect("the thread only adds"), 7 * 4096);
        assert_eq!(slice.len(), 4096);
    }
}
