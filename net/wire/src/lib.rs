//! The Kafka wire protocol and the schemas of what Kafka persists: no I/O, no unsafe.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod primitives;
