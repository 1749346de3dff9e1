//! What was read at an offset never changes, and is what was produced there: the same record for
//! every reader at every time, sent by someone to this very partition, at the offset its producer
//! was told. Kafka: "messages are immutable".

use std::collections::BTreeMap;

use super::Report;
use crate::history::{History, Place};
use crate::record::RecordId;

pub(super) fn check(history: &History, report: &mut Report) {
    let mut known: BTreeMap<(Place, i64), RecordId> = BTreeMap::new();
    for read in &history.reads {
        let records = read.batches.iter().flat_map(|batch| (batch.base..).zip(&batch.records));
        for (offset, id) in records {
            let place = read.place;
            match known.insert((place, offset), *id) {
                Some(before) if before != *id => {
                    report.violated(format!(
                        "offset {offset} of {place} was {before:?}, and is {id:?} at {:?}",
                        read.got
                    ));
                }
                Some(_) => {}
                None => {
                    let sent = history.batches.get(id.batch());
                    let here = sent.is_some_and(|batch| {
                        batch.place == place && batch.attempts > 0 && batch.records.contains(id)
                    });
                    if !here {
                        report
                            .violated(format!("{id:?} at {offset} of {place} was sent elsewhere"));
                    }
                }
            }
        }
    }
}
