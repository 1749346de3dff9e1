//! ListOffsets leads nobody astray: whatever offset it gave is acknowledged, so the log reaches it
//! to the end of the run, which is a power cut; the latest is no lower than a high watermark that
//! somebody was told before.

use super::Report;
use crate::history::{Event, History};
use crate::workload::consumer::{EARLIEST, LATEST};

pub(super) fn check(history: &History, report: &mut Report) {
    let audits = history.last_audits();
    for (_, event) in &history.events {
        let Event::Found { place, sent, timestamp, offset } = event else { continue };
        let end = audits.get(place).map(|audit| match *timestamp {
            LATEST | EARLIEST => audit.high_watermark,
            _ => audit.high_watermark - 1,
        });
        if let Some(end) = end.filter(|end| offset > end) {
            report.violated(format!("{timestamp} of {place} was {offset}, it ends at {end}"));
        }
        let reads = history.reads.iter();
        let earlier = reads.filter(|read| read.place == *place && read.got <= *sent);
        let highest = earlier.map(|read| read.high_watermark).max();
        if let Some(floor) = highest.filter(|floor| *timestamp == LATEST && offset < floor) {
            report.violated(format!("{timestamp} of {place} was {offset}, after {floor}"));
        }
    }
}
