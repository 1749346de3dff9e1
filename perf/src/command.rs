//! The command line, the same as `odradek perf` and as a program of its own.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use crate::measure::hlog;
use crate::report::table;
use crate::run::{RunOptions, run};
use crate::units::Span;
use crate::workload::{BUILTIN, Workload};

/// `odradek perf`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a workload against a broker.
    Run(RunArgs),
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
    /// Write the whole result here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Leave the topic and its records.
    #[arg(long)]
    keep: bool,
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
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&result)?)?;
    }
    match result.faults().len() {
        0 => Ok(()),
        count => bail!("{count} faults, see above"),
    }
}
