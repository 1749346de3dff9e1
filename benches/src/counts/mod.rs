//! Instruction counts: a measure that a busy machine does not change, so that it can gate.
//!
//! ```text
//! Case ── callgrind::count ──▶ Counted ─┐
//!                                       ├─ compare ──▶ Verdict of each case
//! counts.toml ── Committed::load ───────┘
//! ```
//!
//! A count depends on the code, the compiler, the C library's copying and the CPU features that
//! valgrind shows to a program, and on nothing else: not on the load, the clock or the CPU's make.
//! [`Tools`] are committed with the counts, so that a difference they cause can be told.

pub mod callgrind;
mod cases;
mod committed;
mod compare;

pub use cases::{CASES, Case, REPEATS, run};
pub use committed::{Committed, CommittedError};
pub use compare::{Comparison, Verdict, compare};

use std::collections::BTreeMap;

/// Instructions of one operation, by the name of its case.
pub type Counts = BTreeMap<String, u64>;

/// What counts depend on beside the code: the name of each part, and its version.
pub type Tools = BTreeMap<String, String>;
