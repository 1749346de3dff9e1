//! The shell: sockets, cores and Kafka APIs around the engine.
//!
//! ```text
//! side (signals) ──▶ core 0: listen, metadata ─┐            every core: connections ─ handlers
//! admin (HTTP) ────▶                           ├─ mesh ─▶               partitions (engine)
//!                         core 1, 2, …  ───────┘                        its copy of the metadata
//! ```
//!
//! - [`boot`]: from a configuration to a serving node, on real or simulated cores.
//! - [`admin`]: metrics and health, gathered from all cores and told over HTTP.
//! - [`adopt`]: an errand of a node that serves nobody: another cluster's partitions taken in.
//! - `mesh`: what cores say to each other; `core`: what the tasks of one share.
//! - `listen`, `conn`: accepting, and one task per connection from frames to answers.
//! - `api`: the table of Kafka APIs, one handler file each.
//! - `meta`: core 0's metadata log and controller; `publish`: its images put into effect.
//! - `groups`: hosts the coordinators of groups, each on the core that owns its partition.
//! - `background`: what a core does when nobody asks.

pub mod admin;
pub mod adopt;
mod api;
mod background;
pub mod boot;
mod conn;
mod core;
mod deadlines;
mod groups;
mod isolate;
mod listen;
pub mod loggers;
mod mesh;
mod meta;
mod metrics;
mod moves;
mod node;
mod partitions;
mod placement;
mod positions;
mod publish;
mod quiet;
mod report;
pub mod serve;
mod session;
mod side;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
