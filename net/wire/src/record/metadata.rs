//! Records of the metadata log, `__cluster_metadata-0`, and of its snapshots (KIP-631).
//!
//! A record's value is a frame: varint 1 (the frame's own version), varint record type, varint
//! record version, then the message and nothing more. Key and headers are unused.
//!
//! Which *version* to write is the cluster's choice (`metadata.version`), see
//! [`MetadataRecord::version_at`]; all versions up to Kafka 4.3's are read. A type that is not in
//! the table must stop the node by name, since skipping it would make a different image.

use crate::cursor::Cursor;
use crate::error::{DecodeError, EncodeError};
use crate::primitives::Uuid;
use crate::schema::{self, Message, Shape, Value, wire};
use crate::writer::Writer;

/// The value of a metadata log record cannot be understood. For a node that follows the log this
/// is fatal: its image would no longer be the cluster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataRecordError {
    /// The frame is of a format this build does not know.
    #[error("metadata record frame version {0}, only 1 is known")]
    UnknownFrameVersion(u32),
    /// Written by a newer release, most likely.
    #[error("unknown metadata record type {0}")]
    UnknownType(u32),
    /// The record's type is known, its version is not.
    #[error("{name} has version {version}, the newest known is {max}")]
    UnknownVersion {
        /// Kafka's name of the record.
        name: &'static str,
        /// The version found.
        version: u32,
        /// The newest version known.
        max: i16,
    },
    /// The bytes are not a record of their type and version.
    #[error("{name}: {error}")]
    Invalid {
        /// Kafka's name of the record; `frame` when even that is not known.
        name: &'static str,
        /// What is wrong.
        error: DecodeError,
    },
}

