//! Records of `__consumer_offsets`: what a group coordinator remembers.
//!
//! A record's key begins with its type, an i16, its value with the version it is written in, an i16
//! too. No value is a tombstone: what the key names is forgotten. A type that is not in the table
//! belongs to a newer release and is skipped, as by Kafka; a value's version that is not known fails
//! the load, since skipping it would forget what was promised to be kept.

mod consumer;

pub use self::consumer::{
    AssignedPartitions, ClassicMemberMetadata, ClassicProtocol, ConsumerGroupKey,
    ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataValue, ConsumerMemberKey,
    ConsumerMemberMetadataValue, CurrentMemberAssignmentValue, HeldPartitions, PartitionRacks,
    RegularExpressionKey, RegularExpressionValue, TargetAssignmentMemberValue,
    TargetAssignmentMetadataValue, TopicMetadata,
};

use crate::cursor::Cursor;
use crate::error::{DecodeError, EncodeError};
use crate::primitives::Uuid;
use crate::schema::{self, Message, wire};
use crate::writer::Writer;

/// A record of `__consumer_offsets`; without value a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupRecord {
    /// 0 and 1: a group's offset in a partition.
    OffsetCommit(OffsetCommitKey, Option<OffsetCommitValue>),
    /// 2: a classic group's generation and members.
    GroupMetadata(GroupMetadataKey, Option<GroupMetadataValue>),
    /// 3: a consumer group's epoch.
    ConsumerGroup(ConsumerGroupKey, Option<ConsumerGroupMetadataValue>),
    /// 4: what releases before 4.2 kept of a consumer group's topics; only forgotten now.
    ConsumerGroupPartitions(ConsumerGroupKey, Option<ConsumerGroupPartitionMetadataValue>),
    /// 5: what a member of a consumer group says.
    ConsumerMember(ConsumerMemberKey, Option<ConsumerMemberMetadataValue>),
    /// 6: the epoch of what the members of a consumer group are to have.
    TargetAssignment(ConsumerGroupKey, Option<TargetAssignmentMetadataValue>),
    /// 7: what a member of a consumer group is to have.
    TargetAssignmentMember(ConsumerMemberKey, Option<TargetAssignmentMemberValue>),
    /// 8: what a member of a consumer group has.
    CurrentAssignment(ConsumerMemberKey, Option<CurrentMemberAssignmentValue>),
    /// 16: the topics that a consumer group's regular expression stands for.
    RegularExpression(RegularExpressionKey, Option<RegularExpressionValue>),
}

/// A record of `__consumer_offsets` cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupRecordError {
    /// A type written by a newer release. Kafka skips these.
    #[error("unknown group record type {0}")]
    UnknownType(i16),
    /// The bytes are not what their type says.
    #[error("{name}: {error}")]
    Invalid {
        /// Kafka's name of the key or value, or `key`.
        name: &'static str,
        /// What is wrong.
        error: DecodeError,
    },
}

