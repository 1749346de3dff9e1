//! Arrays: [`List`] for requests and responses, `Vec` for records.
//!
//! A decoded [`List`] is a *view*: decoding walks the elements once, to find that all are valid
//! and where the array ends, and keeps the bytes; iterating reads them again. So decoding any
//! request or response allocates nothing, however many topics and partitions a peer claims or
//! sends, and nothing of it has to be freed.
//!
//! The price is that an element nested `d` arrays deep is read `d + 1` times. A partition of a
//! Produce or Fetch request (two deep, records skipped) costs some 30 ns of CPU for all its reads
//! together. Walk a list once; [`List::to_vec`] where it must be walked often. A `SmallVec` was
//! the alternative: one read, but an allocation for every array that outgrows it and a large move
//! for every one that does not, in the usual case of one topic with a few partitions.

use std::fmt;

use crate::cursor::Cursor;
use crate::error::{DecodeError, DecodeFault, EncodeError};
use crate::primitives::{read, write_null};
use crate::schema::{At, Nullable, Shape, Value};
use crate::writer::Writer;

/// An array of a request or response: a view of received bytes, or the caller's elements.
///
/// Elements are handed out by value; of a borrowed struct that is a copy of a few words.
#[derive(Clone)]
pub struct List<'a, T> {
    repr: Repr<'a, T>,
}

#[derive(Clone)]
enum Repr<'a, T> {
    /// `len` elements, found valid when the message was decoded.
    Wire {
        bytes: &'a [u8],
        len: usize,
        at: At,
    },
    Slice(&'a [T]),
    Owned(Vec<T>),
}

impl<'a, T> List<'a, T> {
    /// A list without elements.
    #[must_use]
    pub const fn new() -> Self {
        Self { repr: Repr::Slice(&[]) }
    }

    /// Number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        match &self.repr {
            Repr::Wire { len, .. } => *len,
            Repr::Slice(items) => items.len(),
            Repr::Owned(items) => items.len(),
        }
    }

    /// Whether there are no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a, T: Value<'a>> List<'a, T> {
    /// The elements in order, by value.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, 'a, T> {
        Iter(match &self.repr {
            Repr::Wire { bytes, len, at } => {
                IterRepr::Wire { cur: Cursor::new(bytes), left: *len, at: *at }
            }
            Repr::Slice(items) => IterRepr::Items(items.iter()),
            Repr::Owned(items) => IterRepr::Items(items.iter()),
        })
    }

    /// The first element.
    #[must_use]
    pub fn first(&self) -> Option<T> {
        self.iter().next()
    }

    /// The elements, allocated.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        self.iter().collect()
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<Vec<T>> for List<'_, T> {
    fn from(items: Vec<T>) -> Self {
        Self { repr: Repr::Owned(items) }
    }
}

impl<'a, T> From<&'a [T]> for List<'a, T> {
    fn from(items: &'a [T]) -> Self {
        Self { repr: Repr::Slice(items) }
    }
}

impl<'a, T> From<&'a Vec<T>> for List<'a, T> {
    fn from(items: &'a Vec<T>) -> Self {
        Self::from(items.as_slice())
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for List<'a, T> {
    fn from(items: &'a [T; N]) -> Self {
        Self::from(items.as_slice())
    }
}

impl<T> FromIterator<T> for List<'_, T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::from(Vec::from_iter(items))
    }
}

impl<'l, 'a, T: Value<'a>> IntoIterator for &'l List<'a, T> {
    type Item = T;
    type IntoIter = Iter<'l, 'a, T>;

    fn into_iter(self) -> Iter<'l, 'a, T> {
        self.iter()
    }
}

impl<'a, T: Value<'a>> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a, T: Value<'a>> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// Iterator over a [`List`].
#[derive(Clone, Debug)]
pub struct Iter<'l, 'a, T>(IterRepr<'l, 'a, T>);

