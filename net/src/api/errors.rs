//! Kafka's error codes for everything that can go wrong behind an API: the only place that knows
//! both sides.

use std::borrow::Cow;
use std::cmp::Ordering;

use engine::batch::BatchHeader;
use engine::batch::validate::ValidateError;
use engine::compress::Codec;
use engine::error::{AckError, AppendError, LogError, ReadError};
use engine::group::GroupError;
use engine::ids::LeaderEpoch;
use engine::partition::Partition;
use engine::producer::ProducerError;
use replication::controller::{ErrorKind, Refusal};
use wire::error_code::ErrorCode;

use crate::groups::NoHost;
use crate::mesh::CallError;
use crate::meta::ProposeError;
use crate::partitions::Unserved;
use crate::session::SessionError;

/// Kafka's name of a code.
pub(crate) fn name_of(code: i16) -> &'static str {
    ErrorCode(code).name()
}

/// An error with a code of Kafka's, and words for it.
pub(crate) trait Coded {
    fn code(&self) -> ErrorCode;
}

impl Coded for LogError {
    fn code(&self) -> ErrorCode {
        match self {
            // What a client may send again: a log that is being closed or changed is about to be
            // served by somebody else, or again.
            Self::Closed | Self::Retry => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            _ => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl Coded for ReadError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
            Self::NotLeader => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            Self::OldEpoch { .. } => ErrorCode::FENCED_LEADER_EPOCH,
            Self::NewEpoch { .. } => ErrorCode::UNKNOWN_LEADER_EPOCH,
            Self::Log(error) => error.code(),
            _ => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }
}

impl Coded for AckError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            Self::NotEnoughReplicas { .. } => ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
            Self::Log(error) => error.code(),
            _ => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }
}

impl Coded for AppendError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Batch(error) => error.code(),
            Self::Producer(error) => error.code(),
            Self::NotLeader => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            Self::OtherEpoch { expected, current } if expected < current => {
                ErrorCode::FENCED_LEADER_EPOCH
            }
            Self::OtherEpoch { .. } => ErrorCode::UNKNOWN_LEADER_EPOCH,
            Self::NotEnoughReplicas { .. } => ErrorCode::NOT_ENOUGH_REPLICAS,
            Self::Log(error) => error.code(),
            _ => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }
}

impl Coded for ValidateError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::CorruptMessage(_) | Self::CorruptChecksum { .. } => ErrorCode::CORRUPT_MESSAGE,
            Self::InvalidRecord(_) => ErrorCode::INVALID_RECORD,
            Self::InvalidTimestamp(_) => ErrorCode::INVALID_TIMESTAMP,
            Self::MessageTooLarge { .. } | Self::OpensTooLarge(_) => ErrorCode::MESSAGE_TOO_LARGE,
            Self::RecordListTooLarge { .. } => ErrorCode::RECORD_LIST_TOO_LARGE,
            Self::UnsupportedCompressionType { .. } => ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            Self::UnsupportedForMessageFormat { .. } => ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT,
            _ => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }
}

impl Coded for ProducerError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidProducerEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
            Self::OutOfOrderSequence { .. } | Self::NotFirstOfEpoch { .. } => {
                ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
            }
            Self::OutsideTransaction { .. } | Self::NotInTransaction { .. } => {
                ErrorCode::INVALID_TXN_STATE
            }
            _ => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }
}

impl Coded for NoHost {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Loading => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            Self::Elsewhere => ErrorCode::NOT_COORDINATOR,
        }
    }
}

impl From<NoHost> for ErrorCode {
    fn from(error: NoHost) -> Self {
        error.code()
    }
}

