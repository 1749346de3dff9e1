//! The numbers by which brokers are compared, each with its unit and which way is better.

use crate::result::{Direction, LoadResult, RunResult};
use crate::units::{digits, nanos};

/// A number of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    RequestsPerS,
    RecordsPerS,
    MegabytesPerS,
    P50,
    P99,
    P999,
    CpuPerRequest,
    CpuPerRecord,
    CpuPerGb,
    RssPeak,
    DiskPerByte,
    StartS,
    IdleRss,
    CrashRestartS,
}

impl Figure {
    /// What a comparison shows of a workload that names no figures of its own.
    pub(crate) const USUAL: &[Self] = &[
        Self::RequestsPerS,
        Self::RecordsPerS,
        Self::MegabytesPerS,
        Self::P50,
        Self::P99,
        Self::P999,
        Self::CpuPerRequest,
        Self::CpuPerRecord,
        Self::CpuPerGb,
        Self::RssPeak,
        Self::DiskPerByte,
    ];

    /// What is shown of how a broker starts.
    pub(crate) const OF_LIFE: &[Self] = &[Self::StartS, Self::IdleRss, Self::CrashRestartS];

    /// Its name, with the unit where the value does not bring it along.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RequestsPerS => "requests/s",
            Self::RecordsPerS => "records/s",
            Self::MegabytesPerS => "MB/s",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::CpuPerRequest => "CPU us/request",
            Self::CpuPerRecord => "CPU us/record",
            Self::CpuPerGb => "CPU s/GB",
            Self::RssPeak => "peak RSS MB",
            Self::DiskPerByte => "disk B/B",
            Self::StartS => "start s",
            Self::IdleRss => "idle RSS MB",
            Self::CrashRestartS => "restart after kill -9 s",
        }
    }

    /// Whether more is better.
    pub(crate) fn higher_is_better(self) -> bool {
        matches!(self, Self::RequestsPerS | Self::RecordsPerS | Self::MegabytesPerS)
    }

    /// For people.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::P50 | Self::P99 | Self::P999 => nanos(value as u64),
            _ => digits(value),
        }
    }

    /// The number of a run; none when it has none. Rates are of what the workload is about: the
    /// writes where there are any and nothing is measured end to end, else the reads.
    pub(crate) fn of(self, run: &RunResult) -> Option<f64> {
        let cpu = |pick: fn(&crate::result::Efficiency) -> f64| {
            run.cpu().map(|cpu| pick(&cpu)).filter(|value| *value > 0.0)
        };
        let latency = |pick: fn(&LoadResult) -> u64| {
            main_load(run).filter(|load| load.latency.count > 0).map(|load| pick(load) as f64)
        };
        let direction = main_load(run).map(|load| load.direction);
        let rate = |pick: fn((u64, u64, u64)) -> u64| {
            let sum = pick(run.sums(direction?)) as f64 / run.seconds;
            (sum > 0.0).then_some(sum)
        };
        match self {
            Self::RequestsPerS => rate(|sums| sums.0),
            Self::RecordsPerS => rate(|sums| sums.1),
            Self::MegabytesPerS => rate(|sums| sums.2).map(|bytes| bytes / 1e6),
            Self::P50 => latency(|load| load.latency.p50),
            Self::P99 => latency(|load| load.latency.p99),
            Self::P999 => latency(|load| load.latency.p999),
            Self::CpuPerRequest => cpu(|cpu| cpu.us_per_request),
            Self::CpuPerRecord => cpu(|cpu| cpu.us_per_record),
            Self::CpuPerGb => cpu(|cpu| cpu.s_per_gb),
            Self::RssPeak => run.broker_cost.map(|cost| cost.rss_peak as f64 / 1e6),
            Self::DiskPerByte => cpu(|cpu| cpu.disk_per_byte),
            Self::StartS => run.life.map(|life| life.start_s),
            Self::IdleRss => run.life.map(|life| life.idle_rss as f64 / 1e6),
            Self::CrashRestartS => run.life.map(|life| life.crash_restart_s),
        }
    }
}

/// The load that a run's latency is told by: what a consumer sees end to end, else the first.
pub(crate) fn main_load(run: &RunResult) -> Option<&LoadResult> {
    let end_to_end = |load: &&LoadResult| load.direction == Direction::Consume && load.end_to_end;
    run.loads.iter().find(end_to_end).or(run.loads.first())
}
