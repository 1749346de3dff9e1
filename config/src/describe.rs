//! What DescribeConfigs answers: every key with its value, where that is from, and what else is
//! set behind it.

use std::collections::BTreeMap;

use crate::group;
use crate::keys;
use crate::layer::{Found, Source};
use crate::node::Config;
use crate::table::{Key, Kind, Scope};
use crate::topic;
use crate::value::Value;

/// One key as a client sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Kafka's name.
    pub name: &'static str,
    /// The value in force; `None` is null, also in place of a secret.
    pub value: Option<String>,
    /// The layer that the value is from.
    pub source: Source,
    /// Whether it cannot be changed while the broker runs.
    pub read_only: bool,
    /// Whether the value is a secret.
    pub sensitive: bool,
    /// Kafka's type.
    pub kind: Kind,
    /// Everything that is set for the key, itself or by synonyms, the value in force first.
    pub synonyms: Vec<DescribedSynonym>,
    /// What the key does.
    pub doc: &'static str,
}

/// One of the values behind a key.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedSynonym {
    /// The key that is set.
    pub name: &'static str,
    /// Its value, in its own unit; `None` is null, also in place of a secret.
    pub value: Option<String>,
    /// The layer that it is set in.
    pub source: Source,
}

impl Config {
    /// Every key of this broker.
    #[must_use]
    pub fn describe_broker(&self) -> Vec<Described> {
        keys::broker_keys().map(|key| self.describe(key)).collect()
    }

    /// The keys that are set for all brokers of the cluster: what the broker with the empty name
    /// answers.
    #[must_use]
    pub fn describe_cluster(&self) -> Vec<Described> {
        let set = |key: &&'static Key| self.layers().cluster.contains_key(key.name);
        let cluster = |key| {
            let mut described = self.describe(key);
            described.synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
            described.source = Source::DynamicDefaultBroker;
            described.value = described.synonyms.first().and_then(|set| set.value.clone());
            described
        };
        keys::broker_keys().filter(set).map(cluster).collect()
    }

    /// Every key of a topic with these overrides.
    #[must_use]
    pub fn describe_topic(&self, overrides: &BTreeMap<String, String>) -> Vec<Described> {
        let topic = |key: &'static Key| {
            let mut described = self.describe(key);
            if let Some(value) = topic::set(key, overrides) {
                described.set(key, &value, Source::DynamicTopic);
            }
            described
        };
        keys::topic_keys().map(topic).collect()
    }

    /// Every key of a group with these overrides.
    #[must_use]
    pub fn describe_group(&self, overrides: &BTreeMap<String, String>) -> Vec<Described> {
        self.describe_with(keys::group_keys(), overrides, Source::DynamicGroup)
    }

    /// Every key of a telemetry subscription with these overrides.
    #[must_use]
    pub fn describe_subscription(&self, overrides: &BTreeMap<String, String>) -> Vec<Described> {
        self.describe_with(keys::subscription_keys(), overrides, Source::DynamicSubscription)
    }

    fn describe_with(
        &self,
        keys: impl Iterator<Item = &'static Key>,
        overrides: &BTreeMap<String, String>,
        source: Source,
    ) -> Vec<Described> {
        let described = keys.map(|key| {
            let mut described = self.describe(key);
            // As if Kafka's broker key were there and nobody had set it.
            described.synonyms.extend(key.stands_for.map(|name| DescribedSynonym {
                name,
                value: shown(key, &key.default_value()),
                source: Source::Default,
            }));
            if let Some(value) = group::set(key, overrides) {
                described.set(key, &value, source);
            }
            described
        });
        described.collect()
    }

    fn describe(&self, key: &'static Key) -> Described {
        let found = self.layers().values(key);
        // As Kafka, `log.retention.ms` is null while only `log.retention.hours` is set.
        let of_broker = matches!(key.scope, Scope::Fixed | Scope::PerBroker | Scope::ClusterWide);
        let own = |found: &Found| !of_broker || found.key.name == key.name;
        let first = found.iter().position(own);
        let synonyms: Vec<_> = found[first.unwrap_or(found.len())..]
            .iter()
            .map(|found| DescribedSynonym {
                name: found.key.name,
                value: shown(found.key, &found.value),
                source: found.source,
            })
            .collect();
        let value = match first {
            Some(first) => found[first].value.clone().scaled(found[first].scale),
            None => key.default_value(),
        };
        Described {
            name: key.name,
            value: shown(key, &value),
            source: synonyms.first().map_or(Source::Default, |synonym| synonym.source),
            read_only: key.read_only(),
            sensitive: key.sensitive(),
            kind: key.kind,
            synonyms,
            doc: key.doc,
        }
    }
}

impl Described {
    /// The thing itself sets the key.
    fn set(&mut self, key: &Key, value: &Value, source: Source) {
        let value = shown(key, value);
        self.value.clone_from(&value);
        self.source = source;
        self.synonyms.insert(0, DescribedSynonym { name: key.name, value, source });
    }
}

fn shown(key: &Key, value: &Value) -> Option<String> {
    if key.sensitive() { None } else { value.text() }
}

#[cfg(test)]
mod tests;