macro_rules! metadata_records {
    ($($(#[$meta:meta])* $variant:ident($record:ident),)+) => {
        /// Any record of the metadata log.
        #[derive(Clone, Debug, PartialEq)]
        pub enum MetadataRecord {
            $( $(#[$meta])* $variant($record), )+
        }

        impl MetadataRecord {
            /// Kafka's name of the record.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $( Self::$variant(_) => <$record as Message<'_>>::NAME, )+
                }
            }

            /// The record's type.
            #[must_use]
            pub const fn key(&self) -> i16 {
                match self {
                    $( Self::$variant(_) => <$record as Message<'_>>::KEY, )+
                }
            }

            /// Newest version of the record.
            #[must_use]
            pub const fn max_version(&self) -> i16 {
                match self {
                    $( Self::$variant(_) => <$record as Message<'_>>::MAX_VERSION, )+
                }
            }

            /// A default record of every type, by ascending type: for tools and tests.
            #[must_use]
            pub fn samples() -> Vec<Self> {
                vec![$( Self::$variant($record::default()) ),+]
            }

            /// The record's declaration, as data.
            #[must_use]
            pub const fn shape(&self) -> Shape {
                match self {
                    $( Self::$variant(_) => <$record as Value<'_>>::SHAPE, )+
                }
            }

            fn decode_message(
                cur: &mut Cursor<'_>,
                key: u32,
                version: u32,
            ) -> Result<Self, MetadataRecordError> {
                match i16::try_from(key) {
                    $( Ok(<$record as Message<'_>>::KEY) => {
                        decode_body(cur, version).map(Self::$variant)
                    } )+
                    _ => Err(MetadataRecordError::UnknownType(key)),
                }
            }

            fn encode_message(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
                match self {
                    $( Self::$variant(record) => record.encode(w, version), )+
                }
            }
        }

        $( impl From<$record> for MetadataRecord {
            fn from(record: $record) -> Self {
                Self::$variant(record)
            }
        } )+
    };
}

metadata_records! {
    /// 0: a broker started.
    RegisterBroker(RegisterBrokerRecord),
    /// 1: a broker is gone for good.
    UnregisterBroker(UnregisterBrokerRecord),
    /// 2: a topic exists.
    Topic(TopicRecord),
    /// 3: a partition exists, in this state.
    Partition(PartitionRecord),
    /// 4: a config was set or deleted.
    Config(ConfigRecord),
    /// 5: parts of a partition's state changed.
    PartitionChange(PartitionChangeRecord),
    /// 7: a broker was fenced. Read only: [`BrokerRegistrationChangeRecord`] took its place.
    FenceBroker(FenceBrokerRecord),
    /// 8: a broker was unfenced. Read only, as above.
    UnfenceBroker(UnfenceBrokerRecord),
    /// 9: a topic is gone, and its partitions and configs with it.
    RemoveTopic(RemoveTopicRecord),
    /// 10: a delegation token exists.
    DelegationToken(DelegationTokenRecord),
    /// 11: a SCRAM credential was set.
    UserScramCredential(UserScramCredentialRecord),
    /// 12: a feature was finalized at a level.
    FeatureLevel(FeatureLevelRecord),
    /// 14: a quota was set or removed.
    ClientQuota(ClientQuotaRecord),
    /// 15: producer ids were handed out.
    ProducerIds(ProducerIdsRecord),
    /// 17: parts of a broker's registration changed.
    BrokerRegistrationChange(BrokerRegistrationChangeRecord),
    /// 18: an ACL was added.
    AccessControlEntry(AccessControlEntryRecord),
    /// 19: an ACL was removed.
    RemoveAccessControlEntry(RemoveAccessControlEntryRecord),
    /// 20: nothing happened; moves the high watermark while idle.
    NoOp(NoOpRecord),
    /// 21: ZooKeeper migration state; ignored since 4.0.
    ZkMigrationState(ZkMigrationStateRecord),
    /// 22: a SCRAM credential was removed.
    RemoveUserScramCredential(RemoveUserScramCredentialRecord),
    /// 23: the records up to the matching end count together or not at all.
    BeginTransaction(BeginTransactionRecord),
    /// 24: the records since the matching begin count.
    EndTransaction(EndTransactionRecord),
    /// 25: the records since the matching begin never were.
    AbortTransaction(AbortTransactionRecord),
    /// 26: a delegation token is gone.
    RemoveDelegationToken(RemoveDelegationTokenRecord),
    /// 27: a controller started.
    RegisterController(RegisterControllerRecord),
    /// 28: eligible leader replicas were forgotten.
    ClearElr(ClearElrRecord),
}

impl MetadataRecord {
    /// Reads the value of a metadata log record; also returns the version it was written in.
    pub fn decode(value: &[u8]) -> Result<(Self, i16), MetadataRecordError> {
        let framing = |error| MetadataRecordError::Invalid { name: "frame", error };
        let mut cur = Cursor::new(value);
        let frame = cur.uvarint().map_err(framing)?;
        if frame != FRAME_VERSION {
            return Err(MetadataRecordError::UnknownFrameVersion(frame));
        }
        let key = cur.uvarint().map_err(framing)?;
        let version = cur.uvarint().map_err(framing)?;
        let record = Self::decode_message(&mut cur, key, version)?;
        cur.finish()
            .map_err(|error| MetadataRecordError::Invalid { name: record.name(), error })?;
        let version = i16::try_from(version).expect("decoded, so a version of the record");
        Ok((record, version))
    }

    /// Writes the value of a metadata log record.
    pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        w.uvarint(FRAME_VERSION);
        w.uvarint(self.key().cast_unsigned().into());
        w.uvarint(version.cast_unsigned().into());
        self.encode_message(w, version)
    }

    /// The value of a metadata log record, as a buffer of its own.
    pub fn to_bytes(&self, version: i16) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new();
        self.encode(&mut w, version)?;
        Ok(w.into_bytes())
    }

    /// The version to write under a finalized `metadata.version` level (7 = 3.3-IV3 … 30 =
    /// 4.3-IV0). A broker registration change takes the lowest version that can say it, whatever
    /// the level, as Kafka's controller does.
    #[must_use]
    pub fn version_at(&self, metadata_version: i16) -> i16 {
        match self {
            Self::RegisterBroker(_) => match metadata_version {
                30.. => 4,
                17.. => 3,
                8.. => 2,
                _ => 1,
            },
            Self::Partition(_) | Self::PartitionChange(_) => match metadata_version {
                23.. => 2,
                17.. => 1,
                _ => 0,
            },
            Self::BrokerRegistrationChange(change) => change.lowest_version(),
            _ => 0,
        }
    }
}

impl BrokerRegistrationChangeRecord {
    /// Lowest version that has every field set here.
    #[must_use]
    pub const fn lowest_version(&self) -> i16 {
        if self.cordoned_log_dirs.is_some() {
            3
        } else if !self.log_dirs.is_empty() {
            2
        } else if self.in_controlled_shutdown != 0 {
            1
        } else {
            0
        }
    }
}

fn decode_body<M: for<'a> Message<'a>>(
    cur: &mut Cursor<'_>,
    version: u32,
) -> Result<M, MetadataRecordError> {
    let known = i16::try_from(version).ok().filter(|version| *version <= M::MAX_VERSION);
    let Some(known) = known else {
        return Err(MetadataRecordError::UnknownVersion {
            name: M::NAME,
            version,
            max: M::MAX_VERSION,
        });
    };
    schema::decode(cur, known)
        .map_err(|error| MetadataRecordError::Invalid { name: M::NAME, error })
}

/// The only frame format there has been.
const FRAME_VERSION: u32 = 1;

wire! {
    /// A broker (re)started; replaces its former registration. Its `broker_epoch` is the offset of
    /// this very record.
    record RegisterBrokerRecord 0, 0..=4, flexible 0 {
        broker_id: i32,
        is_migrating_zk_broker: bool [2..],
        /// Chosen anew at every start of the process.
        incarnation_id: Uuid,
        broker_epoch: i64,
        end_points: Vec<BrokerEndpoint>,
        features: Vec<BrokerFeature>,
        rack: Option<String>,
        fenced: bool = true,
        in_controlled_shutdown: bool [1..],
        /// Directory ids of the log dirs that are online.
        log_dirs: Vec<Uuid> [3.., tag 0],
        /// Cordoned ones of them; null until the first heartbeat tells (KIP-1066).
        cordoned_log_dirs: Option<Vec<Uuid>> [4.., tag 1] = None,
    }

    /// Where a broker listens.
    struct BrokerEndpoint {
        /// Listener name.
        name: String,
        host: String,
        port: u16,
        /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
        security_protocol: i16,
    }

    /// The range of levels of a feature that a broker supports.
    struct BrokerFeature {
        name: String,
        min_supported_version: i16,
        max_supported_version: i16,
    }

    /// A broker was removed from the cluster by an operator.
    record UnregisterBrokerRecord 1, 0..=0, flexible 0 {
        broker_id: i32,
        broker_epoch: i64,
    }

    /// A topic was created; its [`PartitionRecord`]s follow in the same batch.
    record TopicRecord 2, 0..=0, flexible 0 {
        name: String,
        topic_id: Uuid,
    }

    /// A partition's whole state.
    record PartitionRecord 3, 0..=2, flexible 0 {
        partition_id: i32 = -1,
        topic_id: Uuid,
        /// Preferred leader first.
        replicas: Vec<i32>,
        isr: Vec<i32>,
        removing_replicas: Vec<i32>,
        adding_replicas: Vec<i32>,
        /// −1 for none.
        leader: i32 = -1,
        /// 0 recovered, 1 recovering from an unclean election.
        leader_recovery_state: i8 [tag 0],
        leader_epoch: i32 = -1,
        /// Grows by one with every change to the partition.
        partition_epoch: i32 = -1,
        /// Log directory of each replica, in the order of `replicas`.
        directories: Vec<Uuid> [1..],
        /// KIP-966.
        eligible_leader_replicas: Option<Vec<i32>> [2.., tag 1] = None,
        last_known_elr: Option<Vec<i32>> [2.., tag 2] = None,
    }

    /// A config was set, or (null) deleted.
    record ConfigRecord 4, 0..=0, flexible 0 {
        /// 2 topic, 4 broker, 16 client metrics, 32 group.
        resource_type: i8,
        /// Empty for the cluster-wide default.
        resource_name: String,
        name: String,
        value: Option<String>,
    }

    /// What changed of a partition. The partition epoch grows by one; the leader epoch by one iff
    /// `leader` is not −2, even if the leader stays. Null means unchanged.
    record PartitionChangeRecord 5, 0..=2, flexible 0 {
        partition_id: i32 = -1,
        topic_id: Uuid,
        isr: Option<Vec<i32>> [tag 0] = None,
        /// −2 unchanged, −1 none.
        leader: i32 [tag 1] = -2,
        replicas: Option<Vec<i32>> [tag 2] = None,
        removing_replicas: Option<Vec<i32>> [tag 3] = None,
        adding_replicas: Option<Vec<i32>> [tag 4] = None,
        /// −1 unchanged, 0 recovered, 1 recovering from an unclean election.
        leader_recovery_state: i8 [tag 5] = -1,
        eligible_leader_replicas: Option<Vec<i32>> [2.., tag 6] = None,
        last_known_elr: Option<Vec<i32>> [2.., tag 7] = None,
        directories: Option<Vec<Uuid>> [1.., tag 8] = None,
    }

    /// A broker was fenced.
    record FenceBrokerRecord 7, 0..=0, flexible 0 {
        id: i32,
        epoch: i64,
    }

    /// A broker was unfenced.
    record UnfenceBrokerRecord 8, 0..=0, flexible 0 {
        id: i32,
        epoch: i64,
    }

    /// A topic was deleted.
    record RemoveTopicRecord 9, 0..=0, flexible 0 {
        topic_id: Uuid,
    }

    /// A delegation token was issued or renewed. The HMAC is derived, never stored.
    record DelegationTokenRecord 10, 0..=0, flexible 0 {
        /// Principals are written as `User:name`.
        owner: String,
        requester: String,
        renewers: Vec<String>,
        /// Unix time in milliseconds, as the other two.
        issue_timestamp: i64,
        max_timestamp: i64,
        expiration_timestamp: i64,
        token_id: String,
    }

    /// A user's SCRAM credential was set.
    record UserScramCredentialRecord 11, 0..=0, flexible 0 {
        name: String,
        /// 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
        mechanism: i8,
        salt: Vec<u8>,
        stored_key: Vec<u8>,
        server_key: Vec<u8>,
        iterations: i32,
    }

    /// A feature was finalized; level 0 removes it.
    record FeatureLevelRecord 12, 0..=0, flexible 0 {
        name: String,
        feature_level: i16,
    }

    /// A quota was set or removed.
    record ClientQuotaRecord 14, 0..=0, flexible 0 {
        entity: Vec<EntityData>,
        key: String,
        /// Of no meaning with `remove`.
        value: f64,
        remove: bool,
    }

    /// One part of what a quota applies to.
    struct EntityData {
        /// `user`, `client-id` or `ip`.
        entity_type: String,
        /// Null for the default of its type.
        entity_name: Option<String>,
    }

    /// Producer ids below `next_producer_id` are taken.
    record ProducerIdsRecord 15, 0..=0, flexible 0 {
        broker_id: i32,
        broker_epoch: i64 = -1,
        next_producer_id: i64,
    }

    /// What changed of a broker's registration.
    record BrokerRegistrationChangeRecord 17, 0..=3, flexible 0 {
        broker_id: i32,
        broker_epoch: i64,
        /// 1 fenced, −1 unfenced, 0 unchanged.
        fenced: i8 [tag 0],
        /// 1 in controlled shutdown, 0 unchanged.
        in_controlled_shutdown: i8 [1.., tag 1],
        /// Empty for unchanged.
        log_dirs: Vec<Uuid> [2.., tag 2],
        /// Null for unchanged.
        cordoned_log_dirs: Option<Vec<Uuid>> [3.., tag 3] = None,
    }

    /// An ACL was added.
    record AccessControlEntryRecord 18, 0..=0, flexible 0 {
        id: Uuid,
        /// 2 topic, 3 group, 4 cluster, 5 transactional id, 6 delegation token, 7 user.
        resource_type: i8,
        resource_name: String,
        /// 3 literal, 4 prefixed.
        pattern_type: i8,
        principal: String,
        host: String,
        operation: i8,
        /// 2 deny, 3 allow.
        permission_type: i8,
    }

    /// An ACL was removed.
    record RemoveAccessControlEntryRecord 19, 0..=0, flexible 0 {
        id: Uuid,
    }

    /// Nothing.
    record NoOpRecord 20, 0..=0, flexible 0 {}

    /// Left over from ZooKeeper; ignored.
    record ZkMigrationStateRecord 21, 0..=0, flexible 0 {
        zk_migration_state: i8,
    }

    /// A user's SCRAM credential was removed.
    record RemoveUserScramCredentialRecord 22, 0..=0, flexible 0 {
        name: String,
        mechanism: i8,
    }

    /// A metadata transaction begins.
    record BeginTransactionRecord 23, 0..=0, flexible 0 {
        name: Option<String> [tag 0] = None,
    }

    /// The metadata transaction counts.
    record EndTransactionRecord 24, 0..=0, flexible 0 {}

    /// The metadata transaction is dropped.
    record AbortTransactionRecord 25, 0..=0, flexible 0 {
        reason: Option<String> [tag 0] = None,
    }

    /// A delegation token expired.
    record RemoveDelegationTokenRecord 26, 0..=0, flexible 0 {
        token_id: String,
    }

    /// A controller (re)started.
    record RegisterControllerRecord 27, 0..=0, flexible 0 {
        controller_id: i32,
        incarnation_id: Uuid,
        zk_migration_ready: bool,
        end_points: Vec<ControllerEndpoint>,
        features: Vec<ControllerFeature>,
    }

    /// Where a controller listens.
    struct ControllerEndpoint {
        /// Listener name.
        name: String,
        host: String,
        port: u16,
        /// As in [`BrokerEndpoint`].
        security_protocol: i16,
    }

    /// The range of levels of a feature that a controller supports.
    struct ControllerFeature {
        name: String,
        min_supported_version: i16,
        max_supported_version: i16,
    }

    /// Eligible and last known leader replicas were forgotten.
    record ClearElrRecord 28, 0..=0, flexible 0 {
        /// Empty for all topics.
        topic_name: String,
    }
}

#[cfg(test)]
mod tests;
