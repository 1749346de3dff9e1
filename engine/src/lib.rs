//! Everything that is true on one broker without its peers.

pub mod ids;
pub mod meter;
