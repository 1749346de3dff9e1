//! What to do to a broker, as a TOML file says it.
//!
//! A workload has one topic and any number of loads, which all run at the same time: `[[produce]]`
//! and `[[consume]]` sets of connections, and `[[group]]`s of members. `README.md` beside this crate describes every key.

mod group;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

pub use self::group::{Group, Measured, Protocol};
use crate::batch::{BATCH_OVERHEAD, RECORD_OVERHEAD};
use crate::stamp::STAMP_BYTES;
use crate::units::{Bytes, Span};

/// A whole workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Workload {
    /// The file's name without its ending.
    #[serde(skip_deserializing, default)]
    pub name: String,
    /// One line for people.
    pub about: String,
    /// How long loads run before anything is counted.
    #[serde(default = "default_warmup")]
    pub warmup: Span,
    /// How long is measured.
    #[serde(default = "default_duration")]
    pub duration: Span,
    /// How long answers may take after the last request went out.
    #[serde(default = "default_drain")]
    pub drain: Span,
    /// What of the log is read back and checked afterwards.
    #[serde(default)]
    pub truth: Truth,
    /// Settings that a broker gets when this program starts it, beside the command line's: by
    /// `odradek` or `kafka`, a list of `KEY=VALUE`.
    #[serde(default)]
    pub brokers: BTreeMap<String, Vec<String>>,
    /// Where the records go.
    #[serde(default)]
    pub topic: Topic,
    /// Loads that write.
    #[serde(default)]
    pub produce: Vec<Produce>,
    /// Loads that read.
    #[serde(default)]
    pub consume: Vec<Consume>,
    /// Consumer groups.
    #[serde(default)]
    pub group: Vec<Group>,
}

/// What is checked after the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Truth {
    /// Bytes of log to read back, from the oldest on; 0 for none.
    pub read_back: Bytes,
}

/// The topic, which is created for the run and deleted after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Topic {
    /// Number of partitions.
    #[serde(default = "one")]
    pub partitions: u32,
    /// Replicas of each; −1 for the broker's default.
    #[serde(default = "broker_default")]
    pub replication: i16,
    /// Topic configuration.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// Records written before the loads start, over all partitions.
    #[serde(default)]
    pub prefill: Bytes,
    /// Size of their batches.
    #[serde(default = "prefill_batch")]
    pub prefill_batch: Bytes,
    /// Whether what was written is driven out of caches before the loads start: the page cache is
    /// dropped (needs root), and a broker that this program started is started again.
    #[serde(default)]
    pub cold: bool,
}

/// Who makes the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Frames built beforehand and patched in place: the load costs next to nothing.
    #[default]
    Raw,
    /// As an application does it: records encoded, keyed, gathered, compressed.
    Client,
}

/// When an open-loop load sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrival {
    /// At equal distances.
    #[default]
    Even,
    /// At random ones, as of many independent senders.
    Poisson,
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acks {
    /// By all in-sync replicas.
    #[default]
    #[serde(rename = "all")]
    All,
    /// By the leader alone.
    #[serde(rename = "1")]
    Leader,
}

/// Codec of the batches of a client load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// As they are.
    #[default]
    None,
    /// DEFLATE.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// A group of producing connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Produce {
    /// What the load is called in reports.
    #[serde(default = "produce_name")]
    pub name: String,
    /// Who makes the bytes.
    #[serde(default)]
    pub kind: Kind,
    /// Number of connections.
    #[serde(default = "one")]
    pub connections: u32,
    /// Closed loop: requests in flight on each connection. With `rate`: the most of them.
    #[serde(default)]
    pub depth: Option<u32>,
    /// Open loop, over all connections: requests (raw) or records (client) a second.
    #[serde(default)]
    pub rate: Option<f64>,
    /// When an open loop sends.
    #[serde(default)]
    pub arrival: Arrival,
    /// Length of a record's value.
    #[serde(default = "record_bytes")]
    pub record: Bytes,
    /// Size of a batch; as many records as fit, at least one.
    #[serde(default)]
    pub batch: Bytes,
    /// Raw: how many partitions one request writes to.
    #[serde(default = "one")]
    pub partitions_per_request: u32,
    /// What an acknowledgement means.
    #[serde(default)]
    pub acks: Acks,
    /// Whether batches carry a producer id and sequence numbers.
    #[serde(default)]
    pub idempotent: bool,
    /// Client: how records are stored.
    #[serde(default)]
    pub compression: Codec,
    /// Client: number of distinct keys; 0 for records without key.
    #[serde(default)]
    pub keys: u64,
    /// Client: how long a batch waits for more records.
    #[serde(default = "default_linger")]
    pub linger: Span,
}

