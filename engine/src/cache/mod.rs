//! What a core keeps of its partitions' files in memory.
//!
//! Two budgets that never take from each other: the *tail* of every log, which are the chunks that
//! appends filled and the device was given, and *cold* windows, which readers of older data caused
//! to be read. A consumer that starts from the beginning therefore costs nobody else the tail.

mod cold;
mod tail;

pub(crate) use cold::{Cold, WINDOW};
pub(crate) use tail::{Tail, TailBudget};

/// Identifies one segment file on one core for as long as the process runs; never reused, so
/// nothing cached can be mistaken for a file that took another's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentUid(pub(crate) u64);
