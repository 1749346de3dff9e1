//! Batches validated as a partition's leader does it.

use std::hint::black_box;

use engine::batch::validate::{ChecksumCheck, ValidateOptions, validate};
use engine::batch::{BatchOptions, Scratch};
use engine::compress::{Codec, Compression};

use super::Op;
use crate::input;

/// An uncompressed batch: its checksum compared, its records walked.
#[must_use]
pub fn validate_plain(count: usize, value_bytes: usize) -> Op {
    validating(input::batch(count, value_bytes), ValidateOptions::default())
}

/// A batch compressed by `codec`, whose records stay unopened: its checksum and its header.
#[must_use]
pub fn validate_closed(codec: Codec, count: usize, value_bytes: usize) -> Op {
    validating(compressed(codec, count, value_bytes), ValidateOptions::default())
}

/// The same with the checksum left to the pass that copies: nothing but the header.
#[must_use]
pub fn validate_header(codec: Codec, count: usize, value_bytes: usize) -> Op {
    let options = ValidateOptions { checksum: ChecksumCheck::OnCopy, ..ValidateOptions::default() };
    validating(compressed(codec, count, value_bytes), options)
}

/// A compressed batch that is opened, and its records walked.
#[must_use]
pub fn validate_opened(codec: Codec, count: usize, value_bytes: usize) -> Op {
    let options = ValidateOptions { open_compressed: true, ..ValidateOptions::default() };
    validating(compressed(codec, count, value_bytes), options)
}

fn compressed(codec: Codec, count: usize, value_bytes: usize) -> Vec<u8> {
    let compression = Compression::new(codec);
    let options = BatchOptions { compression, ..BatchOptions::default() };
    input::batch_with(options, count, value_bytes)
}

fn validating(bytes: Vec<u8>, options: ValidateOptions) -> Op {
    // The default limit is a few bytes short of what one mebibyte of records takes.
    let options = ValidateOptions { message_bytes_max: 2 << 20, ..options };
    let mut scratch = Scratch::default();
    let len = bytes.len();
    let run = move || {
        let validated = validate(black_box(&bytes), &options, &mut scratch);
        black_box(validated.expect("a good batch"));
    };
    Op::new(run).over(len)
}
