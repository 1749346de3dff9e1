//! What the cluster says of itself, and topics that come to be by being asked for.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use crate::support::broker::Broker;
use crate::support::client::{LIMIT, Record, consume, consumer, create_topic, produce};
use crate::support::{eventually, unique};

#[test]
fn the_cluster_is_one_broker_at_its_address() {
    let broker = Broker::start();
    let consumer = consumer(broker.address(), &[]);
    let metadata = consumer.fetch_metadata(None, LIMIT).expect("an answer");
    assert_eq!(metadata.brokers().len(), 1);
    let only = &metadata.brokers()[0];
    assert_eq!(format!("{}:{}", only.host(), only.port()), broker.address());
    let id = consumer.client().fetch_cluster_id(LIMIT).expect("an answer");
    assert_eq!(id.len(), 22, "{id}");
}

#[test]
fn a_topic_shows_its_partitions() {
    let broker = Broker::start();
    let topic = unique("shown");
    create_topic(broker.address(), &topic, 7, &[]);
    let consumer = consumer(broker.address(), &[]);
    let metadata = consumer.fetch_metadata(Some(&topic), LIMIT).expect("an answer");
    let id = metadata.brokers()[0].id();
    let partitions = metadata.topics()[0].partitions();
    assert_eq!(partitions.len(), 7);
    for (index, partition) in partitions.iter().enumerate() {
        assert_eq!(partition.id(), i32::try_from(index).expect("few"));
        assert_eq!(partition.leader(), id);
        assert_eq!(partition.replicas(), [id]);
        assert_eq!(partition.isr(), [id]);
        assert!(partition.error().is_none());
    }
}

#[test]
fn producing_creates_the_topic() {
    let broker = Broker::start();
    let topic = unique("automatic");
    produce(broker.address(), &[], &topic, &[Record::of("first").to(0)]);
    let messages = consume(broker.address(), &topic, 0, Offset::Beginning, 1);
    assert_eq!(messages[0].payload(), Some(&b"first"[..]));
}

#[test]
fn asking_without_leave_does_not_create_the_topic() {
    let broker = Broker::start();
    let topic = unique("asked-for");
    let asker = consumer(broker.address(), &[("allow.auto.create.topics", "false")]);
    let metadata = asker.fetch_metadata(Some(&topic), LIMIT).expect("an answer");
    assert!(metadata.topics()[0].error().is_some());
    let all = asker.fetch_metadata(None, LIMIT).expect("an answer");
    assert!(all.topics().iter().all(|t| t.name() != topic));
}

#[test]
fn a_forbidden_name_is_refused() {
    let broker = Broker::start();
    let consumer = consumer(broker.address(), &[("allow.auto.create.topics", "true")]);
    for name in ["not/a/name", "..", &"x".repeat(250)] {
        eventually("an answer", LIMIT, || {
            let metadata = consumer.fetch_metadata(Some(name), Duration::from_secs(5)).ok()?;
            metadata.topics()[0].error()
        });
    }
}
