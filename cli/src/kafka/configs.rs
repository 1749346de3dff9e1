//! `kafka-configs`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use wire::api_key::ApiKey;
use wire::error_code::ErrorCode;

use super::configs_change::{self, Changes};
use super::{Failed, Server, exception, parse};
use crate::client::cluster::Cluster;
use crate::client::configs::{self, Change, Entry, Resource, Source};
use crate::client::conn::Refusal;
use crate::client::groups;

/// Manipulate and describe entity config for a topic, broker, client-metrics or group.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true, infer_long_args = true)]
struct Options {
    #[command(flatten)]
    server: Server,
    #[arg(long, hide = true)]
    bootstrap_controller: Option<String>,
    /// List configurations of the entities.
    #[arg(long)]
    describe: bool,
    /// Change configurations of an entity.
    #[arg(long)]
    alter: bool,
    /// List all configurations, not only those that were set.
    #[arg(long)]
    all: bool,
    /// topics, brokers, broker-loggers, client-metrics or groups.
    #[arg(long)]
    entity_type: Vec<String>,
    /// Name of the entity.
    #[arg(long)]
    entity_name: Vec<String>,
    /// The default of all brokers.
    #[arg(long)]
    entity_default: bool,
    #[command(flatten)]
    changes: configs_change::Options,
    /// A topic.
    #[arg(long)]
    topic: Option<String>,
    /// A broker.
    #[arg(long)]
    broker: Option<String>,
    /// The default of all brokers.
    #[arg(long)]
    broker_defaults: bool,
    /// The loggers of a broker.
    #[arg(long)]
    broker_logger: Option<String>,
    /// A group.
    #[arg(long)]
    group: Option<String>,
    /// A set of client metrics.
    #[arg(long)]
    client_metrics: Option<String>,
    #[arg(long, hide = true)]
    client: Option<String>,
    #[arg(long, hide = true)]
    client_defaults: bool,
    #[arg(long, hide = true)]
    user: Option<String>,
    #[arg(long, hide = true)]
    user_defaults: bool,
    #[arg(long, hide = true)]
    ip: Option<String>,
    #[arg(long, hide = true)]
    ip_defaults: bool,
    #[arg(long, hide = true)]
    force: bool,
}

/// What is meant: a type of entity, and one of them or all.
struct Entity {
    kind: Kind,
    name: Name,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Topics,
    Brokers,
    BrokerLoggers,
    ClientMetrics,
    Groups,
    /// And credentials: what Kafka keeps of users, clients and ips.
    Quotas,
}

