//! What is remembered of one producer.

use smallvec::SmallVec;

use crate::batch::header::{NO_SEQUENCE, NO_TIMESTAMP, sequence_before};
use crate::ids::{Offset, ProducerEpoch};

/// One producer's state on one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Newest epoch seen; −1 before the first batch.
    pub epoch: ProducerEpoch,
    /// Epoch of the transaction coordinator that wrote the last marker; −1 without one.
    pub coordinator_epoch: i32,
    /// Largest timestamp of the last batch, or the time of the last marker. Unix ms.
    pub last_timestamp: i64,
    /// First offset of the open transaction.
    pub current_txn_first: Option<Offset>,
    /// When this broker last took a batch of the producer or read this entry. Unix ms; not kept
    /// on disk.
    pub(super) last_seen: i64,
    /// The newest batches of this epoch, oldest first.
    pub(super) marks: SmallVec<[BatchMark; MARKS]>,
}

impl ProducerEntry {
    /// A producer that nothing is known of.
    pub(super) fn unknown() -> Self {
        Self {
            epoch: NO_EPOCH,
            coordinator_epoch: -1,
            last_timestamp: NO_TIMESTAMP,
            current_txn_first: None,
            last_seen: NO_TIMESTAMP,
            marks: SmallVec::new(),
        }
    }

    /// Sequence of the last record; −1 when no batch of this epoch is known.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.marks.last().map_or(NO_SEQUENCE, |mark| mark.last_sequence)
    }

    /// Offset of the last record; `None` when no batch of this epoch is known.
    #[must_use]
    pub fn last_offset(&self) -> Option<Offset> {
        self.marks.last().map(|mark| mark.last_offset)
    }

    /// The remembered batch with exactly these sequences.
    pub(super) fn find(&self, first_sequence: i32, last_sequence: i32) -> Option<AppendedBatch> {
        let same = |mark: &&BatchMark| {
            mark.first_sequence() == first_sequence && mark.last_sequence == last_sequence
        };
        self.marks.iter().find(same).map(BatchMark::appended)
    }

    /// A new epoch forgets the batches of the old one.
    pub(super) fn enter(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.marks.clear();
            self.epoch = epoch;
        }
    }

    pub(super) fn push(&mut self, mark: BatchMark) {
        if self.marks.len() == MARKS {
            self.marks.remove(0);
        }
        self.marks.push(mark);
        self.last_timestamp = mark.timestamp;
    }

    pub(super) fn is_expired(&self, now: i64, expiration_ms: i64) -> bool {
        let last = self.last_timestamp.max(self.last_seen);
        self.current_txn_first.is_none() && now.saturating_sub(last) >= expiration_ms
    }
}

/// Where a batch that was sent again went the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedBatch {
    /// Offset of its first record.
    pub first: Offset,
    /// Offset of its last record.
    pub last: Offset,
    /// Its largest timestamp, Unix ms: the append time where the broker dates records.
    pub timestamp: i64,
}

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchMark {
    pub(super) last_sequence: i32,
    pub(super) last_offset: Offset,
    /// Last offset less first offset; with that, also last sequence less first sequence.
    pub(super) offset_delta: i32,
    pub(super) timestamp: i64,
}

impl BatchMark {
    fn first_sequence(&self) -> i32 {
        sequence_before(self.last_sequence, self.offset_delta)
    }

    fn appended(&self) -> AppendedBatch {
        let first = Offset(self.last_offset.0.saturating_sub(i64::from(self.offset_delta)));
        AppendedBatch { first, last: self.last_offset, timestamp: self.timestamp }
    }
}

/// "No epoch", as the format writes it.
pub(super) const NO_EPOCH: ProducerEpoch = ProducerEpoch(-1);

/// Batches remembered: as many as a producer may have in flight with idempotence.
pub(super) const MARKS: usize = 5;
