//! What a broker does by itself: ages records out, keeps to changed limits, spreads over disks.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rdkafka::admin::{AlterConfig, ResourceSpecifier};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use crate::support::broker::{self, Broker};
use crate::support::client::{
    self, LIMIT, Producer, Record, consume, consumer, create_topic, produce,
};
use crate::support::{eventually, unique};

fn start_of(broker: &Broker, topic: &str) -> i64 {
    let watcher = consumer(broker.address(), &[]);
    watcher.fetch_watermarks(topic, 0, LIMIT).expect("an answer").0
}

#[test]
fn records_age_out_by_size_and_by_time() {
    let broker = Broker::own(&["log.retention.check.interval.ms=200"]);
    let small = ("segment.bytes", "1048576");
    let at_once = ("file.delete.delay.ms", "0");
    create_topic(
        broker.address(),
        "by-size",
        1,
        &[small, at_once, ("retention.bytes", "1500000"), ("retention.ms", "-1")],
    );
    create_topic(broker.address(), "by-time", 1, &[small, at_once, ("retention.ms", "1000")]);
    let record = Record { timestamp_ms: Some(1_000_000), ..Record::of(vec![1; 100_000]) }.to(0);
    for topic in ["by-size", "by-time"] {
        produce(broker.address(), &[("linger.ms", "0")], topic, &vec![record.clone(); 50]);
    }
    let limit = Duration::from_secs(20);
    let start = eventually("the oldest segments go", limit, || {
        let start = start_of(&broker, "by-size");
        (start > 10).then_some(start)
    });
    let first = consume(broker.address(), "by-size", 0, Offset::Beginning, 1).remove(0);
    assert_eq!(first.offset(), start);
    // Records of 1970 are old, those of the present segment, too.
    eventually("all is old", limit, || (start_of(&broker, "by-time") == 50).then_some(()));
    eventually("files are unlinked", limit, || {
        let entries = fs::read_dir(broker.data().join("by-time-0")).expect("a partition");
        let names: Vec<_> = entries.map(|e| e.expect("an entry").file_name()).collect();
        let count =
            |suffix| names.iter().filter(|name| name.to_string_lossy().ends_with(suffix)).count();
        (count(".log") == 1 && count(".deleted") == 0).then_some(())
    });
}

#[test]
fn a_changed_limit_is_kept_at_once() {
    let broker = Broker::start();
    let topic = unique("limited");
    create_topic(broker.address(), &topic, 1, &[]);
    let records = [Record::of(vec![1; 9_000]).to(0)];
    produce(broker.address(), &[], &topic, &records);
    let request =
        AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", "5000");
    let admin = client::admin(broker.address());
    client::block_on(admin.alter_configs([&request], &client::options())).expect("an answer");
    let too_large = KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge);
    eventually("the limit holds", LIMIT, || {
        let end = Producer::new(broker.address(), &[]).send_all(&topic, &records).remove(0);
        (end == Err(too_large.clone())).then_some(())
    });
    produce(broker.address(), &[], &topic, &[Record::of(vec![1; 3_000]).to(0)]);
}

#[test]
fn partitions_spread_over_log_directories() {
    let disks = broker::home();
    let (one, two) = (disks.path().join("one"), disks.path().join("two"));
    let setting = format!("log.dirs={},{}", one.display(), two.display());
    let mut broker = Broker::own(&[&setting]);
    create_topic(broker.address(), "spread", 6, &[]);
    for partition in 0..6 {
        let record = Record::of(partition.to_string()).to(partition);
        produce(broker.address(), &[], "spread", &[record]);
    }
    let partitions_in = |folder: &Path| {
        let entries = fs::read_dir(folder).expect("a log directory");
        let names =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("spread-")).count()
    };
    assert_eq!((partitions_in(&one), partitions_in(&two)), (3, 3));
    broker.kill();
    broker.restart();
    assert_eq!((partitions_in(&one), partitions_in(&two)), (3, 3));
    for partition in 0..6 {
        let message =
            consume(broker.address(), "spread", partition, Offset::Beginning, 1).remove(0);
        assert_eq!(message.payload(), Some(partition.to_string().as_bytes()));
    }
}
