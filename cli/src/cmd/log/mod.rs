//! `odradek log …`: works on files, no broker needed.

mod adopt;
pub(crate) mod dump;
mod json;
pub(crate) mod records;
pub(crate) mod segment;
pub(crate) mod verify;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::LogCommand;

/// Runs one of the log commands.
pub(crate) fn run(command: LogCommand) -> Result<ExitCode> {
    match command {
        LogCommand::Dump { paths, deep_iteration, cluster_metadata_decoder, offsets_decoder } => {
            let decoder = match (cluster_metadata_decoder, offsets_decoder) {
                (true, _) => dump::Decoder::Metadata,
                (_, true) => dump::Decoder::Groups,
                _ => dump::Decoder::Text,
            };
            let options = dump::DumpOptions {
                deep_iteration: deep_iteration || decoder != dump::Decoder::Text,
                contents: true,
                contents_only: false,
                decoder,
                bytes_max: u64::MAX,
            };
            dump::run(&paths, options)?;
        }
        LogCommand::Verify { paths } => verify::run(&paths)?,
        LogCommand::Adopt(args) => return Ok(adopt::run(&args)),
    }
    Ok(ExitCode::SUCCESS)
}
