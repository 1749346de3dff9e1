//! The command line: what can be typed, with Kafka's flag names where a Kafka user expects them.

mod config;
mod group;
mod reset;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use config::{ConfigCommand, Entity};
pub(crate) use group::{GroupCommand, ResetArgs};
pub(crate) use reset::ResetTo;

use crate::client::member::Protocol;

/// One core, one executor: an event-streaming broker that speaks Kafka's protocol.
#[derive(Debug, Parser)]
#[command(
    name = "odradek",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = crate::kafka::HELP
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a broker.
    Serve(ServeArgs),
    /// Create, list, describe, alter and delete topics.
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Send records from standard input or a file, one a line.
    Produce(ProduceArgs),
    /// Print records of a topic.
    Consume(ConsumeArgs),
    /// List, describe, move and delete groups of consumers.
    #[command(subcommand)]
    Group(GroupCommand),
    /// Look into and check partition files, ours and Kafka's.
    #[command(subcommand)]
    Log(LogCommand),
    /// Show and change configurations; print what can be configured.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print what is counted.
    #[command(subcommand)]
    Metrics(MetricsCommand),
    /// Run the node in a simulator, and look for violations of what it promises.
    Sim(SimArgs),
    /// Measure brokers under load, ours and others, and check that they keep what they take.
    #[command(subcommand)]
    Perf(perf::Command),
    /// Look at this machine, measure it, and print a configuration for it; what else would help, on
    /// standard error.
    Tune(TuneArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell to complete for.
        shell: clap_complete::Shell,
    },
}

/// `odradek serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 stopped as asked, 1 failed, 2 wrong command line or configuration, 3 the data
directory cannot be used, 4 the address cannot be listened on, 5 the machine lacks something.
SIGTERM and SIGINT stop in order; a second one stops at once, with 128 plus its number.")]
pub(crate) struct ServeArgs {
    /// Configuration file (TOML; see `odradek config reference`).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory, same as `--set log.dirs=DIR` [default: ./data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Address to listen on, same as `--set listeners=PLAINTEXT://HOST:PORT`; port 0 takes any
    /// free one [default: 127.0.0.1:9092].
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// One configuration key; may be repeated, and wins over the file.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// `odradek tune`.
#[derive(Debug, Args)]
pub(crate) struct TuneArgs {
    /// Where the data will lie.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    pub(crate) data: PathBuf,
    /// Write the configuration into this new file.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Do not measure disk, loopback and memory.
    #[arg(long)]
    pub(crate) no_measure: bool,
    /// How long each is measured.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub(crate) duration: perf::units::Span,
}

/// `odradek sim`.
#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// First seed.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many seeds to run, from the first on.
    #[arg(long, default_value_t = 1)]
    pub(crate) count: u64,
    /// Answered requests of each run.
    #[arg(long, default_value_t = 500)]
    pub(crate) operations: u32,
    /// Print every step, of a single seed.
    #[arg(long, conflicts_with = "count")]
    pub(crate) trace: bool,
}

/// How to reach a cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct Bootstrap {
    /// A broker to begin with.
    #[arg(
        long = "bootstrap-server",
        visible_alias = "bootstrap",
        value_name = "HOST:PORT",
        env = "ODRADEK_BOOTSTRAP_SERVER",
        default_value = "127.0.0.1:9092"
    )]
    pub(crate) bootstrap_server: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Create a topic.
    Create {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Name of the topic.
        topic: String,
        /// Number of partitions [default: the broker's num.partitions].
        #[arg(long)]
        partitions: Option<i32>,
        /// Number of replicas [default: the broker's default.replication.factor].
        #[arg(long)]
        replication_factor: Option<i16>,
        /// A topic configuration; may be repeated.
        #[arg(long = "config", value_name = "KEY=VALUE")]
        configs: Vec<String>,
        /// Succeed when the topic is there already.
        #[arg(long)]
        if_not_exists: bool,
    },
    /// List the topics.
    List {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Leave out topics whose names begin with `__`.
        #[arg(long)]
        exclude_internal: bool,
    },
    /// Show partitions, replicas and configurations.
    Describe {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Topics to show [default: all].
        topics: Vec<String>,
    },
    /// Add partitions, set or reset configurations.
    Alter {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Name of the topic.
        topic: String,
        /// New total number of partitions; it can only grow.
        #[arg(long)]
        partitions: Option<i32>,
        /// A configuration to set; may be repeated.
        #[arg(long = "config", value_name = "KEY=VALUE")]
        configs: Vec<String>,
        /// A configuration to take back to its default; may be repeated.
        #[arg(long = "delete-config", value_name = "KEY")]
        delete_configs: Vec<String>,
    },
    /// Move partitions of a broker to another of its log directories, while they are served.
    Move {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Name of the topic.
        topic: String,
        /// Log directory, as `kafka-log-dirs --describe` shows it. The one that a partition is in
        /// calls off its move.
        #[arg(long, value_name = "DIR")]
        to: String,
        /// A partition to move; may be repeated [default: all].
        #[arg(long = "partition")]
        partitions: Vec<i32>,
        /// Id of the broker [default: the only one].
        #[arg(long)]
        broker: Option<i32>,
    },
    /// Delete topics and all their records.
    Delete {
        #[command(flatten)]
        bootstrap: Bootstrap,
        /// Names of the topics.
        #[arg(required = true)]
        topics: Vec<String>,
        /// Succeed when a topic is not there.
        #[arg(long)]
        if_exists: bool,
    },
}