/// Where a consumer starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum From {
    /// At the oldest record.
    #[default]
    Start,
    /// Behind the newest record of the prefill.
    End,
}

/// A group of consuming connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Consume {
    /// What the load is called in reports.
    #[serde(default = "consume_name")]
    pub name: String,
    /// Number of connections.
    #[serde(default = "one")]
    pub connections: u32,
    /// Fetches in flight on each connection, each of partitions of its own.
    #[serde(default = "one")]
    pub depth: u32,
    /// Where to start.
    #[serde(default)]
    pub from: From,
    /// Whether a reader that reached the end of what was there starts again.
    #[serde(default)]
    pub repeat: bool,
    /// Most bytes of a partition in one answer.
    #[serde(default = "fetch_bytes")]
    pub fetch: Bytes,
    /// How many partitions one fetch asks for; 0 for all that fall to it.
    #[serde(default)]
    pub partitions_per_request: u32,
    /// How long the broker may wait for the first byte.
    #[serde(default = "max_wait")]
    pub max_wait: Span,
    /// Whether every connection reads all partitions, as groups of their own would.
    #[serde(default)]
    pub each_reads_all: bool,
    /// Whether the time from a record's intended sending to its arrival is measured, and its
    /// order and content checked. Otherwise a fetch's own duration is.
    #[serde(default)]
    pub end_to_end: bool,
    /// A slow reader: bytes a second on each connection; 0 for as fast as it goes.
    #[serde(default)]
    pub throttle: Bytes,
}

impl Workload {
    /// Reads a file, or one of the workloads that come with the program by its name.
    pub fn load(name_or_path: &str) -> Result<Self> {
        let path = Path::new(name_or_path);
        if let Some(text) = builtin(name_or_path) {
            return Self::parse(name_or_path, text);
        }
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("{name_or_path} is neither a workload of this program (perf list) nor a file")
        })?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&name, &text)
    }

    /// Reads the text of a workload file.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let mut workload: Self =
            toml::from_str(text).with_context(|| format!("workload {name}"))?;
        name.clone_into(&mut workload.name);
        workload.check().with_context(|| format!("workload {name}"))?;
        Ok(workload)
    }

    /// Whether it can be run as it is.
    pub fn check(&self) -> Result<()> {
        let loads = self.produce.len() + self.consume.len() + self.group.len();
        ensure!(loads > 0, "there is no load in it");
        ensure!(self.topic.partitions > 0, "a topic has at least one partition");
        ensure!(self.duration.ns() > 0, "nothing is measured in no time");
        for load in &self.produce {
            load.check().with_context(|| format!("produce load {}", load.name))?;
        }
        for load in &self.consume {
            ensure!(load.connections > 0 && load.depth > 0, "{}: no connection", load.name);
            ensure!(load.fetch.0 >= 1024, "{}: fetch is at least 1KiB", load.name);
        }
        for load in &self.group {
            load.check(&self.topic).with_context(|| format!("group load {}", load.name))?;
        }
        Ok(())
    }
}

impl Produce {
    fn check(&self) -> Result<()> {
        ensure!(self.connections > 0, "there is no connection");
        ensure!(self.depth != Some(0), "a depth of 0 sends nothing");
        ensure!(self.rate.is_none_or(|rate| rate > 0.0), "a rate is above 0");
        if self.rate.is_none() && self.depth.is_none() {
            bail!("say how much to send: a depth (closed loop) or a rate (open loop)");
        }
        ensure!(
            self.record.len() >= STAMP_BYTES,
            "a record holds {STAMP_BYTES} bytes of stamp, so it is at least that long"
        );
        ensure!(self.partitions_per_request > 0, "a request is for at least one partition");
        if self.kind == Kind::Raw {
            ensure!(self.compression == Codec::None, "only client loads compress");
            ensure!(self.keys == 0, "only client loads have keys");
        }
        Ok(())
    }

