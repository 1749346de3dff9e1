//! Everything that is true on one broker without its peers.

pub mod batch;
pub mod checksum;
pub mod compress;
pub mod ids;
pub mod meter;
pub mod producer;
pub mod rt;
