use super::*;

fn set(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn find(described: Vec<Described>, name: &str) -> Described {
    described.into_iter().find(|described| described.name == name).expect(name)
}

/// `SOURCE:name=value` of each synonym.
fn synonyms(described: &Described) -> Vec<String> {
    let text = |synonym: &DescribedSynonym| {
        let value = synonym.value.as_deref().unwrap_or("null");
        format!("{}:{}={value}", synonym.source.name(), synonym.name)
    };
    described.synonyms.iter().map(text).collect()
}

/// What Kafka 4.3.1 answered with the same settings.
#[test]
fn synonyms_are_in_kafkas_order() {
    let (config, _) = Config::default().with_dynamic(
        &set(&[("log.retention.ms", "200000")]),
        &set(&[("log.retention.ms", "100000")]),
    );
    let topic = find(config.describe_topic(&set(&[("retention.ms", " 5 ")])), "retention.ms");
    assert_eq!(topic.value.as_deref(), Some("5"));
    assert_eq!(topic.source, Source::DynamicTopic);
    assert_eq!(
        synonyms(&topic),
        [
            "DYNAMIC_TOPIC_CONFIG:retention.ms=5",
            "DYNAMIC_BROKER_CONFIG:log.retention.ms=100000",
            "DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=200000",
            "DEFAULT_CONFIG:log.retention.hours=168",
        ]
    );
    let broker = find(config.describe_broker(), "log.retention.ms");
    assert_eq!((broker.value.as_deref(), broker.read_only), (Some("100000"), false));
    assert_eq!(
        synonyms(&broker),
        [
            "DYNAMIC_BROKER_CONFIG:log.retention.ms=100000",
            "DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=200000",
            "DEFAULT_CONFIG:log.retention.hours=168",
        ]
    );
}

#[test]
fn a_coarser_unit_does_not_set_the_finer_key() {
    let config = Config::builder().set("log.retention.hours=1").build().expect("valid");
    let millis = find(config.describe_broker(), "log.retention.ms");
    assert_eq!((millis.value, millis.source), (None, Source::Default));
    let hours = find(config.describe_broker(), "log.retention.hours");
    assert_eq!(
        synonyms(&hours),
        ["STATIC_BROKER_CONFIG:log.retention.hours=1", "DEFAULT_CONFIG:log.retention.hours=168"]
    );
    assert!(hours.read_only);
    // The topic has it all the same, in its own unit. Kafka loses the source here.
    let topic = find(config.describe_topic(&set(&[])), "retention.ms");
    assert_eq!((topic.value.as_deref(), topic.source), (Some("3600000"), Source::StaticBroker));
}

#[test]
fn defaults_are_described() {
    let config = Config::default();
    let policy = find(config.describe_topic(&set(&[])), "cleanup.policy");
    assert_eq!((policy.value.as_deref(), policy.kind.id()), (Some("delete"), 7));
    assert_eq!(synonyms(&policy), ["DEFAULT_CONFIG:log.cleanup.policy=delete"]);
    let ratio = find(config.describe_topic(&set(&[])), "min.cleanable.dirty.ratio");
    assert_eq!((ratio.value.as_deref(), ratio.kind.id()), (Some("0.5"), 6));
    let remote = find(config.describe_topic(&set(&[])), "remote.storage.enable");
    assert_eq!((remote.value.as_deref(), synonyms(&remote).len()), (Some("false"), 0));
    let rack = find(config.describe_broker(), "broker.rack");
    assert_eq!((rack.value, rack.synonyms.len()), (None, 0));
}

#[test]
fn the_cluster_describes_what_is_set_for_it() {
    let (config, _) = Config::default().with_dynamic(
        &set(&[("max.connections", "5"), ("log.cleanup.policy", "delete")]),
        &set(&[("max.connections", "6")]),
    );
    let described = config.describe_cluster();
    let names: Vec<_> = described.iter().map(|described| described.name).collect();
    assert_eq!(names, ["max.connections", "log.cleanup.policy"]);
    assert_eq!(described[0].value.as_deref(), Some("5"));
    assert_eq!(synonyms(&described[0]), ["DYNAMIC_DEFAULT_BROKER_CONFIG:max.connections=5"]);
}

#[test]
fn every_key_is_described() {
    let config = Config::default();
    assert_eq!(config.describe_topic(&set(&[])).len(), keys::topic_keys().count());
    assert_eq!(config.describe_broker().len(), keys::broker_keys().count());
}

/// What Kafka 4.3.1 answered with the same settings.
#[test]
fn groups_and_subscriptions_are_described() {
    let all = Config::default().describe_group(&set(&[("consumer.session.timeout.ms", "50000")]));
    assert_eq!(all.len(), 17);
    let session = find(all.clone(), "consumer.session.timeout.ms");
    assert_eq!((session.value.as_deref(), session.source), (Some("50000"), Source::DynamicGroup));
    assert_eq!(
        synonyms(&session),
        [
            "DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=50000",
            "DEFAULT_CONFIG:group.consumer.session.timeout.ms=45000",
        ]
    );
    let limit = find(all, "share.delivery.count.limit");
    assert_eq!((limit.source, limit.read_only), (Source::Default, false));
    assert_eq!(synonyms(&limit), ["DEFAULT_CONFIG:group.share.delivery.count.limit=5"]);

    let all = Config::default().describe_subscription(&set(&[("match", "client_id=b")]));
    let pattern = find(all.clone(), "match");
    assert_eq!(pattern.source, Source::DynamicSubscription);
    assert_eq!(synonyms(&pattern), ["DYNAMIC_CLIENT_METRICS_CONFIG:match=client_id=b"]);
    let interval = find(all.clone(), "interval.ms");
    assert_eq!((interval.value.as_deref(), synonyms(&interval)), (Some("300000"), vec![]));
    assert_eq!(find(all, "metrics").value.as_deref(), Some(""));
}
