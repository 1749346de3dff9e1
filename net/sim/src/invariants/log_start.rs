//! Records leave a partition only when that was asked for: the log start never lies behind the
//! highest offset that DeleteRecords named. (The workload's topics keep everything else.)

use std::collections::BTreeMap;

use super::Report;
use crate::history::{Event, History, Place};

pub(super) fn check(history: &History, report: &mut Report) {
    let mut highest: BTreeMap<Place, i64> = BTreeMap::new();
    for (_, event) in &history.events {
        if let Event::TrimSent { place, before } = event {
            let before = if *before == -1 { i64::MAX } else { *before };
            let known = highest.entry(*place).or_insert(0);
            *known = before.max(*known);
        }
    }
    let starts = history.reads.iter().map(|read| (read.place, read.log_start));
    let trims = history.events.iter().filter_map(|(_, event)| match event {
        Event::Trimmed { place, log_start } => Some((*place, *log_start)),
        _ => None,
    });
    for (place, log_start) in starts.chain(trims) {
        let asked = highest.get(&place).copied().unwrap_or(0);
        if log_start > asked {
            report.violated(format!("{place} starts at {log_start}, deleted were {asked}"));
        }
    }
}
