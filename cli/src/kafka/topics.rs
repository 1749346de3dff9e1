//! `kafka-topics`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::Parser;
use wire::error_code::ErrorCode;
use wire::primitives::Uuid;

use super::{Failed, Server, message, parse};
use crate::client::cluster::{Cluster, Partition, Topic};
use crate::client::configs::{self, Entry, Resource, Source};
use crate::client::conn::code_of;
use crate::client::names;
use crate::client::topics::{self, NewTopic};
use crate::cmd::topic::key_values;

/// Create, delete, describe, or change a topic.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true, infer_long_args = true)]
struct Options {
    #[command(flatten)]
    server: Server,
    /// Create a new topic.
    #[arg(long)]
    create: bool,
    /// List all available topics.
    #[arg(long)]
    list: bool,
    /// List details for the given topics.
    #[arg(long)]
    describe: bool,
    /// Alter the number of partitions.
    #[arg(long)]
    alter: bool,
    /// Delete a topic.
    #[arg(long)]
    delete: bool,
    /// The topic; but for --create, a regular expression.
    #[arg(long)]
    topic: Option<String>,
    /// The id of the topic to describe.
    #[arg(long)]
    topic_id: Option<Uuid>,
    /// The number of partitions.
    #[arg(long, allow_negative_numbers = true)]
    partitions: Option<i32>,
    /// The replication factor of each partition.
    #[arg(long, allow_negative_numbers = true)]
    replication_factor: Option<i32>,
    /// Brokers of each partition: 1:2,2:3 for two partitions of two replicas.
    #[arg(long)]
    replica_assignment: Option<String>,
    /// A topic configuration; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    config: Vec<String>,
    /// No longer supported.
    #[arg(long)]
    delete_config: Vec<String>,
    /// Succeed when the topic is not there.
    #[arg(long)]
    if_exists: bool,
    /// Succeed when the topic is there already.
    #[arg(long)]
    if_not_exists: bool,
    /// Leave out internal topics.
    #[arg(long)]
    exclude_internal: bool,
    /// Only topics with configurations of their own.
    #[arg(long)]
    topics_with_overrides: bool,
    /// Only partitions without a leader.
    #[arg(long)]
    unavailable_partitions: bool,
    /// Only partitions with fewer in-sync replicas than replicas.
    #[arg(long)]
    under_replicated_partitions: bool,
    /// Only partitions with fewer in-sync replicas than configured.
    #[arg(long)]
    under_min_isr_partitions: bool,
    /// Only partitions with just as many in-sync replicas as configured.
    #[arg(long)]
    at_min_isr_partitions: bool,
    /// Most partitions in one answer of the broker.
    #[arg(long)]
    partition_size_limit_per_response: Option<i32>,
}

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, Failed> {
    let options: Options = parse("kafka-topics", args)?;
    check(&options)?;
    let mut cluster = options.server.connect()?;
    let done = match &options {
        Options { create: true, .. } => create(&mut cluster, &options),
        Options { list: true, .. } => list(&mut cluster, &options),
        Options { describe: true, .. } => describe(&mut cluster, &options),
        Options { alter: true, .. } => alter(&mut cluster, &options),
        _ => delete(&mut cluster, &options),
    };
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            println!("Error while executing topic command : {}", message(&error));
            Err(Failed::told())
        }
    }
}

