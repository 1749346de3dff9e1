//! Finding a record by its time inside one batch, for ListOffsets.

use super::header::BatchView;
use super::records::{RecordError, Records};
use super::scratch::Scratch;
use crate::compress::DecompressError;
use crate::ids::Offset;

/// A record found by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dated {
    /// Its offset.
    pub offset: Offset,
    /// Its time in Unix ms.
    pub timestamp: i64,
}

/// The first record of `batch` at or after offset `from` whose time is at least `timestamp`.
///
/// # Errors
/// When the batch does not open, within `limit` bytes, to the records it claims.
pub fn first_at(
    batch: &BatchView<'_>,
    timestamp: i64,
    from: Offset,
    scratch: &mut Scratch,
    limit: usize,
) -> Result<Option<Dated>, SearchError> {
    if batch.max_timestamp < timestamp || batch.last_offset() < from {
        return Ok(None);
    }
    let payload = scratch.open(batch, limit)?;
    for record in Records::new(payload, batch.records_count)? {
        let record = record?;
        let dated = Dated { offset: record.offset(batch), timestamp: record.timestamp(batch) };
        if dated.timestamp >= timestamp && dated.offset >= from {
            return Ok(Some(dated));
        }
    }
    Ok(None)
}

/// The first record of `batch` that has the largest timestamp; `None` when compaction left none.
///
/// # Errors
/// When the batch does not open, within `limit` bytes, to the records it claims.
pub fn latest(
    batch: &BatchView<'_>,
    scratch: &mut Scratch,
    limit: usize,
) -> Result<Option<Dated>, SearchError> {
    let payload = scratch.open(batch, limit)?;
    let mut latest: Option<Dated> = None;
    for record in Records::new(payload, batch.records_count)? {
        let record = record?;
        let dated = Dated { offset: record.offset(batch), timestamp: record.timestamp(batch) };
        if latest.is_none_or(|latest| dated.timestamp > latest.timestamp) {
            latest = Some(dated);
        }
    }
    Ok(latest)
}

/// Why a stored batch can't be searched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// Its compressed payload does not open.
    #[error(transparent)]
    Compressed(#[from] DecompressError),
    /// Its compression is one that nobody defined.
    #[error("Unknown compression type id: {id}")]
    Codec {
        /// Bits 0–2 of the attributes.
        id: u8,
    },
    /// Its records are not what it claims.
    #[error(transparent)]
    Record(#[from] RecordError),
}
