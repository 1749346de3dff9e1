//! What a partition remembers of its idempotent and transactional producers.
//!
//! ```text
//!            ┌ duplicate ─► the answer of the first time
//! batch ─► plan ─ error  ─► fenced, out of order, not in a transaction
//!            └ append ─► (the log appends) ─► apply ─► entries, open transactions, aborted list
//! ```
//!
//! One [`ProducerStates`] belongs to one partition and lives on its owner core. It does no I/O:
//! the log appends between [`AppendPlan::add`] and [`ProducerStates::apply`], keeps snapshot files
//! and transaction indexes, and replays batches after a load ([`ProducerStates::replay`]).
//!
//! Rules are those of Kafka 4.3 (`ProducerAppendInfo`, `ProducerStateManager`), but for two that
//! concern memory:
//! - a producer expires when neither its batches' timestamps nor the time it was last heard of (or
//!   read from disk) is recent. Kafka looks at timestamps only, and so forgets a producer of old
//!   records, and with it the protection against duplicates, within minutes;
//! - at most [`ProducerLimits::entries_max`] producers are remembered; the ones heard of longest
//!   ago go first. Whoever was forgotten may go on with any sequence.

mod entry;
mod image;
mod plan;
pub mod snapshot;
#[cfg(test)]
mod tests;
pub mod txn_index;
mod txns;

use std::collections::BTreeMap;

use smallvec::SmallVec;

pub use entry::{AppendedBatch, ProducerEntry};
pub use image::{MarkImage, ProducerImage};
pub use plan::{AppendPlan, PlanRules, ProducerError, Step};
pub use txns::CompletedTxn;

use self::snapshot::SnapshotError;
use self::txn_index::AbortedTxn;
use self::txns::Transactions;
use crate::batch::control::{ControlError, EndTxnMarker};
use crate::batch::header::BatchView;
use crate::batch::validate::Origin;
use crate::ids::{Offset, ProducerEpoch, ProducerId};

/// How much and how long producers are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerLimits {
    /// `producer.id.expiration.ms`: idle time after which a producer is forgotten.
    pub expiration_ms: i64,
    /// Producers of one partition; those with an open transaction are kept beyond it.
    pub entries_max: usize,
}

impl Default for ProducerLimits {
    fn default() -> Self {
        Self { expiration_ms: 86_400_000, entries_max: ENTRIES_MAX }
    }
}

/// The producers of one partition, as of [`ProducerStates::end`].
#[derive(Clone, Debug)]
pub struct ProducerStates {
    limits: ProducerLimits,
    /// A tree, not a hash: clients choose the ids, and order makes snapshots comparable.
    entries: BTreeMap<ProducerId, ProducerEntry>,
    txns: Transactions,
    /// Offset after the last batch that was taken into account.
    end: Offset,
}

impl ProducerStates {
    /// No producers, for a log that starts (or was emptied) at `start`.
    #[must_use]
    pub fn new(limits: ProducerLimits, start: Offset) -> Self {
        Self { limits, entries: BTreeMap::new(), txns: Transactions::default(), end: start }
    }

    /// The producers that the `.snapshot` file of offset `end` holds. Replay the log from there.
    ///
    /// # Errors
    /// When `file` is not a whole and known snapshot; an older one may do, or replay alone.
    pub fn load(
        limits: ProducerLimits,
        file: &[u8],
        end: Offset,
        now: i64,
    ) -> Result<Self, SnapshotError> {
        let mut states = Self::new(limits, end);
        for (id, mut entry) in snapshot::decode(file)? {
            entry.last_seen = now;
            if let Some(first) = entry.current_txn_first {
                states.txns.start(id, first);
            }
            states.entries.insert(id, entry);
        }
        Ok(states)
    }

    /// Changes the limits; takes effect with the next append or expiry.
    pub fn set_limits(&mut self, limits: ProducerLimits) {
        self.limits = limits;
    }

    /// Puts a plan into effect once its batches are in the log. What it answers belongs into the
    /// transaction index of the segment that took them, in this order.
    pub fn apply(&mut self, plan: AppendPlan, now: i64) -> SmallVec<[AbortedTxn; 1]> {
        let (changes, events, end) = plan.into_parts();
        for (id, mut entry) in changes {
            entry.last_seen = now;
            if !self.entries.contains_key(&id) {
                self.make_room(now);
            }
            self.entries.insert(id, entry);
        }
        let mut aborted = SmallVec::new();
        for event in events {
            match event {
                plan::TxnEvent::Started { id, first } => self.txns.start(id, first),
                plan::TxnEvent::Completed(txn) => {
                    let last_stable = self.txns.last_stable_after(&txn);
                    self.txns.complete(&txn);
                    if txn.aborted {
                        aborted.push(AbortedTxn {
                            producer_id: txn.producer_id,
                            first: txn.first,
                            last: txn.last,
                            last_stable,
                        });
                    }
                }
            }
        }
        self.end = self.end.max(end);
        aborted
    }

