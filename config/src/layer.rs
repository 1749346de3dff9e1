//! Where a value comes from: one layer over the other, each remembered.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Origin;
use crate::keys;
use crate::table::{Key, Scope, Synonym};
use crate::value::Value;

/// Kafka's `DescribeConfigsResponse.ConfigSource`: the layer that a value is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Set on the topic.
    DynamicTopic,
    /// Set on this broker while it runs.
    DynamicBroker,
    /// Set for all brokers while they run.
    DynamicDefaultBroker,
    /// In the file or on the command line.
    StaticBroker,
    /// Set by nobody.
    Default,
    /// Set on the logger.
    DynamicLogger,
    /// Set on the telemetry subscription.
    DynamicSubscription,
    /// Set on the group.
    DynamicGroup,
}

impl Source {
    /// The protocol's number of the source.
    #[must_use]
    pub fn id(self) -> i8 {
        match self {
            Self::DynamicTopic => 1,
            Self::DynamicBroker => 2,
            Self::DynamicDefaultBroker => 3,
            Self::StaticBroker => 4,
            Self::Default => 5,
            Self::DynamicLogger => 6,
            Self::DynamicSubscription => 7,
            Self::DynamicGroup => 8,
        }
    }

    /// Kafka's name of the source.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DynamicTopic => "DYNAMIC_TOPIC_CONFIG",
            Self::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            Self::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Self::StaticBroker => "STATIC_BROKER_CONFIG",
            Self::Default => "DEFAULT_CONFIG",
            Self::DynamicLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            Self::DynamicSubscription => "DYNAMIC_CLIENT_METRICS_CONFIG",
            Self::DynamicGroup => "DYNAMIC_GROUP_CONFIG",
        }
    }
}

/// A value with its layer and, among synonyms, the key that was set.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The key as set: the key asked for or one of its synonyms.
    pub(crate) key: &'static Key,
    /// The value in the unit of `key`.
    pub(crate) value: Value,
    /// From the unit of `key` to that of the key asked for.
    pub(crate) scale: i64,
    pub(crate) source: Source,
}

/// A value from the file or the command line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Static {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// What is set on a broker, layer by layer. Every value held has passed its row's check.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    pub(crate) fixed: Arc<BTreeMap<&'static str, Static>>,
    pub(crate) cluster: BTreeMap<&'static str, Value>,
    pub(crate) broker: BTreeMap<&'static str, Value>,
}

impl Layers {
    /// The value that is set for `key` in one layer, or its row's default.
    fn at(&self, key: &Key, source: Source) -> Option<Value> {
        match source {
            Source::DynamicTopic
            | Source::DynamicLogger
            | Source::DynamicSubscription
            | Source::DynamicGroup => None,
            Source::DynamicBroker => self.broker.get(key.name).cloned(),
            Source::DynamicDefaultBroker => self.cluster.get(key.name).cloned(),
            Source::StaticBroker => self.fixed.get(key.name).map(|fixed| fixed.value.clone()),
            Source::Default => Some(key.default_value()).filter(|value| *value != Value::Null),
        }
    }

    /// Every value that `key` has on a broker, itself and through its synonyms, in Kafka's order:
    /// by layer, and within one by precedence of the synonyms.
    pub(crate) fn values(&self, key: &'static Key) -> Vec<Found> {
        let chain = chain(key);
        let layers = [
            Source::DynamicBroker,
            Source::DynamicDefaultBroker,
            Source::StaticBroker,
            Source::Default,
        ];
        let found = layers.into_iter().flat_map(|source| {
            chain.iter().filter_map(move |(key, scale)| {
                let value = self.at(key, source)?;
                Some(Found { key, value, scale: *scale, source })
            })
        });
        found.collect()
    }

    /// The value in force for a broker key, or for a topic key that its topic does not set; null
    /// where there is none.
    pub(crate) fn effective(&self, key: &'static Key) -> Value {
        // Only the first of a chain of synonyms can be dynamic, so the highest layer wins as well
        // by name as by layer.
        match self.values(key).into_iter().next() {
            Some(found) => found.value.scaled(found.scale),
            None => key.default_value(),
        }
    }
}

/// The broker keys that `key` takes its value from, with the factor to its unit.
fn chain(key: &'static Key) -> Vec<(&'static Key, i64)> {
    if key.synonyms.is_empty()
        && matches!(key.scope, Scope::Fixed | Scope::PerBroker | Scope::ClusterWide)
    {
        return vec![(key, 1)];
    }
    let row = |synonym: &Synonym| {
        let key = keys::broker_key(synonym.name).expect("the table test resolves every synonym");
        (key, synonym.scale)
    };
    key.synonyms.iter().map(row).collect()
}
