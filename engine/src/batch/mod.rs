//! Record batches of Kafka's format v2, the only one that is stored.
//!
//! [`header`] reads and patches the 61 bytes in front, [`records`] walks what follows,
//! [`builder`] writes both, [`control`] knows the records that brokers write to each other,
//! [`validate`] decides what a partition may append, [`search`] finds a record by its time, `sift`
//! leaves of a batch what compaction keeps. Nothing here does I/O or knows the time.

pub mod builder;
pub mod control;
pub mod header;
pub mod records;
mod scratch;
pub mod search;
pub(crate) mod sift;
pub mod validate;
mod varint;

#[cfg(test)]
mod tests;

pub use builder::{BatchBuilder, BatchOptions, NewRecord};
pub use header::{BatchError, BatchHeader, BatchView, Batches, TimestampType};
pub use records::{Record, Records};
pub use scratch::Scratch;
