//! A persistent map whose difference to an earlier version is found in the time of the difference.
//!
//! 256 shards, each a sorted map behind a pointer. A write copies one shard (about 40 entries with
//! 10 000 keys), and [`Shards::diff`] skips every shard and every entry that both versions share.

use std::collections::BTreeMap;
use std::sync::Arc;

use rpds::VectorSync;

/// Keys that say which of the 256 shards they live in; must spread well and never change.
pub(crate) trait ShardKey: Ord + Clone {
    fn shard(&self) -> u8;
}

#[derive(Clone, Debug)]
pub(crate) struct Shards<K, V> {
    shards: VectorSync<Arc<BTreeMap<K, Arc<V>>>>,
    len: usize,
}

impl<K: ShardKey, V> Default for Shards<K, V> {
    fn default() -> Self {
        let empty = Arc::new(BTreeMap::new());
        Self { shards: (0..SHARDS).map(|_| Arc::clone(&empty)).collect(), len: 0 }
    }
}

impl<K: ShardKey, V> Shards<K, V> {
    pub(crate) fn insert(&mut self, key: K, value: Arc<V>) {
        if self.shard_mut(&key).insert(key, value).is_none() {
            self.len += 1;
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<Arc<V>> {
        let gone = self.shard_mut(key).remove(key);
        self.len -= usize::from(gone.is_some());
        gone
    }

    /// The value to change in place; copied first if another version of the map shares it.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V>
    where
        V: Clone,
    {
        self.get(key)?;
        self.shard_mut(key).get_mut(key).map(Arc::make_mut)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&Arc<V>> {
        self.shard(key.shard()).get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All entries: shard by shard, in order of key within a shard.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// Calls `found(key, old, new)` for every key whose value is another object than before.
    pub(crate) fn diff<'a>(
        old: &'a Self,
        new: &'a Self,
        mut found: impl FnMut(&'a K, Option<&'a Arc<V>>, Option<&'a Arc<V>>),
    ) {
        for (before, after) in old.shards.iter().zip(new.shards.iter()) {
            if Arc::ptr_eq(before, after) {
                continue;
            }
            for (key, value) in after.iter() {
                let earlier = before.get(key);
                if !earlier.is_some_and(|earlier| Arc::ptr_eq(earlier, value)) {
                    found(key, earlier, Some(value));
                }
            }
            for (key, value) in before.iter().filter(|(key, _)| !after.contains_key(key)) {
                found(key, Some(value), None);
            }
        }
    }

    fn shard(&self, index: u8) -> &BTreeMap<K, Arc<V>> {
        self.shards.get(usize::from(index)).expect("made with a shard for every byte")
    }

    fn shard_mut(&mut self, key: &K) -> &mut BTreeMap<K, Arc<V>> {
        let shard = self.shards.get_mut(usize::from(key.shard()));
        Arc::make_mut(shard.expect("made with a shard for every byte"))
    }
}

impl<K: ShardKey, V: PartialEq> PartialEq for Shards<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

const SHARDS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    impl ShardKey for u32 {
        fn shard(&self) -> u8 {
            self.to_le_bytes()[0]
        }
    }

    #[test]
    fn versions_are_independent_and_their_difference_is_exact() {
        let mut map = Shards::default();
        for key in 0..1000u32 {
            map.insert(key, Arc::new(key));
        }
        let old = map.clone();
        *map.get_mut(&7).expect("inserted") = 70;
        map.insert(2000, Arc::new(1));
        map.remove(&3);
        assert_eq!(map.remove(&3), None);
        assert_eq!((old.len(), map.len()), (1000, 1000));
        assert_eq!((old.get(&7), map.get(&7)), (Some(&Arc::new(7)), Some(&Arc::new(70))));

        let mut seen = Vec::new();
        Shards::diff(&old, &map, |&key, before, after| {
            seen.push((key, before.map(|value| **value), after.map(|value| **value)));
        });
        seen.sort_unstable();
        assert_eq!(seen, [(3, Some(3), None), (7, Some(7), Some(70)), (2000, None, Some(1))]);
        Shards::diff(&map, &map.clone(), |key, _, _| panic!("{key} did not change"));
    }
}
