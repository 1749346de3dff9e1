//! A broker's configuration: how it is put together at start, and how it changes afterwards.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{ConfigError, LoadError, LoadErrors, Origin, Problem};
use crate::file;
use crate::keys::{self, Settings, broker};
use crate::layer::{Layers, Static};
use crate::listener::{self, Advertised, Listener};
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
    listeners: Vec<Listener>,
    advertised: Vec<Advertised>,
    log_dirs: Vec<PathBuf>,
    cpus: Vec<usize>,
}

/// Collects what file and command line say; what is said later wins.
#[derive(Debug, Default)]
pub struct ConfigBuilder {
    fixed: BTreeMap<&'static str, Static>,
    errors: Vec<LoadError>,
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
            layers,
            // What these follow from is read once at start.
            listeners: self.inner.listeners.clone(),
            advertised: self.inner.advertised.clone(),
            log_dirs: self.inner.log_dirs.clone(),
            cpus: self.inner.cpus.clone(),
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

impl ConfigBuilder {
    /// Reads a TOML file.
    #[must_use]
    pub fn file(mut self, path: &Path) -> Self {
        match std::fs::read_to_string(path) {
            Ok(text) => self.toml(path, &text),
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                self.errors.push(LoadError { origin: Origin::Flag("--config"), message });
                self
            }
        }
    }

    /// Reads the text of a TOML file; `path` is for messages only.
    #[must_use]
    pub fn toml(mut self, path: &Path, text: &str) -> Self {
        match file::entries(path, text) {
            Ok(entries) => entries
                .into_iter()
                .fold(self, |builder, entry| builder.put(&entry.key, &entry.value, entry.origin)),
            Err(mut errors) => {
                self.errors.append(&mut errors);
                self
            }
        }
    }

    /// Takes the argument of `--set`: `KEY=VALUE`.
    #[must_use]
    pub fn set(mut self, argument: &str) -> Self {
        match argument.split_once('=') {
            Some((key, value)) => self.put(key.trim(), value, Origin::Set),
            None => {
                let message = format!("{argument}: not of the form KEY=VALUE");
                self.errors.push(LoadError { origin: Origin::Set, message });
                self
            }
        }
    }

    /// Takes a value that an option of its own gives, such as `--data` for `log.dirs`.
    #[must_use]
    pub fn put(mut self, name: &str, text: &str, origin: Origin) -> Self {
        match fixed_value(name, text) {
            Ok((key, value)) => drop(self.fixed.insert(key.name, Static { value, origin })),
            Err(message) => self.errors.push(LoadError { origin, message }),
        }
        self
    }

    /// Checks what must fit together, and fails with all that is wrong.
    pub fn build(mut self) -> Result<Config, LoadErrors> {
        let layers = Layers { fixed: Arc::new(self.fixed), ..Layers::default() };
        let origin = |name: &str| match layers.fixed.get(name) {
            Some(fixed) => fixed.origin.clone(),
            None => Origin::Default,
        };
        let settings = Settings::read(|key| layers.effective(key));
        let listened = listener::listeners(&settings)
            .map_err(|message| LoadError { origin: origin("listeners"), message });
        let (listeners, advertised) = match listened {
            Ok(listeners) => {
                let key = if settings.advertised_listeners.is_empty() {
                    "listeners"
                } else {
                    "advertised.listeners"
                };
                let advertised =
                    listener::advertised(&settings, &listeners).unwrap_or_else(|message| {
                        self.errors.push(LoadError { origin: origin(key), message });
                        Vec::new()
                    });
                (listeners, advertised)
            }
            Err(error) => {
                self.errors.push(error);
                (Vec::new(), Vec::new())
            }
        };
        let cpus = broker::parse_cpus(&settings.cores_cpus).expect("checked when it was set");
        if !cpus.is_empty() && settings.cores_count as usize > cpus.len() {
            let message = format!(
                "cores.count = {}: cores.cpus names only {} CPUs; leave one of the keys out",
                settings.cores_count,
                cpus.len()
            );
            self.errors.push(LoadError { origin: origin("cores.count"), message });
        }
        if !self.errors.is_empty() {
            return Err(LoadErrors(self.errors));
        }
        let log_dirs = settings.log_dirs.iter().map(PathBuf::from).collect();
        Ok(Config {
            inner: Arc::new(Inner { settings, layers, listeners, advertised, log_dirs, cpus }),
        })
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
        (Scope::Fixed | Scope::Topic, _) => Err(ConfigError::NotDynamic { keys: vec![key.name] }),
        (Scope::PerBroker, BrokerScope::ClusterDefault) => {
            Err(ConfigError::NotClusterWide { keys: vec![key.name] })
        }
        (Scope::PerBroker | Scope::ClusterWide, _) => Ok(key),
    }
}

/// Reads a static value; the error says key, value and what is allowed.
fn fixed_value(name: &str, text: &str) -> Result<(&'static Key, Value), String> {
    let Some(key) = keys::broker_key(name) else {
        return Err(unknown(name));
    };
    let refused = |problem: Problem| {
        let allowed = key.allowed();
        let known =
            matches!(problem, Problem::OneOf { .. }) || problem.to_string().ends_with(&allowed);
        let allowed = if known { String::new() } else { format!(" (allowed: {allowed})") };
        format!("{name} = {text}: {problem}{allowed}")
    };
    let value = key.parse(text).map_err(refused)?;
    key.supports(&value).map_err(|why| format!("{name} = {text}: {why}"))?;
    Ok((key, value))
}

fn unknown(name: &str) -> String {
    if keys::topic_key(name).is_some() {
        let default = keys::topic_key(name).and_then(|key| key.synonyms.first());
        let instead = default.map(|key| format!("; its default is {}", key.name));
        return format!("{name} is set on topics{}", instead.unwrap_or_default());
    }
    match keys::hint(name, keys::broker_keys()) {
        Some(hint) => format!("{name} cannot be set: {hint}"),
        None => {
            format!("{name}: no such key; REFERENCE.md and `odradek config reference` list all")
        }
    }
}

#[cfg(test)]
mod tests;
