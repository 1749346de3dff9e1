//! When faults stop, the node serves again: it starts, takes records for every partition and gives
//! all it has. What keeps it from that is noted where it shows; here, that every topic that is
//! left was in fact read to its end. Design §3: "a panic costs its connection or stops its
//! partition loudly", so none may happen in a run.

use super::Report;
use crate::history::{Event, History};

pub(super) fn check(history: &History, report: &mut Report) {
    for panic in &history.panics {
        report.violated(panic.clone());
    }
    let listed = history.events.iter().rev().find_map(|(_, event)| match event {
        Event::Listed { topics, .. } => Some(topics),
        _ => None,
    });
    let audits = history.last_audits();
    for (name, id) in listed.into_iter().flatten() {
        if audits.keys().all(|place| place.topic != *id) {
            report.violated(format!("nothing of {name} ({id}) could be read at the end"));
        }
    }
}
