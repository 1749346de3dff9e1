//! Writing: a growing head, and notes of where foreign bytes belong.
//!
//! Record bytes are never copied into the head. [`Writer::splice`] notes "here come `len` bytes,
//! known to the caller as `token`"; the shell sends head pieces and slices with one vectored
//! write:
//!
//! ```text
//! head     [ frame length, header, .. 0000002a | partition 1 .. 00000011 | tagged fields ]
//! splices                          at ─────────^ 42 bytes    at ────────^ 17 bytes
//! ```

use crate::error::EncodeError;
use crate::primitives::{STRING_LEN_MAX, Uuid};

/// Where bytes that are not in the head go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    /// The bytes follow `head[..at]`.
    pub at: usize,
    /// The caller's name for them.
    pub token: u32,
    /// How many they are.
    pub len: u32,
}

/// A finished encoding; see [`Writer::finish`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Encoded {
    /// Everything but the spliced bytes.
    pub head: Vec<u8>,
    /// In ascending order of `at`.
    pub splices: Vec<Splice>,
}

impl Encoded {
    /// Total length in bytes, spliced bytes included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len() + spliced(&self.splices)
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes to send in order: pieces of the head, and the tokens between them.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let ends = self.splices.iter().map(|splice| (splice.at, Some(*splice)));
        let ends = ends.chain(std::iter::once((self.head.len(), None)));
        let mut start = 0;
        ends.flat_map(move |(end, splice)| {
            let head = self.head.get(start..end).unwrap_or_default();
            start = end;
            let head = (!head.is_empty()).then_some(Piece::Head(head));
            head.into_iter().chain(splice.map(Piece::Splice))
        })
    }
}

/// One part of an [`Encoded`] message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes of the head.
    Head(&'a [u8]),
    /// Bytes the caller has.
    Splice(Splice),
}

/// An append-only encoder. Never fails on memory of its own making: what it holds is the caller's
/// values, once.
#[derive(Debug, Default)]
pub struct Writer {
    head: Vec<u8>,
    splices: Vec<Splice>,
    /// Error codes written, with how often; without the one for no error.
    errors: Vec<(i16, u32)>,
}

/// A point to return to: see [`Writer::mark`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    head: usize,
    splices: usize,
}

impl Writer {
    /// An empty writer; allocates on first use.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that reuses the buffers of a message already sent.
    #[must_use]
    pub fn recycle(mut spent: Encoded) -> Self {
        spent.head.clear();
        spent.splices.clear();
        Self { head: spent.head, splices: spent.splices, errors: Vec::new() }
    }

    /// Makes room for `additional` more bytes of head.
    pub fn reserve(&mut self, additional: usize) {
        self.head.reserve(additional);
    }

    /// Bytes of head written so far.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Which error codes were written, and how often each; no error is none of them.
    #[must_use]
    pub fn errors(&self) -> &[(i16, u32)] {
        &self.errors
    }

    /// An error code is about to be written.
    #[inline]
    pub(crate) fn note_error(&mut self, code: i16) {
        if code != 0 {
            self.count_error(code);
        }
    }

    #[cold]
    fn count_error(&mut self, code: i16) {
        match self.errors.iter_mut().find(|(known, _)| *known == code) {
            Some((_, times)) => *times = times.saturating_add(1),
            None => self.errors.push((code, 1)),
        }
    }

