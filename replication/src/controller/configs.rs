//! IncrementalAlterConfigs and AlterConfigs, of topics, brokers, groups and telemetry subscriptions.

use std::collections::{BTreeMap, BTreeSet};

use config::alter::{self, Alteration, Op};
use config::{BrokerScope, ConfigError};
use engine::ids::BrokerId;
use wire::record::metadata::{ClearElrRecord, ConfigRecord, MetadataRecord};

use super::activate::MIN_ISR;
use super::{Controller, Decision, ErrorKind, Refusal, STRING_LEN_MAX, names};
use crate::image::{ConfigMap, ConfigResource, ResourceKind};

/// Changes to the configs of several resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlterConfigs {
    /// In order of the request.
    pub resources: Vec<AlterResource>,
    /// Only say whether it would work.
    pub validate_only: bool,
}

/// Changes to one resource's configs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterResource {
    /// Whose configs.
    pub resource: ConfigResource,
    /// What to do with them.
    pub change: ConfigsChange,
}

/// The two ways to say a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigsChange {
    /// IncrementalAlterConfigs: these operations; the rest stays. Operations by Kafka's numbers.
    Incremental(Vec<(String, i8, Option<String>)>),
    /// AlterConfigs: exactly these; the rest goes.
    Replace(Vec<(String, Option<String>)>),
}

/// What became of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterOutcome {
    /// As asked for.
    pub resource: ConfigResource,
    /// Whether it is changed.
    pub result: Result<(), Refusal>,
}

impl Controller {
    /// Changes configs: each resource whole or not at all, all in one batch.
    pub fn alter_configs(&mut self, request: &AlterConfigs) -> Decision<Vec<AlterOutcome>> {
        let mut records = Vec::new();
        let mut outcomes = Vec::new();
        let mut counts: BTreeMap<&ConfigResource, usize> = BTreeMap::new();
        for asked in &request.resources {
            *counts.entry(&asked.resource).or_default() += 1;
        }
        for asked in &request.resources {
            let result = if counts[&asked.resource] > 1 {
                invalid_request("Each resource must appear at most once.")
            } else {
                self.alter(asked).map(|changed| records.extend(changed))
            };
            outcomes.push(AlterOutcome { resource: asked.resource.clone(), result });
        }
        if request.validate_only {
            return Decision::unchanged(outcomes);
        }
        let mut cleared = if self.elr_enabled() { cleared_elr(&records) } else { Vec::new() };
        records.append(&mut cleared);
        self.decide(records, outcomes)
    }

    fn alter(&self, asked: &AlterResource) -> Result<Vec<MetadataRecord>, Refusal> {
        let resource = &asked.resource;
        check_keys(&asked.change)?;
        match resource.kind {
            ResourceKind::Topic => self.alter_topic(resource, &asked.change),
            ResourceKind::Broker => self.alter_broker(resource, &asked.change),
            ResourceKind::Group => self.alter_group(resource, &asked.change),
            ResourceKind::ClientMetrics => self.alter_subscription(resource, &asked.change),
            ResourceKind::Other(code) => invalid_request(format!("Unknown resource type {code}")),
        }
    }

    fn alter_topic(
        &self,
        resource: &ConfigResource,
        change: &ConfigsChange,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        if resource.name.is_empty() {
            return invalid_request("Default topic resources are not allowed.");
        }
        if let Some(text) = names::refusal(&resource.name) {
            return Err(Refusal::new(ErrorKind::InvalidTopic, text));
        }
        let invalid =
            |error: ConfigError| Refusal::new(ErrorKind::InvalidConfig, error.to_string());
        let (before, after) =
            self.apply(alter::Resource::Topic, resource, change).map_err(invalid)?;
        check_lengths(&after)?;
        config::validate_topic_change(&before, &after).map_err(invalid)?;
        if self.image.topics().named(&resource.name).is_none() {
            return Err(Refusal::new(
                ErrorKind::UnknownTopicOrPartition,
                format!("The topic '{}' does not exist.", resource.name),
            ));
        }
        Ok(records(resource, &before, &after, &BTreeSet::new()))
    }

