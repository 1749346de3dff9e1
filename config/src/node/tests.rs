use super::*;
use crate::layer::Source;

fn set(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn goes_to_any_core() {
    fn portable<T: Send + Sync + Clone + 'static>() {}
    portable::<Config>();
}

#[test]
fn dynamic_layers_win_over_static_ones() {
    let config = Config::builder().set("max.connections=10").build().expect("valid");
    let (config, errors) = config.with_dynamic(&set(&[("max.connections", "20")]), &set(&[]));
    assert_eq!((config.max_connections, errors.len()), (20, 0));
    let (config, _) =
        config.with_dynamic(&set(&[("max.connections", "20")]), &set(&[("max.connections", "30")]));
    assert_eq!(config.max_connections, 30);
    // Each call says all that is set: nothing is left from before.
    let (config, _) = config.with_dynamic(&set(&[]), &set(&[]));
    assert_eq!(config.max_connections, 10);
}

#[test]
fn unreadable_dynamic_values_are_passed_over() {
    let (config, errors) = Config::default().with_dynamic(
        &set(&[("foo.bar", "1"), ("max.connections", "x"), ("max.connections.per.ip", "7")]),
        &set(&[("node.id", "9")]),
    );
    assert_eq!(config.node_id, 1);
    assert_eq!(config.max_connections, 2_147_483_647);
    assert_eq!(config.max_connections_per_ip, 7);
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "Unknown config name: foo.bar",
            "Invalid value x for configuration max.connections: Not a number of type INT",
            "Cannot update these configs dynamically: [node.id]",
        ]
    );
}

#[test]
fn inert_keys_are_told() {
    let config = Config::builder().set("num.io.threads=16").build().expect("valid");
    let (config, _) = config.with_dynamic(&set(&[("background.threads", "5")]), &set(&[]));
    let names: Vec<_> = config.inert().map(|(key, _)| key.name).collect();
    assert_eq!(names, ["num.io.threads", "background.threads"]);
}

#[test]
fn dynamic_changes_are_checked_in_kafkas_words() {
    let none = set(&[]);
    let broker = |entries: &[(&str, &str)]| {
        validate_broker_dynamic(BrokerScope::Broker, false, &none, &set(entries))
            .map_err(|error| error.to_string())
    };
    assert_eq!(broker(&[("log.retention.ms", "-2")]), Ok(()));
    for (entry, message) in [
        (("node.id", "3"), "Cannot update these configs dynamically: [node.id]"),
        (("num.partitions", "3"), "Cannot update these configs dynamically: [num.partitions]"),
        (
            ("message.max.bytes", "x"),
            "Invalid value x for configuration message.max.bytes: Not a number of type INT",
        ),
        (
            ("num.io.threads", "0"),
            "Invalid value 0 for configuration num.io.threads: Value must be at least 1",
        ),
        (
            ("log.cleanup.policy", "foo"),
            "Invalid value foo for configuration log.cleanup.policy: String must be one of: compact, delete",
        ),
        (
            ("log.cleaner.dedupe.buffer.size", "1"),
            "Invalid value 1 for configuration log.cleaner.dedupe.buffer.size: Value must be at least 1048576",
        ),
        (
            ("log.retention.ms", "0"),
            "Invalid value 0 for configuration log.retention.ms: must be unlimited (-1) or, greater than or equal to 1",
        ),
        (
            ("max.connectons", "1"),
            "Unknown config name: max.connectons (did you mean max.connections?)",
        ),
    ] {
        assert_eq!(broker(&[entry]), Err(message.to_owned()));
    }
    assert_eq!(
        broker(&[("log.dirs", "/x"), ("node.id", "1")]),
        Err("Cannot update these configs dynamically: [log.dirs, node.id]".to_owned())
    );
}

#[test]
fn what_does_not_change_is_not_checked() {
    let before = set(&[("foo.bar", "1"), ("log.cleanup.policy", "compact")]);
    let mut after = before.clone();
    after.insert("max.connections".to_owned(), "5".to_owned());
    let scope = BrokerScope::ClusterDefault;
    assert_eq!(validate_broker_dynamic(scope, false, &before, &after), Ok(()));
    assert_eq!(validate_broker_dynamic(scope, false, &before, &set(&[])), Ok(()));
}

#[test]
fn elr_fixes_where_min_isr_is_set() {
    let (one, two, none) =
        (set(&[("min.insync.replicas", "1")]), set(&[("min.insync.replicas", "2")]), set(&[]));
    let check = |scope, before, after| {
        validate_broker_dynamic(scope, true, before, after).map_err(|error| error.to_string())
    };
    let broker = "Broker-level min.insync.replicas cannot be altered while ELR is enabled.";
    let cluster = "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.";
    assert_eq!(check(BrokerScope::Broker, &none, &two), Err(broker.to_owned()));
    assert_eq!(check(BrokerScope::Broker, &two, &none), Err(broker.to_owned()));
    assert_eq!(check(BrokerScope::ClusterDefault, &one, &two), Ok(()));
    assert_eq!(check(BrokerScope::ClusterDefault, &one, &none), Err(cluster.to_owned()));
    assert_eq!(validate_broker_dynamic(BrokerScope::Broker, false, &none, &two), Ok(()));
}

#[test]
fn sources_have_kafkas_numbers() {
    let numbers = [
        Source::DynamicTopic,
        Source::DynamicBroker,
        Source::DynamicDefaultBroker,
        Source::StaticBroker,
        Source::Default,
    ]
    .map(|source| (source.id(), source.name()));
    let expected = [
        (1, "DYNAMIC_TOPIC_CONFIG"),
        (2, "DYNAMIC_BROKER_CONFIG"),
        (3, "DYNAMIC_DEFAULT_BROKER_CONFIG"),
        (4, "STATIC_BROKER_CONFIG"),
        (5, "DEFAULT_CONFIG"),
    ];
    assert_eq!(numbers, expected);
}
