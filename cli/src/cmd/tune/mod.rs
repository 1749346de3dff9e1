//! `odradek tune`: looks at the machine and says how to run a broker on it.

mod advice;
mod machine;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::args::TuneArgs;
use advice::{Advice, Remedy, Sync, advise};
use machine::Machine;

/// Looks, measures, and writes what was found out.
pub(crate) fn run(args: &TuneArgs) -> Result<()> {
    let data = existing(&args.data)?;
    let machine = Machine::inspect(Path::new("/"), &data)?;
    eprint!("{machine}");
    let limits = match args.no_measure {
        true => Vec::new(),
        false => perf::limit::measure(&data, args.duration.0, |_| {})?,
    };
    if !limits.is_empty() {
        eprintln!("\n{}", perf::limit::table(&limits));
    }
    let sync = perf::limit::lone_sync(&limits)
        .map(|limit| Sync { p50_ns: limit.latency.p50, p99_ns: limit.latency.p99 });
    let advice = advise(&machine, &args.data, sync);
    for remedy in &advice.remedies {
        print_remedy(remedy);
    }
    write(&advice, args.output.as_deref())
}

/// The directory itself, or the one that it would be made in.
fn existing(data: &Path) -> Result<PathBuf> {
    let whole = std::path::absolute(data).with_context(|| data.display().to_string())?;
    let there = whole.ancestors().find(|path| path.is_dir());
    Ok(there.unwrap_or(Path::new("/")).to_owned())
}

fn print_remedy(remedy: &Remedy) {
    eprintln!("* {}", remedy.finding);
    for command in &remedy.commands {
        eprintln!("    {command}");
    }
}

fn write(advice: &Advice, output: Option<&Path>) -> Result<()> {
    let text = advice.to_toml();
    let Some(path) = output else {
        return io::stdout().write_all(text.as_bytes()).context("standard output");
    };
    let file = File::create_new(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| {
        format!("{}: not written; name a file that is not there yet", path.display())
    })?;
    eprintln!("\nwritten: start with `odradek serve --config {}`", path.display());
    Ok(())
}
