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

#![deny(unsafe_code)]

mod batch;
mod clock;
mod codec;
pub mod command;
mod compare;
mod control;
mod cost;
mod figure;
mod goals;
mod life;
pub mod limit;
mod load;
mod machine;
mod measure;
mod progress;
mod readback;
mod report;
mod result;
mod run;
pub mod saturate;
mod setup;
mod stamp;
pub mod start;
pub mod units;
mod verify;
pub mod workload;

pub use command::{Command, execute};
pub use compare::{Compared, Comparison};
pub use cost::Cost;
pub use limit::Limit;
pub use machine::Machine;
pub use measure::{Curve, Percentiles, Second};
pub use result::{Direction, Efficiency, Life, LoadResult, RunResult};
pub use run::{RunOptions, run};
pub use verify::Tally;
pub use workload::Workload;
