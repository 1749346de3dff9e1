//! Registrations of brokers and controllers.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::ids::BrokerId;
use wire::primitives::Uuid;

/// Registered brokers by id. Few, so a plain map behind pointers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brokers {
    pub(super) by_id: BTreeMap<BrokerId, Arc<Broker>>,
}

/// One broker's registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// `node.id`.
    pub id: BrokerId,
    /// Offset of the record that registered this incarnation.
    pub epoch: i64,
    /// Random, new with every start of the process.
    pub incarnation: Uuid,
    /// Advertised listeners.
    pub endpoints: Vec<Endpoint>,
    /// Levels that the broker supports.
    pub features: BTreeMap<Arc<str>, LevelRange>,
    /// `broker.rack`.
    pub rack: Option<Arc<str>>,
    /// Not serving: registered but not caught up, or silent for too long.
    pub fenced: bool,
    /// Leaving: keeps what it leads until others have it.
    pub in_controlled_shutdown: bool,
    /// Part of a ZooKeeper migration, which only Kafka before 4.0 did.
    pub migrating_zk: bool,
    /// Online log directories, in ascending order.
    pub directories: Vec<Uuid>,
    /// Directories that take no new partitions (KIP-1066); `None` from writers before 4.3.
    pub cordoned: Option<Vec<Uuid>>,
}

/// Where to reach a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Listener name.
    pub name: Arc<str>,
    /// Host name or address.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// 0 plaintext, 1 TLS, 2 SASL over plaintext, 3 SASL over TLS.
    pub security_protocol: i16,
}

/// Levels of a feature, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelRange {
    /// Lowest.
    pub min: i16,
    /// Highest.
    pub max: i16,
}

impl LevelRange {
    /// Whether the level is inside.
    #[must_use]
    pub fn contains(self, level: i16) -> bool {
        (self.min..=self.max).contains(&level)
    }
}

impl Brokers {
    /// The registration of `id`.
    #[must_use]
    pub fn get(&self, id: BrokerId) -> Option<&Arc<Broker>> {
        self.by_id.get(&id)
    }

    /// All registrations in order of id, fenced ones included.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.by_id.values()
    }

    /// Brokers that clients are told about.
    pub fn unfenced(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.iter().filter(|broker| !broker.fenced)
    }

    /// Whether the broker may lead and be in an ISR.
    #[must_use]
    pub fn is_active(&self, id: BrokerId) -> bool {
        self.get(id).is_some_and(|broker| broker.is_active())
    }
}

impl Broker {
    /// Neither fenced nor leaving.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Whether a replica in `directory` can be served: reserved ids count as online, since the
    /// broker has not said otherwise.
    #[must_use]
    pub fn has_online(&self, directory: Uuid) -> bool {
        use super::topics::directory::{LOST, is_reserved};
        if is_reserved(directory) {
            directory != LOST
        } else {
            self.directories.contains(&directory)
        }
    }

    /// Whether there is a directory that takes new partitions.
    #[must_use]
    pub fn has_open_directory(&self) -> bool {
        let cordoned = self.cordoned.as_deref().unwrap_or_default();
        self.directories.is_empty() || self.directories.iter().any(|dir| !cordoned.contains(dir))
    }
}

/// Registered controllers by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controllers {
    pub(super) by_id: BTreeMap<BrokerId, Arc<ControllerNode>>,
}

/// One controller's registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerNode {
    /// `node.id`.
    pub id: BrokerId,
    /// Random, new with every start of the process.
    pub incarnation: Uuid,
    /// Only of interest to the ZooKeeper migration of Kafka before 4.0.
    pub zk_migration_ready: bool,
    /// Controller listeners.
    pub endpoints: Vec<Endpoint>,
    /// Levels that the controller supports.
    pub features: BTreeMap<Arc<str>, LevelRange>,
}

impl Controllers {
    /// The registration of `id`.
    #[must_use]
    pub fn get(&self, id: BrokerId) -> Option<&Arc<ControllerNode>> {
        self.by_id.get(&id)
    }

    /// All registrations in order of id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ControllerNode>> {
        self.by_id.values()
    }
}
