//! The command line, the same as `odradek perf` and as a program of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::compare::{CompareOptions, Compared, Comparison, Contestant, compare};
use crate::figure::main_load;
use crate::goals::{self, LIFE};
use crate::life;
use crate::limit;
use crate::machine::Machine;
use crate::measure::hlog;
use crate::report::{html, table};
use crate::run::{RunOptions, run};
use crate::saturate::{Bound, search};
use crate::start::StartSpec;
use crate::units::{Bytes, Span, digits, nanos};
use crate::workload::{BUILTIN, Workload};

/// `odradek perf`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a workload against a broker.
    Run(RunArgs),
    /// Run workloads on several brokers in turn, and print ratios with their spread.
    Compare(CompareArgs),
    /// Print the whole table of this project's goals: Odradek against Apache Kafka.
    Table(TableArgs),
    /// Search the highest rate at which latency stays under a bound.
    Saturate(SaturateArgs),
    /// Measure what the disk, the loopback interface and memory can do.
    Limit(LimitArgs),
    /// Add up histogram logs that several processes or machines wrote.
    Merge {
        /// Files that `perf run --hlog` wrote.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List the workloads that come with the program.
    List,
    /// Print a workload's file, to start one's own from.
    Show {
        /// Name of the workload.
        workload: String,
    },
}

/// `odradek perf run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Name of a workload (see `perf list`), or a file.
    workload: String,
    /// A broker to begin with.
    #[arg(
        long,
        visible_alias = "bootstrap-server",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092"
    )]
    bootstrap: String,
    /// The broker's process, to measure its cost [default: the one that listens there, if local].
    #[arg(long)]
    pid: Option<u32>,
    #[command(flatten)]
    measure: MeasureArgs,
    /// Write the histograms here, in HdrHistogram's log format.
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    /// Leave the topic and its records.
    #[arg(long)]
    keep: bool,
}

/// `odradek perf compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Names of workloads (see `perf list`), or files.
    #[arg(required = true)]
    workloads: Vec<String>,
    #[command(flatten)]
    side_by_side: SideBySideArgs,
}

/// `odradek perf table`.
#[derive(Debug, Args)]
pub struct TableArgs {
    /// Shorter measurements, one round, a smaller log to recover: minutes instead of an hour.
    #[arg(long)]
    quick: bool,
    /// Only workloads whose names contain this; may be repeated.
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    #[command(flatten)]
    side_by_side: SideBySideArgs,
}

