//! Apache Kafka's own programs against the broker.

mod cluster;
mod configs;
mod files;
mod groups;
mod log_dirs;
mod partitions;
mod records;
mod topics;
mod verifiable;

use std::path::Path;

use tempfile::TempDir;

use crate::support::broker::{self, Broker};
use crate::support::java::Java;

/// A broker and the programs pointed at it.
struct Programs {
    java: &'static Java,
    broker: Broker,
    home: TempDir,
}

impl Programs {
    /// `None` where the programs can't run; see [`Java::get`].
    fn start() -> Option<Self> {
        Java::get().map(|java| Self { java, broker: Broker::start(), home: broker::home() })
    }

    /// With a broker that is surely ours, because its files are looked at.
    fn own() -> Option<Self> {
        Self::with(&[])
    }

    /// With a broker that is surely ours, with `KEY=VALUE` settings.
    fn with(settings: &[&str]) -> Option<Self> {
        let broker = || Broker::own(settings);
        Java::get().map(|java| Self { java, broker: broker(), home: broker::home() })
    }

    fn address(&self) -> &str {
        self.broker.address()
    }

    /// A place for the programs' input files.
    fn home(&self) -> &Path {
        self.home.path()
    }

    /// Standard output of a program that must succeed.
    fn run(&self, class: &str, arguments: &[&str]) -> String {
        self.feed(class, arguments, b"")
    }

    /// As [`Self::run`], with `input` on its standard input.
    fn feed(&self, class: &str, arguments: &[&str], input: &[u8]) -> String {
        self.java.finish(class, &self.with_address(arguments), input).expect_success()
    }

    /// All output of a program that must fail.
    fn refused(&self, class: &str, arguments: &[&str]) -> String {
        self.java.finish(class, &self.with_address(arguments), b"").expect_failure()
    }

    fn with_address<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["--bootstrap-server", self.address()], arguments].concat()
    }
}
