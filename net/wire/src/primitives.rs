//! Values that the protocol is made of: integers, ids, strings, bytes, records, and "or null".
//!
//! How each is written (compact = in a flexible version):
//!
//! | type | plain | compact | null |
//! |---|---|---|---|
//! | `&str`, `String` | i16 length, bytes | varint of length + 1, bytes | −1; 0 |
//! | `&[u8]`, `Vec<u8>`, [`Records`] | i32 length, bytes | varint of length + 1, bytes | −1; 0 |
//! | arrays ([`crate::list`]) | i32 count, elements | varint of count + 1, elements | −1; 0 |
//! | structs ([`crate::schema`]) | fields | fields, tagged fields | where nullable: byte −1 (null) or 1 before it |
//!
//! A string holds at most 32 767 bytes. One that is not UTF-8 is refused, where Kafka would put
//! replacement characters.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::cursor::Cursor;
use crate::error::{DecodeError, DecodeFault, EncodeError};
use crate::schema::{At, Nullable, Shape, Value};
use crate::writer::Writer;

/// A 128-bit id as Kafka writes it: 16 bytes on the wire, 22 characters of unpadded base64url
/// in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// "No id": what the protocol sends where a topic id is not known.
    pub const ZERO: Self = Self([0; 16]);

    /// Id of `__cluster_metadata`, and of an unassigned log directory: (0, 1).
    pub const ONE: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// Whether this is [`Uuid::ZERO`].
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 22];
        let len = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
        f.write_str(
            std::str::from_utf8(text.get(..len).unwrap_or_default()).map_err(|_| fmt::Error)?,
        )
    }
}

/// Record batches inside a request or response.
///
/// Decoding gives [`Records::Inline`], borrowed from the frame. Encoding also takes
/// [`Records::Spliced`]: bytes that the caller sends itself, between two pieces of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records<'a> {
    /// The bytes.
    Inline(&'a [u8]),
    /// Bytes the caller has; see [`Writer::splice`].
    Spliced {
        /// The caller's name for them.
        token: u32,
        /// How many they are.
        len: u32,
    },
}

impl<'a> Records<'a> {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Spliced { len, .. } => *len as usize,
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, when they are here: always, after decoding.
    #[must_use]
    pub fn inline(&self) -> Option<&'a [u8]> {
        match self {
            Self::Inline(bytes) => Some(bytes),
            Self::Spliced { .. } => None,
        }
    }
}

/// The text is not 22 characters of base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of 22 base64url characters")]
pub struct ParseUuidError;

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ParseUuidError)?;
        bytes.try_into().map(Self).map_err(|_| ParseUuidError)
    }
}

/// Numbers and ids: the same in every version.
macro_rules! fixed {
    ($($ty:ty = $shape:ident, $bytes:literal, $method:ident, $zero:expr $(, $error:ident)?;)+) => { $(
        impl<'a> Value<'a> for $ty {
            const SHAPE: Shape = Shape::$shape;
            const FIXED_SIZE: Option<usize> = Some($bytes);

            #[inline]
            fn min_size(_: At) -> usize {
                $bytes
            }

            fn empty() -> Self {
                $zero
            }

            #[inline]
            fn read(cur: &mut Cursor<'a>, _: At) -> Result<Self, DecodeError> {
                cur.$method()
            }

            #[inline]
            fn write(&self, w: &mut Writer, _: At) -> Result<(), EncodeError> {
                w.$method(*self);
                Ok(())
            }

            $(fn $error(&self) -> i16 {
                *self
            })?
        }
    )+ };
}

fixed! {
    bool = Bool, 1, bool, false;
    i8 = I8, 1, i8, 0;
    i16 = I16, 2, i16, 0, error_code;
    u16 = U16, 2, u16, 0;
    i32 = I32, 4, i32, 0;
    u32 = U32, 4, u32, 0;
    i64 = I64, 8, i64, 0;
    f64 = F64, 8, f64, 0.0;
    Uuid = Uuid, 16, uuid, Uuid::ZERO;
}

