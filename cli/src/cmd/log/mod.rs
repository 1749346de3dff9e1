//! `odradek log …`: works on files, no broker needed.

mod adopt;
mod dump;
mod segment;
mod verify;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::LogCommand;

/// Runs one of the log commands.
pub(crate) fn run(command: LogCommand) -> Result<ExitCode> {
    match command {
        LogCommand::Dump { paths, deep_iteration, cluster_metadata_decoder } => {
            let options = dump::DumpOptions { deep_iteration, cluster_metadata_decoder };
            dump::run(&paths, options)?;
        }
        LogCommand::Verify { paths } => verify::run(&paths)?,
        LogCommand::Adopt(args) => return Ok(adopt::run(&args)),
    }
    Ok(ExitCode::SUCCESS)
}
