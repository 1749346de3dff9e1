//! A load harness for anything that speaks Kafka's protocol.
//!
//! It sees a broker from outside only: of this project's crates it knows `wire`, the schemas of
//! the protocol, and nothing of how the broker works. `README.md` says how to use it.
//!
//! ```text
//! workload ─ setup ─▶ loads on threads ─ intervals ─▶ measure ─▶ result ─▶ report
//!  (TOML)               │ ▲                                        ▲
//!                       ▼ │                             cost (/proc), verify (truth)
//!                      broker ──────────── read back ───────────────┘
//! ```

#![forbid(unsafe_code)]

mod batch;
mod clock;
mod codec;
pub mod command;
mod control;
mod cost;
mod load;
mod measure;
mod progress;
mod readback;
mod report;
mod result;
mod run;
mod setup;
mod stamp;
pub mod units;
mod verify;
pub mod workload;

pub use command::{Command, execute};
pub use cost::Cost;
pub use measure::{Curve, Percentiles, Second};
pub use result::{Direction, Efficiency, LoadResult, RunResult};
pub use run::{RunOptions, run};
pub use verify::Tally;
pub use workload::Workload;
