//! `odradek metrics …`.

use anyhow::Result;

use crate::args::MetricsCommand;

/// Runs one of the metrics commands.
pub(crate) fn run(command: &MetricsCommand) -> Result<()> {
    match command {
        MetricsCommand::Reference => print!("{}", net::admin::reference()),
    }
    Ok(())
}
