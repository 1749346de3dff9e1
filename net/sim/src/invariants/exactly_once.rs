//! Of an idempotent producer every record is in its partition at most once, in the order of its
//! sequences and without a gap, however often it was sent (KIP-98, KIP-679). A record without
//! sequences is there at most as often as it was sent.

use std::collections::BTreeMap;

use super::Report;
use crate::history::{Audit, History};
use crate::record::RecordId;

pub(super) fn check(history: &History, report: &mut Report) {
    for audit in history.last_audits().values() {
        count(history, audit, report);
        order(history, audit, report);
    }
}

fn count(history: &History, audit: &Audit, report: &mut Report) {
    let mut copies: BTreeMap<RecordId, Vec<i64>> = BTreeMap::new();
    for (offset, id) in &audit.records {
        copies.entry(*id).or_default().push(*offset);
    }
    for (id, offsets) in copies {
        let Some(batch) = history.batches.get(id.batch()) else { continue };
        let most = if batch.producer.is_some() { 1 } else { batch.attempts as usize };
        if offsets.len() > most {
            report.violated(format!(
                "{id:?} is in {} at {offsets:?}, sent {} times, producer {:?}",
                audit.place, batch.attempts, batch.producer
            ));
        }
    }
}

fn order(history: &History, audit: &Audit, report: &mut Report) {
    let mut next: BTreeMap<(i64, i16), i32> = BTreeMap::new();
    for (offset, id) in &audit.records {
        let Some(batch) = history.batches.get(id.batch()) else { continue };
        let Some((producer, epoch, base)) = batch.producer else { continue };
        let Some(index) = batch.records.iter().position(|known| known == id) else { continue };
        let sequence = base + i32::try_from(index).expect("a batch is small");
        let before = next.insert((producer, epoch), sequence + 1);
        // The first one that is left may follow others that were deleted.
        let expected = before.unwrap_or(if audit.log_start == 0 { 0 } else { sequence });
        if sequence != expected {
            report.violated(format!(
                "{} has sequence {sequence} of producer {producer} at offset {offset}, where \
                 {expected} was due",
                audit.place
            ));
        }
    }
}
