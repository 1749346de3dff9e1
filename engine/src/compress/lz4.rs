//! LZ4 frames, as Kafka's Java client reads them: it takes independent blocks only.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

/// Appends one frame: 64 KiB independent blocks, no checksums (the batch has its own), no content
/// size. That is byte for byte the header that Kafka's own encoder writes.
pub(super) fn compress(payload: &[u8], out: &mut Vec<u8>) {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(payload).expect("a Vec takes every byte");
    encoder.finish().expect("a Vec takes every byte");
}
