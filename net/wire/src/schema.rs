//! Schemas: how a message's fields, versions and defaults become a decoder and an encoder.
//!
//! Messages are declared with [`wire!`](declare), one field a line. This module is what the
//! declarations expand to: [`Value`] for everything with a serialized form, [`Spec`] for what a
//! field says about versions, [`Message`] for what stands alone. [`Shape`] is the declaration as
//! data, for tools and tests that walk a message without knowing it.

pub mod declare;

use std::fmt;

use crate::cursor::Cursor;
use crate::error::{DecodeError, DecodeFault, EncodeError};
use crate::writer::Writer;

pub(crate) use declare::wire;

/// The version a message is read or written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The message's version.
    pub version: i16,
    /// Whether the version uses compact lengths and tagged fields (KIP-482).
    pub flexible: bool,
}

/// Anything with a serialized form.
pub trait Value<'a>: Sized + Clone + PartialEq + fmt::Debug {
    /// The declaration, as data.
    const SHAPE: Shape;

    /// Size in bytes, where it is the same for all values and versions.
    const FIXED_SIZE: Option<usize> = None;

    /// No value takes fewer bytes than this: bounds what a claimed count may cost.
    fn min_size(at: At) -> usize;

    /// Kafka's default where a schema names none: 0, false, "", no elements, and for an `Option`
    /// (as in Kafka) not null but some empty value.
    fn empty() -> Self;

    /// Reads a value, and no byte more.
    fn read(cur: &mut Cursor<'a>, at: At) -> Result<Self, DecodeError>;

    /// Writes the value.
    fn write(&self, w: &mut Writer, at: At) -> Result<(), EncodeError>;

    /// Reads the value of a tagged field: as [`Value::read`] but for the mark of a struct that is
    /// null.
    fn read_tagged(cur: &mut Cursor<'a>, at: At) -> Result<Self, DecodeError> {
        Self::read(cur, at)
    }

    /// Writes the value of a tagged field.
    fn write_tagged(&self, w: &mut Writer, at: At) -> Result<(), EncodeError> {
        self.write(w, at)
    }

    /// Whether this is null.
    fn is_null(&self) -> bool {
        false
    }

    /// The value of a field that holds one of Kafka's error codes.
    #[inline]
    fn error_code(&self) -> i16 {
        0
    }
}

/// A [`Value`] that can also be null, so `Option` of it is one.
pub trait Nullable<'a>: Value<'a> {
    /// Bytes that null takes, which no value undercuts.
    fn null_size(at: At) -> usize;

    /// Reads a value or null.
    fn read_nullable(cur: &mut Cursor<'a>, at: At) -> Result<Option<Self>, DecodeError>;

    /// Writes a value where null was possible.
    fn write_present(&self, w: &mut Writer, at: At) -> Result<(), EncodeError>;

    /// Writes null.
    fn write_null(w: &mut Writer, at: At);

    /// Reads a value or null as a tagged field.
    fn read_nullable_tagged(cur: &mut Cursor<'a>, at: At) -> Result<Option<Self>, DecodeError> {
        Self::read_nullable(cur, at)
    }

    /// Writes null as a tagged field.
    fn write_null_tagged(w: &mut Writer, at: At) {
        Self::write_null(w, at);
    }
}

/// A struct that stands alone: a request, a response, a record.
pub trait Message<'a>: Value<'a> + Default {
    /// Kafka's name.
    const NAME: &'static str;
    /// API key of a request or response, type of a record.
    const KEY: i16;
    /// Lowest version.
    const MIN_VERSION: i16;
    /// Highest version.
    const MAX_VERSION: i16;
    /// First flexible version; `i16::MAX` for none.
    const FLEXIBLE_FROM: i16;
}

/// Reads a message. Fields the version lacks get their defaults, unknown tagged fields are
/// skipped. Bytes may follow: whoever knows that none should calls [`Cursor::finish`].
pub fn decode<'a, M: Message<'a>>(cur: &mut Cursor<'a>, version: i16) -> Result<M, DecodeError> {
    let (min, max) = (M::MIN_VERSION, M::MAX_VERSION);
    if version < min || version > max {
        return Err(DecodeFault::UnsupportedVersion { version, min, max }.into());
    }
    M::read(cur, At { version, flexible: version >= M::FLEXIBLE_FROM })
}

/// Writes a message. On an error the writer holds half a message: see [`Writer::rewind`].
pub fn encode<'a, M: Message<'a>>(
    message: &M,
    w: &mut Writer,
    version: i16,
) -> Result<(), EncodeError> {
    let (min, max) = (M::MIN_VERSION, M::MAX_VERSION);
    if version < min || version > max {
        return Err(EncodeError::UnsupportedVersion { version, min, max });
    }
    message.write(w, At { version, flexible: version >= M::FLEXIBLE_FROM })
}

/// What a declaration says about a field besides its type and default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The field's name.
    pub name: &'static str,
    /// First version that has the field.
    pub since: i16,
    /// Last version that has the field.
    pub until: i16,
    /// First version in which an `Option` field may be null.
    pub null_since: i16,
    /// Tag, if the field is among the tagged ones at the end of its struct.
    pub tag: Option<u32>,
    /// Whether a set field is dropped silently where the version lacks it.
    pub ignorable: bool,
    /// Whether it holds one of Kafka's error codes, which all such fields are named for.
    pub error: bool,
}

