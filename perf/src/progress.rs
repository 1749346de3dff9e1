//! Live progress: one line on a terminal that is written over each second.

use std::io::{IsTerminal, Write};

use crate::measure::Series;
use crate::units::{digits, nanos};
use crate::workload::Workload;

/// Where progress goes: standard error; as one line that is written over where that is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
    over: bool,
    last_second: i64,
    last_mb: u64,
}

impl Progress {
    pub(crate) fn new(shown: bool) -> Self {
        let over = std::io::stderr().is_terminal();
        Self { shown, over, last_second: i64::MIN, last_mb: 0 }
    }

    /// Says what happens now.
    pub(crate) fn say(&self, what: &str) {
        if self.shown {
            self.line(what);
        }
    }

    /// Shows the last whole second, when there is a new one.
    pub(crate) fn seconds(&mut self, workload: &Workload, now: i64, series: &[Series]) {
        let second = now - 1;
        if !self.shown || second <= self.last_second {
            return;
        }
        self.last_second = second;
        let produce = workload.produce.iter().map(|load| &load.name);
        let names = produce.chain(workload.consume.iter().map(|load| &load.name));
        let seen = names.zip(series).filter_map(|(name, s)| Some((name, s.second(second)?)));
        let loads: Vec<String> = seen
            .map(|(name, s)| {
                format!(
                    "{name} {}/s {} MB/s p50 {} p99 {} max {}",
                    digits(s.requests as f64),
                    digits(s.bytes as f64 / 1e6),
                    nanos(s.latency.p50),
                    nanos(s.latency.p99),
                    nanos(s.latency.max),
                )
            })
            .collect();
        if loads.is_empty() {
            return;
        }
        let total = workload.duration.0.as_secs();
        let at = match second {
            ..0 => "warm-up".to_owned(),
            second => format!("{}/{total}s", second + 1),
        };
        self.line(&format!("{} {at}  {}", workload.name, loads.join(" | ")));
    }

    /// Shows how far reading back is.
    pub(crate) fn read_back(&mut self, bytes: u64) {
        let mb = bytes / 100_000_000 * 100;
        if self.shown && mb != self.last_mb {
            self.last_mb = mb;
            self.line(&format!("read back {mb} MB"));
        }
    }

    /// Leaves the line.
    pub(crate) fn end(&self) {
        if self.shown && self.over {
            eprint!("\r\x1b[K");
        }
    }

    fn line(&self, text: &str) {
        if self.over {
            let width = 200;
            let text: String = text.chars().take(width).collect();
            eprint!("\r\x1b[K{text}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{text}");
        }
    }
}
