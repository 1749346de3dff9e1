//! Zstandard, one shot at a time: the output buffer is the window, so a frame that announces a
//! window of 128 MiB (level 22 does) costs no more than its content.

use zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd::zstd_safe::{self, CCtx, DCtx, ErrorCode};

use super::{FIRST_STEP_BYTES, Refusal};

/// Contexts, built at first use and kept: 160 KiB to read, about 1 MiB to write at level 3.
#[derive(Default)]
pub(super) struct Contexts {
    decoder: Option<DCtx<'static>>,
    encoder: Option<CCtx<'static>>,
}

impl Contexts {
    pub(super) fn decompress(
        &mut self,
        payload: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let decoder = self.decoder.get_or_insert_with(DCtx::create);
        // Writers that stream, as Kafka's do, leave the size out. Then guess, and on refusal
        // guess four times more: all tries together decode at most 4/3 of the limit.
        let said = zstd_safe::get_frame_content_size(payload).ok().flatten();
        let mut capacity = match said.map(usize::try_from) {
            Some(Ok(said)) if said > limit => return Err(Refusal::TooLarge),
            // A lie in the header must not take memory that the frame cannot fill.
            Some(Ok(said)) => said.min(payload.len().saturating_mul(GUESS_MAX)),
            _ => payload.len().saturating_mul(GUESS),
        };
        loop {
            capacity = capacity.clamp(FIRST_STEP_BYTES.min(limit), limit);
            out.clear();
            out.reserve_exact(capacity);
            match decoder.decompress(out, payload) {
                Ok(len) if len > limit => return Err(Refusal::TooLarge),
                Ok(_) => return Ok(()),
                Err(code) if !is_too_small(code) => {
                    let reason = zstd_safe::get_error_name(code);
                    return Err(Refusal::Broken(std::io::Error::other(reason)));
                }
                Err(_) if out.capacity() >= limit => return Err(Refusal::TooLarge),
                Err(_) => capacity = out.capacity().saturating_mul(4),
            }
        }
    }

    pub(super) fn compress(&mut self, level: Option<i32>, payload: &[u8], out: &mut Vec<u8>) {
        let level = level.unwrap_or(zstd_safe::CLEVEL_DEFAULT);
        let mut frame = Vec::with_capacity(zstd_safe::compress_bound(payload.len()));
        let encoder = self.encoder.get_or_insert_with(CCtx::create);
        let written = encoder.compress(&mut frame, payload, level);
        written.expect("the frame holds the worst case");
        out.extend_from_slice(&frame);
        if encoder.sizeof() > KEPT_BYTES_MAX {
            self.encoder = None;
        }
    }
}

fn is_too_small(code: ErrorCode) -> bool {
    zstd_safe::is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall)
}

/// First guess at the ratio of a payload that does not say its size.
const GUESS: usize = 8;

/// Most that is believed of a size that a frame does say before it was seen to be true.
const GUESS_MAX: usize = 64;

/// High levels build tables of tens of MiB; those are not kept between batches.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;
