//! Who has which partition of a group, as the members were told.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

/// The partitions of one group, over all threads.
#[derive(Debug)]
pub(crate) struct Owners {
    /// By partition: number of the member that has it, plus one; 0 for none.
    by_partition: Vec<AtomicU32>,
    /// A partition that somebody got while somebody else had it, plus one.
    quarrel: AtomicU32,
}

impl Owners {
    pub(crate) fn new(partitions: usize) -> Self {
        let by_partition = (0..partitions).map(|_| AtomicU32::new(0)).collect();
        Self { by_partition, quarrel: AtomicU32::new(0) }
    }

    /// A member was told that it has these.
    pub(super) fn take(&self, member: u32, partitions: &BTreeSet<i32>) {
        for (number, place) in self.places(partitions) {
            let former = place.swap(member + 1, Ordering::Relaxed);
            if former != 0 && former != member + 1 {
                self.quarrel.store(number + 1, Ordering::Relaxed);
            }
        }
    }

    /// A member gives these up.
    pub(super) fn release(&self, member: u32, partitions: &BTreeSet<i32>) {
        for (_, place) in self.places(partitions) {
            let _ = place.compare_exchange(member + 1, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// A partition that two members had, told once.
    pub(super) fn quarrel(&self) -> Option<u32> {
        match self.quarrel.load(Ordering::Relaxed) {
            0 => None,
            _ => self.quarrel.swap(0, Ordering::Relaxed).checked_sub(1),
        }
    }

    fn places<'a>(
        &'a self,
        partitions: &'a BTreeSet<i32>,
    ) -> impl Iterator<Item = (u32, &'a AtomicU32)> {
        let numbers = partitions.iter().filter_map(|&number| u32::try_from(number).ok());
        numbers.filter_map(|number| Some((number, self.by_partition.get(number as usize)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_members_with_a_partition_are_seen() {
        let owners = Owners::new(3);
        let both = BTreeSet::from([0, 1]);
        owners.take(0, &both);
        owners.take(0, &both);
        owners.release(1, &both);
        assert_eq!(owners.quarrel(), None);
        owners.take(1, &BTreeSet::from([1, 7]));
        assert_eq!((owners.quarrel(), owners.quarrel()), (Some(1), None));
        owners.release(0, &both);
        owners.take(2, &BTreeSet::from([0]));
        assert_eq!(owners.quarrel(), None);
    }
}
