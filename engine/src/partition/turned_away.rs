//! New producers that were sent away for now, and with which sequence they have to come back.
//!
//! A producer may have several batches under way. If the first one is refused because the partition
//! has no leader or no room at the moment, and there is one again when the second comes, that would
//! be appended first: a producer that the log does not know may start with any sequence, as its
//! records may have been deleted. The first one, sent again, would be out of order for good. (With
//! a producer that is known, its next sequence tells.)
//!
//! In memory only: what is under way when a process ends is refused by no one.

use std::collections::VecDeque;
use std::time::Duration;

use crate::error::{AppendError, LogError};
use crate::ids::{ProducerEpoch, ProducerId};
use crate::rt::Instant;

/// The newest of them.
#[derive(Debug, Default)]
pub(super) struct TurnedAway(VecDeque<Entry>);

/// Who sends a batch, and where it belongs among the producer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) id: ProducerId,
    pub(super) epoch: ProducerEpoch,
    pub(super) sequence: i32,
}

#[derive(Debug)]
struct Entry {
    sent: Sent,
    at: Instant,
}

impl TurnedAway {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A batch was refused, though the same one may be taken later. Of several of one producer the
    /// first has to come back first.
    pub(super) fn note(&mut self, now: Instant, sent: Sent) {
        match self.0.iter_mut().find(|entry| entry.sent.id == sent.id) {
            Some(Entry { sent: known, .. }) if known.epoch > sent.epoch => {}
            Some(Entry { sent: known, at }) => {
                let first = known.epoch < sent.epoch || sent.sequence <= known.sequence;
                *known = if first { sent } else { *known };
                *at = now;
            }
            None => {
                if self.0.len() == REMEMBERED_MAX {
                    self.0.pop_front();
                }
                self.0.push_back(Entry { sent, at: now });
            }
        }
    }

    /// The sequence that has to come before this one, if one was turned away that has not come
    /// again.
    pub(super) fn before(&self, now: Instant, sent: Sent) -> Option<i32> {
        let entry = self.0.iter().find(|entry| entry.sent.id == sent.id)?;
        let held = entry.sent.epoch == sent.epoch && entry.sent.sequence < sent.sequence;
        (held && now.since(entry.at) < PATIENCE).then_some(entry.sent.sequence)
    }

    /// The log knows the producer now.
    pub(super) fn forget(&mut self, id: ProducerId) {
        self.0.retain(|entry| entry.sent.id != id);
    }
}

/// Whether the same batch may be taken later, by this very partition.
pub(super) fn is_for_now(error: &AppendError) -> bool {
    matches!(
        error,
        AppendError::NotLeader
            | AppendError::NotEnoughReplicas { .. }
            | AppendError::Log(LogError::DiskFull { .. })
    )
}

/// Far more new producers than find the lead in other hands at one moment.
const REMEMBERED_MAX: usize = 256;
/// A producer gives a batch up after `delivery.timeout.ms`, by default.
const PATIENCE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(id: i64, epoch: i16, sequence: i32) -> Sent {
        Sent { id: ProducerId(id), epoch: ProducerEpoch(epoch), sequence }
    }

    #[test]
    fn the_first_has_to_come_back_first() {
        let (mut away, now) = (TurnedAway::default(), Instant::ZERO);
        away.note(now, sent(1, 0, 5));
        away.note(now, sent(1, 0, 2));
        away.note(now, sent(1, 0, 9));
        assert_eq!(away.before(now, sent(1, 0, 3)), Some(2));
        assert_eq!(away.before(now, sent(1, 0, 2)), None);
        assert_eq!(away.before(now, sent(1, 1, 3)), None, "another epoch counts anew");
        assert_eq!(away.before(now, sent(2, 0, 3)), None);
        assert_eq!(away.before(now + PATIENCE, sent(1, 0, 3)), None, "it was given up");
        away.note(now, sent(1, 1, 7));
        away.note(now, sent(1, 0, 0));
        assert_eq!(away.before(now, sent(1, 1, 8)), Some(7));
        away.forget(ProducerId(1));
        assert!(away.is_empty());
    }

    #[test]
    fn the_newest_are_remembered() {
        let (mut away, now) = (TurnedAway::default(), Instant::ZERO);
        for id in 0..=REMEMBERED_MAX as i64 {
            away.note(now, sent(id, 0, 0));
        }
        assert_eq!(away.0.len(), REMEMBERED_MAX);
        assert_eq!(away.before(now, sent(0, 0, 1)), None);
        assert_eq!(away.before(now, sent(1, 0, 1)), Some(0));
    }
}
