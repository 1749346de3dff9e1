//! A plain blocking Kafka client, enough for the commands of this binary.
//!
//! `conn` is one connection, `cluster` knows which broker leads what, `producer` and `fetcher`
//! move records. Nothing here is shared with the broker but the `wire` crate and the batch format.

pub(crate) mod cluster;
pub(crate) mod conn;
pub(crate) mod fetcher;
pub(crate) mod producer;
