//! Checksums, alone and with the copy into the log's memory.

use std::hint::black_box;

use engine::checksum::{block_crc32, copy_crc32c, crc32c};

use super::Op;

/// The checksum of a batch.
#[must_use]
pub fn sum(len: usize) -> Op {
    let bytes = bytes(len);
    Op::new(move || {
        black_box(crc32c(black_box(&bytes)));
    })
    .over(len)
}

/// The checksum of a batch and its copy, in one pass.
#[must_use]
pub fn sum_and_copy(len: usize) -> Op {
    let (source, mut target) = (bytes(len), vec![0; len]);
    Op::new(move || {
        black_box(copy_crc32c(black_box(&mut target), black_box(&source), 0));
    })
    .over(len)
}

/// The checksum of a block in the sidecar.
#[must_use]
pub fn sum_of_block(len: usize) -> Op {
    let bytes = bytes(len);
    Op::new(move || {
        black_box(block_crc32(black_box(&bytes)));
    })
    .over(len)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 % 251) as u8).collect()
}
