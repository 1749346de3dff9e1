//! Leader epochs of a log and where each begins (`leader-epoch-checkpoint`, KIP-101).
//!
//! Every batch carries its epoch, so what the file lacks behind the checkpoint is learnt again
//! from the log; an epoch without a batch lives in the file alone.

use crate::ids::{LeaderEpoch, Offset};

/// Epochs and start offsets, both strictly rising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EpochCache {
    entries: Vec<(i32, i64)>,
}

/// Where an epoch ends, as a leader answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// Largest epoch at or below the one asked for.
    pub epoch: LeaderEpoch,
    /// Offset behind its last record.
    pub end: Offset,
}

impl EpochCache {
    /// From entries in a file or checkpoint; those out of order are left out.
    pub(crate) fn from_entries(entries: impl IntoIterator<Item = (i32, i64)>) -> Self {
        let mut cache = Self::default();
        for (epoch, start) in entries {
            cache.assign(epoch, start);
        }
        cache
    }

    pub(crate) fn entries(&self) -> &[(i32, i64)] {
        &self.entries
    }

    pub(crate) fn latest(&self) -> Option<i32> {
        self.entries.last().map(|&(epoch, _)| epoch)
    }

    /// Notes that `epoch` starts at `start`, unless it or a later one is known. Epochs that
    /// started there or later without a record are superseded. True when something changed.
    pub(crate) fn assign(&mut self, epoch: i32, start: i64) -> bool {
        if epoch < 0 || self.latest().is_some_and(|latest| latest >= epoch) {
            return false;
        }
        self.entries.retain(|&(_, at)| at < start);
        self.entries.push((epoch, start));
        true
    }

    /// Epoch of the record at `offset`.
    pub(crate) fn at(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|&(_, start)| start <= offset);
        after.checked_sub(1).map(|at| self.entries[at].0)
    }

    /// End of `asked`, in a log that ends at `log_end`; `None` when it cannot be placed.
    pub(crate) fn end_of(&self, asked: i32, log_end: i64) -> Option<EpochEnd> {
        let latest = self.latest()?;
        if asked < 0 || asked > latest {
            return None;
        }
        if asked == latest {
            return Some(EpochEnd { epoch: LeaderEpoch(latest), end: Offset(log_end) });
        }
        let after = self.entries.partition_point(|&(epoch, _)| epoch <= asked);
        let end = self.entries[after].1;
        // Before the first known epoch nothing is known but where that one starts.
        let epoch = after.checked_sub(1).map_or(asked, |at| self.entries[at].0);
        Some(EpochEnd { epoch: LeaderEpoch(epoch), end: Offset(end) })
    }

    /// Forgets epochs that start at or behind `log_end`. True when something changed.
    pub(crate) fn truncate_end(&mut self, log_end: i64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|&(_, start)| start < log_end);
        self.entries.len() != before
    }

    /// Forgets epochs that end at or before `log_start`; the one in force there starts there.
    /// True when something changed.
    pub(crate) fn truncate_start(&mut self, log_start: i64) -> bool {
        let after = self.entries.partition_point(|&(_, start)| start <= log_start);
        let Some(in_force) = after.checked_sub(1) else { return false };
        let moved = in_force > 0 || self.entries[in_force].1 < log_start;
        self.entries.drain(..in_force);
        if let Some(first) = self.entries.first_mut() {
            first.1 = first.1.max(log_start);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(epoch: i32, end: i64) -> Option<EpochEnd> {
        Some(EpochEnd { epoch: LeaderEpoch(epoch), end: Offset(end) })
    }

    #[test]
    fn ends_as_kafka_answers_them() {
        let cache = EpochCache::from_entries([(2, 10), (4, 30), (7, 50)]);
        assert_eq!(cache.end_of(7, 80), end(7, 80));
        assert_eq!(cache.end_of(8, 80), None);
        assert_eq!(cache.end_of(5, 80), end(4, 50));
        assert_eq!(cache.end_of(2, 80), end(2, 30));
        assert_eq!(cache.end_of(1, 80), end(1, 10));
        assert_eq!(cache.end_of(-1, 80), None);
        assert_eq!(EpochCache::default().end_of(0, 80), None);
        assert_eq!((cache.at(9), cache.at(10), cache.at(49)), (None, Some(2), Some(4)));
    }

    #[test]
    fn an_epoch_without_records_is_superseded() {
        let mut cache = EpochCache::from_entries([(1, 0), (2, 5)]);
        assert!(cache.assign(3, 5));
        assert_eq!(cache.entries(), &[(1, 0), (3, 5)]);
        assert!(!cache.assign(3, 9));
        assert!(!cache.assign(2, 9));
    }

    #[test]
    fn truncation_from_both_ends() {
        let mut cache = EpochCache::from_entries([(1, 0), (2, 5), (3, 9)]);
        assert!(cache.truncate_end(9));
        assert_eq!(cache.entries(), &[(1, 0), (2, 5)]);
        assert!(cache.truncate_start(7));
        assert_eq!(cache.entries(), &[(2, 7)]);
        assert!(!cache.truncate_start(7));
    }
}
