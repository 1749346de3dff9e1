//! A broker's configuration, and how it changes while the broker runs.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{ConfigError, LoadError, Origin, Problem};
use crate::group;
use crate::keys::{self, Settings};
use crate::layer::{Layers, Static};
use crate::listener::{self, Advertised, Listener};
use crate::load::ConfigBuilder;
use crate::memory::CoreMemory;
use crate::table::{Key, Scope, Standing};
use crate::value::{self, Value};

/// One broker's configuration at one moment. Cloning is cheap, and clones may go to any core.
///
/// Dereferences to [`Settings`]: `config.num_partitions`.
#[derive(Clone, Debug)]
pub struct Config {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    layers: Layers,
    /// The value of each topic key, in the table's order, for a topic that does not set it.
    topic_defaults: Vec<Value>,
    listeners: Vec<Listener>,
    advertised: Vec<Advertised>,
    log_dirs: Vec<PathBuf>,
    cpus: Vec<usize>,
    interrupt_cpus: Vec<usize>,
}

/// Which brokers a dynamic key is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerScope {
    /// All of the cluster: the resource with the empty name.
    ClusterDefault,
    /// One, by its id.
    Broker,
}

impl Config {
    /// Starts from the defaults.
    #[must_use]
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// Checks what must fit together; each value alone has been checked.
    pub(crate) fn from_fixed(fixed: BTreeMap<&'static str, Static>) -> Result<Self, LoadError> {
        let layers = Layers { fixed: Arc::new(fixed), ..Layers::default() };
        let settings = Settings::read(|key| layers.effective(key));
        let fault = |(key, message): (&str, String)| {
            let origin = layers.fixed.get(key).map(|fixed| fixed.origin.clone());
            LoadError { origin: origin.unwrap_or(Origin::Default), message }
        };
        let listeners = listener::listeners(&settings).map_err(fault)?;
        let advertised = listener::advertised(&settings, &listeners).map_err(fault)?;
        let list = |text: &str| crate::cpus::parse(text).expect("checked when it was set");
        let (cpus, interrupt_cpus) =
            (list(&settings.cores_cpus), list(&settings.cores_interrupts_cpus));
        if !cpus.is_empty() && settings.cores_count as usize > cpus.len() {
            let message = format!(
                "cores.count = {}: cores.cpus names only {} CPUs; leave one of the keys out",
                settings.cores_count,
                cpus.len()
            );
            return Err(fault(("cores.count", message)));
        }
        group::check_defaults(&layers).map_err(fault)?;
        let log_dirs = settings.log_dirs.iter().map(PathBuf::from).collect();
        let topic_defaults = topic_defaults(&layers);
        let inner = Inner {
            settings,
            layers,
            topic_defaults,
            listeners,
            advertised,
            log_dirs,
            cpus,
            interrupt_cpus,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The same broker after a change of the dynamic keys in the cluster's metadata.
    ///
    /// A key or value that does not pass is left out, as if it were not set, and reported: the
    /// metadata may come from a Kafka cluster or a newer Odradek.
    #[must_use]
    pub fn with_dynamic(
        &self,
        cluster: &BTreeMap<String, String>,
        broker: &BTreeMap<String, String>,
    ) -> (Self, Vec<ConfigError>) {
        let mut errors = Vec::new();
        let mut layer = |scope, entries: &BTreeMap<String, String>| {
            let mut values = BTreeMap::new();
            for (name, text) in entries {
                match dynamic_key(scope, name).and_then(|key| Ok((key, parse(key, text)?))) {
                    Ok((key, value)) => drop(values.insert(key.name, value)),
                    Err(error) => errors.push(error),
                }
            }
            values
        };
        let layers = Layers {
            fixed: Arc::clone(&self.inner.layers.fixed),
            cluster: layer(BrokerScope::ClusterDefault, cluster),
            broker: layer(BrokerScope::Broker, broker),
        };
        let inner = Inner {
            settings: Settings::read(|key| layers.effective(key)),
            topic_defaults: topic_defaults(&layers),
            layers,
            // What these follow from is read once at start.
            listeners: self.inner.listeners.clone(),
            advertised: self.inner.advertised.clone(),
            log_dirs: self.inner.log_dirs.clone(),
            cpus: self.inner.cpus.clone(),
            interrupt_cpus: self.inner.interrupt_cpus.clone(),
        };
        (Self { inner: Arc::new(inner) }, errors)
    }

    /// What to listen on, at least one.
    #[must_use]
    pub fn listeners(&self) -> &[Listener] {
        &self.inner.listeners
    }

    /// What clients are told to connect to: one for each listener, in the same order.
    #[must_use]
    pub fn advertised(&self) -> &[Advertised] {
        &self.inner.advertised
    }

    /// `log.dirs`, at least one, no two alike.
    #[must_use]
    pub fn log_dirs(&self) -> &[PathBuf] {
        &self.inner.log_dirs
    }

    /// `cores.cpus`: the CPU of each core in turn; empty leaves the threads to the scheduler.
    #[must_use]
    pub fn cpus(&self) -> &[usize] {
        &self.inner.cpus
    }

    /// `cores.interrupts.cpus`: where devices' interrupts are sent; empty leaves them alone.
    #[must_use]
    pub fn interrupt_cpus(&self) -> &[usize] {
        &self.inner.interrupt_cpus
    }

    /// How many cores to run where the process may use `available` CPUs; at least 1.
    #[must_use]
    pub fn core_count(&self, available: usize) -> usize {
        match (self.cores_count as usize, self.cpus().len()) {
            (0, 0) => available.max(1),
            (0, pinned) => pinned,
            (count, _) => count,
        }
    }

    /// One core's share of the memory, of `cores`.
    #[must_use]
    pub fn core_memory(&self, cores: usize) -> CoreMemory {
        CoreMemory::divide(self, cores)
    }

    /// Kafka's keys that were set although they change nothing here, and why; to be logged.
    pub fn inert(&self) -> impl Iterator<Item = (&'static Key, &'static str)> + '_ {
        keys::broker_keys().filter_map(|key| {
            let Standing::Inert(why) = key.standing else { return None };
            let layers = &self.inner.layers;
            let set = layers.fixed.contains_key(key.name)
                || layers.cluster.contains_key(key.name)
                || layers.broker.contains_key(key.name);
            set.then_some((key, why))
        })
    }

    /// Where a static value was set; `None` if it was not.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.inner.layers.fixed.get(key).map(|fixed| &fixed.origin)
    }

