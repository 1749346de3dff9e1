//! Hash maps whose seed comes from the runtime.
//!
//! The standard library's maps draw their seed from the process, which would make a simulated
//! history differ from run to run. These are seeded per node: unpredictable to a client of a real
//! node, the same for the same seed in a simulated one.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, DefaultHasher, Hasher},
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

/// 128 bits of a hash whose key nobody outside knows: SipHash behind two secret prefixes. Whoever
/// chooses what is hashed cannot choose two that are alike.
#[derive(Clone, Debug)]
pub struct WideHash([DefaultHasher; 2]);

impl WideHash {
    /// Hashes the same way for the same seeds.
    #[must_use]
    pub fn with_seeds(seeds: [[u64; 2]; 2]) -> Self {
        Self(seeds.map(|seed| {
            let mut hasher = DefaultHasher::new();
            seed.into_iter().for_each(|half| hasher.write_u64(half));
            hasher
        }))
    }

    /// The hash of `bytes`.
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> [u64; 2] {
        self.0.each_ref().map(|seeded| {
            let mut hasher = seeded.clone();
            hasher.write(bytes);
            hasher.finish()
        })
    }
}