impl GroupRecord {
    /// Reads a record's key and value.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, GroupRecordError> {
        let mut cur = Cursor::new(key);
        let invalid = |error| GroupRecordError::Invalid { name: "key", error };
        match cur.i16().map_err(invalid)? {
            0 | 1 => Ok(Self::OffsetCommit(decode_key(&mut cur)?, decode_value(value)?)),
            2 => Ok(Self::GroupMetadata(decode_key(&mut cur)?, decode_value(value)?)),
            3 => Ok(Self::ConsumerGroup(decode_key(&mut cur)?, decode_value(value)?)),
            4 => Ok(Self::ConsumerGroupPartitions(decode_key(&mut cur)?, decode_value(value)?)),
            5 => Ok(Self::ConsumerMember(decode_key(&mut cur)?, decode_value(value)?)),
            6 => Ok(Self::TargetAssignment(decode_key(&mut cur)?, decode_value(value)?)),
            7 => Ok(Self::TargetAssignmentMember(decode_key(&mut cur)?, decode_value(value)?)),
            8 => Ok(Self::CurrentAssignment(decode_key(&mut cur)?, decode_value(value)?)),
            16 => Ok(Self::RegularExpression(decode_key(&mut cur)?, decode_value(value)?)),
            unknown => Err(GroupRecordError::UnknownType(unknown)),
        }
    }

    /// The record's key.
    pub fn key(&self) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::OffsetCommit(key, _) => encode(key, OffsetCommitKey::KEY, 0),
            Self::GroupMetadata(key, _) => encode(key, GroupMetadataKey::KEY, 0),
            Self::ConsumerGroup(key, _) => encode(key, 3, 0),
            Self::ConsumerGroupPartitions(key, _) => encode(key, 4, 0),
            Self::ConsumerMember(key, _) => encode(key, 5, 0),
            Self::TargetAssignment(key, _) => encode(key, 6, 0),
            Self::TargetAssignmentMember(key, _) => encode(key, 7, 0),
            Self::CurrentAssignment(key, _) => encode(key, 8, 0),
            Self::RegularExpression(key, _) => encode(key, 16, 0),
        }
    }

    /// The record's value, in the version that Kafka 4.3 writes: of an offset 4, or 1 when it says
    /// itself when it expires, which later ones cannot; of a classic group 3; of all else 0.
    pub fn value(&self) -> Result<Option<Vec<u8>>, EncodeError> {
        self.version().map(|version| self.value_in(version)).transpose()
    }

    /// The version in which [`GroupRecord::value`] writes.
    #[must_use]
    pub fn version(&self) -> Option<i16> {
        match self {
            Self::OffsetCommit(_, value) => {
                value.as_ref().map(|value| if value.expire_timestamp == -1 { 4 } else { 1 })
            }
            Self::GroupMetadata(_, value) => value.as_ref().map(|_| 3),
            Self::ConsumerGroup(_, value) => value.as_ref().map(|_| 0),
            Self::ConsumerGroupPartitions(_, value) => value.as_ref().map(|_| 0),
            Self::ConsumerMember(_, value) => value.as_ref().map(|_| 0),
            Self::TargetAssignment(_, value) => value.as_ref().map(|_| 0),
            Self::TargetAssignmentMember(_, value) => value.as_ref().map(|_| 0),
            Self::CurrentAssignment(_, value) => value.as_ref().map(|_| 0),
            Self::RegularExpression(_, value) => value.as_ref().map(|_| 0),
        }
    }

    /// The record's value in a version of choice. Empty for a tombstone.
    pub fn value_in(&self, version: i16) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::OffsetCommit(_, Some(value)) => encode(value, version, version),
            Self::GroupMetadata(_, Some(value)) => encode(value, version, version),
            Self::ConsumerGroup(_, Some(value)) => encode(value, version, version),
            Self::ConsumerGroupPartitions(_, Some(value)) => encode(value, version, version),
            Self::ConsumerMember(_, Some(value)) => encode(value, version, version),
            Self::TargetAssignment(_, Some(value)) => encode(value, version, version),
            Self::TargetAssignmentMember(_, Some(value)) => encode(value, version, version),
            Self::CurrentAssignment(_, Some(value)) => encode(value, version, version),
            Self::RegularExpression(_, Some(value)) => encode(value, version, version),
            _ => Ok(Vec::new()),
        }
    }
}

/// What follows a key's type; its version is always 0.
fn decode_key<M: for<'a> Message<'a>>(cur: &mut Cursor<'_>) -> Result<M, GroupRecordError> {
    let invalid = |error| GroupRecordError::Invalid { name: M::NAME, error };
    schema::decode(cur, 0).map_err(invalid)
}

fn decode_value<M: for<'a> Message<'a>>(
    value: Option<&[u8]>,
) -> Result<Option<M>, GroupRecordError> {
    let Some(bytes) = value else { return Ok(None) };
    let invalid = |error| GroupRecordError::Invalid { name: M::NAME, error };
    let mut cur = Cursor::new(bytes);
    let version = cur.i16().map_err(invalid)?;
    schema::decode(&mut cur, version).map(Some).map_err(invalid)
}

fn encode<M: for<'a> Message<'a>>(
    message: &M,
    prefix: i16,
    version: i16,
) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::new();
    w.i16(prefix);
    schema::encode(message, &mut w, version)?;
    Ok(w.into_bytes())
}

