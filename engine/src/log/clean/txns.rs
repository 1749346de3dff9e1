//! Which transactions' records and markers may go.
//!
//! Records of an aborted transaction go at once. A marker stays as long as a record of its
//! transaction does, and then until its horizon: a reader that is inside of the transaction needs
//! it. Fed with every batch of a pass, in order.

use std::collections::{BTreeMap, BTreeSet};

use crate::batch::control::EndTxnMarker;
use crate::batch::header::BatchView;
use crate::ids::ProducerId;
use crate::producer::txn_index::AbortedTxn;

/// What a pass over a log has seen of its transactions.
#[derive(Debug, Default)]
pub(super) struct TxnTrack {
    /// Aborted ones that begin further on, by first offset and producer.
    ahead: BTreeMap<(i64, ProducerId), AbortedTxn>,
    /// Aborted ones that have begun, and whether a batch of them was seen.
    aborted: BTreeMap<ProducerId, (AbortedTxn, bool)>,
    /// Producers with records in a transaction that was not aborted.
    committed: BTreeSet<ProducerId>,
}

/// What becomes of a control batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// Something of its transaction is left, or it is no transaction's.
    Needed,
    /// That of an aborted transaction of which batches are left.
    NeededByAborted(AbortedTxn),
    /// Nothing of its transaction is left.
    Outlived,
}

impl TxnTrack {
    /// Takes in transactions that the log's index has of the offsets that come next.
    pub(super) fn add(&mut self, aborted: &[AbortedTxn]) {
        for txn in aborted {
            self.ahead.insert((txn.first.0, txn.producer_id), *txn);
        }
    }

    /// Whether the records of a batch that is no control batch were aborted.
    pub(super) fn is_aborted(&mut self, batch: &BatchView<'_>) -> bool {
        self.advance(batch.last_offset().0);
        if !batch.attributes.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&batch.producer_id) {
            Some((_, seen)) => {
                *seen = true;
                true
            }
            None => {
                self.committed.insert(batch.producer_id);
                false
            }
        }
    }

    /// Judges a control batch.
    pub(super) fn judge(&mut self, batch: &BatchView<'_>) -> Marker {
        self.advance(batch.last_offset().0);
        if batch.records_count == 0 {
            return Marker::Outlived;
        }
        if !batch.has_producer() {
            return Marker::Needed;
        }
        let Ok(Some(marker)) = EndTxnMarker::of_batch(batch) else { return Marker::Needed };
        let producer = batch.producer_id;
        match marker.commit {
            true if self.committed.remove(&producer) => Marker::Needed,
            true => Marker::Outlived,
            false => match self.aborted.remove(&producer) {
                Some((txn, true)) => Marker::NeededByAborted(txn),
                _ => Marker::Outlived,
            },
        }
    }

    fn advance(&mut self, offset: i64) {
        while let Some(first) = self.ahead.first_entry().filter(|e| e.key().0 <= offset) {
            let txn = first.remove();
            self.aborted.entry(txn.producer_id).or_insert((txn, false));
        }
    }
}
