//! `kafka-console-consumer`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Parser;

use super::console_format::RecordFormat;
use super::properties::Properties;
use super::{Failed, parse, refuse_unsupported, short, tell_deprecated};
use crate::client::cluster::Cluster;
use crate::client::fetcher::{Fetcher, Reset};
use crate::client::interrupt::Interrupt;
use crate::client::member::{MemberOptions, Protocol, Wanted, random_id};
use crate::client::names;
use crate::client::offsets::all_at;
use crate::client::partitions::TopicPartition;
use crate::client::reader::{GroupReader, ReadOptions};
use crate::cmd::consume::{Limits, Source, read};

/// Read data from Kafka topics and output it to standard output.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true, infer_long_args = true)]
struct Options {
    /// The servers to connect to, HOST1:PORT1,HOST2:PORT2.
    #[arg(long)]
    bootstrap_server: Option<String>,
    /// The topic to consume.
    #[arg(long)]
    topic: Option<String>,
    /// Topics to consume, a regular expression.
    #[arg(long)]
    include: Option<String>,
    /// The partition to consume, from its end unless --offset is given.
    #[arg(long)]
    partition: Option<i32>,
    /// Where to begin: a number, earliest or latest.
    #[arg(long, allow_hyphen_values = true)]
    offset: Option<String>,
    /// Where the group has no offset yet, begin with the earliest message.
    #[arg(long)]
    from_beginning: bool,
    /// The group to be in; without one, a group of its own.
    #[arg(long)]
    group: Option<String>,
    /// Stop after so many messages.
    #[arg(long)]
    max_messages: Option<u64>,
    /// Stop when nothing came for so long.
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,
    /// read_committed or read_uncommitted.
    #[arg(long)]
    isolation_level: Option<String>,
    /// Consumer configurations, a file.
    #[arg(long, visible_alias = "consumer.config", value_name = "FILE")]
    command_config: Option<PathBuf>,
    /// A consumer configuration; may be repeated.
    #[arg(long, visible_alias = "consumer-property", value_name = "KEY=VALUE")]
    command_property: Vec<String>,
    /// The class that formats messages.
    #[arg(long)]
    formatter: Option<String>,
    /// Configurations of the formatter, a file.
    #[arg(long, value_name = "FILE")]
    formatter_config: Option<PathBuf>,
    /// A configuration of the formatter: print.timestamp, print.key, print.offset, print.epoch,
    /// print.delivery, print.partition, print.headers, print.value, key.separator, line.separator,
    /// headers.separator, null.literal, key.deserializer, value.deserializer, headers.deserializer.
    #[arg(long, visible_alias = "property", value_name = "KEY=VALUE")]
    formatter_property: Vec<String>,
    /// The class that reads keys.
    #[arg(long)]
    key_deserializer: Option<String>,
    /// The class that reads values.
    #[arg(long)]
    value_deserializer: Option<String>,
    /// Leave out messages that can't be printed.
    #[arg(long)]
    skip_message_on_error: bool,
    #[arg(long, hide = true)]
    enable_systest_events: bool,
}

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, Failed> {
    let options: Options = parse("kafka-console-consumer", args)?;
    tell_deprecated("Option", args, &DEPRECATED);
    check(&options)?;
    let format = format(&options)?;
    let plan = plan(&options)?;
    let limits = Limits {
        records: options.max_messages,
        idle: options.timeout_ms.map(Duration::from_millis),
        ends: None,
    };
    let interrupt = Interrupt::watch();
    let source = open(&options, plan).map_err(short)?;
    let done = read(source, limits, &interrupt, |out, record| match format.write(out, record) {
        Err(error) if options.skip_message_on_error && error.kind() == UNREADABLE => {
            eprintln!("Error processing message, skipping this message: {error}");
            Ok(())
        }
        written => written,
    });
    let done = done.map_err(short)?;
    eprintln!("Processed a total of {} messages", done.records);
    Ok(done.exit_code())
}

