//! Inputs of the micro-benchmarks in `benches/`: made once, the same in every run.

use engine::batch::{BatchBuilder, BatchOptions, NewRecord};
use engine::compress::Codecs;

/// A batch of `count` records of `value_bytes` each, as a producer sends it.
#[must_use]
pub fn batch(count: usize, value_bytes: usize) -> Vec<u8> {
    let value: Vec<u8> = (0..value_bytes).map(|i| (i * 31 % 251) as u8).collect();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for _ in 0..count {
        builder.push(&NewRecord { timestamp: 1, value: Some(&value), ..NewRecord::default() });
    }
    builder.build(&mut Codecs::default())
}
