//! What is logged, and how that changes while the program runs.
//!
//! The levels begin as `log.level` or, where it is set, `ODRADEK_LOG` says (as `warn,net::meta=debug`).
//! What administrators set goes over that, and is gone with the process, as in Kafka.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use config::{LogFormat, LogLevel};
use net::loggers::{Loggers, ROOT, Severity};
use tracing_subscriber::EnvFilter;

/// The levels in force.
pub(crate) struct Levels {
    /// What the process was started with.
    base: String,
    /// What was set since, by logger.
    set: Mutex<BTreeMap<String, Severity>>,
    apply: Apply,
}

/// Puts a filter into force.
type Apply = Box<dyn Fn(EnvFilter) + Send + Sync>;

impl Levels {
    /// Starts to log to standard error.
    pub(crate) fn start(format: LogFormat, level: LogLevel) -> Self {
        let default = match level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        };
        // As `EnvFilter::try_from_env`: what cannot be read counts as not set.
        let asked = std::env::var("ODRADEK_LOG").ok();
        let asked = asked.filter(|asked| EnvFilter::try_new(asked).is_ok());
        let base = asked.unwrap_or_else(|| default.to_owned());
        let builder = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(&base))
            .with_writer(io::stderr);
        let apply: Apply = match format {
            LogFormat::Json => {
                // Last: the filter's type names all that is around it.
                let builder = builder.json().with_filter_reloading();
                let handle = builder.reload_handle();
                builder.init();
                Box::new(move |filter| drop(handle.reload(filter)))
            }
            LogFormat::Text => {
                let colours = io::IsTerminal::is_terminal(&io::stderr());
                let builder = builder.with_ansi(colours).with_target(false).with_filter_reloading();
                let handle = builder.reload_handle();
                builder.init();
                Box::new(move |filter| drop(handle.reload(filter)))
            }
        };
        Self { base, set: Mutex::default(), apply }
    }

    /// What the filter is made of: of one target the later directive counts.
    fn directives(base: &str, set: &BTreeMap<String, Severity>) -> String {
        let mut text = base.to_owned();
        for (logger, level) in set {
            let level = directive(*level);
            match logger.as_str() {
                ROOT => text.push_str(&format!(",{level}")),
                logger => text.push_str(&format!(",{}={level}", target(logger))),
            }
        }
        text
    }
}

impl Loggers for Levels {
    fn level(&self, logger: &str) -> Severity {
        let set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        effective(&Self::directives(&self.base, &set), &target(logger))
    }

    fn set(&self, changes: &[(&str, Option<Severity>)]) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        for (logger, level) in changes {
            match level {
                Some(level) => drop(set.insert((*logger).to_owned(), *level)),
                None => drop(set.remove(*logger)),
            }
        }
        (self.apply)(EnvFilter::new(Self::directives(&self.base, &set)));
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Levels").field("base", &self.base).field("set", &self.set).finish()
    }
}

/// What the lines of a logger say that they are of.
fn target(logger: &str) -> String {
    logger.replace('.', "::")
}

/// The level that the directives give the target: by the longest one that it begins with. Those of
/// spans and fields are about single lines, not about a target.
fn effective(directives: &str, target: &str) -> Severity {
    let mut best: Option<(usize, Severity)> = None;
    for part in directives.split(',').map(str::trim).filter(|part| !part.contains(['[', '{'])) {
        let (prefix, level) = match part.split_once('=') {
            Some((prefix, level)) => (prefix, severity(level)),
            None => match severity(part) {
                Some(level) => ("", Some(level)),
                // A target alone is one whose every line is written.
                None => (part, Some(Severity::Trace)),
            },
        };
        let Some(level) = level.filter(|_| prefix.is_empty() || target.starts_with(prefix)) else {
            continue;
        };
        if best.is_none_or(|(len, _)| prefix.len() >= len) {
            best = Some((prefix.len(), level));
        }
    }
    // What no directive is about is not written.
    best.map_or(Severity::Fatal, |(_, level)| level)
}

fn severity(text: &str) -> Option<Severity> {
    match text.trim().to_ascii_lowercase().as_str() {
        "off" | "0" => Some(Severity::Fatal),
        "error" | "1" => Some(Severity::Error),
        "warn" | "2" => Some(Severity::Warn),
        "info" | "3" => Some(Severity::Info),
        "debug" | "4" => Some(Severity::Debug),
        "trace" | "5" => Some(Severity::Trace),
        _ => None,
    }
}

fn directive(level: Severity) -> &'static str {
    match level {
        Severity::Fatal => "off",
        Severity::Error => "error",
        Severity::Warn => "warn",
        Severity::Info => "info",
        Severity::Debug => "debug",
        Severity::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn levels(base: &str) -> (Levels, Arc<Mutex<String>>) {
        let applied = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&applied);
        let apply: Apply = Box::new(move |filter| {
            *seen.lock().expect("not poisoned") = filter.to_string();
        });
        (Levels { base: base.to_owned(), set: Mutex::default(), apply }, applied)
    }

    #[test]
    fn a_logger_follows_the_one_above() {
        let (levels, _) = levels("warn,net::meta=debug");
        let of = |logger| levels.level(logger);
        assert_eq!(of(ROOT), Severity::Warn);
        assert_eq!(of("net"), Severity::Warn);
        assert_eq!(of("net.meta"), Severity::Debug);
        levels.set(&[("net", Some(Severity::Error)), (ROOT, Some(Severity::Info))]);
        assert_eq!((of("net.conn"), of("net.meta")), (Severity::Error, Severity::Debug));
        assert_eq!(of("engine.log"), Severity::Info);
        levels.set(&[("net", None)]);
        assert_eq!(of("net.conn"), Severity::Info);
    }

    #[test]
    fn what_is_set_is_put_into_force() {
        let (levels, applied) = levels("info");
        levels.set(&[("net.api", Some(Severity::Trace))]);
        let text = applied.lock().expect("not poisoned").clone();
        assert!(text.contains("net::api=trace") && text.contains("info"), "{text}");
        levels.set(&[(ROOT, Some(Severity::Fatal)), ("net.api", None)]);
        assert_eq!(*applied.lock().expect("not poisoned"), "off");
    }

    #[test]
    fn what_is_not_about_a_target_is_passed_over() {
        assert_eq!(effective("net::conn=trace", "net"), Severity::Fatal);
        assert_eq!(effective("info,[span]=trace", "net"), Severity::Info);
        assert_eq!(effective("net", "net::conn"), Severity::Trace);
        assert_eq!(effective("net=OFF,error", "net::conn"), Severity::Fatal);
    }
}
