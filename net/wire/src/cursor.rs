//! Reading: a window of bytes and a position, every step checked.
//!
//! A nested length opens a [`Cursor::sub`] window, so nothing inside can read outside it.

use crate::error::{DecodeError, DecodeFault};
use crate::primitives::Uuid;

type Result<T> = std::result::Result<T, DecodeError>;

/// The bytes of a message not read yet. Cloning is cheap and forks the position.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    /// Elements of arrays that may still be read.
    elements_left: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor over all of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self::with_elements_max(bytes, usize::MAX)
    }

    /// A cursor that refuses bytes whose arrays, nested ones included, have more than
    /// `elements_max` elements together: an element in memory is many times its size on the wire.
    #[must_use]
    pub const fn with_elements_max(bytes: &'a [u8], elements_max: usize) -> Self {
        Self { rest: bytes, elements_left: elements_max }
    }

    /// How many of the elements of [`Cursor::with_elements_max`] were not read.
    #[must_use]
    pub const fn elements_left(&self) -> usize {
        self.elements_left
    }

    /// Counts the elements of an array that is about to be read.
    #[inline]
    pub(crate) fn count_elements(&mut self, count: usize) -> Result<()> {
        let Some(left) = self.elements_left.checked_sub(count) else {
            return Err(DecodeFault::TooMany { count, left: self.elements_left }.into());
        };
        self.elements_left = left;
        Ok(())
    }

    /// Bytes not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Number of bytes not read yet.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything has been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Fails unless everything has been read.
    pub fn finish(&self) -> Result<()> {
        if self.is_empty() { Ok(()) } else { Err(DecodeFault::Trailing(self.remaining()).into()) }
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(DecodeFault::Truncated { needed: len, left: self.rest.len() }.into());
        };
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes, as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(DecodeFault::Truncated { needed: N, left: self.rest.len() }.into());
        };
        self.rest = rest;
        Ok(*head)
    }

    /// A window over the next `len` bytes, which this cursor skips.
    #[inline]
    pub fn sub(&mut self, len: usize) -> Result<Self> {
        let elements_left = self.elements_left;
        self.take(len).map(|bytes| Self { rest: bytes, elements_left })
    }

    /// One byte; anything but 0 is true, as in Kafka.
    #[inline]
    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.u8()? != 0)
    }

    /// Unsigned byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Signed byte.
    #[inline]
    pub fn i8(&mut self) -> Result<i8> {
        self.array().map(i8::from_be_bytes)
    }

    /// Big-endian 16 bits.
    #[inline]
    pub fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    /// Big-endian unsigned 16 bits.
    #[inline]
    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Big-endian 32 bits.
    #[inline]
    pub fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// Big-endian unsigned 32 bits.
    #[inline]
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Big-endian 64 bits.
    #[inline]
    pub fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// Big-endian IEEE 754 double.
    #[inline]
    pub fn f64(&mut self) -> Result<f64> {
        self.array().map(f64::from_be_bytes)
    }

    /// Sixteen bytes.
    #[inline]
    pub fn uuid(&mut self) -> Result<Uuid> {
        self.array().map(Uuid)
    }

    /// Unsigned varint of at most 32 bits: lengths and tags.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32> {
        // Nearly all fit into a byte.
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u32::from(*byte));
        }
        let value = self.base128(5)?;
        u32::try_from(value).map_err(|_| DecodeFault::Varint.into())
    }

    /// Zigzag varint of 32 bits, as record batches use.
    #[inline]
    pub fn varint(&mut self) -> Result<i32> {
        let raw = self.uvarint()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// Zigzag varint of 64 bits, as record batches use.
    #[inline]
    pub fn varlong(&mut self) -> Result<i64> {
        let raw = self.base128(10)?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// Little-endian groups of 7 bits, the high bit saying that more follow.
    #[inline]
    fn base128(&mut self, bytes_max: u32) -> Result<u64> {
        let mut value = 0u64;
        for index in 0..bytes_max {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * index;
            // The tenth byte has room for a single bit.
            if shift == 63 && bits > 1 {
                return Err(DecodeFault::Varint.into());
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeFault::Varint.into())
    }

    /// Length of a nullable string or array whose prefix is a varint of length + 1.
    #[inline]
    pub(crate) fn compact_len(&mut self) -> Result<Option<usize>> {
        let raw = self.uvarint()?;
        Ok(raw.checked_sub(1).map(|len| len as usize))
    }

    /// Length with a prefix of 16 bits, −1 for null.
    #[inline]
    pub(crate) fn len16(&mut self) -> Result<Option<usize>> {
        let raw = self.i16()?;
        Self::plain_len(i32::from(raw))
    }

    /// Length with a prefix of 32 bits, −1 for null.
    #[inline]
    pub(crate) fn len32(&mut self) -> Result<Option<usize>> {
        let raw = self.i32()?;
        Self::plain_len(raw)
    }

    #[inline]
    fn plain_len(raw: i32) -> Result<Option<usize>> {
        match usize::try_from(raw) {
            Ok(len) => Ok(Some(len)),
            Err(_) if raw == -1 => Ok(None),
            Err(_) => Err(DecodeFault::NegativeLength(raw).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_cannot_be_left() {
        let mut outer = Cursor::new(&[1, 2, 3, 4]);
        let mut inner = outer.sub(2).unwrap();
        assert_eq!(inner.i16(), Ok(0x0102));
        assert_eq!(inner.u8(), Err(DecodeFault::Truncated { needed: 1, left: 0 }.into()));
        assert_eq!(outer.rest(), &[3, 4]);
        assert_eq!(outer.finish(), Err(DecodeFault::Trailing(2).into()));
        assert!(outer.sub(3).is_err());
        assert_eq!(outer.remaining(), 2, "a failed read leaves the position alone");
    }

    #[test]
    fn varints_are_kafkas() {
        let of = |bytes: &[u8]| Cursor::new(bytes).uvarint();
        assert_eq!(of(&[0]), Ok(0));
        assert_eq!(of(&[0xac, 0x02]), Ok(300));
        assert_eq!(of(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
        assert_eq!(of(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(DecodeFault::Varint.into()));
        assert_eq!(of(&[0x80; 9]), Err(DecodeFault::Varint.into()));
        assert_eq!(Cursor::new(&[1]).varint(), Ok(-1));
        assert_eq!(Cursor::new(&[2]).varint(), Ok(1));
        let lowest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Cursor::new(&lowest).varlong(), Ok(i64::MIN));
        let over = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(Cursor::new(&over).varlong(), Err(DecodeFault::Varint.into()));
    }

    #[test]
    fn lengths_below_null_are_refused() {
        assert_eq!(Cursor::new(&[0xff, 0xff]).len16(), Ok(None));
        assert_eq!(Cursor::new(&[0xff, 0xfe]).len16(), Err(DecodeFault::NegativeLength(-2).into()));
        assert_eq!(
            Cursor::new(&[0x80, 0, 0, 0]).len32(),
            Err(DecodeFault::NegativeLength(i32::MIN).into())
        );
    }
}
