//! Memory that a core reuses from batch to batch.

use super::header::BatchView;
use super::search::SearchError;
use crate::compress::{Codec, Codecs, DecompressError};

/// Codec contexts, and what the last batch opened to. One per core.
#[derive(Debug, Default)]
pub struct Scratch {
    codecs: Codecs,
    opened: Vec<u8>,
}

impl Scratch {
    /// The codecs, for other work of this core.
    pub fn codecs(&mut self) -> &mut Codecs {
        &mut self.codecs
    }

    /// The uncompressed records of `batch`: its own payload, or what it opens to, at most `limit`
    /// bytes.
    ///
    /// # Errors
    /// When the payload does not open or its codec is unknown.
    pub fn open<'a>(
        &'a mut self,
        batch: &BatchView<'a>,
        limit: usize,
    ) -> Result<&'a [u8], SearchError> {
        let id = batch.attributes.codec_id();
        match batch.attributes.codec().ok_or(SearchError::Codec { id })? {
            Codec::None => Ok(batch.payload()),
            codec => Ok(self.decompress(codec, batch.payload(), limit)?.0),
        }
    }

    /// Gives back what one unusual batch took.
    pub(super) fn trim(&mut self) {
        if self.opened.capacity() > KEPT_BYTES_MAX {
            self.opened = Vec::new();
        }
    }

    /// What `payload` opens to, at most `limit` bytes, and the codecs to pack it again.
    pub(super) fn decompress(
        &mut self,
        codec: Codec,
        payload: &[u8],
        limit: usize,
    ) -> Result<(&[u8], &mut Codecs), DecompressError> {
        self.trim();
        let Self { codecs, opened } = self;
        codecs.decompress(codec, payload, limit, opened)?;
        Ok((opened, codecs))
    }
}

/// What is kept between batches: one ordinary batch, opened.
const KEPT_BYTES_MAX: usize = 2 << 20;
