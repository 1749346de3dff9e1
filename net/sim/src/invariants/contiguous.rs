//! Offsets have no gaps and no order but their own: an answer to a fetch begins with the batch that
//! holds the offset asked for, each batch follows the one before, leader epochs never fall, and
//! nothing lies at or above the high watermark. (No topic of the workload is compacted.)

use super::Report;
use crate::history::{History, Read};

pub(super) fn check(history: &History, report: &mut Report) {
    for read in &history.reads {
        if let Some(what) = fault(read) {
            report.violated(format!("{} from {}: {what}", read.place, read.from));
        }
    }
    for audit in &history.audits {
        let missing = (audit.log_start..audit.high_watermark)
            .find(|offset| !audit.records.contains_key(offset));
        if let Some(offset) = missing {
            report.violated(format!("{} has nothing at offset {offset}", audit.place));
        }
    }
}

fn fault(read: &Read) -> Option<String> {
    let first = read.batches.first()?;
    if first.base > read.from || first.last < read.from {
        return Some(format!("begins with batch {}..={}", first.base, first.last));
    }
    for (before, after) in read.batches.iter().zip(&read.batches[1..]) {
        if after.base != before.last + 1 {
            return Some(format!("batch {} follows one that ends at {}", after.base, before.last));
        }
        if after.epoch < before.epoch {
            let (base, epoch) = (after.base, after.epoch);
            return Some(format!("batch {base} of epoch {epoch} follows epoch {}", before.epoch));
        }
    }
    let last = read.batches.last()?.last;
    let (above, high) = (last >= read.high_watermark, read.high_watermark);
    above.then(|| format!("offset {last} is read, the high watermark is {high}"))
}
