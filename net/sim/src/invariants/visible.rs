//! Nothing unsynced is visible under durability `sync`: whatever a consumer was given, with
//! whatever acknowledgement it was produced, survives a power cut at any later moment. Every run
//! ends with one. Design §3, invariant 8.

use super::Report;
use crate::history::History;

pub(super) fn check(history: &History, report: &mut Report) {
    let audits = history.last_audits();
    for read in &history.reads {
        let Some(audit) = audits.get(&read.place) else { continue };
        let records = read.batches.iter().flat_map(|batch| (batch.base..).zip(&batch.records));
        for (offset, id) in records {
            if offset >= audit.log_start && audit.records.get(&offset) != Some(id) {
                report.violated(format!(
                    "{id:?} was read at {offset} of {} at {:?}, and is not there any more",
                    read.place, read.got
                ));
                break;
            }
        }
    }
}
