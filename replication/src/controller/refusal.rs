//! Why the controller does not do what it was asked: a kind, which the shell maps to Kafka's
//! error code, and Kafka's text.

use std::fmt;

/// A refused request, or part of one. Always the caller's fault, or the moment's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which of Kafka's errors this is.
    pub kind: ErrorKind,
    /// What is sent along; `None` for the standard text of the error code.
    pub message: Option<String>,
}

/// Errors of Kafka that a controller answers, each by the name of its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// 3
    UnknownTopicOrPartition,
    /// 6
    NotLeaderOrFollower,
    /// 17
    InvalidTopic,
    /// 35
    UnsupportedVersion,
    /// 36
    TopicAlreadyExists,
    /// 37
    InvalidPartitions,
    /// 38
    InvalidReplicationFactor,
    /// 39
    InvalidReplicaAssignment,
    /// 40
    InvalidConfig,
    /// 41
    NotController,
    /// 42
    InvalidRequest,
    /// 44
    PolicyViolation,
    /// 73
    TopicDeletionDisabled,
    /// 74
    FencedLeaderEpoch,
    /// 77
    StaleBrokerEpoch,
    /// 80
    PreferredLeaderNotAvailable,
    /// 83
    EligibleLeadersNotAvailable,
    /// 84
    ElectionNotNeeded,
    /// 85
    NoReassignmentInProgress,
    /// 95
    InvalidUpdateVersion,
    /// 100
    UnknownTopicId,
    /// 101
    DuplicateBrokerRegistration,
    /// 102
    BrokerIdNotRegistered,
    /// 104
    InconsistentClusterId,
    /// 107
    IneligibleReplica,
    /// 108
    NewLeaderElected,
    /// 119
    InvalidRegistration,
    /// −1: no more of something that never runs out.
    UnknownServerError,
}

impl Refusal {
    /// With a text.
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        cut(&mut message);
        Self { kind, message: Some(message) }
    }

    /// With the standard text of the code.
    pub(super) fn plain(kind: ErrorKind) -> Self {
        Self { kind, message: None }
    }
}

/// Keeps what quotes a caller's own words sayable: a protocol string ends at 32 KiB.
fn cut(message: &mut String) {
    if message.len() > MESSAGE_LEN_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_LEN_MAX));
        message.push('…');
    }
}

/// As long as anybody reads.
const MESSAGE_LEN_MAX: usize = 2048;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{:?}: {message}", self.kind),
            None => write!(f, "{:?}", self.kind),
        }
    }
}

impl std::error::Error for Refusal {}
