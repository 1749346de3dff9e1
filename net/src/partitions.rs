//! The partitions of this node: which core owns each (every core knows), and the ones this core
//! owns.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use engine::ids::CoreId;
use engine::partition::Partition;
use engine::rt::{Map, Rt};
use futures_util::lock::Mutex;
use replication::cores::PartitionKey;
use wire::primitives::Uuid;

/// Where a partition lives on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// The core that owns it.
    pub(crate) core: CoreId,
    /// Where its files are.
    pub(crate) holder: Holder,
}

/// What holds a partition's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A log directory: its index in `log.dirs`.
    Dir(usize),
    /// The log directory of this id, which `log.dirs` does not have now.
    Missing(Uuid),
}

/// A partition that this core owns.
#[derive(Clone)]
pub(crate) enum Owned {
    /// Open; its role says whether it serves.
    Open(Rc<Partition>),
    /// It could not be opened; its files are as they were.
    Offline {
        /// Why.
        reason: Arc<str>,
        /// Only room was missing on the disk, so it is tried again.
        lacks_room: bool,
    },
}

/// Why a partition is not served here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unserved {
    /// Another core or node has it, or nobody: the asker's metadata is old.
    #[error("the partition is not here")]
    NotHere,
    /// Its files could not be opened.
    #[error("{0}")]
    Offline(Arc<str>),
}

/// One core's view.
pub(crate) struct Partitions {
    homes: RefCell<Map<PartitionKey, Home>>,
    owned: RefCell<Map<PartitionKey, Owned>>,
    /// Held while one that was offline is opened after all, and by who deletes or closes any.
    pub(crate) turn: Mutex<()>,
}

impl Partitions {
    /// Nothing yet.
    pub(crate) fn new(rt: &Rt) -> Self {
        Self {
            homes: RefCell::new(Map::with_hasher(rt.hash_state())),
            owned: RefCell::new(Map::with_hasher(rt.hash_state())),
            turn: Mutex::new(()),
        }
    }

    /// Where a partition lives; none if this node has no replica of it.
    pub(crate) fn home(&self, key: PartitionKey) -> Option<Home> {
        self.homes.borrow().get(&key).copied()
    }

    /// A partition of this core, to be used.
    pub(crate) fn open(&self, key: PartitionKey) -> Result<Rc<Partition>, Unserved> {
        match self.owned.borrow().get(&key) {
            Some(Owned::Open(partition)) => Ok(Rc::clone(partition)),
            Some(Owned::Offline { reason, .. }) => Err(Unserved::Offline(Arc::clone(reason))),
            None => Err(Unserved::NotHere),
        }
    }

    /// A partition of this core, whatever its state.
    pub(crate) fn owned(&self, key: PartitionKey) -> Option<Owned> {
        self.owned.borrow().get(&key).cloned()
    }

    /// All open partitions of this core, in order of key.
    pub(crate) fn all_open(&self) -> Vec<(PartitionKey, Rc<Partition>)> {
        let owned = self.owned.borrow();
        let open = owned.iter().filter_map(|(key, owned)| match owned {
            Owned::Open(partition) => Some((*key, Rc::clone(partition))),
            Owned::Offline { .. } => None,
        });
        let mut open: Vec<_> = open.collect();
        open.sort_unstable_by_key(|(key, _)| *key);
        open
    }

    /// How many partitions of this core could not be opened.
    pub(crate) fn offline(&self) -> usize {
        let owned = self.owned.borrow();
        owned.values().filter(|owned| matches!(owned, Owned::Offline { .. })).count()
    }

    /// Partitions of this core that are offline for want of room alone, in order of key.
    pub(crate) fn lacking_room(&self) -> Vec<PartitionKey> {
        let owned = self.owned.borrow();
        let lacking = owned.iter().filter_map(|(key, owned)| match owned {
            Owned::Offline { lacks_room: true, .. } => Some(*key),
            Owned::Offline { .. } | Owned::Open(_) => None,
        });
        let mut lacking: Vec<_> = lacking.collect();
        lacking.sort_unstable();
        lacking
    }

    pub(crate) fn settle(&self, key: PartitionKey, home: Home) {
        self.homes.borrow_mut().insert(key, home);
    }

    pub(crate) fn unsettle(&self, key: PartitionKey) {
        self.homes.borrow_mut().remove(&key);
    }

    /// Answers what it was before.
    pub(crate) fn insert(&self, key: PartitionKey, owned: Owned) -> Option<Owned> {
        self.owned.borrow_mut().insert(key, owned)
    }

    pub(crate) fn remove(&self, key: PartitionKey) -> Option<Owned> {
        self.owned.borrow_mut().remove(&key)
    }
}
