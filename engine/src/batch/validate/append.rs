//! A batch that may be appended, and how it gets into the log's memory.

use std::ops::Range;

use super::{ChecksumCheck, ValidateError};
use crate::batch::header::{
    ATTRIBUTES, BatchHeader, BatchView, HEADER_BYTES, PayloadSum, TimestampType, stamp,
};
use crate::checksum::{copy_crc32c, crc32c, crc32c_append};
use crate::ids::{LeaderEpoch, Offset};

/// Where a batch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On a leader: these offset and epoch are written into the header.
    At(Offset, LeaderEpoch),
    /// On a follower, and for the metadata quorum: as the batch says itself.
    AsIs,
}

/// A batch that passed validation. It refers to the request's bytes by range, so it can be kept
/// beside the slice that owns them; every method that needs those bytes takes them as `source`.
#[derive(Debug)]
pub struct AppendBatch {
    header: BatchHeader,
    content: Content,
    /// What the header is to say, where that differs from what the producer sealed.
    restamp: Option<(TimestampType, i64)>,
    /// Whether the checksum was not compared yet.
    unverified: bool,
}

#[derive(Debug)]
enum Content {
    Source(Range<usize>),
    Rewritten(Vec<u8>),
}

impl AppendBatch {
    pub(super) fn as_is(batch: &BatchView<'_>, start: usize, checksum: ChecksumCheck) -> Self {
        Self {
            header: *batch.header(),
            content: Content::Source(start..start + batch.size()),
            restamp: None,
            unverified: checksum == ChecksumCheck::OnCopy,
        }
    }

    pub(super) fn rewritten(bytes: Vec<u8>) -> Self {
        let header = BatchHeader::decode(&bytes).expect("written just now");
        Self { header, content: Content::Rewritten(bytes), restamp: None, unverified: false }
    }

    /// The same with this timestamp type and maximum; the producer's seal stays when they are
    /// what it already says.
    pub(super) fn dated(mut self, who: TimestampType, max_timestamp: i64) -> Self {
        let header = &mut self.header;
        if header.attributes.timestamp_type() != who || header.max_timestamp != max_timestamp {
            self.restamp = Some((who, max_timestamp));
            header.attributes = header.attributes.with_timestamp_type(who);
            header.max_timestamp = max_timestamp;
        }
        self
    }

    /// The header as it will be stored, but for base offset and epoch where those are assigned,
    /// and the checksum.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The header with the offset and the epoch that `placement` gives.
    #[must_use]
    pub fn header_at(&self, placement: Placement) -> BatchHeader {
        match placement {
            Placement::At(base_offset, leader_epoch) => {
                BatchHeader { base_offset, leader_epoch, ..self.header }
            }
            Placement::AsIs => self.header,
        }
    }

    /// Bytes in the log.
    #[must_use]
    pub fn size(&self) -> usize {
        match &self.content {
            Content::Source(range) => range.len(),
            Content::Rewritten(bytes) => bytes.len(),
        }
    }

    /// The range of the request that is stored; `None` when the batch was written anew.
    #[must_use]
    pub fn source_range(&self) -> Option<Range<usize>> {
        match &self.content {
            Content::Source(range) => Some(range.clone()),
            Content::Rewritten(_) => None,
        }
    }

    /// Compares a checksum that was left for later. To be asked before any other refusal of an
    /// unverified batch is answered, since damage can look like anything.
    ///
    /// # Errors
    /// When the checksum does not hold.
    pub fn verify(&self, source: &[u8]) -> Result<(), ValidateError> {
        let (head, payload) = self.split(source);
        if self.unverified {
            self.compare(crc32c_append(crc32c(&head[ATTRIBUTES..]), payload))?;
        }
        Ok(())
    }

    /// Copies the batch to `dst` (of [`AppendBatch::size`] bytes) with its header placed. A
    /// checksum that was left for this moment is compared in the same pass.
    ///
    /// # Errors
    /// When the checksum does not hold: what `dst` holds then is not a batch, and nothing of the
    /// request may be appended.
    ///
    /// # Panics
    /// When `dst` has another size.
    pub fn copy_to(
        &self,
        dst: &mut [u8],
        source: &[u8],
        placement: Placement,
    ) -> Result<(), ValidateError> {
        let (head, payload) = self.split(source);
        let (dst_head, dst_payload) =
            dst.split_first_chunk_mut::<HEADER_BYTES>().expect("dst has the size of a batch");
        let mut header = *head;
        match self.restamp {
            None if self.unverified => {
                let head_crc = crc32c(&head[ATTRIBUTES..]);
                self.compare(copy_crc32c(dst_payload, payload, head_crc))?;
            }
            None => dst_payload.copy_from_slice(payload),
            Some((who, max_timestamp)) => {
                let sum = PayloadSum::new(copy_crc32c(dst_payload, payload, 0), payload.len());
                if self.unverified {
                    self.compare(sum.behind(head))?;
                }
                stamp(&mut header, who, max_timestamp, sum);
            }
        }
        place(&mut header, placement);
        *dst_head = header;
        Ok(())
    }

    /// The placed header and the payload, for a log that copies a batch in pieces. Reads the
    /// whole batch when its checksum was not compared yet or changes.
    ///
    /// # Errors
    /// When the checksum does not hold.
    pub fn pieces<'a>(
        &'a self,
        source: &'a [u8],
        placement: Placement,
    ) -> Result<([u8; HEADER_BYTES], &'a [u8]), ValidateError> {
        self.verify(source)?;
        let (head, payload) = self.split(source);
        let mut header = *head;
        if let Some((who, max_timestamp)) = self.restamp {
            let sum = PayloadSum::new(crc32c(payload), payload.len());
            stamp(&mut header, who, max_timestamp, sum);
        }
        place(&mut header, placement);
        Ok((header, payload))
    }

    fn split<'a>(&'a self, source: &'a [u8]) -> (&'a [u8; HEADER_BYTES], &'a [u8]) {
        let bytes = match &self.content {
            Content::Source(range) => &source[range.clone()],
            Content::Rewritten(bytes) => bytes,
        };
        bytes.split_first_chunk().expect("every batch has a header")
    }

    fn compare(&self, computed: u32) -> Result<(), ValidateError> {
        let stored = self.header.crc;
        if stored == computed {
            Ok(())
        } else {
            Err(ValidateError::CorruptChecksum { stored, computed })
        }
    }
}

fn place(header: &mut [u8; HEADER_BYTES], placement: Placement) {
    if let Placement::At(base, epoch) = placement {
        crate::batch::header::patch_base_offset(header, base);
        crate::batch::header::patch_leader_epoch(header, epoch);
    }
}
