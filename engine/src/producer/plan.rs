//! Judging batches before they are appended, without changing anything yet.

use smallvec::SmallVec;

use super::entry::{AppendedBatch, BatchMark, NO_EPOCH, ProducerEntry};
use super::txns::CompletedTxn;
use super::{ProducerStates, entry};
use crate::batch::control::EndTxnMarker;
use crate::batch::header::BatchHeader;
use crate::batch::validate::Origin;
use crate::ids::{Offset, ProducerEpoch, ProducerId};

/// What is known of an append beside its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanRules {
    /// Who appends: a client's sequences are checked, a replica's batches are not judged.
    pub origin: Origin,
    /// Whether the transaction coordinator confirmed that the producer's transaction is open and
    /// holds this partition (KIP-890). Without that a transaction can't begin here.
    pub verified: bool,
    /// `transaction.version` under which a marker is written: from 2 on its epoch must be newer
    /// than that of the records (KIP-890, KIP-1228).
    pub transaction_version: i16,
}

impl PlanRules {
    /// For batches that somebody else has judged, or that belong to no transaction.
    #[must_use]
    pub fn trusting(origin: Origin) -> Self {
        Self { origin, verified: false, transaction_version: 0 }
    }
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Append it.
    Append,
    /// It is in the log already: append nothing of the request and answer this.
    Duplicate(AppendedBatch),
}

/// What the producers will be once the batches judged so far are in the log.
#[derive(Debug)]
pub struct AppendPlan {
    rules: PlanRules,
    changes: SmallVec<[Change; 1]>,
    events: SmallVec<[TxnEvent; 1]>,
    end: Offset,
}

#[derive(Debug)]
struct Change {
    id: ProducerId,
    /// What the log holds before this plan: −1 for an unknown producer.
    epoch_before: ProducerEpoch,
    entry: ProducerEntry,
}

#[derive(Debug)]
pub(super) enum TxnEvent {
    Started { id: ProducerId, first: Offset },
    Completed(CompletedTxn),
}

type Parts = (SmallVec<[(ProducerId, ProducerEntry); 1]>, SmallVec<[TxnEvent; 1]>, Offset);

impl AppendPlan {
    /// A plan without batches.
    #[must_use]
    pub fn new(rules: PlanRules) -> Self {
        let (changes, events) = (SmallVec::new(), SmallVec::new());
        Self { rules, changes, events, end: Offset(i64::MIN) }
    }

    /// Judges `batch`, whose header says where it will be. `marker` is what a control batch with
    /// a producer id says; `None` also when compaction emptied it.
    ///
    /// # Errors
    /// Why nothing of the request may be appended.
    pub fn add(
        &mut self,
        states: &ProducerStates,
        batch: &BatchHeader,
        marker: Option<EndTxnMarker>,
    ) -> Result<Step, ProducerError> {
        if batch.has_producer() {
            let known = states.get(batch.producer_id);
            if self.rules.origin == Origin::Client
                && let Some(duplicate) = known.and_then(|entry| duplicate(entry, batch))
            {
                return Ok(Step::Duplicate(duplicate));
            }
            let rules = self.rules;
            let change = self.change(batch.producer_id, known);
            change.check_transaction(rules, batch)?;
            let event = match (batch.attributes.is_control(), marker) {
                (false, _) => change.data(rules, batch)?,
                (true, Some(marker)) => change.end_txn(rules, batch, marker)?,
                (true, None) => None,
            };
            self.events.extend(event);
        }
        self.end = batch.next_offset();
        Ok(Step::Append)
    }

    pub(super) fn into_parts(self) -> Parts {
        let changes = self.changes.into_iter().map(|change| (change.id, change.entry)).collect();
        (changes, self.events, self.end)
    }

    fn change(&mut self, id: ProducerId, known: Option<&ProducerEntry>) -> &mut Change {
        let at = self.changes.iter().position(|change| change.id == id).unwrap_or_else(|| {
            let entry = known.cloned().unwrap_or_else(ProducerEntry::unknown);
            self.changes.push(Change { id, epoch_before: entry.epoch, entry });
            self.changes.len() - 1
        });
        &mut self.changes[at]
    }
}

impl Change {
    /// A transaction begins only with the coordinator's knowledge.
    fn check_transaction(
        &self,
        rules: PlanRules,
        batch: &BatchHeader,
    ) -> Result<(), ProducerError> {
        let judged = matches!(rules.origin, Origin::Client | Origin::Coordinator);
        let (epoch, current) = (batch.producer_epoch, self.entry.epoch);
        let ongoing = self.entry.current_txn_first.is_some() && epoch == current;
        if !judged || !batch.attributes.is_transactional() || ongoing {
            return Ok(());
        }
        if !batch.attributes.is_control() {
            self.check_epoch(rules, batch, false)?;
            if !rules.verified {
                return Err(ProducerError::NotInTransaction { producer_id: self.id });
            }
        }
        Ok(())
    }

