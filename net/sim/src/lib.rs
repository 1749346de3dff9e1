//! The real node on simulated cores, disks and links, under one seed: clients work, things break,
//! and what the clients saw is held against what must be true.
//!
//! ```text
//! seed ─▶ run ─▶ cluster (net, replication, engine as shipped, on engine::rt::sim)
//!          │      ▲ workload: clients over sockets        ▲ faults: crashes, disks, links
//!          │      └──────────── history ◀─────────────────┘
//!          └─▶ invariants/<property>: verdict      campaign: many seeds, all CPUs
//! ```
//!
//! The same seed and options give the same history, to the last scheduling decision:
//! [`Outcome::hash`] says so. A failure names its seed; [`replay_command`] shows it again with
//! everything that happened. That the invariants would notice is shown by planted bugs, see
//! [`engine::rt::sim::Plant`].
//!
//! To add a property, see `invariants`; a fault, [`Fault`] and `run`; a client, `workload`.

mod campaign;
mod client;
mod cluster;
mod faults;
mod history;
mod invariants;
mod record;
mod rng;
mod run;
mod workload;

pub use campaign::{Summary, campaign, replay_command};
pub use engine::rt::sim::Plant;
pub use faults::Fault;
pub use history::Violation;
pub use run::{Options, Outcome, run};
