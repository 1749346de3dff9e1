//! Topics and their partitions.

use std::ops::Bound;
use std::sync::Arc;

use engine::ids::{BrokerId, LeaderEpoch, PartitionId, TopicId};
use rpds::RedBlackTreeMapSync;
use wire::primitives::Uuid;

use super::shards::{ShardKey, Shards};

/// All topics, by id and by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topics {
    pub(super) by_id: Shards<TopicId, Topic>,
    pub(super) by_name: RedBlackTreeMapSync<Arc<str>, TopicId>,
}

/// One topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Never reused.
    pub id: TopicId,
    /// Reused once the topic is deleted.
    pub name: Arc<str>,
    pub(super) partitions: RedBlackTreeMapSync<PartitionId, Arc<Partition>>,
}

/// What the controller says of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Assigned brokers, preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Log directory of each replica, in order of `replicas`; see [`directory`].
    pub directories: Vec<Uuid>,
    /// Replicas that have every acknowledged record.
    pub isr: Vec<BrokerId>,
    /// Replicas that a reassignment takes away.
    pub removing: Vec<BrokerId>,
    /// Replicas that a reassignment brings.
    pub adding: Vec<BrokerId>,
    /// Replicas outside the ISR that may lead without loss (KIP-966).
    pub elr: Vec<BrokerId>,
    /// While there is no leader: the last one.
    pub last_known_elr: Vec<BrokerId>,
    /// The leader, if one could be elected.
    pub leader: Option<BrokerId>,
    /// Goes up with every election, even of the same leader.
    pub leader_epoch: LeaderEpoch,
    /// Goes up with every change.
    pub partition_epoch: i32,
    /// Whether the leader was elected uncleanly and has not finished recovering.
    pub recovery: LeaderRecovery,
}

/// See [`Partition::recovery`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i8)]
pub enum LeaderRecovery {
    /// Elected cleanly, or recovered since.
    #[default]
    Recovered = 0,
    /// Elected from outside the ISR and the ELR.
    Recovering = 1,
}

impl LeaderRecovery {
    /// From Kafka's number.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }
}

/// Ids that stand for no particular log directory.
pub mod directory {
    use wire::primitives::Uuid;

    /// Written before directories were assigned.
    pub const MIGRATING: Uuid = Uuid::ZERO;
    /// The broker picks one.
    pub const UNASSIGNED: Uuid = Uuid::ONE;
    /// In a directory that is offline.
    pub const LOST: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);

    /// Whether the id may not name a real directory: the first hundred are Kafka's own.
    #[must_use]
    pub fn is_reserved(id: Uuid) -> bool {
        id.0[..15] == [0; 15] && id.0[15] < 100
    }
}

impl Topics {
    /// Number of topics.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The topic with this id.
    #[must_use]
    pub fn get(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// The topic with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Topic>> {
        self.get(*self.by_name.get(name)?)
    }

    /// The partition, if it exists.
    #[must_use]
    pub fn partition(&self, topic: TopicId, partition: PartitionId) -> Option<&Arc<Partition>> {
        self.get(topic)?.partition(partition)
    }

    /// All topics in order of name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values().map(|id| self.get(*id).expect("named topics exist"))
    }

    /// Names in order, from `first` on.
    pub fn names_from<'a, 'b>(
        &'a self,
        first: &'b str,
    ) -> impl Iterator<Item = &'a Arc<str>> + use<'a, 'b> {
        let from = (Bound::Included(first), Bound::Unbounded);
        self.by_name.range::<str, _>(from).map(|(name, _)| name)
    }

    /// All topics in order of id.
    pub fn by_id(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_id.iter().map(|(_, topic)| topic)
    }

    /// Every partition of every topic, in order of id.
    pub fn partitions(&self) -> impl Iterator<Item = (&Arc<Topic>, PartitionId, &Arc<Partition>)> {
        self.by_id().flat_map(|topic| topic.partitions().map(move |(id, part)| (topic, id, part)))
    }

    /// Partitions that have a replica on `broker`.
    pub fn partitions_of(
        &self,
        broker: BrokerId,
    ) -> impl Iterator<Item = (&Arc<Topic>, PartitionId, &Arc<Partition>)> {
        self.partitions().filter(move |(_, _, partition)| partition.replicas.contains(&broker))
    }
}

impl Topic {
    /// Number of partitions.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partitions.size()
    }

    /// One partition.
    #[must_use]
    pub fn partition(&self, id: PartitionId) -> Option<&Arc<Partition>> {
        self.partitions.get(&id)
    }

    /// All partitions in order.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, &Arc<Partition>)> {
        self.partitions.iter().map(|(id, partition)| (*id, partition))
    }
}

impl Partition {
    /// The directory of `broker`'s replica.
    #[must_use]
    pub fn directory_of(&self, broker: BrokerId) -> Option<Uuid> {
        let at = self.replicas.iter().position(|&replica| replica == broker)?;
        Some(self.directories.get(at).copied().unwrap_or(directory::MIGRATING))
    }

    /// Whether the first replica leads.
    #[must_use]
    pub fn has_preferred_leader(&self) -> bool {
        self.leader.is_some() && self.leader == self.replicas.first().copied()
    }

    /// Whether a reassignment is under way.
    #[must_use]
    pub fn is_reassigning(&self) -> bool {
        !self.removing.is_empty() || !self.adding.is_empty()
    }
}

impl ShardKey for TopicId {
    fn shard(&self) -> u8 {
        // Random but for a few reserved ids; in order of id, so iteration over shards is too.
        self.0.0[0]
    }
}