enum Name {
    All,
    Default,
    One(String),
}

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, Failed> {
    let options: Options = parse("kafka-configs", args)?;
    if options.describe == options.alter {
        return Err("Command must include exactly one action: --describe, --alter".into());
    }
    if options.bootstrap_controller.is_some() {
        return Err("Option bootstrap-controller is not supported: ask a broker, with \
                    --bootstrap-server"
            .into());
    }
    if options.server.bootstrap_server.is_none() {
        return Err("Either --bootstrap-server or --bootstrap-controller must be specified.".into());
    }
    let entity = entity(&options)?;
    check_name(&options, &entity)?;
    let changes = match options.alter {
        true => Some(options.changes.read()?),
        false => None,
    };
    let mut cluster = options.server.connect()?;
    let done = match (entity.kind, changes) {
        (Kind::Quotas, changes) => Err(no_quotas(&mut cluster, changes.is_some())),
        (_, Some(changes)) => alter(&mut cluster, &entity, &changes),
        (_, None) => describe(&mut cluster, &entity, options.all),
    };
    done.map_err(|error| {
        let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        format!(
            "Error while executing config command with args '{}'\n\
             java.util.concurrent.ExecutionException: {}",
            args.join(" "),
            exception(&error)
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn entity(options: &Options) -> Result<Entity, Failed> {
    let quotas = options.client.is_some()
        || options.client_defaults
        || options.user.is_some()
        || options.user_defaults
        || options.ip.is_some()
        || options.ip_defaults;
    if quotas {
        return Ok(Entity { kind: Kind::Quotas, name: Name::All });
    }
    let short_forms = [
        (Kind::Topics, &options.topic),
        (Kind::Brokers, &options.broker),
        (Kind::BrokerLoggers, &options.broker_logger),
        (Kind::Groups, &options.group),
        (Kind::ClientMetrics, &options.client_metrics),
    ];
    let mut found: Vec<Entity> = short_forms
        .into_iter()
        .filter_map(|(kind, name)| Some(Entity { kind, name: Name::One(name.clone()?) }))
        .collect();
    if options.broker_defaults {
        found.push(Entity { kind: Kind::Brokers, name: Name::Default });
    }
    if options.entity_type.len() + found.len() > 1 || options.entity_name.len() > 1 {
        return Err("Only one entity can be described or altered at a time".into());
    }
    if let Some(found) = found.pop() {
        return Ok(found);
    }
    let Some(kind) = options.entity_type.first() else {
        return Err("At least one entity type must be specified".into());
    };
    let kind = match kind.as_str() {
        "topics" => Kind::Topics,
        "brokers" => Kind::Brokers,
        "broker-loggers" => Kind::BrokerLoggers,
        "client-metrics" => Kind::ClientMetrics,
        "groups" => Kind::Groups,
        "clients" | "users" | "ips" => Kind::Quotas,
        other => {
            return Err(format!(
                "Invalid entity type {other}, the entity type must be one of topics, clients, \
                 users, brokers, ips, client-metrics, groups, broker-loggers with a \
                 --bootstrap-server or --bootstrap-controller argument"
            )
            .into());
        }
    };
    let name = match (options.entity_name.first(), options.entity_default) {
        (Some(name), _) => Name::One(name.clone()),
        (None, true) => Name::Default,
        (None, false) => Name::All,
    };
    Ok(Entity { kind, name })
}

/// What has to be named, and how.
fn check_name(options: &Options, entity: &Entity) -> Result<(), Failed> {
    let kind = options.entity_type.join(",");
    let action = if options.alter { "alter" } else { "describe" };
    match (entity.kind, &entity.name) {
        (Kind::Quotas, _) | (Kind::Brokers, Name::Default) => Ok(()),
        (_, Name::Default) if options.describe => {
            Err(format!("--entity-default must not be specified with --describe of {kind}").into())
        }
        (_, Name::Default) => {
            Err(format!("An entity name must be specified with --alter of {kind}").into())
        }
        (kind_of, Name::All) if options.alter || kind_of == Kind::BrokerLoggers => {
            Err(format!("An entity name must be specified with --{action} of {kind}").into())
        }
        (Kind::Brokers | Kind::BrokerLoggers, Name::One(id)) if id.parse::<i32>().is_err() => {
            let what = "The entity name for brokers must be a valid integer broker id";
            Err(format!("{what}, but it is: {id}").into())
        }
        _ => Ok(()),
    }
}

/// Why nothing can be said of quotas: the broker's answer, as Kafka's client puts it, or ours.
fn no_quotas(cluster: &mut Cluster, alters: bool) -> anyhow::Error {
    let (key, name) = match alters {
        true => (ApiKey::AlterClientQuotas, "ALTER_CLIENT_QUOTAS"),
        false => (ApiKey::DescribeClientQuotas, "DESCRIBE_CLIENT_QUOTAS"),
    };
    match cluster.any().serves(key) {
        false => {
            let why = "quotas and credentials of users, clients and ips are not built yet";
            let why = format!("The node does not support {name}: in Odradek {why}");
            Refusal::new(ErrorCode::UNSUPPORTED_VERSION.0, Some(&why)).into()
        }
        true => anyhow!(
            "quotas and credentials of users, clients and ips are not known to this program: use \
             Kafka's own"
        ),
    }
}

fn describe(cluster: &mut Cluster, entity: &Entity, all: bool) -> Result<()> {
    let resources = match &entity.name {
        Name::All => every(cluster, entity.kind)?,
        Name::Default => vec![Resource::BrokerDefault],
        Name::One(name) => vec![resource(entity.kind, name)?],
    };
    let looked_for = !all && matches!(entity.name, Name::One(_));
    for resource in resources {
        if looked_for && !is_there(cluster, &resource)? {
            let title = title(&resource);
            let (kind, name) = title.split_once(' ').unwrap_or((&title, ""));
            println!("The {kind} '{name}' doesn't exist and doesn't have dynamic config.");
            return Ok(());
        }
        match (&resource, all) {
            (Resource::BrokerDefault, _) => {
                println!("Default configs for brokers in the cluster are:");
            }
            (_, true) => println!("All configs for {} are:", title(&resource)),
            (_, false) => println!("Dynamic configs for {} are:", title(&resource)),
        }
        let entries = configs::describe(cluster, &resource)?;
        let shown = entries.iter().filter(|entry| all || entry.source.is_own(&resource));
        shown.for_each(print);
    }
    Ok(())
}

fn print(entry: &Entry) {
    let value = |value: &Option<String>| value.as_deref().unwrap_or("null").to_owned();
    let synonyms = entry.synonyms.iter();
    // Loggers have no other places.
    let synonyms = synonyms.filter(|_| entry.source != Source::DYNAMIC_LOGGER);
    let synonyms =
        synonyms.map(|it| format!("{}:{}={}", it.source.name(), it.name, value(&it.value)));
    let synonyms: Vec<_> = synonyms.collect();
    println!(
        "  {}={} sensitive={} synonyms={{{}}}",
        entry.name,
        value(&entry.value),
        entry.sensitive,
        synonyms.join(", ")
    );
}

/// Every entity of a kind that may have something of its own.
fn every(cluster: &mut Cluster, kind: Kind) -> Result<Vec<Resource>> {
    Ok(match kind {
        Kind::Topics => {
            let topics = cluster.topics()?.into_iter();
            topics.map(|topic| Resource::Topic(topic.name)).collect()
        }
        Kind::Brokers => {
            let brokers = cluster.brokers()?.into_iter().map(Resource::Broker);
            brokers.chain([Resource::BrokerDefault]).collect()
        }
        Kind::Groups => groups(cluster)?.into_iter().map(Resource::Group).collect(),
        Kind::ClientMetrics => subscriptions(cluster)?.map(Resource::ClientMetrics).collect(),
        Kind::BrokerLoggers | Kind::Quotas => Vec::new(),
    })
}

/// Groups that are there, and those that only have something set.
fn groups(cluster: &mut Cluster) -> Result<BTreeSet<String>> {
    let set = configs::named(cluster, &[configs::GROUP])?.into_iter().map(|(_, name)| name);
    let there = groups::list(cluster, &[], &[])?.into_iter().map(|it| it.group);
    Ok(set.chain(there).collect())
}

/// A telemetry subscription is what is set on it.
fn subscriptions(cluster: &mut Cluster) -> Result<impl Iterator<Item = String>> {
    Ok(configs::named(cluster, &[configs::CLIENT_METRICS])?.into_iter().map(|(_, name)| name))
}

/// Whether it is there, or has something set.
fn is_there(cluster: &mut Cluster, resource: &Resource) -> Result<bool> {
    Ok(match resource {
        Resource::Topic(name) => !cluster.topics_of([name.as_str()])?.is_empty(),
        Resource::Broker(id) | Resource::BrokerLoggers(id) => cluster.brokers()?.contains(id),
        Resource::BrokerDefault => true,
        Resource::ClientMetrics(name) => subscriptions(cluster)?.any(|it| it == *name),
        Resource::Group(name) => groups(cluster)?.contains(name),
    })
}

fn alter(cluster: &mut Cluster, entity: &Entity, changes: &Changes) -> Result<()> {
    let resource = match &entity.name {
        Name::One(name) => resource(entity.kind, name)?,
        _ => Resource::BrokerDefault,
    };
    let sets = changes.add.iter().map(|(key, value)| Change::Set(key, value));
    let deletes = changes.delete.iter().map(|key| Change::Delete(key));
    let all: Vec<_> = sets.chain(deletes).collect();
    configs::alter(cluster, &resource, &all, false)?;
    match resource {
        Resource::BrokerDefault => {
            println!("Completed updating default config for brokers in the cluster.");
        }
        resource => println!("Completed updating config for {}.", title(&resource)),
    }
    Ok(())
}

fn resource(kind: Kind, name: &str) -> Result<Resource> {
    let id = || name.parse().with_context(|| format!("{name} is not the id of a broker"));
    Ok(match kind {
        Kind::Topics => Resource::Topic(name.to_owned()),
        Kind::Brokers => Resource::Broker(id()?),
        Kind::BrokerLoggers => Resource::BrokerLoggers(id()?),
        Kind::ClientMetrics => Resource::ClientMetrics(name.to_owned()),
        Kind::Groups => Resource::Group(name.to_owned()),
        Kind::Quotas => bail!("quotas are not of a resource"),
    })
}

/// As Kafka titles it.
fn title(resource: &Resource) -> String {
    match resource {
        Resource::BrokerLoggers(id) => format!("broker-logger {id}"),
        Resource::ClientMetrics(name) => format!("client-metric {name}"),
        resource => resource.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_named_in_two_ways() {
        let of = |args: &[&str]| {
            let args: Vec<_> = args.iter().map(OsString::from).collect();
            entity(&parse("kafka-configs", &args)?)
        };
        let one = of(&["--entity-type", "topics", "--entity-name", "t"]).expect("a topic");
        assert!(one.kind == Kind::Topics && matches!(one.name, Name::One(name) if name == "t"));
        let default = of(&["--broker-defaults"]).expect("brokers");
        assert!(default.kind == Kind::Brokers && matches!(default.name, Name::Default));
        let all = of(&["--entity-type", "groups"]).expect("groups");
        assert!(matches!(all.name, Name::All));
        assert!(of(&["--entity-type", "nonsense"]).is_err() && of(&[]).is_err());
        let users = of(&["--entity-type", "users"]).expect("what the broker has to say of");
        assert!(users.kind == Kind::Quotas && of(&["--topic=t", "--group=g"]).is_err());
    }

    /// What Kafka 4.3.1 said to the same.
    #[test]
    fn names_are_asked_for_in_kafkas_words() {
        let said = |args: &[&str]| {
            let args: Vec<_> = args.iter().map(OsString::from).collect();
            let options: Options = parse("kafka-configs", &args).expect("options");
            let entity = entity(&options).expect("an entity");
            check_name(&options, &entity).map_or_else(|refused| refused.0, |()| "OK".to_owned())
        };
        for (args, text) in [
            (
                &["--alter", "--entity-type=topics"][..],
                "An entity name must be specified with --alter of topics",
            ),
            (
                &["--describe", "--entity-type=broker-loggers"],
                "An entity name must be specified with --describe of broker-loggers",
            ),
            (
                &["--describe", "--entity-type=groups", "--entity-default"],
                "--entity-default must not be specified with --describe of groups",
            ),
            (
                &["--alter", "--entity-type=groups", "--entity-default"],
                "An entity name must be specified with --alter of groups",
            ),
            (
                &["--describe", "--entity-type=brokers", "--entity-name=x"],
                "The entity name for brokers must be a valid integer broker id, but it is: x",
            ),
            (&["--describe", "--entity-type=brokers", "--entity-default"], "OK"),
            (&["--describe", "--entity-type=topics"], "OK"),
        ] {
            assert_eq!(said(args), text, "{args:?}");
        }
    }
}
