//! Topics and configs through librdkafka's admin client, with Kafka's refusals.

use rdkafka::admin::{
    AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::support::broker::Broker;
use crate::support::client::{
    LIMIT, Record, admin, block_on, consumer, create_topic, options, produce,
};
use crate::support::{eventually, unique};

/// The code with which creating this topic is refused.
fn refusal(broker: &Broker, topic: &NewTopic<'_>) -> RDKafkaErrorCode {
    let results = block_on(admin(broker.address()).create_topics([topic], &options()));
    let mut results = results.expect("an answer");
    results.remove(0).expect_err("a refusal").1
}

#[test]
fn topics_that_cannot_be_are_refused() {
    let broker = Broker::start();
    let name = unique("refused");
    let topic =
        |partitions, replicas| NewTopic::new(&name, partitions, TopicReplication::Fixed(replicas));
    assert_eq!(refusal(&broker, &topic(0, 1)), RDKafkaErrorCode::InvalidPartitions);
    assert_eq!(refusal(&broker, &topic(1, 3)), RDKafkaErrorCode::InvalidReplicationFactor);
    let unknown = topic(1, 1).set("no.such.key", "1");
    assert_eq!(refusal(&broker, &unknown), RDKafkaErrorCode::InvalidConfig);
    let wrong = topic(1, 1).set("retention.ms", "soon");
    assert_eq!(refusal(&broker, &wrong), RDKafkaErrorCode::InvalidConfig);
    let named = NewTopic::new("not/a/name", 1, TopicReplication::Fixed(1));
    assert_eq!(refusal(&broker, &named), RDKafkaErrorCode::InvalidTopic);
    let elsewhere = NewTopic::new(&name, 1, TopicReplication::Variable(&[&[4711]]));
    let code = RDKafkaErrorCode::InvalidReplicaAssignment;
    assert_eq!(refusal(&broker, &elsewhere), code);

    create_topic(broker.address(), &name, 1, &[]);
    assert_eq!(refusal(&broker, &topic(1, 1)), RDKafkaErrorCode::TopicAlreadyExists);
}

#[test]
fn a_dry_run_creates_nothing() {
    let broker = Broker::start();
    let name = unique("dry");
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
    let dry = options().validate_only(true);
    let results = block_on(admin(broker.address()).create_topics([&topic], &dry));
    assert_eq!(results.expect("an answer"), [Ok(name.clone())]);
    // It can still be created, so it was not.
    create_topic(broker.address(), &name, 1, &[]);
}

#[test]
fn a_topic_grows_and_does_not_shrink() {
    let broker = Broker::start();
    let name = unique("growing");
    create_topic(broker.address(), &name, 1, &[]);
    let admin = admin(broker.address());
    let resize = |to| {
        let request = NewPartitions::new(&name, to);
        let results = block_on(admin.create_partitions([&request], &options()));
        results.expect("an answer").remove(0)
    };
    assert_eq!(resize(4), Ok(name.clone()));
    assert_eq!(resize(2), Err((name.clone(), RDKafkaErrorCode::InvalidPartitions)));
    // A client that gets the answer may use the partition at once.
    produce(broker.address(), &[], &name, &[Record::of("x").to(3)]);
}

#[test]
fn a_deleted_topic_is_gone_and_its_name_is_free() {
    let broker = Broker::start();
    let name = unique("deleted");
    create_topic(broker.address(), &name, 2, &[]);
    produce(broker.address(), &[], &name, &[Record::of("old").to(1)]);
    let admin = admin(broker.address());
    let delete = || {
        let results = block_on(admin.delete_topics(&[&name], &options()));
        results.expect("an answer").remove(0)
    };
    assert_eq!(delete(), Ok(name.clone()));
    let unknown = RDKafkaErrorCode::UnknownTopicOrPartition;
    eventually("it is gone", LIMIT, || (delete() == Err((name.clone(), unknown))).then_some(()));
    create_topic(broker.address(), &name, 2, &[]);
    let watcher = consumer(broker.address(), &[]);
    assert_eq!(watcher.fetch_watermarks(&name, 1, LIMIT).expect("an answer"), (0, 0));
}

#[test]
fn configs_are_described_and_altered() {
    let broker = Broker::start();
    let name = unique("configured");
    create_topic(broker.address(), &name, 1, &[("retention.ms", "3600000")]);
    let admin = admin(broker.address());
    let topic = ResourceSpecifier::Topic(&name);
    // Kafka answers a change before all its threads have seen it.
    let assert_value = |key: &str, value: &str, source: ConfigSource| {
        eventually(&format!("{key} is {value} by {source:?}"), LIMIT, || {
            let described = block_on(admin.describe_configs([&topic], &options()));
            let resource = described.expect("an answer").remove(0).expect("a topic");
            let entry = resource.get(key)?;
            (entry.value.as_deref() == Some(value) && entry.source == source).then_some(())
        });
    };
    assert_value("retention.ms", "3600000", ConfigSource::DynamicTopic);
    assert_value("segment.bytes", "1073741824", ConfigSource::Default);
    assert_value("cleanup.policy", "delete", ConfigSource::Default);

    let alter = |key: &str, value: &str| {
        let request = AlterConfig::new(ResourceSpecifier::Topic(&name)).set(key, value);
        let results = block_on(admin.alter_configs([&request], &options()));
        assert_eq!(results.expect("an answer").len(), 1);
    };
    alter("max.message.bytes", "5000");
    assert_value("max.message.bytes", "5000", ConfigSource::DynamicTopic);
    // This API replaces the whole set: what it does not name returns to its default.
    assert_value("retention.ms", "604800000", ConfigSource::Default);
    // The binding drops the refusal's code; that nothing changed shows it.
    alter("max.message.bytes", "-5");
    assert_value("max.message.bytes", "5000", ConfigSource::DynamicTopic);
}

#[test]
fn records_are_deleted_up_to_an_offset() {
    let broker = Broker::start();
    let name = unique("trimmed");
    create_topic(broker.address(), &name, 1, &[]);
    let records = vec![Record::of("x").to(0); 20];
    produce(broker.address(), &[], &name, &records);
    let admin = admin(broker.address());
    let delete = |before| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&name, 0, before).expect("an offset");
        let result = block_on(admin.delete_records(&list, &options())).expect("an answer");
        let element = &result.elements()[0];
        element.error().map(|()| element.offset())
    };
    assert_eq!(delete(Offset::Offset(7)), Ok(Offset::Offset(7)));
    let watcher = consumer(broker.address(), &[]);
    let ends = || watcher.fetch_watermarks(&name, 0, LIMIT).expect("an answer");
    assert_eq!(ends(), (7, 20));
    let beyond = delete(Offset::Offset(21)).expect_err("beyond the end");
    assert_eq!(beyond.rdkafka_error_code(), Some(RDKafkaErrorCode::OffsetOutOfRange));
    assert_eq!(delete(Offset::End), Ok(Offset::Offset(20)));
    assert_eq!(ends(), (20, 20));
}