impl Coded for GroupError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidGroupId => ErrorCode::INVALID_GROUP_ID,
            Self::InvalidSessionTimeout { .. } => ErrorCode::INVALID_SESSION_TIMEOUT,
            Self::NameTooLong { .. } => ErrorCode::INVALID_REQUEST,
            Self::Full => ErrorCode::GROUP_MAX_SIZE_REACHED,
            Self::OutOfMemory | Self::Unwritten => ErrorCode::COORDINATOR_NOT_AVAILABLE,
            Self::NotFound | Self::NotConsumer | Self::NotUpgraded(_) => {
                ErrorCode::GROUP_ID_NOT_FOUND
            }
            Self::NotEmpty => ErrorCode::NON_EMPTY_GROUP,
            Self::MemberIdRequired => ErrorCode::MEMBER_ID_REQUIRED,
            Self::UnknownMember => ErrorCode::UNKNOWN_MEMBER_ID,
            Self::FencedInstance => ErrorCode::FENCED_INSTANCE_ID,
            Self::IllegalGeneration { .. } => ErrorCode::ILLEGAL_GENERATION,
            Self::Rebalancing => ErrorCode::REBALANCE_IN_PROGRESS,
            Self::InconsistentProtocol => ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
            Self::MetadataTooLarge { .. } => ErrorCode::OFFSET_METADATA_TOO_LARGE,
            Self::Subscribed => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
            Self::NotHere => ErrorCode::NOT_COORDINATOR,
            Self::InvalidRequest(_) => ErrorCode::INVALID_REQUEST,
            Self::UnsupportedAssignor => ErrorCode::UNSUPPORTED_ASSIGNOR,
            Self::InvalidPattern => ErrorCode::INVALID_REGULAR_EXPRESSION,
            Self::FencedMemberEpoch { .. } => ErrorCode::FENCED_MEMBER_EPOCH,
            Self::StaleMemberEpoch { .. } => ErrorCode::STALE_MEMBER_EPOCH,
            Self::UnreleasedInstance => ErrorCode::UNRELEASED_INSTANCE_ID,
            Self::UnsupportedVersion => ErrorCode::UNSUPPORTED_VERSION,
            // As Kafka says of what is too large to be remembered.
            _ => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }
}

impl Coded for CallError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Panicked => ErrorCode::UNKNOWN_SERVER_ERROR,
            Self::Stopped => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        }
    }
}

impl Coded for Unserved {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotHere => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            Self::Offline(_) => ErrorCode::KAFKA_STORAGE_ERROR,
        }
    }
}

impl Coded for ProposeError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Log(_) => ErrorCode::KAFKA_STORAGE_ERROR,
            Self::TooLarge(_) => ErrorCode::RECORD_LIST_TOO_LARGE,
            Self::NotController => ErrorCode::NOT_CONTROLLER,
            Self::Defect => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }
}

impl Coded for Refusal {
    fn code(&self) -> ErrorCode {
        match self.kind {
            ErrorKind::UnknownTopicOrPartition => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorKind::NotLeaderOrFollower => ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorKind::InvalidTopic => ErrorCode::INVALID_TOPIC_EXCEPTION,
            ErrorKind::UnsupportedVersion => ErrorCode::UNSUPPORTED_VERSION,
            ErrorKind::TopicAlreadyExists => ErrorCode::TOPIC_ALREADY_EXISTS,
            ErrorKind::InvalidPartitions => ErrorCode::INVALID_PARTITIONS,
            ErrorKind::InvalidReplicationFactor => ErrorCode::INVALID_REPLICATION_FACTOR,
            ErrorKind::InvalidReplicaAssignment => ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            ErrorKind::InvalidConfig => ErrorCode::INVALID_CONFIG,
            ErrorKind::NotController => ErrorCode::NOT_CONTROLLER,
            ErrorKind::InvalidRequest => ErrorCode::INVALID_REQUEST,
            ErrorKind::PolicyViolation => ErrorCode::POLICY_VIOLATION,
            ErrorKind::TopicDeletionDisabled => ErrorCode::TOPIC_DELETION_DISABLED,
            ErrorKind::FencedLeaderEpoch => ErrorCode::FENCED_LEADER_EPOCH,
            ErrorKind::StaleBrokerEpoch => ErrorCode::STALE_BROKER_EPOCH,
            ErrorKind::PreferredLeaderNotAvailable => ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE,
            ErrorKind::EligibleLeadersNotAvailable => ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE,
            ErrorKind::ElectionNotNeeded => ErrorCode::ELECTION_NOT_NEEDED,
            ErrorKind::NoReassignmentInProgress => ErrorCode::NO_REASSIGNMENT_IN_PROGRESS,
            ErrorKind::InvalidUpdateVersion => ErrorCode::INVALID_UPDATE_VERSION,
            ErrorKind::UnknownTopicId => ErrorCode::UNKNOWN_TOPIC_ID,
            ErrorKind::DuplicateBrokerRegistration => ErrorCode::DUPLICATE_BROKER_REGISTRATION,
            ErrorKind::BrokerIdNotRegistered => ErrorCode::BROKER_ID_NOT_REGISTERED,
            ErrorKind::InconsistentClusterId => ErrorCode::INCONSISTENT_CLUSTER_ID,
            ErrorKind::IneligibleReplica => ErrorCode::INELIGIBLE_REPLICA,
            ErrorKind::NewLeaderElected => ErrorCode::NEW_LEADER_ELECTED,
            ErrorKind::InvalidRegistration => ErrorCode::INVALID_REGISTRATION,
            _ => ErrorCode::UNKNOWN_SERVER_ERROR,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let code = refusal.code();
        match refusal.message {
            Some(message) => Self::new(code, message),
            None => Self::bare(code),
        }
    }
}

impl Coded for SessionError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
            Self::Epoch { .. } => ErrorCode::INVALID_FETCH_SESSION_EPOCH,
            Self::TopicIds => ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR,
        }
    }
}

