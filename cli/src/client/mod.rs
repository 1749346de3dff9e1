//! A plain blocking Kafka client, enough for the commands of this binary.
//!
//! `conn` is one connection, `cluster` knows which broker leads what, `producer` and `fetcher`
//! move records, `offsets` looks them up, `groups` administers groups and `reset` plans where their
//! offsets go; `member` is a membership in one, and `reader` reads as a member. Nothing here is shared with the broker but the `wire` crate and the batch format.

pub(crate) mod batches;
pub(crate) mod cluster;
pub(crate) mod configs;
pub(crate) mod conn;
pub(crate) mod fetcher;
pub(crate) mod groups;
pub(crate) mod interrupt;
pub(crate) mod member;
pub(crate) mod names;
pub(crate) mod offsets;
pub(crate) mod partitions;
pub(crate) mod producer;
pub(crate) mod reader;
pub(crate) mod reset;
pub(crate) mod subscription;
pub(crate) mod times;
pub(crate) mod topics;
