use std::collections::BTreeSet;

use super::*;
use crate::table::{Kind, Scope, Standing};
use crate::value::{self, Value};

fn all() -> Vec<&'static Key> {
    broker_keys().chain(topic_keys()).chain(group_keys()).chain(subscription_keys()).collect()
}

#[test]
fn names_are_unique_and_well_formed() {
    for keys in [broker_keys().collect::<Vec<_>>(), topic_keys().collect()] {
        let names: BTreeSet<_> = keys.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), keys.len());
    }
    for key in all() {
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        assert!(key.name.bytes().all(word), "{}", key.name);
    }
}

#[test]
fn defaults_pass_their_own_checks() {
    for key in all() {
        let default = key.default_value();
        if let Some(text) = default.text() {
            assert_eq!(key.parse(&text), Ok(default.clone()), "{}", key.name);
        }
        assert_eq!(key.supports(&default), Ok(()), "{}", key.name);
    }
}

#[test]
fn docs_are_sentences() {
    for key in all() {
        assert!(key.doc.ends_with('.') && key.doc.len() > 10, "{}", key.name);
        assert!(key.doc.starts_with(|c: char| c.is_uppercase() || c == '`'), "{}", key.name);
        assert!(!key.group.is_empty(), "{}", key.name);
        let (Standing::Inert(why) | Standing::DefaultOnly(why)) = key.standing else { continue };
        assert!(!why.ends_with('.') && !why.is_empty(), "{}", key.name);
    }
}

#[test]
fn scopes_follow_the_tables() {
    assert!(topic_keys().all(|key| key.scope == Scope::Topic));
    assert!(group_keys().all(|key| key.scope == Scope::Group));
    assert!(subscription_keys().all(|key| key.scope == Scope::Subscription));
    let own = [Scope::Fixed, Scope::PerBroker, Scope::ClusterWide];
    assert!(broker_keys().all(|key| own.contains(&key.scope)));
}

#[test]
fn synonyms_lead_to_broker_keys_with_the_same_default() {
    for key in all() {
        for synonym in key.synonyms {
            let target = broker_key(synonym.name).expect(synonym.name);
            assert!(synonym.scale == 1 || target.kind == Kind::Int, "{}", key.name);
        }
        // A topic key's own default is what its chain ends in.
        let ends: Vec<Value> = key
            .synonyms
            .iter()
            .filter_map(|synonym| {
                let value = broker_key(synonym.name)?.default_value();
                (value != Value::Null).then(|| value.scaled(synonym.scale))
            })
            .collect();
        if matches!(key.scope, Scope::Topic | Scope::Group) && !key.synonyms.is_empty() {
            assert_eq!(ends, [key.default_value()], "{}", key.name);
        }
    }
}

#[test]
fn only_the_first_synonym_may_change_while_running() {
    for key in all() {
        for synonym in key.synonyms.iter().skip(1) {
            assert!(broker_key(synonym.name).expect("exists").read_only(), "{}", key.name);
        }
    }
}

/// Names, types and defaults of Kafka 4.3.1, from its own `ConfigDef`s.
const KAFKA_TOPIC: &str = include_str!("../../tests/kafka-4.3/topic.tsv");
const KAFKA_BROKER: &str = include_str!("../../tests/kafka-4.3/broker.tsv");

/// Keys whose default is another than Kafka's, because Odradek starts without any configuration.
const OTHER_DEFAULTS: &[&str] = &[
    "node.id",
    "process.roles",
    "log.dirs",
    "listeners",
    "listener.security.protocol.map",
    "max.connections.per.ip.overrides",
];

fn kafka(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    table.lines().map(|line| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().expect("three fields");
        (next(), next(), next())
    })
}

#[test]
fn every_key_of_kafkas_is_a_row_or_a_refusal() {
    for (name, ..) in kafka(KAFKA_BROKER) {
        assert!(
            broker_key(name).is_some() != foreign::why(name).is_some(),
            "{name} must be a row or match one rule of keys::foreign, not both"
        );
    }
    for (name, ..) in kafka(KAFKA_TOPIC).filter(|(name, ..)| !name.starts_with("internal.")) {
        assert!(topic_key(name).is_some(), "{name}");
    }
}

#[test]
fn rows_agree_with_kafka() {
    for (table, find) in
        [(KAFKA_TOPIC, topic_key as fn(&str) -> Option<&'static Key>), (KAFKA_BROKER, broker_key)]
    {
        for (name, kind, default) in kafka(table) {
            let Some(key) = find(name) else { continue };
            // Replication factors are SHORT in Kafka only where a topic of its own has one.
            assert_eq!(key.kind.name(), kind, "{name}");
            if OTHER_DEFAULTS.contains(&name) {
                continue;
            }
            let default = match default {
                "null" => Value::Null,
                text => value::parse(key.kind, text.trim_matches(['[', ']'])).expect(name),
            };
            assert_eq!(key.default_value(), default, "{name}");
        }
    }
}

#[test]
fn near_misses_are_named() {
    let near = |name| hint(name, topic_keys());
    assert_eq!(near("retention.mss").as_deref(), Some("did you mean retention.ms?"));
    assert_eq!(near("segment.byte").as_deref(), Some("did you mean segment.bytes?"));
    assert_eq!(near("zzz"), None);
    let broker = |name| hint(name, broker_keys());
    assert_eq!(broker("log.dir").as_deref(), Some("use log.dirs"));
    assert_eq!(
        broker("ssl.keystore.location").as_deref(),
        Some("TLS is not built yet; PLAINTEXT listeners only")
    );
    assert_eq!(
        broker("advertised.listener").as_deref(),
        Some("did you mean advertised.listeners?")
    );
}

#[test]
fn distances() {
    assert_eq!(distance("", "abc"), 3);
    assert_eq!(distance("kitten", "sitting"), 3);
    assert_eq!(distance("a.b", "a.b"), 0);
}

#[test]
fn no_text_breaks_a_row() {
    let texts = [
        "",
        " ",
        ",",
        "a",
        "a,b",
        "-1",
        "0",
        "1",
        "2147483647",
        "2147483648",
        "-2147483648",
        "9223372036854775807",
        "-9223372036854775808",
        "1e3",
        "NaN",
        "inf",
        "0.5",
        "true",
        "FALSE",
        "delete",
        "compact,delete",
        "*",
        "0:1",
        "PLAINTEXT://h:1",
        "PLAINTEXT:PLAINTEXT",
        "0-3",
        "Zstd",
        "sync",
        "\u{0}",
        "\u{1f980}",
        "://",
        "[::1]:1",
        ":",
    ];
    for text in texts {
        for key in broker_keys() {
            let builder = crate::Config::builder().put(key.name, text, crate::Origin::Set);
            drop(builder.build().map(|config| (config.describe_broker(), config.core_memory(1))));
        }
        for key in topic_keys() {
            let overrides = [(key.name.to_owned(), text.to_owned())].into();
            let config = crate::Config::default();
            drop(TopicConfig::effective(&config, &overrides));
            drop(config.describe_topic(&overrides));
            drop(crate::validate_topic_overrides(&overrides));
        }
    }
}
