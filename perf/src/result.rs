//! What a run found, as it is printed, saved as JSON and drawn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cost::Cost;
use crate::measure::{Curve, Percentiles, Second};
use crate::verify::Tally;

/// One run of one workload on one broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunResult {
    /// Name of the workload, and its line for people.
    pub workload: String,
    /// See `workload`.
    pub about: String,
    /// What the broker is called: `odradek`, `kafka`, or its address.
    pub broker: String,
    /// Unix milliseconds of the window's start.
    pub started_ms: u64,
    /// Length of the window.
    pub seconds: f64,
    /// By load of the workload.
    pub loads: Vec<LoadResult>,
    /// The broker's process in the window, when it is on this machine.
    pub broker_cost: Option<Cost>,
    /// This process in the window.
    pub load_cost: Cost,
    /// Share of all CPUs' time in the window that the host gave to others while something here
    /// wanted to run; none where the kernel does not tell.
    pub stolen: Option<f64>,
    /// What was read back; none when nothing was to be.
    pub truth: Option<Tally>,
    /// How long the prefill took, seconds.
    pub prefill_s: f64,
    /// How the broker starts, where that was measured.
    pub life: Option<Life>,
}

/// How a broker starts, idles and comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Life {
    /// From the start of the process on an empty directory to the first answer, seconds.
    pub start_s: f64,
    /// Resident bytes a few seconds later.
    pub idle_rss: u64,
    /// Bytes in its log when it was killed.
    pub log_bytes: u64,
    /// From the start after `kill -9` to the first answer, seconds.
    pub crash_restart_s: f64,
}

/// What one load of a run did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadResult {
    /// Its name in the workload.
    pub name: String,
    /// Whether it writes or reads.
    pub direction: Direction,
    /// Whether latency is from a record's intended sending to its arrival at a consumer.
    pub end_to_end: bool,
    /// Answered in the window.
    pub requests: u64,
    /// Records of these.
    pub records: u64,
    /// Bytes of these, as stored.
    pub bytes: u64,
    /// Failures by name, in and after the window.
    pub errors: BTreeMap<String, u64>,
    /// Requests that never got an answer.
    pub unanswered: u64,
    /// Of what was to be sent in the window.
    pub latency: Percentiles,
    /// The same by percentile.
    pub curve: Curve,
    /// By second.
    pub series: Vec<Second>,
    /// What an end-to-end consumer checked on arrival.
    pub seen: Option<Tally>,
}

/// Whether a load writes or reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// It writes.
    #[default]
    Produce,
    /// It reads.
    Consume,
    /// Neither: members of groups, who tell the coordinator that they are alive and how far they are.
    Coordinate,
}

impl RunResult {
    /// Why the run cannot be believed or the broker not be trusted; empty when all is well.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for load in &self.loads {
            for (what, count) in &load.errors {
                faults.push(format!("{}: {count} × {what}", load.name));
            }
            if load.unanswered > 0 {
                faults.push(format!("{}: {} requests without answer", load.name, load.unanswered));
            }
            if let Some(tally) = &load.seen {
                faults.extend(lies(&load.name, tally));
            }
        }
        if let Some(tally) = &self.truth {
            faults.extend(lies("read back", tally));
        }
        faults
    }

    /// Sums over loads of one direction: requests, records, bytes.
    #[must_use]
    pub fn sums(&self, direction: Direction) -> (u64, u64, u64) {
        let of = self.loads.iter().filter(|load| load.direction == direction);
        of.fold((0, 0, 0), |sum, load| {
            (sum.0 + load.requests, sum.1 + load.records, sum.2 + load.bytes)
        })
    }

    /// The broker's CPU time by what it did: seconds per GB, microseconds per request and record.
    #[must_use]
    pub fn cpu(&self) -> Option<Efficiency> {
        let cost = self.broker_cost?;
        let (wrote, read) = (self.sums(Direction::Produce), self.sums(Direction::Consume));
        let coordinated = self.sums(Direction::Coordinate);
        let ratio = |amount: u64, scale: f64| match amount {
            0 => 0.0,
            amount => cost.cpu_s * scale / amount as f64,
        };
        Some(Efficiency {
            s_per_gb: ratio(wrote.2 + read.2, 1e9),
            us_per_request: ratio(wrote.0 + read.0 + coordinated.0, 1e6),
            // A record that is written and read is one.
            us_per_record: ratio(if wrote.1 > 0 { wrote.1 } else { read.1 }, 1e6),
            disk_per_byte: match wrote.2 {
                0 => 0.0,
                bytes => cost.disk_written as f64 / bytes as f64,
            },
        })
    }
}

/// The broker's cost by what it did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Efficiency {
    /// CPU seconds per 10⁹ bytes moved.
    pub s_per_gb: f64,
    /// CPU microseconds per answered request.
    pub us_per_request: f64,
    /// CPU microseconds per record.
    pub us_per_record: f64,
    /// Bytes written to disk per byte produced.
    pub disk_per_byte: f64,
}

impl LoadResult {
    /// Requests, records and megabytes a second.
    #[must_use]
    pub fn rates(&self, seconds: f64) -> (f64, f64, f64) {
        let rate = |amount: u64| amount as f64 / seconds;
        (rate(self.requests), rate(self.records), rate(self.bytes) / 1e6)
    }
}

fn lies(who: &str, tally: &Tally) -> Vec<String> {
    let kinds = [
        ("lost", tally.lost),
        ("duplicated", tally.duplicated),
        ("reordered", tally.reordered),
        ("corrupted", tally.corrupted),
    ];
    let found = kinds.into_iter().filter(|(_, count)| *count > 0);
    found.map(|(what, count)| format!("{who}: {count} {what}")).collect()
}
