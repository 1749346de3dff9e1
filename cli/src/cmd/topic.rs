//! `odradek topic …`.

use anyhow::{Context, Result, bail};
use wire::error_code::ErrorCode;
use wire::msg::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};

use crate::args::TopicCommand;
use crate::client::cluster::{Cluster, Topic};
use crate::client::configs::{self, Change, Resource};
use crate::client::conn::{check, code_of};
use crate::client::topics::{self, NewTopic};

/// Runs one of the topic commands.
pub(crate) fn run(command: TopicCommand) -> Result<()> {
    match command {
        TopicCommand::Create {
            bootstrap,
            topic,
            partitions,
            replication_factor,
            configs,
            if_not_exists,
        } => {
            let mut cluster = Cluster::connect(&bootstrap.bootstrap_server)?;
            let new = NewTopic {
                name: &topic,
                partitions,
                replication_factor,
                assignment: &[],
                configs: &key_values(&configs)?,
            };
            create(&mut cluster, &new, if_not_exists)
        }
        TopicCommand::List { bootstrap, exclude_internal } => {
            for topic in Cluster::connect(&bootstrap.bootstrap_server)?.topics()? {
                if !(exclude_internal && (topic.internal || topic.name.starts_with("__"))) {
                    println!("{}", topic.name);
                }
            }
            Ok(())
        }
        TopicCommand::Describe { bootstrap, topics } => {
            describe(&mut Cluster::connect(&bootstrap.bootstrap_server)?, &topics)
        }
        TopicCommand::Alter { bootstrap, topic, partitions, configs, delete_configs } => {
            if partitions.is_none() && configs.is_empty() && delete_configs.is_empty() {
                bail!("nothing to alter: give --partitions, --config or --delete-config");
            }
            let mut cluster = Cluster::connect(&bootstrap.bootstrap_server)?;
            if let Some(count) = partitions {
                topics::grow(&mut cluster, &topic, count, &[])?;
                println!("Topic {topic} has {count} partitions now.");
            }
            if configs.is_empty() && delete_configs.is_empty() {
                return Ok(());
            }
            reconfigure(&mut cluster, &topic, &key_values(&configs)?, &delete_configs)
        }
        TopicCommand::Move { bootstrap, topic, to, partitions, broker } => {
            let mut cluster = Cluster::connect(&bootstrap.bootstrap_server)?;
            move_to(&mut cluster, &topic, &to, partitions, broker)
        }
        TopicCommand::Delete { bootstrap, topics, if_exists } => {
            delete(&mut Cluster::connect(&bootstrap.bootstrap_server)?, &topics, if_exists)
        }
    }
}

fn create(cluster: &mut Cluster, new: &NewTopic<'_>, if_not_exists: bool) -> Result<()> {
    match topics::create(cluster, new) {
        Err(error) if if_not_exists && code_of(&error) == ErrorCode::TOPIC_ALREADY_EXISTS => {}
        outcome => {
            outcome?;
            println!("Created topic {}.", new.name);
        }
    }
    Ok(())
}

fn delete(cluster: &mut Cluster, names: &[String], if_exists: bool) -> Result<()> {
    for name in names {
        match topics::delete(cluster, name) {
            Err(error) if if_exists && code_of(&error) == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
            }
            outcome => {
                outcome?;
                println!("Deleted topic {name}.");
            }
        }
    }
    Ok(())
}

fn reconfigure(
    cluster: &mut Cluster,
    topic: &str,
    set: &[(&str, &str)],
    delete: &[String],
) -> Result<()> {
    let sets = set.iter().map(|&(name, value)| Change::Set(name, value));
    let deletes = delete.iter().map(|name| Change::Delete(name));
    let changes: Vec<_> = sets.chain(deletes).collect();
    configs::alter(cluster, &Resource::Topic(topic.to_owned()), &changes, false)?;
    println!("Altered topic {topic}.");
    Ok(())
}

fn describe(cluster: &mut Cluster, names: &[String]) -> Result<()> {
    let topics = if names.is_empty() {
        cluster.topics()?
    } else {
        names.iter().map(|name| cluster.topic(name, false)).collect::<Result<_>>()?
    };
    for topic in &topics {
        let configs = overrides(cluster, &topic.name)?;
        print_topic(topic, &configs);
    }
    Ok(())
}

/// The topic's own configurations, `key=value`.
fn overrides(cluster: &mut Cluster, topic: &str) -> Result<Vec<String>> {
    let resource = Resource::Topic(topic.to_owned());
    let entries = configs::describe(cluster, &resource)?.into_iter();
    let own = entries.filter(|entry| entry.source == configs::Source::DYNAMIC_TOPIC);
    Ok(own.map(|entry| format!("{}={}", entry.name, entry.value.unwrap_or_default())).collect())
}

fn print_topic(topic: &Topic, configs: &[String]) {
    let replicas = topic.partitions.first().map_or(0, |p| p.replicas.len());
    println!(
        "Topic: {}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: {replicas}\tConfigs: {}",
        topic.name,
        topic.id,
        topic.partitions.len(),
        configs.join(",")
    );
    for p in &topic.partitions {
        let leader = if p.leader < 0 { "none".to_owned() } else { p.leader.to_string() };
        println!(
            "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}",
            topic.name,
            p.index,
            ids(&p.replicas),
            ids(&p.isr)
        );
    }
}

fn ids(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

/// Begins to move partitions to another log directory.
fn move_to(
    cluster: &mut Cluster,
    topic: &str,
    to: &str,
    partitions: Vec<i32>,
    broker: Option<i32>,
) -> Result<()> {
    let brokers = cluster.brokers()?;
    let ((Some(broker), _) | (None, &[broker])) = (broker, &brokers[..]) else {
        bail!("there are brokers {}: name one with --broker", ids(&brokers));
    };
    let partitions = match partitions.is_empty() {
        true => {
            let all = cluster.topic(topic, false)?.partitions.into_iter();
            all.filter(|p| p.replicas.contains(&broker)).map(|p| p.index).collect()
        }
        false => partitions,
    };
    let topics = vec![AlterReplicaLogDirTopic { name: topic, partitions: partitions.into() }];
    let dirs = vec![AlterReplicaLogDir { path: to, topics: topics.into() }];
    let request = AlterReplicaLogDirsRequest { dirs: dirs.into() };
    let answer: AlterReplicaLogDirsResponse<'_> = cluster.broker(broker)?.call(&request)?;
    for result in answer.results.iter().flat_map(|topic| topic.partitions.to_vec()) {
        let index = result.partition_index;
        check(result.error_code, &format!("{topic}-{index} to {to}"))?;
        println!("Moving {topic}-{index} to {to}.");
    }
    Ok(())
}

/// Splits `KEY=VALUE` arguments.
pub(crate) fn key_values(args: &[String]) -> Result<Vec<(&str, &str)>> {
    args.iter()
        .map(|arg| {
            arg.split_once('=').with_context(|| format!("{arg:?} is not of the form KEY=VALUE"))
        })
        .collect()
}
