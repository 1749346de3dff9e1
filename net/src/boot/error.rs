//! Why a node did not start, or did not stop in order; and with which code the process ends.

use engine::error::{DirError, LogError, OpenError};
use replication::features::FeatureError;
use replication::image::LoadError;
use replication::quorum::StartError;

use crate::adopt::AdoptError;

/// The codes with which the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Stopped as asked.
    Stopped = 0,
    /// A defect or a failing disk; the log says which.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// A data directory cannot be used: locked, foreign, damaged, of another cluster or node, or
    /// written by a newer release.
    Data = 3,
    /// An address cannot be listened on.
    Bind = 4,
    /// The machine lacks something: io_uring, memory to lock, descriptors.
    Machine = 5,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// A log directory.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// Directories that do not belong together, or not to this node.
    #[error("{0}")]
    Mismatch(String),
    /// A listener.
    #[error("cannot listen on {listener}: {reason}")]
    Bind {
        /// As configured.
        listener: String,
        /// The system's words.
        reason: String,
    },
    /// The metadata log, or a file beside it.
    #[error("metadata: {0}")]
    Metadata(String),
    /// The log was written by something newer, or is not this node's to lead.
    #[error("metadata quorum: {0}")]
    Quorum(#[from] StartError),
    /// A feature level that is not known here.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// Partitions were to be taken in.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// The node served, and could not close everything.
    #[error("stopped, but not in order: {0}")]
    Unclean(String),
}

impl BootError {
    /// The code for the process to end with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Dir(_)
            | Self::Mismatch(_)
            | Self::Metadata(_)
            | Self::Quorum(_)
            | Self::Feature(_) => ExitCode::Data,
            Self::Bind { .. } => ExitCode::Bind,
            Self::Adopt(_) | Self::Unclean(_) => ExitCode::Failed,
        }
    }
}

macro_rules! metadata_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for BootError {
            fn from(error: $error) -> Self {
                Self::Metadata(error.to_string())
            }
        })*
    };
}

metadata_errors!(OpenError, LogError, LoadError);
