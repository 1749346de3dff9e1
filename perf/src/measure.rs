//! What is counted: by load and second, with a latency histogram each.

pub(crate) mod hlog;
mod series;

use std::sync::mpsc::Sender;

use anyhow::Result;
use hdrhistogram::Histogram;

pub use series::{Curve, Percentiles, Second};
pub(crate) use series::{Series, curve};

/// When things count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// When the loads begin: arrivals are intended from here on, however late a thread gets to it.
    pub(crate) begin_ns: u64,
    /// First nanosecond that counts.
    pub(crate) start_ns: u64,
    /// First one that does not.
    pub(crate) end_ns: u64,
    /// After this, answers are no longer waited for.
    pub(crate) give_up_ns: u64,
}

/// One second of one load, as one thread saw it.
#[derive(Clone, Debug)]
pub(crate) struct Interval {
    /// Which load of the workload.
    pub(crate) load: usize,
    /// Seconds from the window's start; negative during the warm-up.
    pub(crate) second: i64,
    pub(crate) counts: Counts,
    /// Nanoseconds.
    pub(crate) latency: Histogram<u64>,
}

/// Plain sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Where one load on one thread counts.
#[derive(Debug)]
pub(crate) struct Recorder {
    window: Window,
    current: Interval,
    sender: Sender<Interval>,
}

impl Window {
    /// Seconds from the start, negative before it; what comes late belongs to the last second.
    pub(crate) fn second(&self, now: u64) -> i64 {
        let last = (self.end_ns - self.start_ns).div_ceil(SECOND) as i64 - 1;
        let since = now as i64 - self.start_ns as i64;
        since.div_euclid(SECOND as i64).min(last)
    }
}

impl Recorder {
    pub(crate) fn new(load: usize, window: Window, sender: Sender<Interval>) -> Self {
        Self { window, current: Interval::empty(load, i64::MIN), sender }
    }

    /// Counts what was answered at `now`.
    pub(crate) fn count(&mut self, now: u64, requests: u64, records: u64, bytes: u64) {
        self.turn(now);
        // What comes behind the end is not throughput of the window.
        if now < self.window.end_ns {
            let counts = &mut self.current.counts;
            counts.requests += requests;
            counts.records += records;
            counts.bytes += bytes;
        }
    }

    /// Notes how long something took, `times` over; it belongs to when it was meant to start.
    pub(crate) fn latency(&mut self, intended_ns: u64, now: u64, times: u64) {
        self.turn(now);
        let counts_now = intended_ns >= self.window.start_ns && intended_ns < self.window.end_ns;
        // Before the window, for the progress line only; not when one begins in the other.
        if counts_now || now < self.window.start_ns {
            let ns = now.saturating_sub(intended_ns).clamp(1, LATENCY_MAX_NS);
            self.current.latency.record_n(ns, times).expect("clamped to its bounds");
        }
    }

    /// Hands over what is open; nothing is counted after this.
    pub(crate) fn finish(mut self) {
        self.send(i64::MIN);
    }

    /// Begins a new interval when the second has changed.
    pub(crate) fn turn(&mut self, now: u64) {
        let second = self.window.second(now);
        if second != self.current.second {
            self.send(second);
        }
    }

    fn send(&mut self, next: i64) {
        let load = self.current.load;
        let done = std::mem::replace(&mut self.current, Interval::empty(load, next));
        if done.second != i64::MIN {
            // Nobody listens any more only when the run was given up.
            let _ = self.sender.send(done);
        }
    }
}

impl Interval {
    fn empty(load: usize, second: i64) -> Self {
        Self { load, second, counts: Counts::default(), latency: histogram() }
    }
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// A histogram of nanoseconds with three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).expect("sound bounds")
}

/// Adds one histogram to another.
pub(crate) fn add(sum: &mut Histogram<u64>, part: &Histogram<u64>) -> Result<()> {
    Ok(sum.add(part)?)
}

const SECOND: u64 = 1_000_000_000;
/// An hour: whatever takes longer is shown as that.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_begins_in_the_window_counts_where_it_ends() {
        let window = Window {
            begin_ns: 0,
            start_ns: 10 * SECOND,
            end_ns: 12 * SECOND,
            give_up_ns: 20 * SECOND,
        };
        let (sender, receiver) = mpsc::channel();
        let mut recorder = Recorder::new(0, window, sender);
        recorder.latency(9 * SECOND, 9 * SECOND + 5, 1);
        recorder.latency(9 * SECOND + 10, 10 * SECOND + 5, 1);
        recorder.count(10 * SECOND + 5, 1, 1, 1);
        recorder.latency(10 * SECOND + 5, 10 * SECOND + 9, 1);
        recorder.latency(11 * SECOND + 5, 15 * SECOND, 1);
        recorder.count(15 * SECOND, 1, 1, 1);
        recorder.finish();
        let seen: Vec<_> =
            receiver.iter().map(|i| (i.second, i.latency.len(), i.counts.requests)).collect();
        assert_eq!(seen, [(-1, 1, 0), (0, 1, 1), (1, 1, 0)]);
    }
}
