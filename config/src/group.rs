//! The configuration of one group, and of one telemetry subscription: what is set on it over what
//! the broker gives all.

use std::collections::BTreeMap;

use crate::error::ConfigError;
use crate::keys::{self, GroupConfig};
use crate::layer::Layers;
use crate::node::{self, Config};
use crate::table::Key;
use crate::value::Value;

impl GroupConfig {
    /// What is in force for a group with these overrides; one that cannot be read counts as not set.
    #[must_use]
    pub fn effective(config: &Config, overrides: &BTreeMap<String, String>) -> Self {
        Self::read(|key| set(key, overrides).unwrap_or_else(|| config.layers().effective(key)))
    }
}

/// Checks a change of a group's overrides, from all that was set to all that will be, on a node
/// with this configuration, whose `group.*.min.*` and `group.*.max.*` hold for every group.
///
/// Only keys whose value changes are looked at: what a Kafka cluster once accepted must not stand
/// in the way.
pub fn validate_group_change(
    config: &Config,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    let unknown = after.keys().find(|name| keys::group_key(name).is_none());
    if let Some(name) = unknown.filter(|name| before.get(*name) != after.get(*name)) {
        return Err(ConfigError::UnknownGroupKey { key: name.clone() });
    }
    let value = |key: &'static Key| {
        set(key, after).unwrap_or_else(|| config.layers().effective(key)).number()
    };
    let mut changed = Vec::new();
    for (name, text) in after.iter().filter(|(name, text)| before.get(*name) != Some(*text)) {
        let key = keys::group_key(name).expect("looked up just now");
        node::parse(key, text)?;
        changed.push(key);
    }
    for key in &changed {
        let limits = LIMITS.iter().filter(|limit| limit.key == key.name);
        for limit in limits {
            let fault = limit.fault(key.name, value(key), config.layers());
            fault.map_or(Ok(()), |fault| Err(ConfigError::Conflict(fault)))?;
        }
    }
    for kind in ["consumer", "share", "streams"] {
        let key = |name: &str| {
            keys::group_key(&format!("{kind}.{name}")).expect("each kind of group has it")
        };
        let (session, heartbeat) = (key("session.timeout.ms"), key("heartbeat.interval.ms"));
        let concerned =
            changed.iter().any(|it| it.name == session.name || it.name == heartbeat.name);
        if concerned && value(session) <= value(heartbeat) {
            return Err(ConfigError::Conflict(format!(
                "{} must be greater than {}",
                session.name, heartbeat.name
            )));
        }
    }
    Ok(())
}

/// Checks that what a broker gives to groups is within what it allows them: the key that is not, and
/// why.
pub(crate) fn check_defaults(layers: &Layers) -> Result<(), (&'static str, String)> {
    let value = |key: &'static Key| layers.effective(key).number();
    for key in keys::group::CONSUMER {
        let default = key.synonyms.first().and_then(|synonym| keys::broker_key(synonym.name));
        let default = default.expect("a consumer group's keys have one");
        let limits = LIMITS.iter().filter(|limit| limit.key == key.name);
        let mut faults =
            limits.filter_map(|limit| limit.fault(default.name, value(default), layers));
        if let Some(fault) = faults.next() {
            return Err((default.name, fault));
        }
    }
    Ok(())
}

