//! Several brokers under the same loads, in turn: A B A B, so that what else the machine does
//! falls on all alike, and each round gives a ratio of its own.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::limit::Limit;
use crate::machine::Machine;
use crate::result::RunResult;
use crate::run::{RunOptions, run};
use crate::start::{Broker, Places, Program, StartSpec};
use crate::workload::Workload;

/// All that a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Comparison {
    /// The command that prints it again.
    pub command: String,
    /// Where it ran.
    pub machine: Machine,
    /// Unix seconds.
    pub at: u64,
    /// The brokers, in order; ratios are of the first to each other.
    pub brokers: Vec<String>,
    /// What the machine itself can do, where that was measured.
    pub limits: Vec<Limit>,
    /// By workload.
    pub workloads: Vec<Compared>,
}

/// One workload on all brokers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compared {
    /// Name of the workload, and its line for people.
    pub workload: String,
    /// See `workload`.
    pub about: String,
    /// By round, by broker.
    pub rounds: Vec<Vec<RunResult>>,
    /// Why there is less than there should be.
    pub failed: Option<String>,
}

/// How to compare.
#[derive(Clone, Debug)]
pub(crate) struct CompareOptions {
    pub(crate) brokers: Vec<Contestant>,
    pub(crate) rounds: usize,
    pub(crate) threads: usize,
    pub(crate) progress: bool,
    pub(crate) home: PathBuf,
    pub(crate) odradek: Option<PathBuf>,
}

/// Who takes part.
#[derive(Clone, Debug)]
pub(crate) enum Contestant {
    /// Started here, fresh for each workload.
    Start(StartSpec),
    /// Runs already: label and address.
    Running(String, String),
}

/// A contestant while a workload runs.
enum Live {
    Started(Box<Broker>, StartSpec),
    Running(String, String),
}

impl Contestant {
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Start(spec) => &spec.label,
            Self::Running(label, _) => label,
        }
    }
}

/// Runs every workload on every broker, round by round; a workload that fails is noted, and the
/// next one goes on.
pub(crate) fn compare(
    workloads: &[Workload],
    options: &CompareOptions,
    mut done: impl FnMut(&Compared),
) -> Result<Comparison> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut comparison = Comparison {
        machine: Machine::here(&options.home),
        at: since.as_secs(),
        brokers: options.brokers.iter().map(|b| b.label().to_owned()).collect(),
        ..Comparison::default()
    };
    for workload in workloads {
        let mut compared = Compared {
            workload: workload.name.clone(),
            about: workload.about.clone(),
            ..Compared::default()
        };
        if let Err(e) = rounds(workload, options, &mut compared) {
            compared.failed = Some(format!("{e:#}"));
        }
        done(&compared);
        comparison.workloads.push(compared);
    }
    Ok(comparison)
}

fn rounds(workload: &Workload, options: &CompareOptions, compared: &mut Compared) -> Result<()> {
    let places = Places { home: options.home.clone(), odradek: options.odradek.clone() };
    let mut live = Vec::new();
    for contestant in &options.brokers {
        live.push(match contestant {
            Contestant::Running(label, address) => Live::Running(label.clone(), address.clone()),
            Contestant::Start(spec) => {
                let kind = match spec.program {
                    Program::Kafka => "kafka",
                    Program::Odradek(_) => "odradek",
                };
                let settings = workload.brokers.get(kind).cloned().unwrap_or_default();
                let broker = Broker::start(spec, &settings, &places)
                    .with_context(|| format!("starting {}", spec.label))?;
                Live::Started(Box::new(broker), spec.clone())
            }
        });
    }
    for round in 0..options.rounds {
        let mut results = Vec::new();
        for live in &mut live {
            // What the last one left unwritten must not be written at this one's cost.
            rustix::fs::sync();
            results.push(one(workload, live, round, options)?);
        }
        compared.rounds.push(results);
    }
    Ok(())
}

fn one(
    workload: &Workload,
    live: &mut Live,
    round: usize,
    options: &CompareOptions,
) -> Result<RunResult> {
    let mut workload = workload.clone();
    // Both start cold, and a JVM compiles for a while; but what is read from the disk is read once.
    if round == 0 && !workload.topic.cold {
        workload.warmup.0 += FIRST_WARMUP;
    }
    let mut run_options = RunOptions {
        threads: options.threads,
        progress: options.progress,
        ..RunOptions::default()
    };
    match live {
        Live::Running(label, address) => {
            run_options.label = label.clone();
            run_options.bootstrap = address.clone();
            run(&workload, &run_options, &mut || drop_page_cache().map(|()| None))
        }
        Live::Started(broker, spec) => {
            run_options.label = spec.label.clone();
            run_options.bootstrap = broker.address.clone();
            run_options.pid = Some(broker.pid());
            let topic = spec.topic_settings().map(|(k, v)| (k.to_owned(), v.to_owned()));
            workload.topic.config.extend(topic);
            run(&workload, &run_options, &mut || {
                broker.restart()?;
                drop_page_cache()?;
                Ok(Some(broker.pid()))
            })
        }
    }
    .with_context(|| format!("{} on {}", workload.name, run_options.label))
}

/// Drops what the kernel caches of files; needs root.
pub(crate) fn drop_page_cache() -> Result<()> {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3").context("dropping the page cache needs root")
}

/// Beside the workload's own.
const FIRST_WARMUP: Duration = Duration::from_secs(4);

/// The median, and the smallest and largest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of numbers; none of none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Some(Self { median, min, max })
    }
}

impl Compared {
    /// A figure of one broker over the rounds.
    pub(crate) fn figure(
        &self,
        broker: usize,
        of: impl Fn(&RunResult) -> Option<f64>,
    ) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| of(round.get(broker)?)))
    }

    /// The ratio of a figure of broker `a` to that of broker `b`, round by round.
    pub(crate) fn ratio(
        &self,
        (a, b): (usize, usize),
        of: impl Fn(&RunResult) -> Option<f64>,
    ) -> Option<Spread> {
        let ratios = self.rounds.iter().filter_map(|round| {
            let (a, b) = (of(round.get(a)?)?, of(round.get(b)?)?);
            (b > 0.0).then_some(a / b)
        });
        Spread::of(ratios)
    }

    /// All faults of all runs.
    pub(crate) fn faults(&self) -> Vec<String> {
        let runs = self.rounds.iter().flatten();
        let of_runs = runs.flat_map(|run| {
            run.faults()
                .into_iter()
                .map(|fault| format!("{} on {}: {fault}", run.workload, run.broker))
        });
        let failed = self.failed.iter().map(|why| format!("{}: {why}", self.workload));
        of_runs.chain(failed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_between_the_extremes() {
        let spread = Spread::of([3.0, 1.0, 2.0, f64::NAN]).expect("three numbers");
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of([1.0, 4.0]).expect("two").median, 2.5);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let run = |seconds| RunResult { seconds, ..RunResult::default() };
        let compared = Compared {
            rounds: vec![vec![run(2.0), run(1.0)], vec![run(9.0), run(3.0)]],
            ..Compared::default()
        };
        let ratio = compared.ratio((0, 1), |run| Some(run.seconds)).expect("two rounds");
        assert_eq!((ratio.min, ratio.median, ratio.max), (2.0, 2.5, 3.0));
    }
}
