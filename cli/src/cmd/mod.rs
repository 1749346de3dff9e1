//! One file per command.

pub(crate) mod config;
pub(crate) mod consume;
pub(crate) mod group;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod produce;
pub(crate) mod sim;
mod table;
pub(crate) mod topic;
pub(crate) mod tune;