fn check(options: &Options) -> Result<(), Failed> {
    let actions = [options.list, options.describe, options.create, options.alter, options.delete];
    if actions.iter().filter(|given| **given).count() != 1 {
        let which = "--list, --describe, --create, --alter or --delete";
        return Err(format!("Command must include exactly one action: {which}").into());
    }
    if options.server.bootstrap_server.is_none() {
        return Err("--bootstrap-server must be specified".into());
    }
    if !options.delete_config.is_empty() {
        eprintln!(
            "delete-config option is no longer supported and deprecated since version 4.0. The \
             config will be fully removed in future releases."
        );
    }
    let missing = match options {
        Options { describe: true, .. } | Options { list: true, .. } => false,
        Options { topic: None, .. } => return Err("Missing required argument \"[topic]\"".into()),
        Options { alter: true, partitions: None, .. } => true,
        _ => false,
    };
    if missing {
        return Err("Missing required argument \"[partitions]\"".into());
    }
    let (create, alter, describe) = (options.create, options.alter, options.describe);
    let filters = options.topics_with_overrides
        || options.unavailable_partitions
        || options.under_replicated_partitions
        || options.under_min_isr_partitions
        || options.at_min_isr_partitions;
    let wrong = [
        ("config", !options.config.is_empty() && !create),
        ("replication-factor", options.replication_factor.is_some() && !create),
        ("partitions", options.partitions.is_some() && !(create || alter)),
        ("replica-assignment", options.replica_assignment.is_some() && !(create || alter)),
        ("topic-id", options.topic_id.is_some() && !describe),
        ("if-not-exists", options.if_not_exists && !create),
        ("if-exists", options.if_exists && (create || options.list)),
        ("exclude-internal", options.exclude_internal && !(describe || options.list)),
        ("unavailable-partitions and the like", filters && !describe),
    ];
    match wrong.iter().find(|(_, wrong)| *wrong) {
        Some((option, _)) => {
            Err(format!("Option \"[{option}]\" can't be used with this action").into())
        }
        None => Ok(()),
    }
}

fn create(cluster: &mut Cluster, options: &Options) -> Result<()> {
    let name = options.topic.as_deref().unwrap_or_default();
    if options.partitions.is_some_and(|count| count < 1) {
        bail!("The partitions must be greater than 0");
    }
    let replicas = options.replication_factor.map(i16::try_from).transpose();
    let replicas = match replicas {
        Ok(replicas) if replicas.is_none_or(|count| count > 0) => replicas,
        _ => bail!("The replication factor must be between 1 and 32767 inclusive"),
    };
    if name.contains(['.', '_']) {
        println!(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore \
             ('_') could collide. To avoid issues it is best to use either, but not both."
        );
    }
    let new = NewTopic {
        name,
        partitions: options.partitions,
        replication_factor: replicas,
        assignment: &assignment(options)?,
        configs: &key_values(&options.config)?,
    };
    match topics::create(cluster, &new) {
        Err(error)
            if options.if_not_exists && code_of(&error) == ErrorCode::TOPIC_ALREADY_EXISTS => {}
        created => {
            created?;
            println!("Created topic {name}.");
        }
    }
    Ok(())
}

fn list(cluster: &mut Cluster, options: &Options) -> Result<()> {
    let topics = matching(cluster, options)?;
    topics.iter().for_each(|topic| println!("{}", topic.name));
    Ok(())
}

fn alter(cluster: &mut Cluster, options: &Options) -> Result<()> {
    let count = options.partitions.unwrap_or_default();
    let assignment = assignment(options)?;
    for topic in existing(cluster, options)? {
        let new = assignment.get(topic.partitions.len()..).unwrap_or_default();
        topics::grow(cluster, &topic.name, count, new)?;
    }
    Ok(())
}

fn delete(cluster: &mut Cluster, options: &Options) -> Result<()> {
    let topics = existing(cluster, options)?;
    topics.iter().try_for_each(|topic| topics::delete(cluster, &topic.name))
}

fn describe(cluster: &mut Cluster, options: &Options) -> Result<()> {
    let topics = match options.topic_id {
        Some(id) => {
            let found = cluster.topics()?.into_iter().filter(|topic| topic.id == id);
            let found: Vec<_> = found.collect();
            if found.is_empty() && !options.if_exists {
                bail!("TopicId '{id}' does not exist as expected");
            }
            found
        }
        None => existing(cluster, options)?,
    };
    for topic in cluster.with_elr(topics, options.partition_size_limit_per_response)? {
        let entries = configs::describe(cluster, &Resource::Topic(topic.name.clone()))?;
        describe_one(&topic, &entries, options);
    }
    Ok(())
}

