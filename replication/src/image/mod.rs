//! The cluster's metadata: an immutable function of the records in the log.
//!
//! An [`Image`] is cheap to clone (a dozen pointers) and `Send`: one core replays records into a
//! new one ([`Loader`]), and every core swaps its own in whole. What changed between two is
//! [`delta()`]; what must be written so that another node gets the same is
//! [`Image::snapshot_records`].
//!
//! | family | records |
//! |---|---|
//! | [`features`] | FeatureLevel |
//! | [`brokers`] | RegisterBroker, UnregisterBroker, Fence-, UnfenceBroker, BrokerRegistrationChange, RegisterController |
//! | [`topics`] | Topic, RemoveTopic, Partition, PartitionChange, ClearElr |
//! | [`configs`] | Config |
//! | [`quotas`] | ClientQuota |
//! | [`security`] | AccessControlEntry, UserScramCredential, DelegationToken and their removals |
//! | here | ProducerIds |

pub mod brokers;
pub mod configs;
pub mod delta;
pub mod features;
pub mod loader;
pub mod quotas;
mod replay;
pub mod security;
mod shards;
mod snapshot;
pub mod topics;

use std::sync::Arc;

use engine::ids::{BrokerId, Offset, PartitionId, ProducerId, TopicId};
use wire::record::metadata::MetadataRecord;

pub use self::brokers::{Broker, Brokers, ControllerNode, Controllers, Endpoint, LevelRange};
pub use self::configs::{ConfigMap, ConfigResource, Configs, ResourceKind};
pub use self::delta::{ConfigChange, Delta, PartitionChange, delta};
pub use self::features::Features;
pub use self::loader::{BatchInfo, LoadError, Loader};
pub use self::quotas::{QuotaEntity, QuotaLimits, Quotas};
pub(crate) use self::replay::NO_LEADER_CHANGE;
pub use self::security::{
    Acl, Acls, DelegationToken, DelegationTokens, ScramCredential, ScramCredentials,
};
pub(crate) use self::snapshot::{ids, partition_record, register_controller};
pub use self::topics::{LeaderRecovery, Partition, Topic, Topics, directory};

/// The metadata after some prefix of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    pub(crate) provenance: Provenance,
    features: Arc<Features>,
    brokers: Arc<Brokers>,
    controllers: Arc<Controllers>,
    topics: Arc<Topics>,
    configs: Arc<Configs>,
    quotas: Arc<Quotas>,
    acls: Arc<Acls>,
    scram: Arc<ScramCredentials>,
    tokens: Arc<DelegationTokens>,
    next_producer_id: Option<ProducerId>,
}

/// Which prefix of the log an image is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Offset after the last record taken in: the end offset in the name of a snapshot.
    pub end: Offset,
    /// Epoch of that record.
    pub epoch: i32,
    /// Time of that record's batch, Unix milliseconds.
    pub timestamp_ms: i64,
    /// Whether `end` is between two batches, as the end of a snapshot must be.
    pub batch_aligned: bool,
}

impl Default for Provenance {
    fn default() -> Self {
        Self { end: Offset::ZERO, epoch: 0, timestamp_ms: 0, batch_aligned: true }
    }
}

/// Why a record can't be part of this log. Fatal: the image would no longer be the one that
/// everybody else has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// A broker that is not registered.
    #[error("{record} names broker {broker}, which is not registered")]
    UnknownBroker {
        /// Kind of record.
        record: &'static str,
        /// As named.
        broker: BrokerId,
    },
    /// A broker registered under another epoch.
    #[error("{record} names epoch {named} of broker {broker}, which is at epoch {registered}")]
    BrokerEpoch {
        /// Kind of record.
        record: &'static str,
        /// The broker.
        broker: BrokerId,
        /// As named.
        named: i64,
        /// As registered.
        registered: i64,
    },
    /// A topic that does not exist.
    #[error("{record} names topic {topic}, which does not exist")]
    UnknownTopic {
        /// Kind of record.
        record: &'static str,
        /// Id or name as named.
        topic: String,
    },
    /// A partition that does not exist.
    #[error("{record} names partition {partition} of topic {topic}, which does not exist")]
    UnknownPartition {
        /// Kind of record.
        record: &'static str,
        /// As named.
        topic: TopicId,
        /// As named.
        partition: PartitionId,
    },
    /// Two live topics of one name, or of one id.
    #[error("Topic record for {name} ({id}), which exists already")]
    DuplicateTopic {
        /// Name of the new one.
        name: String,
        /// Id of the new one.
        id: TopicId,
    },
    /// A number that stands for nothing known.
    #[error("{record} has {value} as {field}, which this program does not know")]
    Value {
        /// Kind of record.
        record: &'static str,
        /// The field.
        field: &'static str,
        /// As written.
        value: i64,
    },
    /// A counter that can't go on.
    #[error("{record} would overflow {field} of topic {topic} partition {partition}")]
    Overflow {
        /// Kind of record.
        record: &'static str,
        /// The field.
        field: &'static str,
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: PartitionId,
    },
    /// A record that opens or closes a transaction where only plain records may be.
    #[error("{0} outside of a log: snapshots and decisions hold no transactions")]
    Transaction(&'static str),
}

impl Image {
    /// The prefix of the log that this is of.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        self.provenance
    }

    /// Finalized feature levels.
    #[must_use]
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Broker registrations.
    #[must_use]
    pub fn brokers(&self) -> &Brokers {
        &self.brokers
    }

    /// Controller registrations.
    #[must_use]
    pub fn controllers(&self) -> &Controllers {
        &self.controllers
    }

    /// Topics and partitions.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Dynamic configs.
    #[must_use]
    pub fn configs(&self) -> &Configs {
        &self.configs
    }

    /// Client quotas.
    #[must_use]
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// Access control entries.
    #[must_use]
    pub fn acls(&self) -> &Acls {
        &self.acls
    }

    /// SCRAM credentials.
    #[must_use]
    pub fn scram(&self) -> &ScramCredentials {
        &self.scram
    }

    /// Delegation tokens.
    #[must_use]
    pub fn tokens(&self) -> &DelegationTokens {
        &self.tokens
    }

    /// The first producer id that no block handed out contains; `None` before the first block.
    #[must_use]
    pub fn next_producer_id(&self) -> Option<ProducerId> {
        self.next_producer_id
    }

    /// Whether nothing was ever recorded, so that the cluster must be bootstrapped.
    #[must_use]
    pub fn is_unborn(&self) -> bool {
        self.features.metadata_version().is_none()
    }

    /// Takes in one record. Transactions are the [`Loader`]'s business.
    ///
    /// # Errors
    /// If the record contradicts the image; the image is unchanged then.
    pub fn replay(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        replay::replay(self, record)
    }

    /// The records that make an empty image equal to this one, in Kafka's order.
    #[must_use]
    pub fn snapshot_records(&self) -> Vec<MetadataRecord> {
        snapshot::records(self)
    }
}

#[cfg(test)]
mod tests;