    /// Records of a full batch.
    #[must_use]
    pub fn records_per_batch(&self) -> usize {
        let room = self.batch.len().saturating_sub(BATCH_OVERHEAD);
        (room / (self.record.len() + RECORD_OVERHEAD)).max(1)
    }

    /// The `acks` of the request.
    #[must_use]
    pub fn acks_code(&self) -> i16 {
        match self.acks {
            Acks::All => -1,
            Acks::Leader => 1,
        }
    }
}

impl Default for Topic {
    fn default() -> Self {
        Self {
            partitions: 1,
            replication: broker_default(),
            config: BTreeMap::new(),
            prefill: Bytes(0),
            prefill_batch: prefill_batch(),
            cold: false,
        }
    }
}

impl Default for Truth {
    fn default() -> Self {
        Self { read_back: Bytes(8 << 30) }
    }
}

/// The workloads that come with the program: name and text.
pub const BUILTIN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/workloads.rs"));

fn builtin(name: &str) -> Option<&'static str> {
    BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

fn one() -> u32 {
    1
}

fn broker_default() -> i16 {
    -1
}

fn default_warmup() -> Span {
    Span(std::time::Duration::from_secs(3))
}

fn default_duration() -> Span {
    Span(std::time::Duration::from_secs(10))
}

fn default_drain() -> Span {
    Span(std::time::Duration::from_secs(30))
}

fn default_linger() -> Span {
    Span(std::time::Duration::from_millis(5))
}

fn max_wait() -> Span {
    Span(std::time::Duration::from_millis(500))
}

fn prefill_batch() -> Bytes {
    Bytes(64 << 10)
}

fn record_bytes() -> Bytes {
    Bytes(1 << 10)
}

fn fetch_bytes() -> Bytes {
    Bytes(1 << 20)
}

fn produce_name() -> String {
    "produce".to_owned()
}

fn consume_name() -> String {
    "consume".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_that_comes_along_is_sound() {
        assert!(BUILTIN.len() > 5);
        for (name, text) in BUILTIN {
            let workload = Workload::parse(name, text).unwrap_or_else(|e| panic!("{e:#}"));
            assert!(!workload.about.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_misspelt_key_is_named() {
        let text = "about = \"x\"\n[[produce]]\nconections = 4\n";
        let error = format!("{:#}", Workload::parse("x", text).expect_err("misspelt"));
        assert!(error.contains("conections"), "{error}");
    }

    #[test]
    fn what_cannot_run_is_refused() {
        for (text, word) in [
            ("about = \"x\"", "no load"),
            ("about = \"x\"\n[[produce]]\n", "depth"),
            ("about = \"x\"\n[[produce]]\nrate = 0.0", "rate"),
            ("about = \"x\"\n[[produce]]\ndepth = 1\nrecord = 10", "stamp"),
            ("about = \"x\"\n[[produce]]\ndepth = 1\nkeys = 5", "client"),
            ("about = \"x\"\n[[consume]]\nfetch = \"12 miles\"", "miles"),
            ("about = \"x\"\n[[group]]\nmembers = 2", "partitions"),
            ("about = \"x\"\n[[group]]\nmeasure = \"commit\"", "how often"),
        ] {
            let error = format!("{:#}", Workload::parse("x", text).expect_err(text));
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_batch_holds_what_fits() {
        let text = "about = \"x\"\n[[produce]]\ndepth = 1\nrecord = \"1000\"\nbatch = \"64KiB\"";
        let workload = Workload::parse("x", text).expect("sound");
        let records = workload.produce[0].records_per_batch();
        assert!((63..=65).contains(&records), "{records}");
    }
}