/// `odradek produce`.
#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    #[command(flatten)]
    pub(crate) bootstrap: Bootstrap,
    /// Topic to write to.
    pub(crate) topic: String,
    /// Read records from this file instead of standard input.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Partition to write to [default: by key, else in turn].
    #[arg(long, short)]
    pub(crate) partition: Option<i32>,
    /// Split each line into key and value at the first of these.
    #[arg(long, short = 'K', value_name = "TEXT")]
    pub(crate) key_separator: Option<String>,
    /// A header for every record; may be repeated.
    #[arg(long = "header", short = 'H', value_name = "KEY=VALUE")]
    pub(crate) headers: Vec<String>,
    /// Codec of the batches.
    #[arg(long, visible_alias = "compression-codec", short = 'z', default_value = "none")]
    pub(crate) compression: Codec,
    /// What to wait for: `all`, `1` (the leader's append) or `0` (nothing).
    #[arg(long, visible_alias = "producer-acks", default_value = "all")]
    pub(crate) acks: Acks,
    /// Most bytes of records in one batch.
    #[arg(long, default_value_t = 262_144)]
    pub(crate) batch_size: usize,
    /// Show progress on standard error.
    #[arg(long)]
    pub(crate) progress: bool,
}

/// Compression codecs of record batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// The `acks` of a Produce request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Acks {
    #[value(name = "all", alias = "-1")]
    All,
    #[value(name = "1")]
    Leader,
    #[value(name = "0")]
    None,
}

/// `odradek consume`.
#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    #[command(flatten)]
    pub(crate) bootstrap: Bootstrap,
    /// Topic to read.
    pub(crate) topic: String,
    /// Partition to read; may be repeated [default: all].
    #[arg(long, short)]
    pub(crate) partition: Vec<i32>,
    /// Begin at the oldest record kept [default: at the end].
    #[arg(long, conflicts_with_all = ["offset", "timestamp"])]
    pub(crate) from_beginning: bool,
    /// Begin at this offset; a negative number counts back from the end.
    #[arg(long, short, allow_negative_numbers = true, conflicts_with = "timestamp")]
    pub(crate) offset: Option<i64>,
    /// Begin at the first record of this time or later (Unix milliseconds).
    #[arg(long, short, value_name = "MS")]
    pub(crate) timestamp: Option<i64>,
    /// Stop after this many records.
    #[arg(long = "max-messages", visible_alias = "num-records", short = 'n', value_name = "N")]
    pub(crate) max_messages: Option<u64>,
    /// What to print of each record: %k key, %v value, %t topic, %p partition, %o offset,
    /// %T timestamp, %h headers, \n and \t as usual [default: %v\n].
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    pub(crate) format: Option<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// Stop at the end of what was there at the start.
    #[arg(long, short = 'e')]
    pub(crate) exit_at_end: bool,
    /// Read as a member of this group: share the topic with the others, begin where the group is,
    /// and note how far it came.
    #[arg(long, short, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// How the group agrees on who reads what: among its members, or by the broker (KIP-848).
    #[arg(long, value_name = "PROTOCOL", default_value = "consumer", requires = "group")]
    pub(crate) group_protocol: GroupProtocol,
    /// Name of a static member, which may come back without a rebalance.
    #[arg(long, value_name = "NAME", requires = "group")]
    pub(crate) group_instance_id: Option<String>,
    /// Without a sign of life for so long, a classic group goes on without the member.
    #[arg(long, value_name = "MS", default_value_t = 45_000, requires = "group")]
    pub(crate) session_timeout_ms: u32,
    /// Between two notes of how far the group came; the last one is made at the end.
    #[arg(long, value_name = "MS", default_value_t = 5_000, requires = "group")]
    pub(crate) commit_interval_ms: u64,
}

/// Protocols of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GroupProtocol {
    Classic,
    Consumer,
}

impl From<GroupProtocol> for Protocol {
    fn from(protocol: GroupProtocol) -> Self {
        match protocol {
            GroupProtocol::Classic => Self::Classic,
            GroupProtocol::Consumer => Self::Consumer,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Print what is in segment, index, snapshot and checkpoint files.
    Dump {
        /// Files, or whole partition directories.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Print every record, not only the batches.
        #[arg(long, visible_alias = "print-data-log")]
        deep_iteration: bool,
        /// Decode the values as cluster metadata records.
        #[arg(long)]
        cluster_metadata_decoder: bool,
        /// Decode keys and values as records of `__consumer_offsets`.
        #[arg(long, conflicts_with = "cluster_metadata_decoder")]
        offsets_decoder: bool,
    },
    /// Check every checksum, offset and index of partition directories.
    Verify {
        /// Partition directories, or log directories with many of them.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Take in partitions that another broker has written, ours or Kafka's.
    Adopt(AdoptArgs),
}

/// `odradek log adopt`.
#[derive(Debug, Args)]
#[command(after_help = "\
The broker that wrote the directories must be stopped, and so must this node's. Topics keep their
ids; leader epochs and producer ids go on above those in the files. The sources are only read.
Topic configurations are not in these directories: without `--topic-config retention.ms=-1`, old
records go as soon as the broker's own retention allows.")]
pub(crate) struct AdoptArgs {
    /// Partition directories, or log directories with many of them.
    #[arg(required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Data directory of this node, same as `--set log.dirs=DIR` [default: ./data].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Configuration file of this node.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One configuration key of this node; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// A configuration for every topic that is taken in; may be repeated.
    #[arg(long = "topic-config", value_name = "KEY=VALUE")]
    pub(crate) topic_configs: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MetricsCommand {
    /// Every metric with its type, labels and meaning.
    Reference,
}