    fn alter_broker(
        &self,
        resource: &ConfigResource,
        change: &ConfigsChange,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        let scope = if resource.name.is_empty() {
            BrokerScope::ClusterDefault
        } else {
            check_broker_name(self.options.node, &resource.name)?;
            BrokerScope::Broker
        };
        let applied = self.apply(alter::Resource::Broker, resource, change);
        let (before, after) = applied.map_err(broker_refusal)?;
        check_lengths(&after)?;
        config::validate_broker_dynamic(scope, self.elr_enabled(), &before, &after)
            .map_err(broker_refusal)?;
        // A value set again makes brokers read it again: files that it names may have changed.
        Ok(records(resource, &before, &after, &named(change)))
    }

    fn alter_group(
        &self,
        resource: &ConfigResource,
        change: &ConfigsChange,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        if resource.name.is_empty() {
            return invalid_request("Default group resources are not allowed.");
        }
        let invalid =
            |error: ConfigError| Refusal::new(ErrorKind::InvalidConfig, error.to_string());
        let (before, after) =
            self.apply(alter::Resource::Group, resource, change).map_err(invalid)?;
        check_lengths(&after)?;
        config::validate_group_change(&self.config, &before, &after).map_err(invalid)?;
        Ok(records(resource, &before, &after, &BTreeSet::new()))
    }

    fn alter_subscription(
        &self,
        resource: &ConfigResource,
        change: &ConfigsChange,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        if resource.name.is_empty() {
            return invalid_request("Subscription name can't be empty");
        }
        let refused = |error: ConfigError| {
            let kind = match &error {
                ConfigError::UnknownSubscriptionKey { .. }
                | ConfigError::SubscriptionInterval { .. } => ErrorKind::InvalidRequest,
                _ => ErrorKind::InvalidConfig,
            };
            Refusal::new(kind, error.to_string())
        };
        let (before, after) =
            self.apply(alter::Resource::Subscription, resource, change).map_err(refused)?;
        check_lengths(&after)?;
        config::validate_subscription(&after).map_err(refused)?;
        Ok(records(resource, &before, &after, &BTreeSet::new()))
    }

    /// What is set and what is to be set.
    fn apply(
        &self,
        kind: alter::Resource,
        resource: &ConfigResource,
        change: &ConfigsChange,
    ) -> Result<(ConfigMap, ConfigMap), ConfigError> {
        let before = self.image.configs().get(resource).map(|map| ConfigMap::clone(map));
        let before = before.unwrap_or_default();
        let after = match change {
            ConfigsChange::Incremental(operations) => {
                let alterations: Vec<_> = operations
                    .iter()
                    .map(|(key, op, value)| Alteration {
                        key,
                        op: Op::from_id(*op).expect("checked with the keys"),
                        value: value.as_deref(),
                    })
                    .collect();
                alter::apply(kind, &before, &alterations)?
            }
            ConfigsChange::Replace(entries) => {
                let set = entries.iter();
                set.filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect()
            }
        };
        Ok((before, after))
    }
}

/// A broker's configs are changed through that broker alone, which knows what it can do.
///
/// # Errors
/// The name is not that of broker `own`.
pub fn check_broker_name(own: BrokerId, name: &str) -> Result<(), Refusal> {
    match name.parse::<i32>() {
        Err(_) => invalid_request(format!("Node id must be an integer, but it is: {name}")),
        Ok(id) if id != own.0 => {
            invalid_request(format!("Unexpected broker id, expected {own}, but received {name}"))
        }
        Ok(_) => Ok(()),
    }
}

