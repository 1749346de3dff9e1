//! Dynamic configs of topics, brokers, groups and telemetry subscriptions.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{Config, ConfigError, TopicConfig};
use engine::ids::BrokerId;

use super::shards::{ShardKey, Shards};

/// What a config belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// A topic, by name.
    Topic,
    /// A broker by its id, or all of them by the empty name.
    Broker,
    /// A telemetry subscription (KIP-714).
    ClientMetrics,
    /// A group, by id.
    Group,
    /// Unknown to this version; kept as it is.
    Other(i8),
}

impl ResourceKind {
    /// From Kafka's number.
    #[must_use]
    pub fn from_code(code: i8) -> Self {
        match code {
            2 => Self::Topic,
            4 => Self::Broker,
            16 => Self::ClientMetrics,
            32 => Self::Group,
            other => Self::Other(other),
        }
    }

    /// Kafka's number.
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::ClientMetrics => 16,
            Self::Group => 32,
            Self::Other(code) => code,
        }
    }
}

/// A thing that has configs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    /// What kind of thing.
    pub kind: ResourceKind,
    /// Which one.
    pub name: Arc<str>,
}

impl ConfigResource {
    /// A resource of any kind.
    #[must_use]
    pub fn new(kind: ResourceKind, name: &str) -> Self {
        Self { kind, name: name.into() }
    }

    /// A topic.
    #[must_use]
    pub fn topic(name: &str) -> Self {
        Self::new(ResourceKind::Topic, name)
    }

    /// All brokers.
    #[must_use]
    pub fn cluster_default() -> Self {
        Self::new(ResourceKind::Broker, "")
    }

    /// One broker.
    #[must_use]
    pub fn broker(id: BrokerId) -> Self {
        Self::new(ResourceKind::Broker, &id.to_string())
    }
}

/// Values of one resource by key, as the config crate takes them.
pub type ConfigMap = BTreeMap<String, String>;

/// All dynamic configs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configs {
    pub(super) by_resource: Shards<ConfigResource, ConfigMap>,
}

impl Configs {
    /// What is set for one resource itself; `None` if nothing.
    #[must_use]
    pub fn get(&self, resource: &ConfigResource) -> Option<&Arc<ConfigMap>> {
        self.by_resource.get(resource)
    }

    /// One value set for the resource itself.
    #[must_use]
    pub fn value(&self, resource: &ConfigResource, key: &str) -> Option<&str> {
        self.get(resource)?.get(key).map(String::as_str)
    }

    /// The configuration in force on one node: `fixed` under what is set for all brokers and for
    /// this one; and what of that can't be read, which counts as not set.
    #[must_use]
    pub fn of_node(&self, fixed: &Config, node: BrokerId) -> (Config, Vec<ConfigError>) {
        let none = ConfigMap::new();
        let set = |resource| self.get(&resource).map_or(&none, |map| &**map);
        let cluster = set(ConfigResource::cluster_default());
        fixed.with_dynamic(cluster, set(ConfigResource::broker(node)))
    }

    /// The configuration in force for one topic on a node with this configuration.
    #[must_use]
    pub fn of_topic(&self, node: &Config, topic: &str) -> TopicConfig {
        let none = ConfigMap::new();
        let overrides = self.get(&ConfigResource::topic(topic));
        TopicConfig::effective(node, overrides.map_or(&none, |map| &**map))
    }

    /// Everything set, resource by resource.
    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &Arc<ConfigMap>)> {
        self.by_resource.iter()
    }

    /// Names of the resources of one kind that have configs, in order.
    #[must_use]
    pub fn names(&self, kind: ResourceKind) -> Vec<Arc<str>> {
        let of_kind = self.iter().filter(|(resource, _)| resource.kind == kind);
        let mut names: Vec<_> = of_kind.map(|(resource, _)| Arc::clone(&resource.name)).collect();
        names.sort_unstable();
        names
    }

    /// Sets a value, or deletes it with `None`.
    pub(super) fn set(&mut self, resource: ConfigResource, key: &str, value: Option<&str>) {
        match (self.by_resource.get_mut(&resource), value) {
            (Some(values), Some(value)) => {
                values.insert(key.into(), value.into());
            }
            (Some(values), None) => {
                values.remove(key);
                if values.is_empty() {
                    self.by_resource.remove(&resource);
                }
            }
            (None, Some(value)) => {
                let values = BTreeMap::from([(key.into(), value.into())]);
                self.by_resource.insert(resource, Arc::new(values));
            }
            (None, None) => {}
        }
    }

    pub(super) fn remove(&mut self, resource: &ConfigResource) {
        if self.by_resource.get(resource).is_some() {
            self.by_resource.remove(resource);
        }
    }
}

impl ShardKey for ConfigResource {
    /// FNV-1a over kind and name, folded: must be the same on every machine.
    fn shard(&self) -> u8 {
        let bytes = self.name.bytes().chain([self.kind.code().cast_unsigned()]);
        let hash = bytes
            .fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let [a, b, c, d] = hash.to_le_bytes();
        a ^ b ^ c ^ d
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_deletion_removes_the_resource() {
        let mut configs = Configs::default();
        let topic = ConfigResource::topic("t");
        configs.set(topic.clone(), "a", Some("1"));
        configs.set(topic.clone(), "b", Some("2"));
        configs.set(topic.clone(), "a", None);
        assert_eq!(configs.value(&topic, "b"), Some("2"));
        configs.set(topic.clone(), "b", None);
        configs.set(topic.clone(), "c", None);
        assert_eq!(configs, Configs::default());
        assert_eq!(configs.get(&topic), None);
    }

    #[test]
    fn kinds_round_trip() {
        for code in i8::MIN..=i8::MAX {
            assert_eq!(ResourceKind::from_code(code).code(), code);
        }
    }
}