fn check(options: &Options) -> Result<(), Failed> {
    if options.bootstrap_server.is_none() {
        return Err("Missing required argument \"[bootstrap-server]\"".into());
    }
    if options.topic.is_some() == options.include.is_some() {
        let which = "[topic], [include]";
        return Err(format!("Exactly one of the following arguments is required: {which}").into());
    }
    if options.partition.is_some() {
        if options.topic.is_none() {
            return Err("The topic is required when partition is specified.".into());
        }
        if options.from_beginning && options.offset.is_some() {
            return Err("Options from-beginning and offset cannot be specified together.".into());
        }
        if options.group.is_some() {
            return Err("Options group and partition cannot be specified together.".into());
        }
    } else if options.offset.is_some() {
        return Err("The partition is required when offset is specified.".into());
    }
    refuse_unsupported(&[(
        "enable-systest-events",
        options.enable_systest_events,
        "it is for Kafka's own tests",
    )])
}

/// How to read, apart from what.
struct Plan {
    member: MemberOptions,
    read: ReadOptions,
    /// Where to begin in the one partition, as ListOffsets names it, or an offset.
    start: Start,
    /// Topics that are not there come to be, as clients have it by default.
    creates: bool,
}

enum Start {
    End(Reset),
    At(i64),
}

/// Options win over properties, as in Kafka.
fn plan(options: &Options) -> Result<Plan, Failed> {
    let (file, given) = (options.command_config.as_deref(), &options.command_property);
    let mut properties = Properties::of("--command-property", file, given)?;
    let millis = |ms: Option<u64>, default| Duration::from_millis(ms.unwrap_or(default));
    let booleans = [("true", true), ("false", false)];
    let reset = reset(options, &mut properties)?;
    let group = group(options, &mut properties)?;
    let protocols = [("classic", Protocol::Classic), ("consumer", Protocol::Consumer)];
    let protocol = properties.choose("group.protocol", &protocols)?;
    let read_committed = read_committed(options, &mut properties)?;
    let commits = properties.choose("enable.auto.commit", &booleans)?;
    let commit_every = millis(properties.parse("auto.commit.interval.ms")?, 5_000);
    let session_timeout = millis(properties.parse("session.timeout.ms")?, 45_000);
    let assignors = properties.take("partition.assignment.strategy");
    if let Some(strategy) = assignors.filter(|it| !it.ends_with("RangeAssignor")) {
        let why = "this member assigns by ranges";
        return Err(
            format!("partition.assignment.strategy={strategy} is not supported: {why}").into()
        );
    }
    let creates = properties.choose("allow.auto.create.topics", &booleans)?.unwrap_or(true);
    let plan = Plan {
        member: MemberOptions {
            bootstrap_server: options.bootstrap_server.clone().unwrap_or_default(),
            client_id: properties.client_id("console-consumer")?,
            // As Kafka does: a group that nobody else is in, and that is not kept.
            group: group.clone().unwrap_or_else(|| format!("console-consumer-{}", random_id())),
            protocol: protocol.unwrap_or(Protocol::Classic),
            wanted: wanted(options)?,
            instance_id: properties.take("group.instance.id"),
            session_timeout,
            rebalance_timeout: millis(properties.parse("max.poll.interval.ms")?, 300_000),
            heartbeat_interval: millis(properties.parse("heartbeat.interval.ms")?, 3_000),
            assignor: properties.take("group.remote.assignor"),
        },
        read: ReadOptions {
            reset,
            commit_every: (group.is_some() && commits.unwrap_or(true)).then_some(commit_every),
            read_committed,
        },
        start: start(options, reset)?,
        creates,
    };
    properties.refuse_rest()?;
    Ok(plan)
}

/// Where a group begins that has no offset yet.
fn reset(options: &Options, properties: &mut Properties) -> Result<Reset, Failed> {
    let resets = [("earliest", Reset::Earliest), ("latest", Reset::Latest)];
    match (options.from_beginning, properties.choose("auto.offset.reset", &resets)?) {
        (true, Some(Reset::Latest)) => Err("Can't simultaneously specify --from-beginning and \
                                            'auto.offset.reset=latest', please remove one option"
            .into()),
        (true, _) => Ok(Reset::Earliest),
        (false, asked) => Ok(asked.unwrap_or(Reset::Latest)),
    }
}

