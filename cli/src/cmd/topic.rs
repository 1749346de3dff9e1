//! `odradek topic …`.

use anyhow::{Context, Result, bail};
use wire::error_code::ErrorCode;
use wire::msg::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
};
use wire::msg::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use wire::msg::delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};
use wire::msg::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use wire::msg::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use crate::args::TopicCommand;
use crate::client::cluster::{Cluster, Topic};
use crate::client::conn::check_with;

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
                partitions: partitions.unwrap_or(BROKERS_DEFAULT),
                replication_factor: replication_factor.unwrap_or(BROKERS_DEFAULT as i16),
                configs: key_values(&configs)?,
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
                grow(&mut cluster, &topic, count)?;
            }
            if configs.is_empty() && delete_configs.is_empty() {
                return Ok(());
            }
            reconfigure(&mut cluster, &topic, &key_values(&configs)?, &delete_configs)
        }
        TopicCommand::Delete { bootstrap, topics, if_exists } => {
            delete(&mut Cluster::connect(&bootstrap.bootstrap_server)?, &topics, if_exists)
        }
    }
}

struct NewTopic<'a> {
    name: &'a str,
    partitions: i32,
    replication_factor: i16,
    configs: Vec<(&'a str, &'a str)>,
}

fn create(cluster: &mut Cluster, new: &NewTopic<'_>, if_not_exists: bool) -> Result<()> {
    let configs: Vec<_> = new
        .configs
        .iter()
        .map(|&(name, value)| CreatableTopicConfig { name, value: Some(value) })
        .collect();
    let topics = [CreatableTopic {
        name: new.name,
        num_partitions: new.partitions,
        replication_factor: new.replication_factor,
        configs: (&configs).into(),
        ..Default::default()
    }];
    let request = CreateTopicsRequest {
        topics: (&topics).into(),
        timeout_ms: TIMEOUT_MS,
        ..Default::default()
    };
    let answer: CreateTopicsResponse<'_> = cluster.any().call(&request)?;
    let result = answer.topics.first().context("the broker said nothing of the topic")?;
    if if_not_exists && ErrorCode(result.error_code) == ErrorCode::TOPIC_ALREADY_EXISTS {
        return Ok(());
    }
    check_with(result.error_code, result.error_message, &format!("topic {}", new.name))?;
    println!("Created topic {}.", new.name);
    Ok(())
}

fn delete(cluster: &mut Cluster, names: &[String], if_exists: bool) -> Result<()> {
    let topics: Vec<_> = names
        .iter()
        .map(|name| DeleteTopicState { name: Some(name.as_str()), ..Default::default() })
        .collect();
    let plain: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut request = DeleteTopicsRequest { timeout_ms: TIMEOUT_MS, ..Default::default() };
    // Version 6 replaced the names by pairs of name and id.
    if cluster.any().version::<DeleteTopicsRequest<'_>>()? >= 6 {
        request.topics = (&topics).into();
    } else {
        request.topic_names = (&plain).into();
    }
    let answer: DeleteTopicsResponse<'_> = cluster.any().call(&request)?;
    for result in &answer.responses {
        let name = result.name.unwrap_or_default();
        let missing = ErrorCode(result.error_code) == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        if !(if_exists && missing) {
            check_with(result.error_code, result.error_message, &format!("topic {name}"))?;
            println!("Deleted topic {name}.");
        }
    }
    Ok(())
}

fn grow(cluster: &mut Cluster, topic: &str, count: i32) -> Result<()> {
    let topics = [CreatePartitionsTopic { name: topic, count, assignments: None }];
    let request = CreatePartitionsRequest {
        topics: (&topics).into(),
        timeout_ms: TIMEOUT_MS,
        validate_only: false,
    };
    let answer: CreatePartitionsResponse<'_> = cluster.any().call(&request)?;
    let result = answer.results.first().context("the broker said nothing of the topic")?;
    check_with(result.error_code, result.error_message, &format!("topic {topic}"))?;
    println!("Topic {topic} has {count} partitions now.");
    Ok(())
}

fn reconfigure(
    cluster: &mut Cluster,
    topic: &str,
    set: &[(&str, &str)],
    delete: &[String],
) -> Result<()> {
    let sets = set.iter().map(|&(name, value)| AlterableConfig {
        name,
        config_operation: OPERATION_SET,
        value: Some(value),
    });
    let deletes = delete.iter().map(|name| AlterableConfig {
        name,
        config_operation: OPERATION_DELETE,
        value: None,
    });
    let configs: Vec<_> = sets.chain(deletes).collect();
    let resources = [AlterConfigsResource {
        resource_type: RESOURCE_TOPIC,
        resource_name: topic,
        configs: (&configs).into(),
    }];
    let request =
        IncrementalAlterConfigsRequest { resources: (&resources).into(), validate_only: false };
    let answer: IncrementalAlterConfigsResponse<'_> = cluster.any().call(&request)?;
    let result = answer.responses.first().context("the broker said nothing of the topic")?;
    check_with(result.error_code, result.error_message, &format!("topic {topic}"))?;
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
    let resources = [DescribeConfigsResource {
        resource_type: RESOURCE_TOPIC,
        resource_name: topic,
        configuration_keys: None,
    }];
    let request = DescribeConfigsRequest { resources: (&resources).into(), ..Default::default() };
    let answer: DescribeConfigsResponse<'_> = cluster.any().call(&request)?;
    let result = answer.results.first().context("the broker said nothing of the topic")?;
    check_with(result.error_code, result.error_message, &format!("topic {topic}"))?;
    Ok(result
        .configs
        .iter()
        .filter(|config| config.config_source == SOURCE_TOPIC)
        .map(|config| format!("{}={}", config.name, config.value.unwrap_or_default()))
        .collect())
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

/// Splits `KEY=VALUE` arguments.
pub(crate) fn key_values(args: &[String]) -> Result<Vec<(&str, &str)>> {
    args.iter()
        .map(|arg| {
            arg.split_once('=').with_context(|| format!("{arg:?} is not of the form KEY=VALUE"))
        })
        .collect()
}

/// In place of a number of partitions or replicas: the broker's own default (KIP-464).
const BROKERS_DEFAULT: i32 = -1;

const TIMEOUT_MS: i32 = 30_000;

/// `ConfigResource` type of topics.
const RESOURCE_TOPIC: i8 = 2;

/// `ConfigSource` of what was set on the topic itself.
const SOURCE_TOPIC: i8 = 1;

/// `AlterConfigOp` numbers (KIP-339).
const OPERATION_SET: i8 = 0;
const OPERATION_DELETE: i8 = 1;
