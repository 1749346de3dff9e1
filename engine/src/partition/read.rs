//! Reads, and what could be read without reading.

use std::rc::Rc;

use smallvec::SmallVec;

use super::Partition;
use super::state::Offsets;
use crate::buf::Slice;
use crate::error::ReadError;
use crate::ids::Offset;
use crate::log::Want;

pub use crate::producer::txn_index::AbortedTxn;

/// How far a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBound {
    /// Replicas: everything.
    LogEnd = 0,
    /// Consumers: what is acknowledged.
    HighWatermark = 1,
    /// `read_committed` consumers: what no open transaction holds back.
    LastStable = 2,
}

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadSpec {
    /// First offset wanted; the batch that holds it is returned whole.
    pub from: Offset,
    /// Whole batches up to this many bytes.
    pub max_bytes: usize,
    /// The first batch even if it alone is larger.
    pub at_least_one: bool,
    /// How far the reader may see.
    pub up_to: ReadBound,
}

/// Batches, and where the partition stood when they were read.
#[derive(Clone, Debug)]
pub struct ReadResult {
    /// Whole batches in order; a border between slices may lie anywhere.
    pub slices: SmallVec<[Slice; 4]>,
    /// Bytes of the slices.
    pub bytes: usize,
    /// The partition's positions.
    pub offsets: Offsets,
    /// Aborted transactions with records in the batches; only for [`ReadBound::LastStable`].
    pub aborted: Vec<AbortedTxn>,
}

impl Partition {
    /// Reads whole batches from `spec.from` on, from memory where they are, from disk otherwise.
    /// Empty where nothing is visible yet.
    ///
    /// # Errors
    /// When the offset is outside of the log, or the log cannot be read there.
    pub async fn read(self: &Rc<Self>, spec: ReadSpec) -> Result<ReadResult, ReadError> {
        self.check_range(spec.from)?;
        let below = self.visible(spec.up_to);
        let offsets = self.offsets();
        let mut result =
            ReadResult { slices: SmallVec::new(), bytes: 0, offsets, aborted: Vec::new() };
        if spec.from.0 >= below {
            return Ok(result);
        }
        let want = Want {
            from: spec.from.0,
            below,
            max_bytes: spec.max_bytes as u64,
            at_least_one: spec.at_least_one,
        };
        let read = self.log.read(want).await?;
        if spec.up_to == ReadBound::LastStable && read.bytes > 0 {
            result.aborted = self.log.aborted(spec.from.0, read.until).await?;
        }
        self.traffic.bytes_out.add(read.bytes as u64);
        (result.slices, result.bytes) = (read.slices, read.bytes);
        Ok(result)
    }

    /// Bytes that a read from `from` could return, without any I/O: exact near the log's end, to
    /// within an index interval further back.
    ///
    /// # Errors
    /// When the offset is outside of the log, or the log failed.
    pub fn available(&self, from: Offset, up_to: ReadBound) -> Result<usize, ReadError> {
        self.check_range(from)?;
        let below = self.visible(up_to);
        if from.0 >= below {
            return Ok(0);
        }
        Ok(usize::try_from(self.log.distance(from.0, below)).unwrap_or(usize::MAX))
    }

    pub(super) fn check_range(&self, from: Offset) -> Result<(), ReadError> {
        self.check_open()?;
        let (log_start, log_end) = (Offset(self.log.log_start()), Offset(self.log.log_end()));
        if from < log_start || from > log_end {
            return Err(ReadError::OutOfRange { asked: from, log_start, log_end });
        }
        Ok(())
    }
}