/// The group, which may be named in several places alike.
fn group(options: &Options, properties: &mut Properties) -> Result<Option<String>, Failed> {
    let property = properties.take("group.id");
    match (&options.group, &property) {
        (Some(option), Some(property)) if option != property => Err(format!(
            "The group ids provided in different places (directly using '--group', via \
             '--command-property', or via '--command-config') do not match. Detected group ids: \
             '{option}', '{property}'"
        )
        .into()),
        _ => Ok(options.group.clone().or(property)),
    }
}

fn read_committed(options: &Options, properties: &mut Properties) -> Result<bool, Failed> {
    let levels = [("read_uncommitted", false), ("read_committed", true)];
    let mut by_option = Properties::new("--isolation-level");
    let asked = options.isolation_level.iter().map(|it| format!("isolation.level={it}"));
    by_option.add(&asked.collect::<Vec<_>>())?;
    let by_option = by_option.choose("isolation.level", &levels)?;
    Ok(by_option.or(properties.choose("isolation.level", &levels)?).unwrap_or(false))
}

fn wanted(options: &Options) -> Result<Wanted, Failed> {
    match (&options.topic, &options.include) {
        (Some(topic), _) => Ok(Wanted::Topics(vec![topic.clone()])),
        (_, pattern) => {
            let pattern = names::alternatives(pattern.as_deref().unwrap_or_default());
            names::whole(&pattern).map_err(short)?;
            Ok(Wanted::Pattern(pattern))
        }
    }
}

fn start(options: &Options, reset: Reset) -> Result<Start, Failed> {
    let Some(text) = &options.offset else { return Ok(Start::End(reset)) };
    match text.to_ascii_lowercase().as_str() {
        "earliest" => Ok(Start::End(Reset::Earliest)),
        "latest" => Ok(Start::End(Reset::Latest)),
        number => match number.parse() {
            Ok(offset) if offset >= 0 => Ok(Start::At(offset)),
            _ => Err(format!(
                "The provided offset value '{text}' is incorrect. Valid values are 'earliest', \
                 'latest', or a non-negative long."
            )
            .into()),
        },
    }
}

fn open(options: &Options, plan: Plan) -> Result<Source> {
    let mut cluster = plan.member.connect()?;
    if let Some(topic) = options.topic.as_deref().filter(|_| plan.creates) {
        // Who waits for a topic wants it to be there.
        cluster.topic(topic, true)?;
    }
    match options.partition {
        Some(partition) => alone(cluster, options, partition, &plan),
        None => Ok(Source::Group(Box::new(GroupReader::join(plan.member, plan.read)?))),
    }
}

/// One partition needs no group.
fn alone(mut cluster: Cluster, options: &Options, partition: i32, plan: &Plan) -> Result<Source> {
    let name = options.topic.as_deref().unwrap_or_default();
    let topic = cluster.topic(name, false)?;
    topic.partition(partition).ok_or_else(|| anyhow!("{name}-{partition} is not there"))?;
    let at = TopicPartition::new(name, partition);
    let offset = match plan.start {
        Start::At(offset) => offset,
        Start::End(end) => all_at(&mut cluster, [&at], end.timestamp())?[&at],
    };
    let mut fetcher = Fetcher::new(cluster, plan.read.reset);
    fetcher.read_committed(plan.read.read_committed);
    fetcher.seek(at, offset);
    Ok(Source::Alone(Box::new(fetcher)))
}

fn format(options: &Options) -> Result<RecordFormat, Failed> {
    let (file, given) = (options.formatter_config.as_deref(), &options.formatter_property);
    let mut properties = Properties::of("--formatter-property", file, given)?;
    let classes = [&options.key_deserializer, &options.value_deserializer];
    for (class, key) in classes.into_iter().zip(["key.deserializer", "value.deserializer"]) {
        if let Some(class) = class {
            properties.add(&[format!("{key}={class}")])?;
        }
    }
    let format = RecordFormat::read(options.formatter.as_deref(), &mut properties)?;
    properties.refuse_rest()?;
    Ok(format)
}

/// How [`RecordFormat::write`] tells of a message that is not what its deserializer expects.
const UNREADABLE: std::io::ErrorKind = std::io::ErrorKind::InvalidData;

/// What Kafka will drop, and what stands for it.
const DEPRECATED: [(&str, &str); 3] = [
    ("--property", "--formatter-property"),
    ("--consumer-property", "--command-property"),
    ("--consumer.config", "--command-config"),
];
