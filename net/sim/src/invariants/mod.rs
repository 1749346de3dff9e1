//! What must hold of every history. One file per property; to add one, add its file and its row.

mod acked;
mod alive;
mod committed;
mod contiguous;
mod epochs;
mod exactly_once;
mod fenced;
mod log_start;
mod offsets;
mod owned;
mod stable;
mod topics;
mod visible;
mod watermark;

use crate::history::{History, Violation};

/// Checks everything; adds what was seen on the way.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let mut all = history.violations.clone();
    for (invariant, check) in TABLE {
        let mut report = Report { invariant, found: Vec::new() };
        check(history, &mut report);
        all.extend(report.found);
    }
    all
}

/// Collects the violations of one invariant.
struct Report {
    invariant: &'static str,
    found: Vec<Violation>,
}

impl Report {
    /// Notes one; of many the first few tell as much.
    fn violated(&mut self, message: String) {
        if self.found.len() < REPORTED_MAX {
            self.found.push(Violation { invariant: self.invariant, message });
        }
    }
}

type Check = fn(&History, &mut Report);

const TABLE: &[(&str, Check)] = &[
    ("acked", acked::check),
    ("alive", alive::check),
    ("committed", committed::check),
    ("contiguous", contiguous::check),
    ("epochs", epochs::check),
    ("exactly_once", exactly_once::check),
    ("fenced", fenced::check),
    ("log_start", log_start::check),
    ("offsets", offsets::check),
    ("owned", owned::check),
    ("stable", stable::check),
    ("topics", topics::check),
    ("visible", visible::check),
    ("watermark", watermark::check),
];
const REPORTED_MAX: usize = 3;