#[derive(Clone, Debug)]
enum IterRepr<'l, 'a, T> {
    Wire { cur: Cursor<'a>, left: usize, at: At },
    Items(std::slice::Iter<'l, T>),
}

impl<'a, T: Value<'a>> Iterator for Iter<'_, 'a, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            IterRepr::Wire { cur, left, at } => {
                *left = left.checked_sub(1)?;
                Some(T::read(cur, *at).expect("the elements were valid when the list was decoded"))
            }
            IterRepr::Items(items) => items.next().cloned(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            IterRepr::Wire { left, .. } => *left,
            IterRepr::Items(items) => items.len(),
        };
        (left, Some(left))
    }
}

impl<'a, T: Value<'a>> ExactSizeIterator for Iter<'_, 'a, T> {}

impl<'a, T: Value<'a>> Value<'a> for List<'a, T> {
    const SHAPE: Shape = Shape::List(&T::SHAPE);

    #[inline]
    fn min_size(at: At) -> usize {
        Self::null_size(at)
    }

    fn empty() -> Self {
        Self::new()
    }

    fn read(cur: &mut Cursor<'a>, at: At) -> Result<Self, DecodeError> {
        Self::read_nullable(cur, at)?.ok_or(DecodeError::from(DecodeFault::Null))
    }

    fn write(&self, w: &mut Writer, at: At) -> Result<(), EncodeError> {
        match &self.repr {
            Repr::Wire { .. } => {
                w.long_len(self.len(), at.flexible)?;
                self.iter().try_for_each(|item| item.write(w, at))
            }
            Repr::Slice(items) => write_all(items, w, at),
            Repr::Owned(items) => write_all(items, w, at),
        }
    }
}

impl<'a, T: Value<'a>> Nullable<'a> for List<'a, T> {
    #[inline]
    fn null_size(at: At) -> usize {
        if at.flexible { 1 } else { 4 }
    }

    fn read_nullable(cur: &mut Cursor<'a>, at: At) -> Result<Option<Self>, DecodeError> {
        let Some(len) = read_count::<T>(cur, at)? else { return Ok(None) };
        let whole = cur.rest();
        match T::FIXED_SIZE {
            Some(size) => {
                cur.take(len * size)?;
            }
            None => {
                for _ in 0..len {
                    T::read(cur, at)?;
                }
            }
        }
        let used = whole.len() - cur.remaining();
        let bytes = whole.get(..used).expect("the cursor moved inside these bytes");
        Ok(Some(Self { repr: Repr::Wire { bytes, len, at } }))
    }

    fn write_present(&self, w: &mut Writer, at: At) -> Result<(), EncodeError> {
        self.write(w, at)
    }

    fn write_null(w: &mut Writer, at: At) {
        write_null::long_len(w, at.flexible);
    }
}

impl<'a, T: Value<'a>> Value<'a> for Vec<T> {
    const SHAPE: Shape = Shape::List(&T::SHAPE);

    #[inline]
    fn min_size(at: At) -> usize {
        Self::null_size(at)
    }

    fn empty() -> Self {
        Self::new()
    }

    fn read(cur: &mut Cursor<'a>, at: At) -> Result<Self, DecodeError> {
        Self::read_nullable(cur, at)?.ok_or(DecodeError::from(DecodeFault::Null))
    }

    fn write(&self, w: &mut Writer, at: At) -> Result<(), EncodeError> {
        write_all(self, w, at)
    }
}

impl<'a, T: Value<'a>> Nullable<'a> for Vec<T> {
    #[inline]
    fn null_size(at: At) -> usize {
        if at.flexible { 1 } else { 4 }
    }

    fn read_nullable(cur: &mut Cursor<'a>, at: At) -> Result<Option<Self>, DecodeError> {
        let Some(len) = read_count::<T>(cur, at)? else { return Ok(None) };
        let mut items = Self::with_capacity(len.min(VEC_FIRST_BYTES / size_of::<T>().max(1)));
        for _ in 0..len {
            items.push(T::read(cur, at)?);
        }
        Ok(Some(items))
    }

    fn write_present(&self, w: &mut Writer, at: At) -> Result<(), EncodeError> {
        self.write(w, at)
    }

    fn write_null(w: &mut Writer, at: At) {
        write_null::long_len(w, at.flexible);
    }
}

