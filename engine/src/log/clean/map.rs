//! Where in the uncleaned part of a log each key was written last.
//!
//! A key is known by 128 bits of a keyed hash only, as in Kafka (which takes MD5): two keys that
//! share them would be taken for one, so nobody who chooses keys may be able to choose such. Open
//! addressing in one allocation of 24 bytes per slot, at most three quarters full.

use crate::rt::{Rt, WideHash};

/// The newest offset of each key seen.
pub(super) struct OffsetMap {
    /// Hash, and the offset after `base` plus one; 0 in the last for a slot in no use.
    slots: Vec<Slot>,
    used: usize,
    /// Offset that those in the slots count from.
    base: i64,
    hasher: WideHash,
}

type Slot = [u64; 3];

impl OffsetMap {
    /// For at most `keys` keys at offsets from `base` on, or as many as fit into `bytes`.
    pub(super) fn new(rt: &Rt, base: i64, keys: u64, bytes: u64) -> Self {
        let slots_max = (bytes / size_of::<Slot>() as u64).max(SLOTS_MIN);
        let slots = (keys / 3).saturating_mul(4).clamp(SLOTS_MIN, slots_max);
        let seeds = [[rt.random_u64(), rt.random_u64()], [rt.random_u64(), rt.random_u64()]];
        Self {
            slots: vec![[0; 3]; usize::try_from(slots).unwrap_or(usize::MAX)],
            used: 0,
            base,
            hasher: WideHash::with_seeds(seeds),
        }
    }

    /// Whether `keys` more are sure to fit.
    pub(super) fn has_room(&self, keys: usize) -> bool {
        self.used + keys <= self.slots.len() / 4 * 3
    }

    /// Makes room for `keys` more, whatever it takes.
    pub(super) fn grow(&mut self, keys: usize) {
        let slots = vec![[0; 3]; (self.used + keys + 1) / 3 * 4 + 4];
        for slot in std::mem::replace(&mut self.slots, slots) {
            if slot[2] != 0 {
                let at = self.find(slot[0], slot[1]);
                self.slots[at] = slot;
            }
        }
    }

    /// Notes that `key` was written at `offset`, behind everything before. The caller saw to it that
    /// there is room.
    pub(super) fn put(&mut self, key: &[u8], offset: i64) {
        let [a, b] = self.hasher.hash(key);
        let at = self.find(a, b);
        self.used += usize::from(self.slots[at][2] == 0);
        self.slots[at] = [a, b, (offset - self.base).cast_unsigned() + 1];
    }

    /// Where `key` was written last.
    pub(super) fn get(&self, key: &[u8]) -> Option<i64> {
        let [a, b] = self.hasher.hash(key);
        let found = self.slots[self.find(a, b)][2];
        found.checked_sub(1).map(|after| self.base + after.cast_signed())
    }

    /// The slot of a hash, or the free one that it would take.
    fn find(&self, a: u64, b: u64) -> usize {
        let count = self.slots.len();
        // The upper half of a product spreads a hash evenly over any number of slots.
        let mut at = ((u128::from(a) * count as u128) >> 64) as usize;
        loop {
            let slot = &self.slots[at];
            if slot[2] == 0 || (slot[0] == a && slot[1] == b) {
                return at;
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
    }
}

/// A small log's keys.
const SLOTS_MIN: u64 = 1024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rt::sim;
    use crate::testing::Choices;

    #[test]
    fn knows_the_last_offset_of_every_key() {
        sim::run(1, async |rt: Rt| {
            let mut random = Choices(7);
            let mut map = OffsetMap::new(&rt, 1_000, 0, 0);
            let mut model = BTreeMap::new();
            for offset in 1_000..20_000 {
                let key = random.below(4_000).to_be_bytes();
                if !map.has_room(1) {
                    map.grow(500);
                }
                map.put(&key[..key.len() - random.below(2) as usize], offset);
                model.clear();
            }
            for offset in 20_000..30_000 {
                let key = random.below(4_000).to_be_bytes();
                if !map.has_room(1) {
                    map.grow(500);
                }
                map.put(&key, offset);
                model.insert(key, offset);
            }
            for (key, offset) in &model {
                assert_eq!(map.get(key), Some(*offset));
            }
            assert_eq!(map.get(b"another"), None);
            assert_eq!(map.get(b""), None);
            assert!(map.used >= model.len());
        });
    }
}
