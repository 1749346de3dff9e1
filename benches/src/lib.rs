//! What single operations of the hot path cost.
//!
//! - [`input`]: batches, requests and logs to work on, the same in every run.
//! - [`ops`]: the operations that need no runtime, ready to be repeated.
//! - [`partition`], [`real`]: a partition, and cores, for what does need one.
//! - [`counts`]: their instructions, counted by callgrind and compared with `counts.toml`; a gate.
//! - `../benches`: their times, and those of what needs a runtime, by criterion; for people.

pub mod counts;
pub mod input;
pub mod ops;
pub mod partition;
pub mod real;