/// An element in memory can be many times its size on the wire, so a claimed count earns at most
/// this much memory in advance; the rest comes as elements are really read.
const VEC_FIRST_BYTES: usize = 16 * 1024;

/// The count, refused when the bytes left cannot hold as many elements.
fn read_count<'a, T: Value<'a>>(
    cur: &mut Cursor<'a>,
    at: At,
) -> Result<Option<usize>, DecodeError> {
    let Some(count) = read::long_len(cur, at.flexible)? else { return Ok(None) };
    let left = cur.remaining();
    if count > left / T::min_size(at).max(1) {
        return Err(DecodeFault::Count { count, left }.into());
    }
    cur.count_elements(count)?;
    Ok(Some(count))
}

fn write_all<'a, T: Value<'a>>(items: &[T], w: &mut Writer, at: At) -> Result<(), EncodeError> {
    w.long_len(items.len(), at.flexible)?;
    items.iter().try_for_each(|item| item.write(w, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: At = At { version: 0, flexible: false };
    const COMPACT: At = At { version: 0, flexible: true };

    #[test]
    fn elements_are_counted_over_all_arrays() {
        let mut w = Writer::new();
        List::from(&[List::from(&[1_i32, 2, 3]), List::from(&[4_i32])])
            .write(&mut w, PLAIN)
            .unwrap();
        let bytes = w.into_bytes();
        let mut cur = Cursor::with_elements_max(&bytes, 10);
        let list = List::<List<'_, i32>>::read(&mut cur, PLAIN).unwrap();
        assert_eq!((list.len(), cur.elements_left()), (2, 4));
        assert!(
            List::<List<'_, i32>>::read(&mut Cursor::with_elements_max(&bytes, 6), PLAIN).is_ok()
        );
        assert_eq!(
            List::<List<'_, i32>>::read(&mut Cursor::with_elements_max(&bytes, 5), PLAIN),
            Err(DecodeFault::TooMany { count: 1, left: 0 }.into())
        );
    }

    #[test]
    fn a_view_equals_what_was_written() {
        let items = ["a", "", "topic"];
        for at in [PLAIN, COMPACT] {
            let mut w = Writer::new();
            List::from(&items).write(&mut w, at).unwrap();
            let bytes = w.into_bytes();
            let mut cur = Cursor::new(&bytes);
            let list = List::<&str>::read(&mut cur, at).unwrap();
            assert!(cur.is_empty());
            assert_eq!(list.len(), 3);
            assert_eq!(list, List::from(items.to_vec()));
            assert_eq!(list.first(), Some("a"));
            assert_eq!(list.iter().len(), 3);
            let mut again = Writer::new();
            list.write(&mut again, at).unwrap();
            assert_eq!(again.into_bytes(), bytes);
        }
    }

    #[test]
    fn a_count_must_fit_its_bytes() {
        let huge = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        let fault = DecodeFault::Count { count: i32::MAX as usize, left: 4 };
        assert_eq!(List::<i32>::read(&mut Cursor::new(&huge), PLAIN), Err(fault.into()));
        assert_eq!(Vec::<i32>::read(&mut Cursor::new(&huge), PLAIN), Err(fault.into()));
        let none = [0xff, 0xff, 0xff, 0xff];
        assert_eq!(
            List::<i32>::read(&mut Cursor::new(&none), PLAIN),
            Err(DecodeFault::Null.into())
        );
        assert_eq!(Option::<List<'_, i32>>::read(&mut Cursor::new(&[0]), COMPACT), Ok(None));
    }
}
