//! A topic's configuration: its own overrides over the broker's defaults.

use std::collections::BTreeMap;

use crate::error::ConfigError;
use crate::keys::{self, TopicConfig};
use crate::node::{self, Config};
use crate::table::{Key, Standing};
use crate::value::Value;

impl TopicConfig {
    /// What is in force for a topic with these overrides.
    ///
    /// An override that cannot be read counts as not set ([`TopicConfig::unreadable`] tells); one
    /// that is valid but not built yet is kept, so that a topic taken over from Kafka is not
    /// mistaken for another kind of one.
    #[must_use]
    pub fn effective(config: &Config, overrides: &BTreeMap<String, String>) -> Self {
        let mut defaults = config.topic_defaults().iter();
        Self::read(|key| {
            let default = defaults.next().expect("a value for each row, in order");
            set(key, overrides).unwrap_or_else(|| default.clone())
        })
    }

    /// The overrides that [`TopicConfig::effective`] passes over, and why; to be logged.
    #[must_use]
    pub fn unreadable(overrides: &BTreeMap<String, String>) -> Vec<ConfigError> {
        let errors = overrides
            .iter()
            .filter_map(|(name, text)| find(name).and_then(|key| node::parse(key, text)).err());
        errors.collect()
    }
}

impl Default for TopicConfig {
    /// Nothing set, on a broker with nothing set.
    fn default() -> Self {
        Self::read(Key::default_value)
    }
}

/// Checks the overrides of a topic that is created.
pub fn validate_topic_overrides(overrides: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    validate_topic_change(&BTreeMap::new(), overrides)
}

/// Checks the overrides of a topic that the broker creates for itself. It may set what users cannot
/// set yet: it knows what becomes of it.
pub fn validate_internal_overrides(
    overrides: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    overrides.iter().try_for_each(|(name, text)| node::parse(find(name)?, text).map(drop))
}

/// Checks a change of a topic's overrides, from all that was set to all that will be.
///
/// Only keys whose value changes are looked at: what a Kafka cluster once accepted must not stand
/// in the way.
pub fn validate_topic_change(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    for (name, text) in after {
        if before.get(name) == Some(text) {
            continue;
        }
        let key = find(name)?;
        let value = node::parse(key, text)?;
        node::supported(key, text, &value)?;
    }
    let lags = TopicConfig::read(|key| set(key, after).unwrap_or_else(|| key.default_value()));
    if lags.min_compaction_lag_ms > lags.max_compaction_lag_ms {
        return Err(ConfigError::Conflict(format!(
            "conflict topic config setting min.compaction.lag.ms ({}) > max.compaction.lag.ms ({})",
            lags.min_compaction_lag_ms, lags.max_compaction_lag_ms
        )));
    }
    Ok(())
}

/// The overrides that change nothing here, and why; to be logged when they are set.
pub fn inert_topic_overrides(
    overrides: &BTreeMap<String, String>,
) -> impl Iterator<Item = (&'static Key, &'static str)> + '_ {
    overrides.keys().filter_map(|name| match keys::topic_key(name) {
        Some(key @ Key { standing: Standing::Inert(why), .. }) => Some((key, *why)),
        _ => None,
    })
}

/// The value that the topic itself sets, if it can be read.
pub(crate) fn set(key: &Key, overrides: &BTreeMap<String, String>) -> Option<Value> {
    key.parse(overrides.get(key.name)?).ok()
}

fn find(name: &str) -> Result<&'static Key, ConfigError> {
    keys::topic_key(name).ok_or_else(|| ConfigError::UnknownTopicKey {
        key: name.to_owned(),
        hint: keys::hint(name, keys::topic_keys()),
    })
}

#[cfg(test)]
mod tests;
