//! Metrics and health: gathered from all cores, told over HTTP.
//!
//! ```text
//! GET /metrics ─▶ http ─▶ desk ── Ask ─▶ core 0: gather ── Gather ─▶ every core ── Shot ─┐
//!                           ▲                                                            │
//!       text ◀─ digest ─────┴──────────────── Report ◀───────────────────────────────────┘
//! ```
//!
//! - `http`: the port, on the ordinary thread: few connections, short ones, nothing that is kept.
//! - `desk`: asks the node, one question at a time; what it heard a moment ago it tells again.
//! - `gather`: the cores' side: each copies its counters out, and never works on anybody's labels.
//! - `digest`: what the counters of all cores come to, by topic, group and so on.
//! - `families`: every metric there is; `text`: the form in which Prometheus takes them.
//! - `health`: whether the node is alive, and ready.
//!
//! A core answers between two tasks, like any call of the mesh, and lets others have their turn
//! after some hundred partitions: asking often costs it little, and asking in parallel nothing more.

mod desk;
mod digest;
mod families;
mod gather;
mod health;
mod http;
mod text;

#[cfg(test)]
mod tests;

use replication::image::Image;
use replication::quorum::QuorumDescription;
use std::sync::Arc;

pub use self::families::reference;
pub(crate) use self::gather::{Gather, Shot, answer, gather};
pub(crate) use self::http::{Port, bind};

/// A question of the admin port to the node.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Not only whether all is well.
    pub(crate) counts: bool,
    pub(crate) answer: flume::Sender<Report>,
}

/// What a node says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) phase: Phase,
    /// Of each core what it says, if it says anything.
    pub(crate) cores: Vec<Option<Shot>>,
    /// The metadata that is in effect; empty at first.
    pub(crate) image: Arc<Image>,
    /// The quorum, where this node leads it.
    pub(crate) quorum: Option<QuorumDescription>,
    /// This node.
    pub(crate) node: engine::ids::BrokerId,
}

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It reads the metadata, recovers its logs, registers.
    Starting,
    /// Clients may come.
    Serving,
    /// It finishes what was begun.
    Stopping,
}
