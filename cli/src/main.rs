//! The `odradek` binary.

mod args;
mod client;
mod cmd;
mod format;
mod kafka;
mod loggers;
mod serve;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = kafka::run(&args) {
        return code;
    }
    let command = Cli::parse_from(args).command;
    if let Command::Serve(args) = &command {
        return serve::run(args);
    }
    die_with_the_pipe();
    let outcome = match command {
        Command::Serve(_) => unreachable!("returned above"),
        Command::Topic(command) => cmd::topic::run(command),
        Command::Produce(args) => cmd::produce::run(&args),
        Command::Consume(args) => match cmd::consume::run(&args) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Group(command) => cmd::group::run(command),
        Command::Log(command) => match cmd::log::run(command) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Config(command) => cmd::config::run(&command),
        Command::Metrics(command) => cmd::metrics::run(&command),
        Command::Sim(args) => cmd::sim::run(&args),
        Command::Tune(args) => cmd::tune::run(&args),
        Command::Perf(command) => perf::execute(command),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "odradek", &mut std::io::stdout());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("odradek: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Rust ignores SIGPIPE, so that a print into a closed pipe panics. A command whose reader has
/// seen enough (`odradek topic list | head -1`) should end without a word, as others do.
fn die_with_the_pipe() {
    // SAFETY: sets a signal's disposition to the default one; no handler, no memory involved.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}