    fn data(
        &mut self,
        rules: PlanRules,
        batch: &BatchHeader,
    ) -> Result<Option<TxnEvent>, ProducerError> {
        self.check_epoch(rules, batch, false)?;
        if rules.origin == Origin::Client {
            self.check_sequence(batch)?;
        }
        let transactional = batch.attributes.is_transactional();
        if self.entry.current_txn_first.is_some()
            && !transactional
            && rules.origin != Origin::Replica
        {
            let (producer_id, offset) = (self.id, batch.base_offset);
            return Err(ProducerError::OutsideTransaction { producer_id, offset });
        }
        self.entry.enter(batch.producer_epoch);
        self.entry.push(BatchMark {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
        if transactional && self.entry.current_txn_first.is_none() {
            self.entry.current_txn_first = Some(batch.base_offset);
            return Ok(Some(TxnEvent::Started { id: self.id, first: batch.base_offset }));
        }
        Ok(None)
    }

    fn end_txn(
        &mut self,
        rules: PlanRules,
        batch: &BatchHeader,
        marker: EndTxnMarker,
    ) -> Result<Option<TxnEvent>, ProducerError> {
        self.check_epoch(rules, batch, rules.transaction_version >= 2)?;
        let current = self.entry.coordinator_epoch;
        if current > marker.coordinator_epoch && rules.origin != Origin::Replica {
            return Err(ProducerError::CoordinatorFenced {
                producer_id: self.id,
                offset: batch.base_offset,
                epoch: marker.coordinator_epoch,
                current,
            });
        }
        // A marker without records before it moves no stable offset and is not indexed.
        let completed = self.entry.current_txn_first.take().map(|first| CompletedTxn {
            producer_id: self.id,
            first,
            last: batch.base_offset,
            aborted: !marker.commit,
        });
        self.entry.enter(batch.producer_epoch);
        self.entry.coordinator_epoch = marker.coordinator_epoch;
        self.entry.last_timestamp = marker.timestamp;
        Ok(completed.map(TxnEvent::Completed))
    }

    /// `newer`: the batch must come from a newer epoch, unless it repeats a marker that took
    /// effect (KAFKA-19999).
    fn check_epoch(
        &self,
        rules: PlanRules,
        batch: &BatchHeader,
        newer: bool,
    ) -> Result<(), ProducerError> {
        let (epoch, current) = (batch.producer_epoch, self.entry.epoch);
        let repeated = epoch == current && self.entry.current_txn_first.is_none();
        let stale = if newer { epoch <= current && !repeated } else { epoch < current };
        if stale && rules.origin != Origin::Replica {
            return Err(ProducerError::InvalidProducerEpoch {
                producer_id: self.id,
                offset: batch.base_offset,
                epoch,
                current,
            });
        }
        Ok(())
    }

    fn check_sequence(&self, batch: &BatchHeader) -> Result<(), ProducerError> {
        let (producer_id, offset) = (self.id, batch.base_offset);
        let (epoch, sequence) = (batch.producer_epoch, batch.base_sequence);
        let current = self.entry.epoch;
        if epoch != current {
            // Whoever is unknown may start anywhere: its records may have been deleted.
            if sequence != 0 && current != NO_EPOCH {
                return Err(ProducerError::NotFirstOfEpoch {
                    producer_id,
                    offset,
                    epoch,
                    sequence,
                    current,
                });
            }
            return Ok(());
        }
        let last = self.entry.last_sequence();
        let follows = if last == i32::MAX { sequence == 0 } else { sequence == last + 1 };
        if follows || self.epoch_before == NO_EPOCH {
            return Ok(());
        }
        Err(ProducerError::OutOfOrderSequence { producer_id, offset, sequence, last })
    }
}

fn duplicate(known: &entry::ProducerEntry, batch: &BatchHeader) -> Option<AppendedBatch> {
    let same_epoch = known.epoch == batch.producer_epoch;
    same_epoch.then(|| known.find(batch.base_sequence, batch.last_sequence())).flatten()
}

/// Why a producer's batch may not be appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProducerError {
    /// INVALID_PRODUCER_EPOCH: a newer instance of the producer has taken over.
    #[error(
        "Epoch of producer {producer_id} at offset {offset} is {epoch}, which is smaller than the last seen epoch {current}"
    )]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// Where the batch would go.
        offset: Offset,
        /// The batch's.
        epoch: ProducerEpoch,
        /// The newest seen.
        current: ProducerEpoch,
    },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: batches are missing before this one, or it came late and is
    /// none of those remembered.
    #[error(
        "Out of order sequence number for producer {producer_id} at offset {offset}: {sequence} (incoming seq. number), {last} (current end sequence number)"
    )]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// Where the batch would go.
        offset: Offset,
        /// Of the batch's first record.
        sequence: i32,
        /// Of the last record in the log.
        last: i32,
    },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: a new epoch counts from 0.
    #[error(
        "Invalid sequence number for new epoch of producer {producer_id} at offset {offset}: {epoch} (request epoch), {sequence} (seq. number), {current} (current producer epoch)"
    )]
    NotFirstOfEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// Where the batch would go.
        offset: Offset,
        /// The batch's.
        epoch: ProducerEpoch,
        /// Of the batch's first record.
        sequence: i32,
        /// The newest seen.
        current: ProducerEpoch,
    },
    /// INVALID_TXN_STATE: records without the transactional bit inside a transaction.
    #[error("Expected transactional write from producer {producer_id} at offset {offset}")]
    OutsideTransaction {
        /// The producer.
        producer_id: ProducerId,
        /// Where the batch would go.
        offset: Offset,
    },
    /// INVALID_TXN_STATE: records of a transaction that the coordinator did not confirm.
    #[error("Record was not part of an ongoing transaction")]
    NotInTransaction {
        /// The producer.
        producer_id: ProducerId,
    },
    /// TRANSACTION_COORDINATOR_FENCED: the marker comes from a coordinator that lost its office.
    #[error(
        "Invalid coordinator epoch for producerId {producer_id} at offset {offset}: {epoch} (zombie), {current} (current)"
    )]
    CoordinatorFenced {
        /// The producer.
        producer_id: ProducerId,
        /// Where the marker would go.
        offset: Offset,
        /// The marker's.
        epoch: i32,
        /// The newest seen.
        current: i32,
    },
}
