//! Schemas of what Kafka persists, one module a family.
//!
//! Unlike requests, records are *owned* (`String`, `Vec`): they outlive the buffer they came from,
//! in an image, in a decision that waits for its commit, in a snapshot being written.

pub mod control;
pub mod group;
pub mod metadata;