impl Spec {
    /// A field of all versions.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        let error = same(name, "error_code");
        Self { name, since: 0, until: i16::MAX, null_since: 0, tag: None, ignorable: false, error }
    }

    /// In versions `first` and up.
    #[must_use]
    pub const fn since(self, first: i16) -> Self {
        Self { since: first, ..self }
    }

    /// In versions up to `last`.
    #[must_use]
    pub const fn until(self, last: i16) -> Self {
        Self { until: last, ..self }
    }

    /// Null only in versions `first` and up.
    #[must_use]
    pub const fn null_since(self, first: i16) -> Self {
        Self { null_since: first, ..self }
    }

    /// Tagged.
    #[must_use]
    pub const fn tag(self, tag: u32) -> Self {
        Self { tag: Some(tag), ..self }
    }

    /// Dropped where the version lacks it.
    #[must_use]
    pub const fn ignorable(self) -> Self {
        Self { ignorable: true, ..self }
    }

    /// Whether the version has the field.
    #[inline]
    #[must_use]
    pub const fn present(&self, at: At) -> bool {
        self.since <= at.version && at.version <= self.until
    }

    /// Whether the version has the field, and outside the tagged ones.
    #[inline]
    const fn inline(&self, at: At) -> bool {
        self.tag.is_none() && self.present(at)
    }

    /// Whether the tagged field `tag` is this one.
    #[inline]
    pub(crate) fn takes(&self, tag: u32, at: At) -> bool {
        self.tag == Some(tag) && self.present(at)
    }

    #[inline]
    pub(crate) fn min_size<'a, T: Value<'a>>(&self, at: At) -> usize {
        if self.inline(at) { T::min_size(at) } else { 0 }
    }

    /// The field in its place; its default where the version has none there.
    #[inline]
    pub(crate) fn read<'a, T: Value<'a>>(
        &self,
        cur: &mut Cursor<'a>,
        at: At,
        default: impl FnOnce() -> T,
    ) -> Result<T, DecodeError> {
        if self.inline(at) { self.read_value(cur, at) } else { Ok(default()) }
    }

    #[inline]
    fn read_value<'a, T: Value<'a>>(&self, cur: &mut Cursor<'a>, at: At) -> Result<T, DecodeError> {
        let value = T::read(cur, at).map_err(|e| e.within(self.name))?;
        self.check_read(&value, at)?;
        Ok(value)
    }

    /// The value of the tagged field.
    pub(crate) fn read_tagged<'a, T: Value<'a>>(
        &self,
        cur: &mut Cursor<'a>,
        at: At,
    ) -> Result<T, DecodeError> {
        let value = T::read_tagged(cur, at).map_err(|e| e.within(self.name))?;
        self.check_read(&value, at)?;
        Ok(value)
    }

    #[inline]
    fn check_read<'a, T: Value<'a>>(&self, value: &T, at: At) -> Result<(), DecodeError> {
        if value.is_null() && at.version < self.null_since {
            return Err(DecodeError { field: self.name, fault: DecodeFault::Null });
        }
        Ok(())
    }

    /// Writes the field in its place, or checks that leaving it out loses nothing.
    #[inline]
    pub(crate) fn write<'a, T: Value<'a>>(
        &self,
        w: &mut Writer,
        at: At,
        value: &T,
        default: impl FnOnce() -> T,
    ) -> Result<(), EncodeError> {
        if self.inline(at) {
            self.write_value(w, at, value)
        } else if self.present(at) || self.ignorable || *value == default() {
            Ok(())
        } else {
            Err(EncodeError::NotInVersion { field: self.name, version: at.version })
        }
    }

    #[inline]
    fn write_value<'a, T: Value<'a>>(
        &self,
        w: &mut Writer,
        at: At,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.check_written(w, at, value)?;
        value.write(w, at).map_err(|e| e.within(self.name))
    }

    #[inline]
    fn check_written<'a, T: Value<'a>>(
        &self,
        w: &mut Writer,
        at: At,
        value: &T,
    ) -> Result<(), EncodeError> {
        if value.is_null() && at.version < self.null_since {
            return Err(EncodeError::Null { field: self.name, version: at.version });
        }
        if self.error {
            w.note_error(value.error_code());
        }
        Ok(())
    }

    /// How many fields this adds to those written with a tag, 0 or 1: a default is left out.
    #[inline]
    pub(crate) fn tagged<'a, T: Value<'a>>(
        &self,
        at: At,
        value: &T,
        default: impl FnOnce() -> T,
    ) -> u32 {
        u32::from(self.tag.is_some() && self.present(at) && *value != default())
    }

    #[inline]
    pub(crate) fn write_tagged<'a, T: Value<'a>>(
        &self,
        w: &mut Writer,
        at: At,
        value: &T,
        default: impl FnOnce() -> T,
    ) -> Result<(), EncodeError> {
        match self.tag {
            Some(tag) if self.tagged(at, value, default) > 0 => w.tagged(tag, |w| {
                self.check_written(w, at, value)?;
                value.write_tagged(w, at).map_err(|e| e.within(self.name))
            }),
            _ => Ok(()),
        }
    }

    /// Fails the build when tagged fields are not declared in the order they are written in.
    pub(crate) const fn check(mut fields: &[Self]) {
        let mut tag_min = 0;
        while let [first, rest @ ..] = fields {
            if let Some(tag) = first.tag {
                assert!(tag >= tag_min, "tagged fields are declared by ascending tag");
                tag_min = tag + 1;
            }
            fields = rest;
        }
    }
}