/// Whether this node leads the partition, in the epoch that the client knows (−1 for any).
pub(crate) fn check_epoch(partition: &Partition, known: LeaderEpoch) -> Result<(), ErrorCode> {
    if !partition.is_leader() {
        return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
    }
    match known.cmp(&partition.leader_epoch()) {
        _ if known == LeaderEpoch::NONE => Ok(()),
        Ordering::Less => Err(ErrorCode::FENCED_LEADER_EPOCH),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
    }
}

/// What a Fetch of this version is told: clients of versions up to 5 do not know
/// KAFKA_STORAGE_ERROR and would give up, where looking for another leader helps.
pub(crate) fn told_to_fetch(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::KAFKA_STORAGE_ERROR if version <= 5 => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        code => code,
    }
}

/// Whether a Produce of this version may carry the batch: zstd came with version 7. What a Fetch
/// of an old version finds compressed by it is given as it is, as by Kafka since 4.0.
pub(crate) fn check_codec(batch: &[u8], version: i16) -> Result<(), ErrorCode> {
    let zstd = |batch: &BatchHeader| batch.attributes.codec() == Some(Codec::Zstd);
    match version < 7 && BatchHeader::decode(batch).is_ok_and(|batch| zstd(&batch)) {
        true => Err(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
        false => Ok(()),
    }
}

/// A code and, where there is more to say than Kafka's standard sentence, a message; what crosses
/// cores instead of the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    pub(crate) message: Option<Cow<'static, str>>,
}

impl Failure {
    /// The code with the error's own words.
    pub(crate) fn told(error: &(impl Coded + std::fmt::Display)) -> Self {
        Self::new(error.code(), error.to_string())
    }

    /// The code with these words, as many as anybody reads: what they quote may be as long as a
    /// string can be, and what is longer cannot be sent.
    pub(crate) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_LEN_MAX {
            let end = message.floor_char_boundary(MESSAGE_LEN_MAX);
            message = message[..end].to_owned().into();
        }
        Self { code, message: Some(message) }
    }

    /// The code, which says everything.
    pub(crate) fn bare(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

const MESSAGE_LEN_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_fetches_are_told_what_they_know() {
        let storage = ErrorCode::KAFKA_STORAGE_ERROR;
        assert_eq!(told_to_fetch(storage, 5), ErrorCode::NOT_LEADER_OR_FOLLOWER);
        assert_eq!(told_to_fetch(storage, 6), storage);
        let other = ErrorCode::OFFSET_OUT_OF_RANGE;
        assert_eq!(told_to_fetch(other, 4), other);
    }
}
