//! The load harness as a program of its own, for machines that have no broker.

use std::process::ExitCode;

use clap::Parser;

/// Measures Kafka-compatible brokers, and checks that they tell the truth.
#[derive(Debug, Parser)]
#[command(name = "odradek-perf", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: perf::Command,
}

fn main() -> ExitCode {
    match perf::execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("odradek-perf: {e:#}");
            ExitCode::FAILURE
        }
    }
}