    /// Takes a batch of the log into account without judging it: recovery, and followers.
    ///
    /// # Errors
    /// When a control batch of a producer holds no transaction marker.
    pub fn replay(
        &mut self,
        batch: &BatchView<'_>,
        now: i64,
    ) -> Result<SmallVec<[AbortedTxn; 1]>, ControlError> {
        let marker = if batch.has_producer() && batch.attributes.is_control() {
            EndTxnMarker::of_batch(batch)?
        } else {
            None
        };
        let mut plan = AppendPlan::new(PlanRules::trusting(Origin::Replica));
        let step = plan.add(self, batch.header(), marker);
        debug_assert!(matches!(step, Ok(Step::Append)), "a replica's batches are not judged");
        Ok(self.apply(plan, now))
    }

    /// Everything below the high watermark is replicated: transactions that ended there no longer
    /// hold back the last stable offset.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.txns.replicated_to(high_watermark);
    }

    /// The log starts later now. Producers stay until they expire.
    pub fn on_log_start(&mut self, log_start: Offset) {
        self.txns.replicated_to(log_start);
        self.end = self.end.max(log_start);
    }

    /// Forgets producers that were idle for too long; answers how many.
    pub fn expire(&mut self, now: i64) -> usize {
        let before = self.entries.len();
        let expiration_ms = self.limits.expiration_ms;
        self.entries.retain(|_, entry| !entry.is_expired(now, expiration_ms));
        before - self.entries.len()
    }

    /// Offset after the last batch that was taken into account: the name of a snapshot file.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// The `.snapshot` file of [`ProducerStates::end`].
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::encode(self.entries.iter())
    }

    /// Producers remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no producer is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is remembered of one producer.
    #[must_use]
    pub fn get(&self, id: ProducerId) -> Option<&ProducerEntry> {
        self.entries.get(&id)
    }

    /// Every producer, by id, as DescribeProducers shows it.
    pub fn active(&self) -> impl Iterator<Item = ActiveProducer> + '_ {
        self.entries.iter().map(|(id, entry)| ActiveProducer {
            producer_id: *id,
            producer_epoch: entry.epoch,
            last_sequence: entry.last_sequence(),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            current_txn_first: entry.current_txn_first,
        })
    }

    /// First offset whose outcome a reader of committed records can't know yet: of an open
    /// transaction, or of one whose end is not replicated.
    #[must_use]
    pub fn first_unstable(&self) -> Option<Offset> {
        self.txns.first_unstable()
    }

    /// The last stable offset: where a reader of committed records must stop.
    #[must_use]
    pub fn last_stable(&self, log_start: Offset, high_watermark: Offset) -> Offset {
        match self.first_unstable() {
            Some(unstable) => unstable.max(log_start).min(high_watermark),
            None => high_watermark,
        }
    }

    /// When the producer of the oldest open transaction was last heard of, Unix ms: old means
    /// that the transaction hangs.
    #[must_use]
    pub fn oldest_txn_timestamp(&self) -> Option<i64> {
        let id = self.txns.oldest_open()?;
        self.entries.get(&id).map(|entry| entry.last_timestamp)
    }

    fn make_room(&mut self, now: i64) {
        if self.entries.len() < self.limits.entries_max || self.expire(now) > 0 {
            return;
        }
        let idle = self.entries.iter().filter(|(_, entry)| entry.current_txn_first.is_none());
        let mut idle: Vec<_> = idle.map(|(id, entry)| (entry.last_seen, *id)).collect();
        // A sixteenth at once, so that a stream of new producers pays for the scan once per many.
        let victims = (self.limits.entries_max / 16).max(1).min(idle.len());
        if victims > 0 {
            idle.select_nth_unstable(victims - 1);
            for (_, id) in &idle[..victims] {
                self.entries.remove(id);
            }
        }
    }
}

/// One producer, as DescribeProducers shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of its last record; −1 when that is not known.
    pub last_sequence: i32,
    /// Largest timestamp of its last batch, Unix ms.
    pub last_timestamp: i64,
    /// Epoch of the coordinator that wrote its last marker; −1 without one.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub current_txn_first: Option<Offset>,
}

/// 65 536 producers take some 14 MiB; a topic's partitions have tens.
const ENTRIES_MAX: usize = 65_536;