// The number of each is its record type.
wire! {
    /// Whose offset, and where.
    record OffsetCommitKey 1, 0..=0, flexible never {
        group: String,
        topic: String,
        partition: i32,
    }

    /// How far a group has come in a partition.
    record OffsetCommitValue 1, 0..=4, flexible 4 {
        /// Of the next record to read.
        offset: i64,
        /// Of the last record read; −1 for unknown.
        leader_epoch: i32 [3.., ignorable] = -1,
        /// The client's own note.
        metadata: String,
        /// When it was committed, Unix ms.
        commit_timestamp: i64,
        /// When it is forgotten, Unix ms; −1 for as the broker's settings say.
        expire_timestamp: i64 [1..=1, ignorable] = -1,
        /// Of the topic at that time; zero for unknown.
        topic_id: Uuid [4.., tag 0, ignorable],
    }

    /// Which group.
    record GroupMetadataKey 2, 0..=0, flexible never {
        group: String,
    }

    /// A classic group, between two rebalances.
    record GroupMetadataValue 2, 0..=4, flexible 4 {
        /// Empty before the first member.
        protocol_type: String,
        generation: i32,
        /// The chosen protocol; null without members.
        protocol: Option<String>,
        /// Member id of the leader; null without members.
        leader: Option<String>,
        /// When the group came into its state, Unix ms.
        current_state_timestamp: i64 [2.., ignorable] = -1,
        members: Vec<MemberMetadata>,
    }

    /// A member of a classic group.
    struct MemberMetadata {
        member_id: String,
        group_instance_id: Option<String> [3.., ignorable] = None,
        client_id: String,
        /// The peer's address, `/192.0.2.1`.
        client_host: String,
        /// Milliseconds.
        rebalance_timeout: i32 [1.., ignorable] = -1,
        /// Milliseconds.
        session_timeout: i32,
        /// Metadata of the chosen protocol.
        subscription: Vec<u8>,
        assignment: Vec<u8>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(expire_timestamp: i64) -> GroupRecord {
        let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 3 };
        let value = OffsetCommitValue {
            offset: 5,
            leader_epoch: 2,
            metadata: "m".into(),
            commit_timestamp: 7,
            expire_timestamp,
            topic_id: Uuid([1; 16]),
        };
        GroupRecord::OffsetCommit(key, Some(value))
    }

    fn rewritten(record: &GroupRecord) -> GroupRecord {
        let (key, value) = (record.key().expect("fits"), record.value().expect("fits"));
        GroupRecord::decode(&key, value.as_deref()).expect("our own")
    }

    #[test]
    fn an_offset_that_expires_by_itself_is_written_as_version_1() {
        assert_eq!(offset(-1).version(), Some(4));
        assert_eq!(rewritten(&offset(-1)), offset(-1));
        assert_eq!(offset(9).version(), Some(1));
        let GroupRecord::OffsetCommit(_, Some(old)) = rewritten(&offset(9)) else { panic!() };
        assert_eq!((old.expire_timestamp, old.leader_epoch), (9, -1));
    }

    /// As Kafka 4.3.1 wrote it. It says that the member does not speak the classic protocol, where
    /// silence would say that it does.
    #[test]
    fn a_member_is_written_as_kafka_does() {
        let key = ConsumerMemberKey { group: "g".into(), member: "m".into() };
        let value = ConsumerMemberMetadataValue {
            client_id: "c".into(),
            client_host: "/h".into(),
            subscribed_topic_names: vec!["t".into()],
            subscribed_topic_regex: Some(String::new()),
            rebalance_timeout_ms: 300_000,
            classic_member_metadata: None,
            ..ConsumerMemberMetadataValue::default()
        };
        let member = GroupRecord::ConsumerMember(key, Some(value));
        let bytes = member.value().expect("fits").expect("no tombstone");
        assert_eq!(bytes, b"\0\0\0\0\x02c\x03/h\x02\x02t\x01\0\x04\x93\xe0\0\x01\0\x01\0");
        assert_eq!(rewritten(&member), member);
        let silent = bytes.strip_suffix(b"\x01\0\x01\0").expect("as above");
        let silent = [silent, b"\0"].concat();
        let silent = GroupRecord::decode(&member.key().expect("fits"), Some(&silent));
        let Ok(GroupRecord::ConsumerMember(_, Some(silent))) = silent else { panic!("{silent:?}") };
        assert_eq!(silent.classic_member_metadata, Some(ClassicMemberMetadata::default()));
    }

    #[test]
    fn a_tombstone_comes_back() {
        let key = GroupMetadataKey { group: "g".into() };
        let tombstone = GroupRecord::GroupMetadata(key, None);
        assert_eq!(tombstone.value(), Ok(None));
        assert_eq!(rewritten(&tombstone), tombstone);
    }

    #[test]
    fn unknown_types_are_told_from_damage() {
        let unknown = GroupRecord::decode(&[0, 9], None);
        assert_eq!(unknown, Err(GroupRecordError::UnknownType(9)));
        let GroupRecord::OffsetCommit(key, _) = offset(-1) else { unreachable!() };
        let key = GroupRecord::OffsetCommit(key, None).key().expect("fits");
        let cut = key.get(..1).expect("it has two");
        for (key, value) in [(cut, None), (&*key, Some(&[0_u8, 5][..])), (&*key, Some(&[][..]))] {
            let damaged = GroupRecord::decode(key, value);
            assert!(matches!(damaged, Err(GroupRecordError::Invalid { .. })), "{damaged:?}");
        }
    }
}
