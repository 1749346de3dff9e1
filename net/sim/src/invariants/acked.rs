//! What was acknowledged with acks=all is there for good, at the offset that was told: over kills,
//! power cuts and restarts. Design §1 ("`acks=all` means fdatasync'ed") and §3, invariant 8;
//! Kafka: "committed messages are not lost".

use super::Report;
use crate::history::History;

pub(super) fn check(history: &History, report: &mut Report) {
    let audits = history.last_audits();
    for (number, batch) in history.batches.iter().enumerate() {
        let (Some(base), -1) = (batch.acked, batch.acks) else { continue };
        // No audit: its topic was deleted.
        let Some(audit) = audits.get(&batch.place) else { continue };
        for (offset, id) in (base..).zip(&batch.records) {
            if offset >= audit.log_start && audit.records.get(&offset) != Some(id) {
                report.violated(format!(
                    "batch {number} was acknowledged at {base} of {}, but offset {offset} of {}..{} \
                     holds {:?}",
                    batch.place,
                    audit.log_start,
                    audit.high_watermark,
                    audit.records.get(&offset),
                ));
                break;
            }
        }
    }
}
