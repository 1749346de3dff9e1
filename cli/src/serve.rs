//! `odradek serve`: a broker until a signal stops it; and how a node is configured.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use config::{Config, LogFormat, LogLevel, Origin};
use net::boot::Ready;
use tracing_subscriber::EnvFilter;

use crate::args::ServeArgs;

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
    log_to_stderr(config.log_format, config.log_level);
    match net::serve::serve(&config, |ready| announce(&ready)) {
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
    let _ = writeln!(out, "odradek ready on {}", addresses.join(", ")).and_then(|()| out.flush());
}

pub(crate) fn log_to_stderr(format: LogFormat, level: LogLevel) {
    let default = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let filter = EnvFilter::try_from_env("ODRADEK_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => {
            let colours = io::IsTerminal::is_terminal(&io::stderr());
            builder.with_ansi(colours).with_target(false).init();
        }
    }
}