    /// The present position, to [`Writer::rewind`] to or to [`Writer::end_frame`] from.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { head: self.head.len(), splices: self.splices.len() }
    }

    /// Forgets everything written since `mark`: what to do after a failed encode.
    pub fn rewind(&mut self, mark: Mark) {
        self.head.truncate(mark.head);
        self.splices.truncate(mark.splices);
    }

    /// Starts a frame: leaves room for its length.
    pub fn begin_frame(&mut self) -> Mark {
        let mark = self.mark();
        self.i32(0);
        mark
    }

    /// Ends the frame begun at `mark`: fills in its length, spliced bytes included, and returns
    /// the frame's total size, prefix included. A frame over 2 GiB is refused and rewound.
    pub fn end_frame(&mut self, mark: Mark) -> Result<usize, EncodeError> {
        let total = self.written_since(mark);
        let body = total.saturating_sub(size_of::<i32>());
        let Ok(prefix) = i32::try_from(body) else {
            self.rewind(mark);
            return Err(EncodeError::TooLong { field: "", len: body, max: i32::MAX as usize });
        };
        let place = self.head.get_mut(mark.head..).and_then(<[u8]>::first_chunk_mut::<4>);
        *place.expect("begin_frame left room for the prefix") = prefix.to_be_bytes();
        Ok(total)
    }

    /// The message: head and splices.
    #[must_use]
    pub fn finish(self) -> Encoded {
        Encoded { head: self.head, splices: self.splices }
    }

    /// The bytes, when nothing was spliced.
    ///
    /// # Panics
    /// When something was: the caller encoded [`crate::primitives::Records::Spliced`].
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        assert!(self.splices.is_empty(), "spliced bytes are not in the head");
        self.head
    }

    /// Notes that `len` bytes, known as `token`, belong here.
    pub fn splice(&mut self, token: u32, len: u32) {
        if len > 0 {
            self.splices.push(Splice { at: self.head.len(), token, len });
        }
    }

    /// Bytes as they are.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.head.extend_from_slice(bytes);
    }

    /// One byte, 0 or 1.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.head.push(u8::from(value));
    }

    /// Signed byte.
    #[inline]
    pub fn i8(&mut self, value: i8) {
        self.head.push(value.cast_unsigned());
    }

    /// Big-endian 16 bits.
    #[inline]
    pub fn i16(&mut self, value: i16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Big-endian unsigned 16 bits.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Big-endian 32 bits.
    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Big-endian unsigned 32 bits.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Big-endian 64 bits.
    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    /// Big-endian IEEE 754 double.
    #[inline]
    pub fn f64(&mut self, value: f64) {
        self.bytes(&value.to_be_bytes());
    }

    /// Sixteen bytes.
    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.bytes(&value.0);
    }

    /// Unsigned varint: lengths and tags.
    #[inline]
    pub fn uvarint(&mut self, value: u32) {
        self.base128(u64::from(value));
    }

    /// Zigzag varint of 32 bits, as record batches use.
    #[inline]
    pub fn varint(&mut self, value: i32) {
        self.uvarint(((value << 1) ^ (value >> 31)).cast_unsigned());
    }

    /// Zigzag varint of 64 bits, as record batches use.
    #[inline]
    pub fn varlong(&mut self, value: i64) {
        self.base128(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// A tagged field: its tag, the size of what `value` writes, and that.
    pub(crate) fn tagged(
        &mut self,
        tag: u32,
        value: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.uvarint(tag);
        let mark = self.mark();
        value(self)?;
        assert_eq!(self.splices.len(), mark.splices, "no tagged field carries records");
        let size = self.head.len() - mark.head;
        let prefix = u32::try_from(size).map_err(|_| EncodeError::TooLong {
            field: "",
            len: size,
            max: u32::MAX as usize,
        })?;
        // The size goes in front: write it behind, then turn the two round.
        self.uvarint(prefix);
        let prefix_len = self.head.len() - mark.head - size;
        self.head
            .get_mut(mark.head..)
            .expect("the head only grew since the mark")
            .rotate_right(prefix_len);
        Ok(())
    }

    /// Prefix of a string: varint of length + 1, or 16 bits.
    #[inline]
    pub(crate) fn string_len(&mut self, len: usize, compact: bool) -> Result<(), EncodeError> {
        let Ok(short) = i16::try_from(len) else {
            return Err(EncodeError::TooLong { field: "", len, max: STRING_LEN_MAX });
        };
        if compact {
            self.uvarint(u32::from(short.cast_unsigned()) + 1);
        } else {
            self.i16(short);
        }
        Ok(())
    }

    /// Prefix of an array, of bytes or of records: varint of length + 1, or 32 bits.
    #[inline]
    pub(crate) fn long_len(&mut self, len: usize, compact: bool) -> Result<(), EncodeError> {
        let Ok(prefix) = i32::try_from(len) else {
            return Err(EncodeError::TooLong { field: "", len, max: i32::MAX as usize });
        };
        if compact {
            self.uvarint(prefix.cast_unsigned() + 1);
        } else {
            self.i32(prefix);
        }
        Ok(())
    }

    fn written_since(&self, mark: Mark) -> usize {
        let splices = self.splices.get(mark.splices..).unwrap_or_default();
        self.head.len() - mark.head + spliced(splices)
    }

    #[inline]
    fn base128(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.head.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.head.push(value as u8);
    }
}

fn spliced(splices: &[Splice]) -> usize {
    splices.iter().map(|splice| splice.len as usize).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Cursor;

    #[test]
    fn varints_come_back() {
        for value in [0, 1, -1, 63, 64, -64, -65, 300, i32::MAX, i32::MIN] {
            let mut w = Writer::new();
            w.varint(value);
            w.varlong(i64::from(value) << 31);
            w.uvarint(value.cast_unsigned());
            let bytes = w.into_bytes();
            let mut cur = Cursor::new(&bytes);
            assert_eq!(cur.varint(), Ok(value));
            assert_eq!(cur.varlong(), Ok(i64::from(value) << 31));
            assert_eq!(cur.uvarint(), Ok(value.cast_unsigned()));
            assert_eq!(cur.finish(), Ok(()));
        }
    }

    #[test]
    fn a_frame_counts_spliced_bytes() {
        let mut w = Writer::new();
        w.bytes(b"before");
        let frame = w.begin_frame();
        w.i16(7);
        w.splice(3, 100);
        w.i8(-1);
        w.splice(4, 0);
        assert_eq!(w.end_frame(frame), Ok(107));
        let encoded = w.finish();
        assert_eq!(encoded.len(), 113);
        assert_eq!(encoded.head, b"before\0\0\0\x67\0\x07\xff");
        assert_eq!(encoded.splices, [Splice { at: 12, token: 3, len: 100 }]);
        let pieces: Vec<_> = encoded.pieces().collect();
        assert_eq!(
            pieces,
            [
                Piece::Head(b"before\0\0\0\x67\0\x07"),
                Piece::Splice(Splice { at: 12, token: 3, len: 100 }),
                Piece::Head(b"\xff"),
            ]
        );
    }

    #[test]
    fn a_failed_message_leaves_nothing() {
        let mut w = Writer::new();
        w.i8(1);
        let mark = w.begin_frame();
        w.splice(0, 9);
        w.rewind(mark);
        assert_eq!(w.finish(), Encoded { head: vec![1], splices: vec![] });
    }

    #[test]
    fn a_tagged_field_carries_its_size() {
        for len in [0, 1, 127, 128, 20_000] {
            let mut w = Writer::new();
            w.tagged(5, |w| {
                w.bytes(&vec![9; len]);
                Ok(())
            })
            .unwrap();
            let bytes = w.into_bytes();
            let mut cur = Cursor::new(&bytes);
            assert_eq!(cur.uvarint(), Ok(5));
            assert_eq!(cur.uvarint(), Ok(u32::try_from(len).unwrap()));
            assert_eq!(cur.rest(), vec![9; len]);
        }
    }
}
