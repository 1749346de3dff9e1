use super::*;
use crate::{CleanupPolicy, CompressionType, Durability, TimestampType};

fn set(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn effective(statics: &[&str], overrides: &[(&str, &str)]) -> TopicConfig {
    let builder = statics.iter().fold(Config::builder(), |builder, set| builder.set(set));
    TopicConfig::effective(&builder.build().expect("valid"), &set(overrides))
}

#[test]
fn defaults_are_kafkas() {
    let topic = TopicConfig::default();
    assert_eq!(topic, effective(&[], &[]));
    assert_eq!(topic.cleanup_policy, CleanupPolicy { delete: true, compact: false });
    assert_eq!(topic.retention_ms, Some(604_800_000));
    assert_eq!(topic.retention_bytes, None);
    assert_eq!(topic.segment_bytes, 1 << 30);
    assert_eq!(topic.max_message_bytes, 1_048_588);
    assert_eq!(topic.compression_type, CompressionType::Producer);
    assert_eq!(topic.message_timestamp_type, TimestampType::CreateTime);
    assert_eq!(topic.flush_messages, i64::MAX);
    assert_eq!(topic.odradek_durability, Durability::Sync);
}

#[test]
fn topics_follow_the_broker_and_its_coarser_units() {
    assert_eq!(effective(&["log.retention.hours=1"], &[]).retention_ms, Some(3_600_000));
    let minutes = ["log.retention.hours=1", "log.retention.minutes=5"];
    assert_eq!(effective(&minutes, &[]).retention_ms, Some(300_000));
    let all = ["log.retention.hours=1", "log.retention.minutes=5", "log.retention.ms=7"];
    assert_eq!(effective(&all, &[]).retention_ms, Some(7));
    assert_eq!(effective(&all, &[("retention.ms", "9")]).retention_ms, Some(9));
    assert_eq!(effective(&["log.retention.hours=-1"], &[]).retention_ms, None);
    assert_eq!(effective(&["log.roll.hours=2"], &[]).segment_ms, 7_200_000);
    assert_eq!(effective(&["log.flush.scheduler.interval.ms=50"], &[]).flush_ms, 50);
    assert_eq!(
        effective(&["odradek.durability=write-cache"], &[]).odradek_durability,
        Durability::WriteCache
    );
}

#[test]
fn topics_follow_what_changes_while_the_broker_runs() {
    let (config, _) = Config::default().with_dynamic(
        &set(&[("message.max.bytes", "5000"), ("log.retention.ms", "8")]),
        &set(&[("message.max.bytes", "6000")]),
    );
    let topic = TopicConfig::effective(&config, &set(&[]));
    assert_eq!((topic.max_message_bytes, topic.retention_ms), (6_000, Some(8)));
}

#[test]
fn what_cannot_be_read_is_not_set_and_told() {
    let overrides = set(&[("retention.ms", "x"), ("unknown", "1"), ("segment.bytes", "2097152")]);
    let topic = TopicConfig::effective(&Config::default(), &overrides);
    assert_eq!((topic.retention_ms, topic.segment_bytes), (Some(604_800_000), 2_097_152));
    let errors = TopicConfig::unreadable(&overrides);
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
            "Unknown topic config name: unknown",
        ]
    );
}

#[test]
fn a_compacted_topic_is_known_as_one() {
    let overrides = set(&[("cleanup.policy", "compact")]);
    assert_eq!(TopicConfig::unreadable(&overrides), []);
    let topic = TopicConfig::effective(&Config::default(), &overrides);
    assert_eq!(topic.cleanup_policy, CleanupPolicy { delete: false, compact: true });
}