/// Whether two names are one, at build time.
const fn same(name: &str, other: &str) -> bool {
    let (mut name, mut other) = (name.as_bytes(), other.as_bytes());
    while let ([a, rest @ ..], [b, others @ ..]) = (name, other) {
        if *a != *b {
            return false;
        }
        (name, other) = (rest, others);
    }
    name.is_empty() && other.is_empty()
}

/// Reads the tagged fields at the end of a flexible struct. `field` reads the ones it knows and
/// returns whether it did; the others are skipped.
#[inline]
pub(crate) fn read_tagged<'a>(
    cur: &mut Cursor<'a>,
    field: impl FnMut(u32, &mut Cursor<'a>) -> Result<bool, DecodeError>,
) -> Result<(), DecodeError> {
    match cur.uvarint()? {
        0 => Ok(()),
        count => read_tags(cur, count, field),
    }
}

#[inline(never)]
fn read_tags<'a>(
    cur: &mut Cursor<'a>,
    count: u32,
    mut field: impl FnMut(u32, &mut Cursor<'a>) -> Result<bool, DecodeError>,
) -> Result<(), DecodeError> {
    // A false count ends the loop at the end of the bytes: each turn takes at least two.
    for _ in 0..count {
        let tag = cur.uvarint()?;
        let size = cur.uvarint()?;
        let mut value = cur.sub(size as usize)?;
        if field(tag, &mut value)? {
            value.finish()?;
        }
    }
    Ok(())
}

/// Reads a struct that may be null: a byte below zero, or any other and the struct.
pub(crate) fn read_nullable<'a, T: Value<'a>>(
    cur: &mut Cursor<'a>,
    at: At,
) -> Result<Option<T>, DecodeError> {
    if cur.i8()? < 0 { Ok(None) } else { T::read(cur, at).map(Some) }
}

/// The same as a tagged field: a varint of zero, or any other and the struct.
pub(crate) fn read_nullable_tagged<'a, T: Value<'a>>(
    cur: &mut Cursor<'a>,
    at: At,
) -> Result<Option<T>, DecodeError> {
    if cur.uvarint()? == 0 { Ok(None) } else { T::read(cur, at).map(Some) }
}

/// A type's serialized form, as data.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// One byte.
    Bool,
    /// One byte, signed.
    I8,
    /// Two bytes, signed.
    I16,
    /// Two bytes, unsigned.
    U16,
    /// Four bytes, signed.
    I32,
    /// Four bytes, unsigned.
    U32,
    /// Eight bytes, signed.
    I64,
    /// Eight bytes, IEEE 754.
    F64,
    /// Sixteen bytes.
    Uuid,
    /// UTF-8 with a length.
    Str,
    /// Bytes with a length.
    Bytes,
    /// Record batches with a length.
    Records,
    /// A count, then elements of one shape.
    List(&'static Self),
    /// A value or null.
    Nullable(&'static Self),
    /// Fields in order, then tagged ones.
    Struct(&'static StructShape),
}

/// A struct's declaration, as data.
#[derive(Clone, Copy, Debug)]
pub struct StructShape {
    /// The struct's name.
    pub name: &'static str,
    /// Its fields in wire order.
    pub fields: &'static [(Spec, Shape)],
}

#[cfg(test)]
mod tests;
