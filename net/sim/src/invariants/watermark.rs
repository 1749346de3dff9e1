//! The high watermark never goes back: who asks after an answer came gets one as high, on any
//! connection; over restarts too, since what the leader shows is synced. Kafka: "the high
//! watermark is monotonic" within a leader's reign.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Report;
use crate::history::{History, Place};

pub(super) fn check(history: &History, report: &mut Report) {
    // Reads are in the order of their answers; of each partition: when, and the highest so far.
    let mut highest: BTreeMap<Place, Vec<(Duration, i64)>> = BTreeMap::new();
    for read in &history.reads {
        let so_far = highest.entry(read.place).or_default();
        let before = so_far.partition_point(|(got, _)| *got <= read.sent);
        let (at, floor) = before.checked_sub(1).map_or((Duration::ZERO, 0), |last| so_far[last]);
        if read.high_watermark < floor {
            report.violated(format!(
                "{} had high watermark {floor} at {at:?}, asked at {:?} it was {}",
                read.place, read.sent, read.high_watermark
            ));
        }
        let top = so_far.last().map_or(0, |(_, top)| *top).max(read.high_watermark);
        so_far.push((read.got, top));
    }
}
