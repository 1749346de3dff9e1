//! Hash maps whose seed comes from the runtime.
//!
//! The standard library's maps draw their seed from the process, which would make a simulated
//! history differ from run to run. These are seeded per node: unpredictable to a client of a real
//! node, the same for the same seed in a simulated one.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher,
};

/// Hash map seeded by [`super::Rt::hash_state`]: `Map::with_hasher(rt.hash_state())`.
pub type Map<K, V> = HashMap<K, V, HashState>;

/// Hash set seeded by [`super::Rt::hash_state`].
pub type Set<K> = HashSet<K, HashState>;

/// Seeded state of the node's hashers; cheap to clone.
#[derive(Clone, Debug)]
pub struct HashState(foldhash::fast::FixedState);

impl HashState {
    /// A state that hashes the same way for the same seed.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self(foldhash::fast::FixedState::with_seed(seed))
    }
}

impl BuildHasher for HashState {
    type Hasher = foldhash::fast::FoldHasher<'static>;

    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}