/// Each message was answered by Kafka 4.3.1, but for what stands in parentheses.
#[test]
fn refusals_are_in_kafkas_words() {
    let messages = [
        ("retention.ms", "-2", "Value must be at least -1"),
        ("retention.ms", "x", "Not a number of type LONG"),
        ("retention.ms", "1.5", "Not a number of type LONG"),
        ("retention.ms", "", "Not a number of type LONG"),
        ("cleanup.policy", "foo", "String must be one of: compact, delete"),
        (
            "compression.type",
            "none",
            "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
        ("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
        ("compression.zstd.level", "23", "Value must be no more than 22"),
        ("compression.lz4.level", "18", "Value must be no more than 17"),
        ("min.cleanable.dirty.ratio", "1.5", "Value must be no more than 1"),
        ("min.cleanable.dirty.ratio", "abc", "Not a number of type DOUBLE"),
        ("preallocate", "yes", "Expected value to be either true or false"),
        ("segment.bytes", "100", "Value must be at least 1048576"),
        ("segment.bytes", "3000000000", "Not a number of type INT"),
        ("message.timestamp.type", "foo", "String must be one of: CreateTime, LogAppendTime"),
        ("local.retention.ms", "-3", "Value must be at least -2"),
        ("flush.messages", "0", "Value must be at least 1"),
    ];
    for (key, value, problem) in messages {
        let expected = format!("Invalid value {value} for configuration {key}: {problem}");
        let error = validate_topic_overrides(&set(&[(key, value)])).expect_err(key);
        assert_eq!(error.to_string(), expected);
    }
    let refusal = |key, value| {
        validate_topic_overrides(&set(&[(key, value)])).expect_err("refused").to_string()
    };
    assert_eq!(
        refusal("cleanup.policy", "compact,foo"),
        "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete"
    );
    assert_eq!(
        refusal("leader.replication.throttled.replicas", "foo, 0:1"),
        "Invalid value [foo, 0:1] for configuration leader.replication.throttled.replicas: \
         leader.replication.throttled.replicas must be the literal '*' or a list of replicas in \
         the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
    );
    assert_eq!(refusal("foo.bar", "1"), "Unknown topic config name: foo.bar");
    assert_eq!(
        refusal("message.downconversion.enable", "false"),
        "Unknown topic config name: message.downconversion.enable (removed in Kafka 4.0)"
    );
}

#[test]
fn what_kafka_takes_is_taken() {
    for (key, value) in [
        ("retention.ms", " 5 "),
        ("retention.ms", "0"),
        ("retention.bytes", "-5"),
        ("cleanup.policy", ""),
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "compact, delete"),
        ("cleanup.policy", "delete,delete"),
        ("preallocate", "TRUE"),
        ("local.retention.ms", "999999999999"),
        ("min.compaction.lag.ms", "9223372036854775807"),
        ("remote.storage.enable", "false"),
        ("leader.replication.throttled.replicas", ""),
    ] {
        assert_eq!(validate_topic_overrides(&set(&[(key, value)])), Ok(()), "{key}={value}");
    }
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for (key, value) in [
        ("remote.storage.enable", "true"),
        ("remote.log.copy.disable", "true"),
        ("leader.replication.throttled.replicas", "*"),
    ] {
        let error = validate_topic_overrides(&set(&[(key, value)])).expect_err(key);
        assert!(matches!(error, ConfigError::NotBuilt { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(key) && message.contains("not built yet"), "{message}");
    }
    let dead_letters = set(&[("errors.deadletterqueue.group.enable", "true")]);
    assert_eq!(
        validate_topic_overrides(&dead_letters).map_err(|error| error.to_string()),
        Err("Unknown topic config name: errors.deadletterqueue.group.enable (dead letter queues are not built yet)".to_owned())
    );
}

#[test]
fn only_what_changes_is_checked() {
    let before = set(&[("remote.log.copy.disable", "true"), ("gone", "1")]);
    let mut after = before.clone();
    after.insert("retention.ms".to_owned(), "5".to_owned());
    assert_eq!(validate_topic_change(&before, &after), Ok(()));
    after.insert("remote.storage.enable".to_owned(), "true".to_owned());
    assert!(validate_topic_change(&before, &after).is_err());
}

#[test]
fn contradictions_are_refused() {
    let overrides = set(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "9")]);
    assert_eq!(
        validate_topic_overrides(&overrides).map_err(|error| error.to_string()),
        Err("conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (9)"
            .to_owned())
    );
}

#[test]
fn inert_overrides_are_told() {
    let overrides = set(&[("preallocate", "true"), ("retention.ms", "1")]);
    let names: Vec<_> = inert_topic_overrides(&overrides).map(|(key, _)| key.name).collect();
    assert_eq!(names, ["preallocate"]);
}
