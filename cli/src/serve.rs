//! `odradek serve`: a broker until a signal stops it; and how a node is configured.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use config::{Config, Origin};
use net::boot::Ready;

use crate::args::ServeArgs;
use crate::loggers::Levels;

/// Runs the broker. Errors are printed here: each kind has its exit code.
pub(crate) fn run(args: &ServeArgs) -> ExitCode {
    let (file, data) = (args.config.as_deref(), args.data.as_deref());
    let settings = Settings { config: file, data, set: &args.set };
    let config = match configure(&settings, args.listen.as_deref()) {
        Ok(config) => config,
        Err(message) => {
            eprintln!("odradek: {message}");
            return ExitCode::from(net::boot::ExitCode::Usage as u8);
        }
    };
    let levels = Arc::new(Levels::start(config.log_format, config.log_level));
    match net::serve::serve(&config, levels, |ready| announce(&ready)) {
        Ok(()) => ExitCode::from(net::boot::ExitCode::Stopped as u8),
        Err(error) => {
            eprintln!("odradek: {error}");
            ExitCode::from(error.exit_code() as u8)
        }
    }
}

/// Where a node's configuration comes from, but for flags of one command only.
pub(crate) struct Settings<'a> {
    /// `--config`.
    pub(crate) config: Option<&'a Path>,
    /// `--data`.
    pub(crate) data: Option<&'a Path>,
    /// `--set`, each `KEY=VALUE`.
    pub(crate) set: &'a [String],
}

/// What is said later wins: file, `--data` and `--listen`, `--set`.
pub(crate) fn configure(settings: &Settings<'_>, listen: Option<&str>) -> Result<Config, String> {
    let mut builder = Config::builder();
    if let Some(file) = settings.config {
        builder = builder.file(file);
    }
    if let Some(data) = settings.data {
        builder = builder.put("log.dirs", &data.to_string_lossy(), Origin::Flag("--data"));
    }
    if let Some(listen) = listen {
        let listeners = config::listener::from_host_port(listen)?;
        builder = builder.put("listeners", &listeners, Origin::Flag("--listen"));
    }
    let builder = settings.set.iter().fold(builder, |builder, set| builder.set(set));
    builder.build().map_err(|errors| errors.to_string())
}

/// The line that scripts wait for, on standard output; the log goes to standard error.
fn announce(ready: &Ready) {
    let addresses: Vec<_> = ready.listeners.iter().map(|(_, addr)| addr.to_string()).collect();
    let mut out = io::stdout().lock();
    // Nobody may be reading.
    let _ = writeln!(out, "odradek ready on {}", addresses.join(", "));
    if let Some(admin) = ready.admin {
        let _ = writeln!(out, "odradek admin on {admin}");
    }
    let _ = out.flush();
}
