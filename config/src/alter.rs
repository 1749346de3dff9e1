//! IncrementalAlterConfigs as a pure function: what is set, and operations, to what will be set.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::ConfigError;
use crate::keys;
use crate::table::{Key, Kind};

/// `AlterConfigOp.OpType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Set the value.
    Set,
    /// Forget the value.
    Delete,
    /// Add the parts of a list that are not in it.
    Append,
    /// Take parts out of a list.
    Subtract,
}

/// One operation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alteration<'a> {
    /// Key as sent.
    pub key: &'a str,
    /// What to do with it.
    pub op: Op,
    /// The operand; not looked at by [`Op::Delete`].
    pub value: Option<&'a str>,
}

/// What kind of resource is altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic,
    /// A broker, or all of them.
    Broker,
    /// A group.
    Group,
    /// A telemetry subscription.
    Subscription,
}

impl Op {
    /// The operation that the protocol numbers so.
    #[must_use]
    pub fn from_id(id: i8) -> Option<Self> {
        match id {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }
}

/// Carries out `alterations` on what is set; the result is still to be validated.
///
/// Append and subtract start from the value set on this resource or, without one, from the key's
/// default, as in Kafka; not from the value in force.
pub fn apply(
    resource: Resource,
    current: &BTreeMap<String, String>,
    alterations: &[Alteration<'_>],
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut seen = BTreeSet::new();
    let mut result = current.clone();
    for alteration in alterations {
        if !seen.insert(alteration.key) {
            return Err(ConfigError::DuplicateKeys);
        }
        let operand =
            || alteration.value.ok_or_else(|| ConfigError::Null { key: alteration.key.to_owned() });
        let altered = match alteration.op {
            Op::Delete => None,
            Op::Set => Some(operand()?.to_owned()),
            Op::Append => {
                let mut parts = list(resource, current, alteration.key, "APPEND")?;
                let mut known: BTreeSet<_> = parts.iter().cloned().collect();
                for part in split(operand()?) {
                    if known.insert(part.clone()) {
                        parts.push(part);
                    }
                }
                Some(parts.join(","))
            }
            Op::Subtract => {
                let mut parts = list(resource, current, alteration.key, "SUBTRACT")?;
                let gone: BTreeSet<_> = split(operand()?).collect();
                parts.retain(|old| !gone.contains(old));
                Some(parts.join(","))
            }
        };
        match altered {
            Some(text) => drop(result.insert(alteration.key.to_owned(), text)),
            None => drop(result.remove(alteration.key)),
        }
    }
    Ok(result)
}

/// The parts that an append or subtract starts from.
fn list(
    resource: Resource,
    current: &BTreeMap<String, String>,
    name: &str,
    op: &'static str,
) -> Result<Vec<String>, ConfigError> {
    let key: Option<&Key> = match resource {
        Resource::Topic => keys::topic_key(name),
        Resource::Broker => keys::broker_key(name),
        // As in Kafka, although a subscription's patterns are a list.
        Resource::Group | Resource::Subscription => None,
    };
    if key.is_none() && resource == Resource::Broker {
        let hint = keys::hint(name, keys::broker_keys());
        return Err(ConfigError::UnknownBrokerKey { key: name.to_owned(), hint });
    }
    let Some(key) = key.filter(|key| key.kind == Kind::List) else {
        return Err(ConfigError::NotAList { key: name.to_owned(), op });
    };
    let text = current.get(name).cloned().or_else(|| key.default_value().text());
    let parts = text.as_deref().map(split).into_iter().flatten();
    Ok(parts.filter(|part| !part.is_empty()).collect())
}

/// An operand without text stays a part, which validation refuses as Kafka does.
fn split(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(|part| part.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn one(
        current: &[(&str, &str)],
        op: Op,
        key: &str,
        value: Option<&str>,
    ) -> Result<BTreeMap<String, String>, ConfigError> {
        apply(Resource::Topic, &set(current), &[Alteration { key, op, value }])
    }

    #[test]
    fn lists_grow_and_shrink() {
        let policy = |text| Ok(set(&[("cleanup.policy", text)]));
        let key = "cleanup.policy";
        // From the default, not from nothing.
        assert_eq!(one(&[], Op::Append, key, Some("compact")), policy("delete,compact"));
        assert_eq!(one(&[(key, "")], Op::Append, key, Some("compact")), policy("compact"));
        assert_eq!(
            one(&[(key, "compact")], Op::Append, key, Some("compact, delete")),
            policy("compact,delete")
        );
        assert_eq!(
            one(&[(key, " compact , delete")], Op::Subtract, key, Some("compact")),
            policy("delete")
        );
        assert_eq!(one(&[(key, "delete")], Op::Subtract, key, Some("absent")), policy("delete"));
        assert_eq!(one(&[], Op::Subtract, key, Some("delete")), policy(""));
    }

    #[test]
    fn set_and_delete() {
        let old = [("retention.ms", "5")];
        assert_eq!(
            one(&old, Op::Set, "retention.ms", Some("6")),
            Ok(set(&[("retention.ms", "6")]))
        );
        assert_eq!(one(&old, Op::Delete, "retention.ms", None), Ok(set(&[])));
        // A key nobody knows any more can always be removed.
        assert_eq!(one(&[("gone", "1")], Op::Delete, "gone", None), Ok(set(&[])));
        assert_eq!(
            one(&old, Op::Set, "retention.ms", None).map_err(|error| error.to_string()),
            Err("Null value not supported for : retention.ms".to_owned())
        );
    }

    #[test]
    fn only_lists_take_parts() {
        let refused = one(&[], Op::Append, "retention.ms", Some("5"));
        assert_eq!(
            refused.map_err(|error| error.to_string()),
            Err("Can't APPEND to key retention.ms because its type is not LIST.".to_owned())
        );
        let unknown = one(&[], Op::Subtract, "foo", Some("5"));
        assert_eq!(
            unknown.map_err(|error| error.to_string()),
            Err("Can't SUBTRACT to key foo because its type is not LIST.".to_owned())
        );
    }

    #[test]
    fn a_part_without_text_is_refused() {
        let appended = one(&[], Op::Append, "cleanup.policy", Some("")).expect("a list");
        assert_eq!(
            crate::validate_topic_overrides(&appended).map_err(|error| error.to_string()),
            Err("Configuration 'cleanup.policy' values must not be empty.".to_owned())
        );
    }

    #[test]
    fn brokers_know_their_own_keys() {
        let append = |key| {
            let appended = Alteration { key, op: Op::Append, value: Some("delete") };
            apply(Resource::Broker, &set(&[]), &[appended]).map_err(|error| error.to_string())
        };
        assert_eq!(append("log.cleanup.policy"), Ok(set(&[("log.cleanup.policy", "delete")])));
        let unknown = "Unknown config name: cleanup.policy (did you mean log.cleanup.policy?)";
        assert_eq!(append("cleanup.policy"), Err(unknown.to_owned()));
    }

    #[test]
    fn a_key_comes_once() {
        let twice = Alteration { key: "retention.ms", op: Op::Set, value: Some("1") };
        assert_eq!(
            apply(Resource::Topic, &set(&[]), &[twice, twice]),
            Err(ConfigError::DuplicateKeys)
        );
    }
}