/// Checks what is to be set on a telemetry subscription.
pub fn validate_subscription(after: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    for (name, text) in after {
        let key = keys::subscription_key(name)
            .ok_or_else(|| ConfigError::UnknownSubscriptionKey { key: name.clone() })?;
        match node::parse(key, text)? {
            Value::Int(ms) if !INTERVAL_MS.contains(&ms) => {
                return Err(ConfigError::SubscriptionInterval { value: ms });
            }
            Value::List(patterns) if key.name == "match" => {
                let wrong = patterns.into_iter().find(|pattern| !is_match(pattern));
                if let Some(pattern) = wrong {
                    return Err(ConfigError::Conflict(format!(
                        "Illegal client matching pattern: {pattern}"
                    )));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The value that the group or subscription itself sets, if it can be read.
pub(crate) fn set(key: &Key, overrides: &BTreeMap<String, String>) -> Option<Value> {
    key.parse(overrides.get(key.name)?).ok()
}

/// Whether it is the name of something known of a client, and a pattern for it.
fn is_match(pattern: &str) -> bool {
    let mut parts = pattern.split('=');
    let (Some(name), Some(value), None) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let value = value.trim();
    KNOWN_OF_CLIENTS.contains(&name.trim()) && !value.is_empty() && regex::Regex::new(value).is_ok()
}

/// What a broker allows to all groups, by `group.*.min.*` and `group.*.max.*`.
struct Limit {
    key: &'static str,
    /// The least and the most where Odradek does not have the broker's keys: Kafka's defaults. None
    /// where Kafka has no such key.
    least: Option<i64>,
    most: Option<i64>,
}

impl Limit {
    const fn most(key: &'static str, most: i64) -> Self {
        Self { key, least: None, most: Some(most) }
    }

    const fn between(key: &'static str, least: i64, most: i64) -> Self {
        Self { key, least: Some(least), most: Some(most) }
    }

    /// What is wrong with `key` having this value.
    fn fault(&self, key: &str, value: i64, layers: &Layers) -> Option<String> {
        let limit = |bound: &str, fixed| {
            let name = self.broker_key(bound);
            let own = keys::broker_key(&name).map(|key| layers.effective(key).number());
            (own.unwrap_or(fixed), name)
        };
        let least = self.least.map(|least| limit("min", least));
        if let Some((_, name)) = least.filter(|(least, _)| value < *least) {
            return Some(format!("{key} must be greater than or equal to {name}"));
        }
        let most = self.most.map(|most| limit("max", most));
        let (_, name) = most.filter(|(most, _)| value > *most)?;
        Some(format!("{key} must be less than or equal to {name}"))
    }

    /// `share.session.timeout.ms` and `min` are in `group.share.min.session.timeout.ms`.
    fn broker_key(&self, bound: &str) -> String {
        let (kind, what) = self.key.split_once('.').expect("keys of groups begin with the kind");
        format!("group.{kind}.{bound}.{}", what.strip_prefix("num.").unwrap_or(what))
    }
}

/// In Kafka's order.
const LIMITS: &[Limit] = &[
    Limit::between("consumer.heartbeat.interval.ms", 5_000, 15_000),
    Limit::between("consumer.session.timeout.ms", 45_000, 60_000),
    Limit::between("consumer.assignment.interval.ms", 0, 15_000),
    Limit::between("share.heartbeat.interval.ms", 5_000, 15_000),
    Limit::between("share.session.timeout.ms", 45_000, 60_000),
    Limit::most("share.assignment.interval.ms", 15_000),
    Limit::between("share.record.lock.duration.ms", 15_000, 60_000),
    Limit::most("share.delivery.count.limit", 10),
    Limit::most("share.partition.max.record.locks", 4_000),
    Limit::between("streams.heartbeat.interval.ms", 5_000, 15_000),
    Limit::between("streams.session.timeout.ms", 45_000, 60_000),
    Limit::most("streams.assignment.interval.ms", 15_000),
    Limit::most("streams.num.standby.replicas", 2),
];

const INTERVAL_MS: std::ops::RangeInclusive<i64> = 100..=3_600_000;
const KNOWN_OF_CLIENTS: &[&str] = &[
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn group(key: &str, value: &str) -> String {
        let after = map(&[(key, value)]);
        match validate_group_change(&Config::default(), &BTreeMap::new(), &after) {
            Ok(()) => "OK".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// What Kafka 4.3.1 answered to the same.
    #[test]
    fn groups_are_refused_in_kafkas_words() {
        let session = "consumer.session.timeout.ms";
        let heartbeat = "consumer.heartbeat.interval.ms";
        let reset = "share.auto.offset.reset";
        for (key, value, said) in [
            ("nope", "1", "Unknown group config name: nope"),
            (
                "consumer.assignor.offload.enable",
                "true",
                "Unknown group config name: consumer.assignor.offload.enable",
            ),
            (session, "50000", "OK"),
            (
                session,
                "abc",
                "Invalid value abc for configuration consumer.session.timeout.ms: Not a number of type INT",
            ),
            (
                session,
                "0",
                "Invalid value 0 for configuration consumer.session.timeout.ms: Value must be at least 1",
            ),
            (
                session,
                "10",
                "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
            ),
            (
                session,
                "70000",
                "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms",
            ),
            (
                heartbeat,
                "10",
                "consumer.heartbeat.interval.ms must be greater than or equal to group.consumer.min.heartbeat.interval.ms",
            ),
            (
                heartbeat,
                "16000",
                "consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms",
            ),
            ("consumer.assignment.interval.ms", "0", "OK"),
            (
                "consumer.assignment.interval.ms",
                "-1",
                "Invalid value -1 for configuration consumer.assignment.interval.ms: Value must be at least 0",
            ),
            (
                "consumer.assignment.interval.ms",
                "16000",
                "consumer.assignment.interval.ms must be less than or equal to group.consumer.max.assignment.interval.ms",
            ),
            (
                reset,
                "foo",
                "Invalid value foo for configuration share.auto.offset.reset: Invalid value `foo` for configuration share.auto.offset.reset. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.",
            ),
            (reset, "by_duration:PT1H", "OK"),
            (
                "share.isolation.level",
                "READ_COMMITTED",
                "Invalid value READ_COMMITTED for configuration share.isolation.level: String must be one of: read_committed, read_uncommitted",
            ),
            (
                "share.record.lock.duration.ms",
                "14999",
                "share.record.lock.duration.ms must be greater than or equal to group.share.min.record.lock.duration.ms",
            ),
            (
                "share.delivery.count.limit",
                "1",
                "Invalid value 1 for configuration share.delivery.count.limit: Value must be at least 2",
            ),
            (
                "share.delivery.count.limit",
                "11",
                "share.delivery.count.limit must be less than or equal to group.share.max.delivery.count.limit",
            ),
            (
                "share.renew.acknowledge.enable",
                "foo",
                "Invalid value foo for configuration share.renew.acknowledge.enable: Expected value to be either true or false",
            ),
            (
                "streams.num.standby.replicas",
                "3",
                "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas",
            ),
            ("streams.initial.rebalance.delay.ms", "15001", "OK"),
        ] {
            assert_eq!(group(key, value), said, "{key}={value}");
        }
    }

    #[test]
    fn a_session_outlasts_a_heartbeat() {
        let loose = [
            "group.consumer.min.session.timeout.ms=1",
            "group.consumer.max.heartbeat.interval.ms=50000",
        ];
        let config = loose.iter().fold(Config::builder(), |builder, set| builder.set(set));
        let config = config.build().expect("valid");
        let check = |entries| {
            validate_group_change(&config, &BTreeMap::new(), &map(entries))
                .map_err(|error| error.to_string())
        };
        let said =
            "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms";
        assert_eq!(check(&[("consumer.session.timeout.ms", "5000")]), Err(said.to_owned()));
        assert_eq!(check(&[("consumer.heartbeat.interval.ms", "45000")]), Err(said.to_owned()));
        assert_eq!(
            check(&[
                ("consumer.session.timeout.ms", "5001"),
                ("consumer.heartbeat.interval.ms", "5000")
            ]),
            Ok(())
        );
    }

    #[test]
    fn what_a_group_sets_is_in_force() {
        let config = Config::builder().set("group.consumer.session.timeout.ms=50000");
        let config = config.build().expect("valid");
        let of = |entries| GroupConfig::effective(&config, &map(entries));
        assert_eq!(of(&[]).session_timeout_ms, 50_000);
        let own = of(&[
            ("consumer.session.timeout.ms", "46000"),
            ("consumer.heartbeat.interval.ms", "x"),
        ]);
        assert_eq!((own.session_timeout_ms, own.heartbeat_interval_ms), (46_000, 5_000));
    }

    /// What Kafka 4.3.1 answered to the same.
    #[test]
    fn subscriptions_are_refused_in_kafkas_words() {
        for (key, value, said) in [
            ("foo", "a", "Unknown client metrics configuration: foo"),
            (
                "interval.ms",
                "99",
                "Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
            ),
            (
                "interval.ms",
                "3600001",
                "Invalid value 3600001 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
            ),
            (
                "interval.ms",
                "a",
                "Invalid value a for configuration interval.ms: Not a number of type INT",
            ),
            ("interval.ms", "100", "OK"),
            ("match", "a", "Illegal client matching pattern: a"),
            ("match", "a=b", "Illegal client matching pattern: a=b"),
            ("match", "client_id=b,client_id=[", "Illegal client matching pattern: client_id=["),
            ("match", "client_id=b,client_software_name=Java.*", "OK"),
            ("metrics", "*", "OK"),
            ("metrics", "", "OK"),
        ] {
            let told = match validate_subscription(&map(&[(key, value)])) {
                Ok(()) => "OK".to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(told, said, "{key}={value}");
        }
    }
}
