//! Configurations of topics, brokers, groups and the rest: described and altered.

use std::fmt;

use anyhow::{Context, Result};
use wire::msg::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse,
};
use wire::msg::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use wire::msg::list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::cluster::Cluster;
use super::conn::{Conn, refused};

/// What can be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resource {
    Topic(String),
    Broker(i32),
    /// What holds for every broker that has nothing of its own.
    BrokerDefault,
    BrokerLoggers(i32),
    ClientMetrics(String),
    Group(String),
}

impl Resource {
    /// `ConfigResource` type and name.
    fn wire(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (2, name.clone()),
            Self::Broker(id) => (4, id.to_string()),
            Self::BrokerDefault => (4, String::new()),
            Self::BrokerLoggers(id) => (8, id.to_string()),
            Self::ClientMetrics(name) => (CLIENT_METRICS, name.clone()),
            Self::Group(name) => (GROUP, name.clone()),
        }
    }

    /// Whom to ask: a broker knows only of itself what is its own.
    fn conn<'a>(&self, cluster: &'a mut Cluster) -> Result<&'a mut Conn> {
        match self {
            Self::Broker(id) | Self::BrokerLoggers(id) => {
                cluster.brokers()?;
                cluster.broker(*id)
            }
            _ => Ok(cluster.any()),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Broker(id) => write!(f, "broker {id}"),
            Self::BrokerDefault => write!(f, "the brokers' default"),
            Self::BrokerLoggers(id) => write!(f, "loggers of broker {id}"),
            Self::ClientMetrics(name) => write!(f, "client metrics {name}"),
            Self::Group(name) => write!(f, "group {name}"),
        }
    }
}

/// Where a value comes from (`ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source(i8);

impl Source {
    pub(crate) const DYNAMIC_TOPIC: Self = Self(1);
    pub(crate) const DEFAULT: Self = Self(5);
    /// Loggers have no other.
    pub(crate) const DYNAMIC_LOGGER: Self = Self(6);

    /// Kafka's name.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            1 => "DYNAMIC_TOPIC_CONFIG",
            2 => "DYNAMIC_BROKER_CONFIG",
            3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            4 => "STATIC_BROKER_CONFIG",
            5 => "DEFAULT_CONFIG",
            6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
            7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
            8 => "DYNAMIC_GROUP_CONFIG",
            _ => "UNKNOWN",
        }
    }

    /// Whether the value was set for the resource itself.
    pub(crate) fn is_own(self, resource: &Resource) -> bool {
        let own = match resource {
            Resource::Topic(_) => 1,
            Resource::Broker(_) => 2,
            Resource::BrokerDefault => 3,
            Resource::BrokerLoggers(_) => 6,
            Resource::ClientMetrics(_) => 7,
            Resource::Group(_) => 8,
        };
        self.0 == own
    }
}

/// A configuration in effect.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// None for a sensitive one, or where there is no value.
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
    pub(crate) sensitive: bool,
    pub(crate) read_only: bool,
    /// All places the value could come from, in order of precedence.
    pub(crate) synonyms: Vec<Synonym>,
    pub(crate) documentation: Option<String>,
}

/// A place that a value could come from.
#[derive(Debug, Clone)]
pub(crate) struct Synonym {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
}

/// A change of one configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    Set(&'a str, &'a str),
    Delete(&'a str),
    /// To a list.
    Append(&'a str, &'a str),
    /// From a list.
    Subtract(&'a str, &'a str),
}

/// Kind and name of all that has configs, or may have, of these kinds.
pub(crate) fn named(cluster: &mut Cluster, kinds: &[i8]) -> Result<Vec<(i8, String)>> {
    let request = ListConfigResourcesRequest { resource_types: kinds.to_vec().into() };
    let answer: ListConfigResourcesResponse<'_> = cluster.any().call(&request)?;
    refused(answer.error_code, None)?;
    let found = answer.config_resources.iter();
    Ok(found.map(|it| (it.resource_type, it.resource_name.to_owned())).collect())
}

/// Everything that is in effect for a resource, in order of names.
pub(crate) fn describe(cluster: &mut Cluster, resource: &Resource) -> Result<Vec<Entry>> {
    let (resource_type, name) = resource.wire();
    let resources =
        [DescribeConfigsResource { resource_type, resource_name: &name, configuration_keys: None }];
    let request = DescribeConfigsRequest {
        resources: (&resources).into(),
        include_synonyms: true,
        include_documentation: true,
    };
    let answer: DescribeConfigsResponse<'_> = resource.conn(cluster)?.call(&request)?;
    let found = answer.results.first().context(SILENCE)?;
    refused(found.error_code, found.error_message).with_context(|| resource.to_string())?;
    let mut entries: Vec<_> = found.configs.iter().map(|it| entry(&it)).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Makes all changes, or none; with `only_check`, none in any case.
pub(crate) fn alter(
    cluster: &mut Cluster,
    resource: &Resource,
    changes: &[Change<'_>],
    only_check: bool,
) -> Result<()> {
    let (resource_type, name) = resource.wire();
    let configs = changes.iter().map(|change| {
        let (config_operation, name, value) = match *change {
            Change::Set(name, value) => (0, name, Some(value)),
            Change::Delete(name) => (1, name, None),
            Change::Append(name, value) => (2, name, Some(value)),
            Change::Subtract(name, value) => (3, name, Some(value)),
        };
        AlterableConfig { name, config_operation, value }
    });
    let resources = [AlterConfigsResource {
        resource_type,
        resource_name: &name,
        configs: configs.collect::<Vec<_>>().into(),
    }];
    let request = IncrementalAlterConfigsRequest {
        resources: (&resources).into(),
        validate_only: only_check,
    };
    let answer: IncrementalAlterConfigsResponse<'_> = resource.conn(cluster)?.call(&request)?;
    let result = answer.responses.first().context(SILENCE)?;
    refused(result.error_code, result.error_message).with_context(|| resource.to_string())
}

fn entry(found: &DescribeConfigsResourceResult<'_>) -> Entry {
    let synonyms = found.synonyms.iter().map(|it| Synonym {
        name: it.name.to_owned(),
        value: it.value.map(str::to_owned),
        source: Source(it.source),
    });
    Entry {
        name: found.name.to_owned(),
        value: found.value.map(str::to_owned),
        source: Source(found.config_source),
        sensitive: found.is_sensitive,
        read_only: found.read_only,
        synonyms: synonyms.collect(),
        documentation: found.documentation.map(str::to_owned),
    }
}

const SILENCE: &str = "the broker said nothing of the resource";

/// `ConfigResource` types.
pub(crate) const CLIENT_METRICS: i8 = 16;
pub(crate) const GROUP: i8 = 32;