    pub(crate) fn topic_defaults(&self) -> &[Value] {
        &self.inner.topic_defaults
    }

    pub(crate) fn layers(&self) -> &Layers {
        &self.inner.layers
    }
}

impl Deref for Config {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.inner.settings
    }
}

impl Default for Config {
    /// Nothing set.
    fn default() -> Self {
        Self::builder().build().expect("the table test builds the defaults")
    }
}

/// Checks a change of a broker's dynamic keys, from all that was set to all that will be.
///
/// Only keys whose value changes are looked at: what a Kafka cluster once accepted must not stand
/// in the way. `elr` says whether the cluster has eligible leader replicas (KIP-966), which fix
/// where `min.insync.replicas` may be set.
pub fn validate_broker_dynamic(
    scope: BrokerScope,
    elr: bool,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    const MIN_ISR: &str = "min.insync.replicas";
    let changed = || after.iter().filter(|(name, text)| before.get(*name) != Some(*text));
    let keys_where = |test: fn(&Key) -> bool| -> Vec<&'static str> {
        let keys = changed().filter_map(|(name, _)| keys::broker_key(name));
        keys.filter(|key| test(key)).map(|key| key.name).collect()
    };
    let fixed = keys_where(Key::read_only);
    if !fixed.is_empty() {
        return Err(ConfigError::NotDynamic { keys: fixed });
    }
    if scope == BrokerScope::ClusterDefault {
        let per_broker = keys_where(|key| key.scope == Scope::PerBroker);
        if !per_broker.is_empty() {
            return Err(ConfigError::NotClusterWide { keys: per_broker });
        }
    }
    for (name, text) in changed() {
        let key = dynamic_key(scope, name)?;
        let value = parse(key, text)?;
        supported(key, text, &value)?;
    }
    if elr && before.get(MIN_ISR) != after.get(MIN_ISR) {
        match scope {
            BrokerScope::Broker => return Err(ConfigError::MinIsrOfBrokerWithElr),
            BrokerScope::ClusterDefault if !after.contains_key(MIN_ISR) => {
                return Err(ConfigError::MinIsrRemovedWithElr);
            }
            BrokerScope::ClusterDefault => {}
        }
    }
    Ok(())
}

fn topic_defaults(layers: &Layers) -> Vec<Value> {
    keys::topic_keys().map(|key| layers.effective(key)).collect()
}

/// The value of a key that may be of any scope, or Kafka's complaint.
pub(crate) fn parse(key: &'static Key, text: &str) -> Result<Value, ConfigError> {
    key.parse(text).map_err(|problem| {
        if problem == Problem::EmptyPart {
            return ConfigError::EmptyPart { key: key.name };
        }
        // Kafka shows a whole list in brackets, but a part of it bare.
        let value = match (&problem, value::parse(key.kind, text)) {
            (Problem::Text(_), Ok(Value::List(parts))) => format!("[{}]", parts.join(", ")),
            _ => text.to_owned(),
        };
        ConfigError::Invalid { key: key.name, value, problem }
    })
}

/// Refuses by name what is valid but not built.
pub(crate) fn supported(key: &'static Key, text: &str, value: &Value) -> Result<(), ConfigError> {
    key.supports(value).map_err(|why| ConfigError::NotBuilt {
        key: key.name,
        value: text.to_owned(),
        why,
    })
}

fn dynamic_key(scope: BrokerScope, name: &str) -> Result<&'static Key, ConfigError> {
    let Some(key) = keys::broker_key(name) else {
        let hint = keys::hint(name, keys::broker_keys());
        return Err(ConfigError::UnknownBrokerKey { key: name.to_owned(), hint });
    };
    match (key.scope, scope) {
        (Scope::Fixed | Scope::Topic | Scope::Group | Scope::Subscription, _) => {
            Err(ConfigError::NotDynamic { keys: vec![key.name] })
        }
        (Scope::PerBroker, BrokerScope::ClusterDefault) => {
            Err(ConfigError::NotClusterWide { keys: vec![key.name] })
        }
        (Scope::PerBroker | Scope::ClusterWide, _) => Ok(key),
    }
}

#[cfg(test)]
mod tests;
