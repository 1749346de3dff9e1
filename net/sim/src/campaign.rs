//! Many seeds over the machine's cores.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::faults::Fault;
use crate::history::Violation;
use crate::run::{Options, Outcome, run};

/// What came of many runs.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Runs.
    pub seeds: u64,
    /// Requests that were answered, over all runs.
    pub operations: u64,
    /// What was done to nodes, and how often.
    pub faults: BTreeMap<Fault, u64>,
    /// Runs in which partitions changed their roles while the node served.
    pub role_changes: u64,
    /// Runs that violated something, by seed.
    pub failed: BTreeMap<u64, Vec<Violation>>,
}

/// Runs `count` seeds from `first` on, one thread per CPU; `each` sees every outcome, in no order.
pub fn campaign(
    first: u64,
    count: u64,
    options: Options,
    each: impl Fn(&Outcome) + Sync,
) -> Summary {
    let summary = Mutex::new(Summary::default());
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let outcome = fenced(first.wrapping_add(index), options);
                    each(&outcome);
                    summary.lock().unwrap_or_else(PoisonError::into_inner).add(outcome);
                }
            });
        }
    });
    summary.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// A run whose panics are violations too.
fn fenced(seed: u64, options: Options) -> Outcome {
    catch_unwind(|| run(seed, options)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        let violation = Violation { invariant: "alive", message: format!("panicked: {text}") };
        Outcome {
            seed,
            hash: 0,
            operations: 0,
            faults: BTreeMap::new(),
            role_changes: 0,
            polls: 0,
            virtual_time: std::time::Duration::ZERO,
            violations: vec![violation],
        }
    })
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.operations += u64::from(outcome.operations);
        self.role_changes += u64::from(outcome.role_changes > 0);
        for (fault, times) in outcome.faults {
            *self.faults.entry(fault).or_default() += u64::from(times);
        }
        if !outcome.violations.is_empty() {
            self.failed.insert(outcome.seed, outcome.violations);
        }
    }
}

/// How to see a run again.
#[must_use]
pub fn replay_command(seed: u64, options: Options) -> String {
    format!("odradek sim --seed {seed} --operations {} --trace", options.operations)
}