fn describe_one(topic: &Topic, entries: &[Entry], options: &Options) {
    let value = |name: &str| entries.iter().find(|it| it.name == name)?.value.as_deref();
    let min_isr = value("min.insync.replicas").and_then(|it| it.parse().ok()).unwrap_or(1);
    let chosen = |it: &&Partition| {
        let isr = it.isr.len();
        (!options.unavailable_partitions || it.leader < 0)
            && (!options.under_replicated_partitions || isr < it.replicas.len())
            && (!options.under_min_isr_partitions || isr < min_isr)
            && (!options.at_min_isr_partitions || isr == min_isr)
    };
    let only_some = options.unavailable_partitions
        || options.under_replicated_partitions
        || options.under_min_isr_partitions
        || options.at_min_isr_partitions;
    let overrides = entries.iter().filter(|it| it.source != Source::DEFAULT);
    let overrides = overrides
        .map(|it| format!("{}={}", it.name, it.value.as_deref().unwrap_or("null")))
        .collect::<Vec<_>>();
    let left_out = options.topics_with_overrides && overrides.is_empty();
    if !(only_some || left_out) {
        let replicas = topic.partitions.first().map_or(0, |it| it.replicas.len());
        println!(
            "Topic: {}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: {replicas}\tConfigs: {}",
            topic.name,
            topic.id,
            topic.partitions.len(),
            overrides.join(",")
        );
    }
    if options.topics_with_overrides {
        return;
    }
    for it in topic.partitions.iter().filter(chosen) {
        let leader = if it.leader < 0 { "none".to_owned() } else { it.leader.to_string() };
        let list = |ids: &Option<Vec<i32>>| ids.as_deref().map_or("N/A".to_owned(), ids_of);
        println!(
            "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}\tElr: \
             {}\tLastKnownElr: {}",
            topic.name,
            it.index,
            ids_of(&it.replicas),
            ids_of(&it.isr),
            list(&it.elr),
            list(&it.last_known_elr)
        );
    }
}

/// Topics that `--topic` matches; all without it.
fn matching(cluster: &mut Cluster, options: &Options) -> Result<Vec<Topic>> {
    let pattern = options.topic.as_deref().map(names::include_list).transpose()?;
    let mut topics = cluster.topics()?;
    topics.retain(|topic| {
        let named = pattern.as_ref().is_none_or(|pattern| pattern.is_match(&topic.name));
        named && !(options.exclude_internal && topic.internal)
    });
    Ok(topics)
}

/// As [`matching`]; what is named has to be there.
fn existing(cluster: &mut Cluster, options: &Options) -> Result<Vec<Topic>> {
    let topics = matching(cluster, options)?;
    match &options.topic {
        Some(name) if topics.is_empty() && !options.if_exists => {
            bail!("Topic '{name}' does not exist as expected")
        }
        _ => Ok(topics),
    }
}

/// `1:2,2:3` is a list of partitions, each a list of brokers.
fn assignment(options: &Options) -> Result<Vec<Vec<i32>>> {
    let Some(text) = &options.replica_assignment else { return Ok(Vec::new()) };
    let partitions = text.split(',').map(|brokers| {
        let brokers = brokers.split(':').map(|id| id.trim().parse());
        brokers.collect::<Result<Vec<i32>, _>>()
    });
    let partitions = partitions.collect::<Result<Vec<_>, _>>();
    partitions.map_err(|_| anyhow!("{text} is not a replica assignment such as 1:2,2:3"))
}

fn ids_of(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Result<Options, Failed> {
        let args: Vec<_> = args.iter().map(OsString::from).collect();
        let options = parse("kafka-topics", &args)?;
        check(&options).map(|()| options)
    }

    #[test]
    fn command_lines_are_kafkas() {
        // Long options may be shortened.
        let server = ["--boot=h:1"];
        let with = |args: &[&str]| options(&[&server[..], args].concat());
        assert!(with(&["--create", "--topic", "t", "--partitions=3"]).is_ok());
        let wrong = |args: &[&str]| with(args).expect_err("refused").0;
        assert!(wrong(&["--list", "--create"]).contains("exactly one action"));
        assert!(wrong(&["--create"]).contains("\"[topic]\""));
        assert!(wrong(&["--alter", "--topic", "t"]).contains("\"[partitions]\""));
        assert!(wrong(&["--list", "--config", "a=b"]).contains("[config]"));
        assert!(wrong(&["--nonsense"]).starts_with("nonsense is not a recognized option"));
        assert!(options(&["--list"]).expect_err("no server").0.contains("--bootstrap-server"));
        let given = with(&["--create", "--topic", "t", "--replica-assignment", "1:2,2:3"]);
        let given = assignment(&given.expect("right")).expect("two partitions");
        assert_eq!(given, [[1, 2], [2, 3]]);
    }
}