/// What commands that measure brokers side by side have in common.
#[derive(Debug, Args)]
struct SideBySideArgs {
    #[command(flatten)]
    brokers: BrokerArgs,
    #[command(flatten)]
    measure: MeasureArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// `odradek perf saturate`.
#[derive(Debug, Args)]
pub struct SaturateArgs {
    /// Name of a workload with a rate, or a file; the search starts at that rate.
    workload: String,
    /// What must hold: `p99<10ms`.
    #[arg(long, default_value = "p99<10ms")]
    bound: Bound,
    /// A broker to begin with.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    bootstrap: String,
    #[command(flatten)]
    measure: MeasureArgs,
}

/// `odradek perf limit`.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// A directory on the disk in question.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// How long each is measured.
    #[arg(long, value_name = "TIME", default_value = "2s")]
    duration: Span,
    /// Write the result here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Which brokers take part.
#[derive(Debug, Args)]
pub struct BrokerArgs {
    /// A broker to start fresh for each workload: `odradek`, `kafka` (fetched by Maven), or
    /// `NAME=PROGRAM` for another Odradek binary; with settings as in `kafka:flush.messages=1`.
    /// May be repeated; ratios are of the first to the others.
    #[arg(long, value_name = "BROKER")]
    start: Vec<StartSpec>,
    /// A broker that runs already: `NAME=HOST:PORT`; may be repeated.
    #[arg(long, value_name = "NAME=HOST:PORT")]
    bootstrap: Vec<String>,
    /// How often each broker has its turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The binary that `--start odradek` runs [default: this one].
    #[arg(long, value_name = "PROGRAM")]
    odradek: Option<PathBuf>,
    /// Where started brokers keep their data, and Kafka's jars are; the disk that is measured.
    #[arg(long, value_name = "DIR", default_value = "perf-data")]
    data: PathBuf,
}

/// Where results go.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Write all results here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report here: one page with plots, that needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// How to measure, whatever it is.
#[derive(Clone, Debug, Args)]
pub struct MeasureArgs {
    /// How long is measured, instead of what the workload says (`10s`).
    #[arg(long, value_name = "TIME")]
    duration: Option<Span>,
    /// How long loads run before that.
    #[arg(long, value_name = "TIME")]
    warmup: Option<Span>,
    /// Threads that make the load.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// No progress on standard error.
    #[arg(long, short)]
    quiet: bool,
}

impl MeasureArgs {
    /// Changes a workload as the command line says.
    fn apply(&self, workload: &mut Workload) {
        workload.duration = self.duration.unwrap_or(workload.duration);
        workload.warmup = self.warmup.unwrap_or(workload.warmup);
    }
}

/// Carries a command out.
pub fn execute(command: Command) -> Result<()> {
    match command {
        Command::Run(args) => run_one(&args),
        Command::Compare(args) => compare_all(&args),
        Command::Table(args) => print_table(&args),
        Command::Saturate(args) => saturate(&args),
        Command::Limit(args) => limits(&args),
        Command::Merge { files } => merge(&files),
        Command::List => {
            let rows: Result<Vec<_>> = BUILTIN
                .iter()
                .map(|(name, text)| {
                    Ok(vec![(*name).to_owned(), Workload::parse(name, text)?.about])
                })
                .collect();
            for row in rows? {
                println!("{:<24}{}", row[0], row[1]);
            }
            Ok(())
        }
        Command::Show { workload } => {
            let found = BUILTIN.iter().find(|(name, _)| *name == workload);
            let Some((_, text)) = found else { bail!("{workload} does not come with the program") };
            print!("{text}");
            Ok(())
        }
    }
}

fn merge(files: &[PathBuf]) -> Result<()> {
    let texts: Result<Vec<_>> = files
        .iter()
        .map(|path| std::fs::read(path).with_context(|| path.display().to_string()))
        .collect();
    let merged = hlog::merge(texts?)?;
    let rows: Vec<_> = merged.iter().map(|(name, sum)| table::latency_row(name, sum)).collect();
    print!("{}", table::render(table::LATENCY_HEAD, &rows));
    Ok(())
}

fn run_one(args: &RunArgs) -> Result<()> {
    let mut workload = Workload::load(&args.workload)?;
    args.measure.apply(&mut workload);
    let options = RunOptions {
        bootstrap: args.bootstrap.clone(),
        label: String::new(),
        pid: args.pid,
        threads: args.measure.threads,
        keep: args.keep,
        hlog: args.hlog.clone(),
        progress: !args.measure.quiet,
    };
    let result = run(&workload, &options, &mut || Ok(None))?;
    print!("{}", table::run(&result));
    let faults = result.faults().len();
    args.output.write(&Comparison {
        command: command_line(),
        machine: Machine::here(Path::new(".")),
        at: result.started_ms / 1000,
        brokers: vec![result.broker.clone()],
        workloads: vec![Compared {
            workload: result.workload.clone(),
            about: result.about.clone(),
            rounds: vec![vec![result]],
            failed: None,
        }],
        ..Comparison::default()
    })?;
    verdict(faults)
}

fn compare_all(args: &CompareArgs) -> Result<()> {
    let workloads: Result<Vec<_>> = args
        .workloads
        .iter()
        .map(|name| {
            let mut workload = Workload::load(name)?;
            args.side_by_side.measure.apply(&mut workload);
            Ok(workload)
        })
        .collect();
    let options = args.side_by_side.brokers.options(&args.side_by_side.measure)?;
    let brokers: Vec<_> = options.brokers.iter().map(|b| b.label().to_owned()).collect();
    let shown = Comparison { brokers, ..Comparison::default() };
    let mut comparison = compare(&workloads?, &options, |done| {
        println!("{}", table::compared(&shown, done));
    })?;
    comparison.command = command_line();
    finish(&comparison, &args.side_by_side.output)
}

fn print_table(args: &TableArgs) -> Result<()> {
    let mut options = args.side_by_side.brokers.options(&args.side_by_side.measure)?;
    let wanted =
        |name: &&str| args.only.is_empty() || args.only.iter().any(|part| name.contains(part));
    let names: Vec<&str> = goals::workloads().into_iter().filter(wanted).collect();
    let mut workloads = Vec::new();
    for name in names.iter().filter(|name| **name != LIFE) {
        let mut workload = Workload::load(name)?;
        if args.quick {
            workload.warmup = workload.warmup.min(QUICK_WARMUP);
            workload.duration = workload.duration.min(QUICK_DURATION);
            workload.truth.read_back = workload.truth.read_back.min(QUICK_READ_BACK);
            // What is read once, from the disk, would be read before it is measured.
            if !workload.topic.cold {
                workload.topic.prefill = workload.topic.prefill.min(QUICK_PREFILL);
            }
        }
        args.side_by_side.measure.apply(&mut workload);
        workloads.push(workload);
    }
    if args.quick {
        options.rounds = 1;
    }
    let brokers: Vec<_> = options.brokers.iter().map(|b| b.label().to_owned()).collect();
    let limits = limit::measure(&options.home, LIMIT_SPAN, |_| {})?;
    println!("{}", limit::table(&limits));
    let shown = Comparison { brokers, limits: limits.clone(), ..Comparison::default() };
    let mut comparison = compare(&workloads, &options, |done| {
        println!("{}", table::compared(&shown, done));
    })?;
    comparison.limits = limits;
    if names.contains(&LIFE) {
        let log = if args.quick { QUICK_LOG } else { FULL_LOG };
        let life = life::measure(&options, log);
        println!("{}", table::compared(&shown, &life));
        comparison.workloads.push(life);
    }
    comparison.command = command_line();
    println!("{}", table::goals(&comparison));
    finish(&comparison, &args.side_by_side.output)
}

fn saturate(args: &SaturateArgs) -> Result<()> {
    let mut workload = Workload::load(&args.workload)?;
    args.measure.apply(&mut workload);
    let options = RunOptions {
        bootstrap: args.bootstrap.clone(),
        threads: args.measure.threads,
        progress: !args.measure.quiet,
        ..RunOptions::default()
    };
    let best = search(&workload, &options, args.bound, |rate, result, kept| {
        let latency = main_load(result).map(|load| load.latency).unwrap_or_default();
        println!(
            "{:>12}/s  p50 {:>8}  p99 {:>8}  p99.9 {:>8}  {}",
            digits(rate),
            nanos(latency.p50),
            nanos(latency.p99),
            nanos(latency.p999),
            if kept { "kept" } else { "broken" }
        );
    })?;
    match best {
        Some((rate, result)) => {
            println!("\nhighest rate: {}/s\n", digits(rate));
            print!("{}", table::run(&result));
            Ok(())
        }
        None => bail!("no rate keeps the bound"),
    }
}

fn limits(args: &LimitArgs) -> Result<()> {
    let limits = limit::measure(&args.dir, args.duration.0, |_| {})?;
    print!("{}", limit::table(&limits));
    match &args.json {
        Some(path) => write(path, serde_json::to_vec_pretty(&limits)?),
        None => Ok(()),
    }
}

impl BrokerArgs {
    fn options(&self, measure: &MeasureArgs) -> Result<CompareOptions> {
        let mut brokers: Vec<_> = self.start.iter().cloned().map(Contestant::Start).collect();
        for running in &self.bootstrap {
            let (name, address) = running.split_once('=').context("--bootstrap NAME=HOST:PORT")?;
            brokers.push(Contestant::Running(name.to_owned(), address.to_owned()));
        }
        if brokers.is_empty() {
            for name in ["odradek", "kafka"] {
                brokers.push(Contestant::Start(name.parse()?));
            }
        }
        std::fs::create_dir_all(&self.data).with_context(|| self.data.display().to_string())?;
        Ok(CompareOptions {
            brokers,
            rounds: self.rounds.max(1),
            threads: measure.threads,
            progress: !measure.quiet,
            home: std::fs::canonicalize(&self.data)?,
            odradek: self.odradek.clone(),
        })
    }
}

impl OutputArgs {
    fn write(&self, comparison: &Comparison) -> Result<()> {
        if let Some(path) = &self.json {
            write(path, serde_json::to_vec_pretty(comparison)?)?;
        }
        if let Some(path) = &self.html {
            write(path, html::page(comparison).into_bytes())?;
        }
        Ok(())
    }
}

fn finish(comparison: &Comparison, output: &OutputArgs) -> Result<()> {
    output.write(comparison)?;
    verdict(comparison.workloads.iter().map(|compared| compared.faults().len()).sum())
}

fn verdict(faults: usize) -> Result<()> {
    match faults {
        0 => Ok(()),
        count => bail!("{count} faults, see above"),
    }
}

fn write(path: &Path, bytes: Vec<u8>) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}

/// What was typed, with the program's name alone.
fn command_line() -> String {
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
}

const LIMIT_SPAN: Duration = Duration::from_secs(1);
const QUICK_WARMUP: Span = Span(Duration::from_secs(2));
const QUICK_DURATION: Span = Span(Duration::from_secs(5));
const QUICK_READ_BACK: Bytes = Bytes(1 << 30);
const QUICK_PREFILL: Bytes = Bytes(2 << 30);
const QUICK_LOG: Bytes = Bytes(2 << 30);
const FULL_LOG: Bytes = Bytes(16 << 30);
