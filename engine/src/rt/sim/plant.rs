//! Bugs to plant, so that a simulation can show that it would find them.
//!
//! Those of the disk live in the simulated disk; those of the engine and the node are asked for by
//! [`crate::rt::Rt::planted`], which on a real node is constantly false.

use std::fmt;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plant {
    /// A sync does nothing.
    SkippedSync,
    /// A sync answers before it is done.
    EarlySync,
    /// A sync of a directory does nothing.
    SkippedDirSync,
    /// Of two writes to a file the older one comes last.
    ReorderedWrites,
    /// A read returns what a block held before it was last written.
    StaleReads,
    /// The log takes what was appended for durable.
    AckBeforeSync,
    /// Recovery forgets what producers had sent.
    ForgottenProducers,
    /// Recovery does not cut off what it could not read, and appends behind it.
    LostTruncation,
    /// The high watermark follows the log's end.
    WatermarkFromEnd,
    /// The commit journal answers before it is synced.
    JournalNotSynced,
    /// An unfinished block is not copied to the chunk that rewrites it.
    TailNotCopied,
    /// A new leadership goes on under the epoch of the role before it.
    StaleEpoch,
    /// A reader's knowledge of the leader epoch is not compared.
    OldEpochsTaken,
    /// A group takes commits of whoever was its member once.
    StaleCommits,
    /// A group gives a partition to the next member before the former one has given it up.
    EarlyHandover,
    /// A group that is loaded has forgotten its generation.
    ForgottenGenerations,
}

impl Plant {
    /// Every one.
    pub const ALL: [Self; 16] = [
        Self::SkippedSync,
        Self::EarlySync,
        Self::SkippedDirSync,
        Self::ReorderedWrites,
        Self::StaleReads,
        Self::JournalNotSynced,
        Self::AckBeforeSync,
        Self::ForgottenProducers,
        Self::LostTruncation,
        Self::WatermarkFromEnd,
        Self::TailNotCopied,
        Self::StaleEpoch,
        Self::OldEpochsTaken,
        Self::StaleCommits,
        Self::EarlyHandover,
        Self::ForgottenGenerations,
    ];
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SkippedSync => "skipped-sync",
            Self::EarlySync => "early-sync",
            Self::SkippedDirSync => "skipped-dir-sync",
            Self::ReorderedWrites => "reordered-writes",
            Self::StaleReads => "stale-reads",
            Self::AckBeforeSync => "ack-before-sync",
            Self::ForgottenProducers => "forgotten-producers",
            Self::LostTruncation => "lost-truncation",
            Self::WatermarkFromEnd => "watermark-from-end",
            Self::JournalNotSynced => "journal-not-synced",
            Self::TailNotCopied => "tail-not-copied",
            Self::StaleEpoch => "stale-epoch",
            Self::OldEpochsTaken => "old-epochs-taken",
            Self::StaleCommits => "stale-commits",
            Self::EarlyHandover => "early-handover",
            Self::ForgottenGenerations => "forgotten-generations",
        })
    }
}
