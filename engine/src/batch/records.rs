//! The records inside a batch, once they are not compressed any more.
//!
//! ```text
//! length varint · attributes i8 · timestampDelta varlong · offsetDelta varint
//! key nullable · value nullable · headers: count varint, {key, nullable value}…
//! ```
//!
//! Reading borrows everything and allocates nothing, whatever a record claims.

use super::header::BatchHeader;
use super::varint::Reader;
use crate::ids::Offset;

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Bytes of the record in the batch, its length field included.
    pub size: usize,
    /// Unused by Kafka so far.
    pub attributes: i8,
    /// Milliseconds after the batch's base timestamp; see [`BatchHeader::timestamp_of`].
    pub timestamp_delta: i64,
    /// Offsets after the batch's base offset.
    pub offset_delta: i32,
    /// `None` is null, not empty.
    pub key: Option<&'a [u8]>,
    /// `None` is null, not empty: a tombstone on a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: Headers<'a>,
}

impl Record<'_> {
    /// The record's offset in the partition.
    #[must_use]
    pub fn offset(&self, batch: &BatchHeader) -> Offset {
        Offset(batch.base_offset.0.saturating_add(i64::from(self.offset_delta)))
    }

    /// The record's time in Unix ms, by who dated the batch.
    #[must_use]
    pub fn timestamp(&self, batch: &BatchHeader) -> i64 {
        batch.timestamp_of(self.timestamp_delta)
    }
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// UTF-8 by convention; brokers never look.
    pub key: &'a [u8],
    /// `None` is null.
    pub value: Option<&'a [u8]>,
}

/// A record's headers; iterating yields them in order. Their structure was checked when the
/// record was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: u32,
}

impl<'a> Headers<'a> {
    /// The bytes of those left.
    pub(crate) fn raw(&self) -> &'a [u8] {
        self.bytes
    }

    /// Headers left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.count = self.count.checked_sub(1)?;
        let mut reader = Reader::new(self.bytes);
        let header =
            header(&mut reader).expect("the record's headers were walked when it was read");
        self.bytes = reader.rest();
        Some(header)
    }
}

/// The records of an opened payload: as many as the batch's header says, which must fill it.
///
/// Ends after one error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    reader: Reader<'a>,
    left: i32,
}

impl<'a> Records<'a> {
    /// Over `payload`, which holds `count` records and is not compressed.
    ///
    /// # Errors
    /// When `count` is negative.
    pub fn new(payload: &'a [u8], count: i32) -> Result<Self, RecordError> {
        if count < 0 {
            return Err(RecordError::Count { count });
        }
        Ok(Self { reader: Reader::new(payload), left: count })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let record = record(&mut self.reader);
        if record.is_err() {
            self.left = 0;
        } else if self.left == 0 && !self.reader.rest().is_empty() {
            return Some(Err(RecordError::Remaining));
        }
        Some(record)
    }
}

/// Why a payload is not the records that its batch claims. The texts are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The batch claims a negative number of records.
    #[error("Found invalid record count {count} in magic v2 batch")]
    Count {
        /// The count field.
        count: i32,
    },
    /// The payload ends before the last record does.
    #[error("Incorrect declared batch size, premature EOF reached")]
    Eof,
    /// The payload goes on after the last record.
    #[error("Incorrect declared batch size, records still remaining in file")]
    Remaining,
    /// A record claims more bytes than its payload has left, or fewer than none.
    #[error(
        "Invalid record size: expected {expected} bytes in record payload, but instead the buffer has only {have} remaining bytes."
    )]
    Size {
        /// Bytes claimed.
        expected: i32,
        /// Bytes left.
        have: usize,
    },
    /// A record's fields don't end where the record does.
    #[error(
        "Invalid record size: expected to read {expected} bytes in record payload, but instead read {read}"
    )]
    Length {
        /// Bytes of the record.
        expected: usize,
        /// Bytes of its fields.
        read: usize,
    },
    /// A record claims a negative number of headers, or more than it has bytes for.
    #[error("Found invalid number of record headers {count}")]
    HeaderCount {
        /// The count.
        count: i32,
    },
    /// A number or a length inside a record reaches outside of it.
    #[error("Found invalid record structure")]
    Structure,
}

#[inline]
fn record<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>, RecordError> {
    let before = reader.rest().len();
    let expected = reader.varint().ok_or(RecordError::Eof)?;
    let have = reader.rest().len();
    let body = usize::try_from(expected).ok().and_then(|len| reader.take(len));
    let body = body.ok_or(RecordError::Size { expected, have })?;
    let size = before - reader.rest().len();
    fields(body, size)
}

#[inline]
fn fields(body: &[u8], size: usize) -> Result<Record<'_>, RecordError> {
    let structure = RecordError::Structure;
    let mut reader = Reader::new(body);
    let attributes = reader.byte().ok_or(structure)?.cast_signed();
    let timestamp_delta = reader.varlong().ok_or(structure)?;
    let offset_delta = reader.varint().ok_or(structure)?;
    let key = reader.nullable().ok_or(structure)?;
    let value = reader.nullable().ok_or(structure)?;
    let count = reader.varint().ok_or(structure)?;
    let bytes = reader.rest();
    // Before the walk: a header takes at least two bytes.
    let count = u32::try_from(count)
        .ok()
        .filter(|count| *count as usize <= bytes.len())
        .ok_or(RecordError::HeaderCount { count })?;
    for _ in 0..count {
        header(&mut reader).ok_or(structure)?;
    }
    if !reader.rest().is_empty() {
        let read = body.len() - reader.rest().len();
        return Err(RecordError::Length { expected: body.len(), read });
    }
    let headers = Headers { bytes, count };
    Ok(Record { size, attributes, timestamp_delta, offset_delta, key, value, headers })
}

fn header<'a>(reader: &mut Reader<'a>) -> Option<Header<'a>> {
    let key = reader.nullable()??;
    let value = reader.nullable()?;
    Some(Header { key, value })
}
