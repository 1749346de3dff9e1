//! What the storage side can answer instead of doing it.
//!
//! One enum per boundary. Every error is `Send` and `Clone`, since one failed write answers many
//! waiting requests on several cores. The mapping to Kafka's codes is the shell's.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::validate::ValidateError;
use crate::ids::{LeaderEpoch, Offset, TopicId};
use crate::producer::ProducerError;

/// A log cannot do what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file system is full. Nothing was half-written: the log goes on once there is room.
    #[error("no space left for {log}")]
    DiskFull {
        /// Directory name of the log.
        log: Arc<str>,
    },
    /// A write or sync failed, so what is on the disk is unknown. The log answers nothing but this
    /// until the process is restarted and it was recovered.
    #[error("{log} stopped serving: {reason}")]
    Failed {
        /// Directory name of the log.
        log: Arc<str>,
        /// The first failure.
        reason: Arc<str>,
    },
    /// Bytes on the disk are not those that were written there.
    #[error("{log}: corrupt data in segment {segment} at byte {position}: {reason}")]
    Corrupt {
        /// Directory name of the log.
        log: Arc<str>,
        /// Base offset of the segment.
        segment: i64,
        /// First byte of the block or batch that does not check.
        position: u64,
        /// Which check failed.
        reason: Arc<str>,
    },
    /// A file operation failed; the log itself is as before.
    #[error("{action} {}: {message}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Kind of the system's error.
        kind: io::ErrorKind,
        /// The system's words.
        message: Arc<str>,
    },
    /// The log was closed or deleted.
    #[error("the log is closed")]
    Closed,
    /// What was being read changed meanwhile; asking again gives the new state.
    #[error("the log changed while it was read")]
    Retry,
}

impl LogError {
    pub(crate) fn io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            kind: error.kind(),
            message: error.to_string().into(),
        }
    }
}

/// Whether a failed operation only lacked room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    is_full_kind(error.kind())
}

fn is_full_kind(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A partition could not be opened. Nothing was deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory belongs to another topic of the same name (an earlier one, most likely).
    #[error("{} belongs to topic id {found}, not {expected}", path.display(), found = found.0, expected = expected.0)]
    OtherTopic {
        /// The partition's directory.
        path: PathBuf,
        /// The id in its `partition.metadata`.
        found: TopicId,
        /// The id asked for.
        expected: TopicId,
    },
    /// The partition's directory or all of its segments are gone.
    #[error(
        "{} is gone, or its segments are, where the log reached offset {end} at least; put it \
         back, or delete the topic",
        path.display()
    )]
    Missing {
        /// Where the partition's directory was.
        path: PathBuf,
        /// End of the log, as far as it was noted.
        end: Offset,
    },
    /// A file is not what its name says, or was written by a newer release.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The log directory is offline.
    #[error("log directory {} is offline: {reason}", path.display())]
    DirOffline {
        /// The log directory.
        path: PathBuf,
        /// Its first failure.
        reason: Arc<str>,
    },
    /// The files could not be read or repaired.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl OpenError {
    /// Whether only room was missing on the disk: later it may open.
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        match self {
            Self::Log(LogError::DiskFull { .. }) => true,
            Self::Log(LogError::Io { kind, .. }) => is_full_kind(*kind),
            _ => false,
        }
    }
}

/// A log directory could not be opened. Nothing in it was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirError {
    /// Another process has it.
    #[error("log directory {} is locked by another process; stop it, or give this one another directory", path.display())]
    Locked {
        /// The log directory.
        path: PathBuf,
    },
    /// It holds things, but nothing that says whose.
    #[error("{} is not empty and has no meta.properties: not a data directory of Odradek or Kafka; found {found:?}", path.display())]
    Foreign {
        /// The log directory.
        path: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// It holds a directory that is no partition.
    #[error("{} holds directory {name:?}, which is not <topic>-<partition>; move it elsewhere", path.display())]
    StrangeDirectory {
        /// The log directory.
        path: PathBuf,
        /// The directory's name.
        name: String,
    },
    /// A file in it is damaged or from a newer release.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        reason: String,
    },
    /// The system refused.
    #[error("{action} {}: {message}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's words.
        message: String,
    },
}

impl DirError {
    pub(crate) fn io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), message: error.to_string() }
    }

    pub(crate) fn unreadable(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unreadable { path: path.to_owned(), reason: reason.into() }
    }
}

/// Nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset is before the log's start or behind its end.
    #[error("offset {asked} is outside of {log_start}..={log_end}")]
    OutOfRange {
        /// The offset asked for.
        asked: Offset,
        /// First offset there is.
        log_start: Offset,
        /// The offset the next record will get.
        log_end: Offset,
    },
    /// This broker leads the partition no more, or not yet.
    #[error("not the leader")]
    NotLeader,
    /// The caller's leader epoch is older than this broker's.
    #[error("leader epoch {asked} is older than {current}")]
    OldEpoch {
        /// The caller's.
        asked: LeaderEpoch,
        /// This broker's.
        current: LeaderEpoch,
    },
    /// The caller's leader epoch is newer than this broker's.
    #[error("leader epoch {asked} is newer than {current}")]
    NewEpoch {
        /// The caller's.
        asked: LeaderEpoch,
        /// This broker's.
        current: LeaderEpoch,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// An append will not become readable under the leadership in which it was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// Leadership ended while waiting; the records may or may not survive.
    #[error("leadership ended before the append was acknowledged")]
    NotLeader,
    /// The in-sync set shrank below `min.insync.replicas` while waiting.
    #[error("{isr} in-sync replicas, {min} wanted")]
    NotEnoughReplicas {
        /// Members of the in-sync set.
        isr: u32,
        /// `min.insync.replicas`, at most the replica count.
        min: u32,
    },
    /// The log stopped.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Nothing was appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The batch is not one that this topic takes.
    #[error(transparent)]
    Batch(#[from] ValidateError),
    /// The producer's epoch, sequence or transaction does not fit.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// This broker leads the partition no more, or not yet.
    #[error("not the leader")]
    NotLeader,
    /// The caller decided under another leader epoch.
    #[error("expected leader epoch {expected}, but it is {current}")]
    OtherEpoch {
        /// The caller's.
        expected: LeaderEpoch,
        /// This broker's.
        current: LeaderEpoch,
    },
    /// `acks=all` needs more replicas in sync than there are.
    #[error("{isr} in-sync replicas, {min} wanted")]
    NotEnoughReplicas {
        /// Members of the in-sync set.
        isr: u32,
        /// `min.insync.replicas`, at most the replica count.
        min: u32,
    },
    /// Batches that come with offsets do not start at the log's end.
    #[error("batch at offset {found} where the log continues at {expected}")]
    Misplaced {
        /// Base offset of the first batch.
        found: Offset,
        /// The log's end.
        expected: Offset,
    },
    /// The log cannot take it.
    #[error(transparent)]
    Log(#[from] LogError),
}