/// Strings, bytes and records: a length prefix, then the bytes.
macro_rules! prefixed {
    ($($ty:ty = $shape:ident, $plain_prefix:literal, $len:ident, $from:expr, $put:expr;)+) => { $(
        impl<'a> Value<'a> for $ty {
            const SHAPE: Shape = Shape::$shape;

            #[inline]
            fn min_size(at: At) -> usize {
                if at.flexible { 1 } else { $plain_prefix }
            }

            fn empty() -> Self {
                let from: fn(&'a [u8]) -> Result<Self, DecodeFault> = $from;
                from(&[]).expect("no bytes are a valid empty value")
            }

            #[inline]
            fn read(cur: &mut Cursor<'a>, at: At) -> Result<Self, DecodeError> {
                Self::read_nullable(cur, at)?.ok_or(DecodeError::from(DecodeFault::Null))
            }

            #[inline]
            fn write(&self, w: &mut Writer, at: At) -> Result<(), EncodeError> {
                w.$len(self.len(), at.flexible)?;
                let put: fn(&mut Writer, &Self) = $put;
                put(w, self);
                Ok(())
            }
        }

        impl<'a> Nullable<'a> for $ty {
            #[inline]
            fn null_size(at: At) -> usize {
                Self::min_size(at)
            }

            #[inline]
            fn read_nullable(cur: &mut Cursor<'a>, at: At) -> Result<Option<Self>, DecodeError> {
                let Some(len) = read::$len(cur, at.flexible)? else { return Ok(None) };
                let bytes = cur.take(len)?;
                let from: fn(&'a [u8]) -> Result<Self, DecodeFault> = $from;
                Ok(Some(from(bytes)?))
            }

            #[inline]
            fn write_present(&self, w: &mut Writer, at: At) -> Result<(), EncodeError> {
                self.write(w, at)
            }

            #[inline]
            fn write_null(w: &mut Writer, at: At) {
                write_null::$len(w, at.flexible);
            }
        }
    )+ };
}

prefixed! {
    &'a str = Str, 2, string_len, text, |w, text| w.bytes(text.as_bytes());
    String = Str, 2, string_len, |bytes| text(bytes).map(str::to_owned), |w, text| w.bytes(text.as_bytes());
    &'a [u8] = Bytes, 4, long_len, Ok, |w, bytes| w.bytes(bytes);
    Vec<u8> = Bytes, 4, long_len, |bytes| Ok(bytes.to_vec()), |w, bytes| w.bytes(bytes);
    Records<'a> = Records, 4, long_len, |bytes| Ok(Records::Inline(bytes)), |w, records| match records {
        Records::Inline(bytes) => w.bytes(bytes),
        Records::Spliced { token, len } => w.splice(*token, *len),
    };
}

impl<'a, T: Nullable<'a>> Value<'a> for Option<T> {
    const SHAPE: Shape = Shape::Nullable(&T::SHAPE);

    #[inline]
    fn min_size(at: At) -> usize {
        T::null_size(at)
    }

    fn empty() -> Self {
        Some(T::empty())
    }

    #[inline]
    fn read(cur: &mut Cursor<'a>, at: At) -> Result<Self, DecodeError> {
        T::read_nullable(cur, at)
    }

    #[inline]
    fn write(&self, w: &mut Writer, at: At) -> Result<(), EncodeError> {
        match self {
            Some(value) => value.write_present(w, at),
            None => {
                T::write_null(w, at);
                Ok(())
            }
        }
    }

    fn read_tagged(cur: &mut Cursor<'a>, at: At) -> Result<Self, DecodeError> {
        T::read_nullable_tagged(cur, at)
    }

    fn write_tagged(&self, w: &mut Writer, at: At) -> Result<(), EncodeError> {
        match self {
            Some(value) => value.write_present(w, at),
            None => {
                T::write_null_tagged(w, at);
                Ok(())
            }
        }
    }

    #[inline]
    fn is_null(&self) -> bool {
        self.is_none()
    }
}

fn text(bytes: &[u8]) -> Result<&str, DecodeFault> {
    std::str::from_utf8(bytes).map_err(|_| DecodeFault::Utf8)
}

/// Length prefixes, named as the methods of [`Writer`] that write them.
pub(crate) mod read {
    use crate::cursor::Cursor;
    use crate::error::{DecodeError, DecodeFault};

    pub(crate) fn string_len(
        cur: &mut Cursor<'_>,
        compact: bool,
    ) -> Result<Option<usize>, DecodeError> {
        let len = if compact { cur.compact_len()? } else { cur.len16()? };
        match len {
            Some(len) if len > super::STRING_LEN_MAX => {
                Err(DecodeFault::TooLong { len, max: super::STRING_LEN_MAX }.into())
            }
            len => Ok(len),
        }
    }

    #[inline]
    pub(crate) fn long_len(
        cur: &mut Cursor<'_>,
        compact: bool,
    ) -> Result<Option<usize>, DecodeError> {
        if compact { cur.compact_len() } else { cur.len32() }
    }
}

/// The null of each length prefix.
pub(crate) mod write_null {
    use crate::writer::Writer;

    pub(crate) fn string_len(w: &mut Writer, compact: bool) {
        if compact { w.uvarint(0) } else { w.i16(-1) }
    }

    pub(crate) fn long_len(w: &mut Writer, compact: bool) {
        if compact { w.uvarint(0) } else { w.i32(-1) }
    }
}

/// Kafka's strings have 16-bit lengths; the compact form keeps the limit, and so does Kafka.
pub(crate) const STRING_LEN_MAX: usize = i16::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kafkas() {
        assert_eq!(Uuid::ONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ".parse(), Ok(Uuid::ONE));
        assert_eq!("AAAA".parse::<Uuid>(), Err(ParseUuidError));
    }
}
