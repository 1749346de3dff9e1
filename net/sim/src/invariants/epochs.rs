//! Who is told that it knows the leader epoch of a partition makes it known: from then on no earlier
//! one is taken for right, and nothing is appended under one. Kafka: KIP-101, KIP-320.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Report;
use crate::history::{History, Place, Read};

pub(super) fn check(history: &History, report: &mut Report) {
    // Of each partition: since when, and the highest epoch that was taken for right.
    let mut known: BTreeMap<Place, Vec<(Duration, i32)>> = BTreeMap::new();
    for read in &history.reads {
        if read.known_epoch == -1 {
            continue;
        }
        let so_far = known.entry(read.place).or_default();
        let floor = floor(so_far, read.sent);
        if read.known_epoch < floor {
            report.violated(format!(
                "{} was read under leader epoch {} at {:?}, after epoch {floor}",
                read.place, read.known_epoch, read.sent
            ));
        }
        let top = so_far.last().map_or(-1, |(_, top)| *top).max(read.known_epoch);
        so_far.push((read.got, top));
    }
    for read in &history.reads {
        let so_far = known.get(&read.place).map_or(&[][..], Vec::as_slice);
        appended(history, read, so_far, report);
    }
}

fn appended(history: &History, read: &Read, known: &[(Duration, i32)], report: &mut Report) {
    for batch in &read.batches {
        let sent = batch.records.first().and_then(|id| history.batches.get(id.batch())?.sent);
        let Some(sent) = sent else { continue };
        let floor = floor(known, sent);
        if batch.epoch < floor {
            report.violated(format!(
                "offset {} of {}, sent at {sent:?}, was appended under epoch {}, after epoch {floor}",
                batch.base, read.place, batch.epoch
            ));
        }
    }
}

/// The highest epoch that somebody knew at a time.
fn floor(known: &[(Duration, i32)], at: Duration) -> i32 {
    let before = known.partition_point(|(since, _)| *since <= at);
    before.checked_sub(1).map_or(-1, |last| known[last].1)
}
