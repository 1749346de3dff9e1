//! `odradek config …`.

use anyhow::Result;

use crate::args::ConfigCommand;

/// Runs one of the config commands.
pub(crate) fn run(command: &ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Reference { toml: false } => print!("{}", config::docs::reference()),
        ConfigCommand::Reference { toml: true } => print!("{}", config::docs::example()),
    }
    Ok(())
}
