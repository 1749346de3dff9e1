//! Levels of what is logged, as Kafka's loggers: the resource BROKER_LOGGER of DescribeConfigs and
//! IncrementalAlterConfigs.
//!
//! A logger is named as the module whose lines it holds, with dots as in Java (`net.meta` for
//! `net::meta`): Kafka's tools send no colons. What is below follows it unless it is set itself, and
//! everything follows `root`. What writes the lines belongs to the program around the node, which
//! lends it here.

use std::fmt;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing: no line says that the program ends because of it.
    Fatal,
    /// Failures.
    Error,
    /// And what may become one.
    Warn,
    /// And what happens.
    Info,
    /// And why.
    Debug,
    /// And every step.
    Trace,
}

/// The levels that are in force, and how to change them; for all cores of the process.
pub trait Loggers: Send + Sync + fmt::Debug {
    /// What is in force for the logger, by itself or by one that it follows.
    fn level(&self, logger: &str) -> Severity;

    /// Sets levels, or with none lets the loggers follow again; all at once.
    fn set(&self, changes: &[(&str, Option<Severity>)]);
}

impl Severity {
    /// Kafka's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fatal => "FATAL",
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
            Self::Trace => "TRACE",
        }
    }

    /// From Kafka's name, in capitals.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Fatal, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
        all.into_iter().find(|level| level.name() == name)
    }
}

/// The logger that all others follow.
pub const ROOT: &str = "root";

/// Every logger, in order: the modules that write lines, and `root`.
pub const LOGGERS: &[&str] = &[
    "engine",
    "engine.group",
    "engine.log",
    "engine.partition",
    "engine.rt",
    "net",
    "net.admin",
    "net.adopt",
    "net.api",
    "net.background",
    "net.boot",
    "net.conn",
    "net.groups",
    "net.listen",
    "net.mesh",
    "net.meta",
    "net.moves",
    "net.placement",
    "net.positions",
    "net.publish",
    "net.report",
    "net.side",
    "root",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for name in ["FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"] {
            assert_eq!(Severity::named(name).map(Severity::name), Some(name));
        }
        assert_eq!(Severity::named("debug"), None);
        assert!(LOGGERS.is_sorted() && LOGGERS.contains(&ROOT));
    }
}
