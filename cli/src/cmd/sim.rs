//! `odradek sim`: many seeds over the machine's CPUs, or one with everything that happens.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};
use sim::{Options, Outcome, Summary, campaign, replay_command};

use crate::args::SimArgs;

/// Runs the seeds.
pub(crate) fn run(args: &SimArgs) -> Result<()> {
    let trace = args.trace.then_some(print_line as fn(&str));
    let options = Options { operations: args.operations, plant: None, trace };
    let started = Instant::now();
    let done = AtomicU64::new(0);
    let progress = std::io::stderr().is_terminal() && args.count > 1;
    let summary = campaign(args.seed, args.count, options, |outcome| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if !outcome.violations.is_empty() {
            report(outcome, options);
        } else if args.count == 1 {
            println!("hash {:016x}, {:?} of virtual time", outcome.hash, outcome.virtual_time);
        }
        if progress && done.is_multiple_of(50) {
            eprint!("\r{done} of {} seeds", args.count);
        }
    });
    if progress {
        eprintln!();
    }
    summarize(&summary, started.elapsed().as_secs_f64());
    match summary.failed.len() {
        0 => Ok(()),
        failed => bail!("{failed} of {} seeds failed", summary.seeds),
    }
}

fn report(outcome: &Outcome, options: Options) {
    println!(
        "seed {} failed; see it with\n  {}",
        outcome.seed,
        replay_command(outcome.seed, options)
    );
    for violation in &outcome.violations {
        println!("  {violation}");
    }
}

fn summarize(summary: &Summary, seconds: f64) {
    let passed = summary.seeds - summary.failed.len() as u64;
    println!(
        "{passed} of {} seeds passed, {} operations, {seconds:.1} s, {:.1} seeds/s",
        summary.seeds,
        summary.operations,
        summary.seeds as f64 / seconds.max(1e-9),
    );
    println!("{:>9} with role changes", summary.role_changes);
    for (fault, times) in &summary.faults {
        println!("{times:>9} {fault}");
    }
}

fn print_line(line: &str) {
    println!("{line}");
}
