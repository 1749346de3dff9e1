//! Everything that is true on one broker without its peers.

pub mod batch;
pub mod buf;
mod cache;
pub mod checksum;
pub mod compress;
pub mod cx;
pub mod error;
pub mod group;
pub mod ids;
pub mod log;
pub mod meter;
pub mod partition;
pub mod producer;
pub mod rt;
#[cfg(test)]
mod testing;
mod waiters;
