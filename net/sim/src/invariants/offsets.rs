//! ListOffsets leads nobody astray: whatever offset it gave is acknowledged, so the log reaches it
//! to the end of the run, which is a power cut; the latest is no lower than a high watermark that
//! somebody was told before, the earliest no lower than where somebody was told that the log starts
//! after DeleteRecords.

use std::collections::BTreeSet;

use super::Report;
use crate::history::{Event, History};
use crate::workload::consumer::{EARLIEST, LATEST};

pub(super) fn check(history: &History, report: &mut Report) {
    let audits = history.last_audits();
    let trims = || {
        history.events.iter().filter_map(|(at, event)| match event {
            Event::Trimmed { place, log_start } => Some((*at, *place, *log_start)),
            _ => None,
        })
    };
    // On a full disk a crash may undo a deletion.
    let full = history.events.iter().any(|(_, event)| matches!(event, Event::DiskFull));
    // It is asked by name: another topic may have that by the time of the answer.
    let mut deleted = BTreeSet::new();
    for (_, event) in &history.events {
        if let Event::DeleteSent { id } = event {
            deleted.insert(*id);
        }
        let Event::Found { place, sent, timestamp, offset } = event else { continue };
        if deleted.contains(&place.topic) {
            continue;
        }
        let end = audits.get(place).map(|audit| match *timestamp {
            LATEST | EARLIEST => audit.high_watermark,
            _ => audit.high_watermark - 1,
        });
        if let Some(end) = end.filter(|end| offset > end) {
            report.violated(format!("{timestamp} of {place} was {offset}, it ends at {end}"));
        }
        let reads = history.reads.iter();
        let earlier = reads.filter(|read| read.place == *place && read.got <= *sent);
        let floor = match *timestamp {
            LATEST => earlier.map(|read| read.high_watermark).max(),
            EARLIEST if !full => {
                let of = trims().filter(|(at, of, _)| of == place && at <= sent);
                of.map(|(_, _, log_start)| log_start).max()
            }
            _ => None,
        };
        if let Some(floor) = floor.filter(|floor| offset < floor) {
            report.violated(format!("{timestamp} of {place} was {offset}, after {floor}"));
        }
    }
    if full {
        return;
    }
    for (at, place, log_start) in trims() {
        let mut later = history.reads.iter().filter(|read| read.place == place && read.sent >= at);
        if let Some(read) = later.find(|read| read.log_start < log_start) {
            report.violated(format!(
                "{place} starts at {} again, below {log_start} all was deleted",
                read.log_start
            ));
        }
    }
}
