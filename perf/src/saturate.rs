//! The highest rate whose latency stays under a bound.

use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};

use crate::figure::main_load;
use crate::result::RunResult;
use crate::run::{RunOptions, run};
use crate::units::Span;
use crate::workload::Workload;

/// A bound on a percentile: `p99<10ms`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    percentile: Percentile,
    limit: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Percentile {
    P50,
    P90,
    P99,
    P999,
    P9999,
    Max,
}

impl FromStr for Bound {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, limit) = text.split_once('<').context("a bound looks like p99<10ms")?;
        let percentile = match name.trim() {
            "p50" => Percentile::P50,
            "p90" => Percentile::P90,
            "p99" => Percentile::P99,
            "p99.9" => Percentile::P999,
            "p99.99" => Percentile::P9999,
            "max" => Percentile::Max,
            other => bail!("{other} is none of p50, p90, p99, p99.9, p99.99, max"),
        };
        Ok(Self { percentile, limit: limit.trim().parse()? })
    }
}

impl Bound {
    /// Whether a run kept it: its latency did, it reached its rate, and nothing failed.
    fn is_kept(&self, result: &RunResult, rate: f64) -> bool {
        let Some(load) = main_load(result) else { return false };
        let latency = &load.latency;
        let value = match self.percentile {
            Percentile::P50 => latency.p50,
            Percentile::P90 => latency.p90,
            Percentile::P99 => latency.p99,
            Percentile::P999 => latency.p999,
            Percentile::P9999 => latency.p9999,
            Percentile::Max => latency.max,
        };
        let reached = result.loads.iter().map(|load| load.requests.max(load.records)).max();
        value < self.limit.ns()
            && reached.is_some_and(|count| count as f64 >= rate * result.seconds * REACHED)
            && result.faults().is_empty()
    }
}

/// Doubles the rate from the workload's own until the bound breaks, then halves the gap; every
/// step is told to `seen`. The best run, if any kept the bound.
pub(crate) fn search(
    workload: &Workload,
    options: &RunOptions,
    bound: Bound,
    mut seen: impl FnMut(f64, &RunResult, bool),
) -> Result<Option<(f64, RunResult)>> {
    let first = workload.produce.first().and_then(|load| load.rate);
    let first = first.context("a search starts at the rate of the first produce load")?;
    ensure!(workload.produce.len() == 1, "a search varies the one produce load of a workload");
    let mut try_rate = |rate: f64| -> Result<(bool, RunResult)> {
        let mut workload = workload.clone();
        workload.produce[0].rate = Some(rate);
        let result = run(&workload, options, &mut || Ok(None))?;
        let kept = bound.is_kept(&result, rate);
        seen(rate, &result, kept);
        Ok((kept, result))
    };
    let (mut good, mut bad): (Option<(f64, RunResult)>, Option<f64>) = (None, None);
    let mut rate = first;
    for _ in 0..STEPS_MAX {
        let (kept, result) = try_rate(rate)?;
        if kept {
            good = Some((rate, result));
        } else {
            bad = Some(rate);
        }
        let low = good.as_ref().map_or(0.0, |(rate, _)| *rate);
        rate = match bad {
            None => rate * 2.0,
            Some(bad) if bad - low < bad * CLOSE => break,
            Some(bad) => f64::midpoint(low, bad),
        };
    }
    Ok(good)
}

/// A rate counts as reached with this share of it answered in the window.
const REACHED: f64 = 0.98;
/// Where the search ends.
const CLOSE: f64 = 0.05;
const STEPS_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read() {
        let bound: Bound = "p99.9 < 20ms".parse().expect("sound");
        assert_eq!(bound.percentile, Percentile::P999);
        assert_eq!(bound.limit.ns(), 20_000_000);
        for wrong in ["p99", "p98<1ms", "p99<fast"] {
            assert!(wrong.parse::<Bound>().is_err(), "{wrong}");
        }
    }
}