/// What a broker checks of a request before anything is looked up.
///
/// # Errors
/// A key comes twice or without a value, an operation is unknown, or a text is too long.
pub fn check_keys(change: &ConfigsChange) -> Result<(), Refusal> {
    let longest = match change {
        ConfigsChange::Incremental(operations) => {
            operations.iter().map(|(key, _, value)| length(key, value)).max()
        }
        ConfigsChange::Replace(entries) => {
            entries.iter().map(|(key, value)| length(key, value)).max()
        }
    };
    if longest.is_some_and(|longest| longest > STRING_LEN_MAX) {
        return Err(too_long());
    }
    let entries: Vec<(&str, bool)> = match change {
        ConfigsChange::Incremental(operations) => operations
            .iter()
            .map(|(key, op, value)| {
                (key.as_str(), value.is_none() && Op::from_id(*op) != Some(Op::Delete))
            })
            .collect(),
        ConfigsChange::Replace(entries) => {
            entries.iter().map(|(key, value)| (key.as_str(), value.is_none())).collect()
        }
    };
    if entries.iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len() != entries.len() {
        return invalid_request("Error due to duplicate config keys");
    }
    let nulls: Vec<&str> = entries.iter().filter(|(_, null)| *null).map(|(key, _)| *key).collect();
    if !nulls.is_empty() {
        return invalid_request(format!("Null value not supported for : {}", nulls.join(", ")));
    }
    if let ConfigsChange::Incremental(operations) = change {
        let unknown = operations.iter().find(|(_, op, _)| Op::from_id(*op).is_none());
        if let Some((_, op, _)) = unknown {
            return invalid_request(format!("Unknown operations type {op}"));
        }
    }
    Ok(())
}

/// A record can't say a longer value.
pub(super) fn check_lengths(values: &ConfigMap) -> Result<(), Refusal> {
    if values.iter().all(|(key, value)| key.len().max(value.len()) <= STRING_LEN_MAX) {
        return Ok(());
    }
    Err(too_long())
}

fn too_long() -> Refusal {
    Refusal::new(
        ErrorKind::InvalidConfig,
        format!(
            "The configuration value cannot be added because it exceeds the maximum value size of \
             {STRING_LEN_MAX} bytes."
        ),
    )
}

fn length(key: &str, value: &Option<String>) -> usize {
    key.len().max(value.as_ref().map_or(0, String::len))
}

/// Kafka refuses a broker's config as a bad request, but for three kinds.
fn broker_refusal(error: ConfigError) -> Refusal {
    let kind = match &error {
        ConfigError::NotAList { key, op } => {
            return Refusal::new(
                ErrorKind::InvalidConfig,
                format!(
                    "Config value {} is not allowed for config key: {key}",
                    op.to_ascii_lowercase()
                ),
            );
        }
        ConfigError::NotBuilt { .. }
        | ConfigError::MinIsrOfBrokerWithElr
        | ConfigError::MinIsrRemovedWithElr => ErrorKind::InvalidConfig,
        _ => ErrorKind::InvalidRequest,
    };
    Refusal::new(kind, error.to_string())
}

/// The difference as records, and what is in `again` whether or not it differs.
fn records(
    resource: &ConfigResource,
    before: &ConfigMap,
    after: &ConfigMap,
    again: &BTreeSet<&str>,
) -> Vec<MetadataRecord> {
    let changed = |key: &String| before.get(key) != after.get(key) || again.contains(key.as_str());
    let keys: BTreeSet<&String> =
        before.keys().chain(after.keys()).filter(|key| changed(key)).collect();
    // Deleting what is not set is said as well, if it was asked for.
    let absent =
        again.iter().filter(|key| !before.contains_key(**key) && !after.contains_key(**key));
    let record = |name: &str| ConfigRecord {
        resource_type: resource.kind.code(),
        resource_name: resource.name.to_string(),
        name: name.to_owned(),
        value: after.get(name).cloned(),
    };
    let names = keys.into_iter().map(String::as_str).chain(absent.copied());
    names.map(record).map(MetadataRecord::from).collect()
}

fn named(change: &ConfigsChange) -> BTreeSet<&str> {
    match change {
        ConfigsChange::Incremental(operations) => {
            operations.iter().map(|(key, ..)| key.as_str()).collect()
        }
        ConfigsChange::Replace(entries) => entries.iter().map(|(key, _)| key.as_str()).collect(),
    }
}

/// With another `min.insync.replicas`, who was eligible under the old one may not be.
fn cleared_elr(records: &[MetadataRecord]) -> Vec<MetadataRecord> {
    let cleared = records.iter().filter_map(|record| match record {
        MetadataRecord::Config(config) if config.name == MIN_ISR => {
            let topic = ResourceKind::from_code(config.resource_type) == ResourceKind::Topic;
            let topic_name = if topic { config.resource_name.clone() } else { String::new() };
            Some(ClearElrRecord { topic_name }.into())
        }
        _ => None,
    });
    cleared.collect()
}

fn invalid_request<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(ErrorKind::InvalidRequest, text))
}
