//! Which transactions are undecided, and how far committed readers may read because of them.

use std::collections::BTreeMap;

use crate::ids::{Offset, ProducerId};

/// A transaction whose marker is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedTxn {
    /// Its producer.
    pub producer_id: ProducerId,
    /// Offset of its first record.
    pub first: Offset,
    /// Offset of its marker.
    pub last: Offset,
    /// Whether its records take no effect.
    pub aborted: bool,
}

/// The transactions that hold back the last stable offset.
#[derive(Clone, Debug, Default)]
pub(super) struct Transactions {
    /// First offset → producer, of those without a marker.
    open: BTreeMap<Offset, ProducerId>,
    /// First offset → marker's offset, of those whose marker is not replicated yet.
    unreplicated: BTreeMap<Offset, Offset>,
}

impl Transactions {
    pub(super) fn start(&mut self, id: ProducerId, first: Offset) {
        self.open.insert(first, id);
    }

    /// The last stable offset that `txn`'s end makes possible: the first record of the next open
    /// transaction of anybody else, or what follows the marker.
    pub(super) fn last_stable_after(&self, txn: &CompletedTxn) -> Offset {
        let other = self.open.iter().find(|(_, id)| **id != txn.producer_id);
        other.map_or(txn.last.plus(1), |(first, _)| *first)
    }

    pub(super) fn complete(&mut self, txn: &CompletedTxn) {
        self.open.remove(&txn.first);
        self.unreplicated.insert(txn.first, txn.last);
    }

    pub(super) fn replicated_to(&mut self, end: Offset) {
        self.unreplicated.retain(|_, last| *last >= end);
    }

    pub(super) fn first_unstable(&self) -> Option<Offset> {
        let unreplicated = self.unreplicated.first_key_value().map(|(first, _)| *first);
        self.first_open().into_iter().chain(unreplicated).min()
    }

    pub(super) fn first_open(&self) -> Option<Offset> {
        self.open.first_key_value().map(|(first, _)| *first)
    }

    pub(super) fn oldest_open(&self) -> Option<ProducerId> {
        self.open.first_key_value().map(|(_, id)| *id)
    }
}
