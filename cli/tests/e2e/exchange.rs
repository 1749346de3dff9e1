//! Whole directories change hands: Apache Kafka boots on ours, and we on Kafka's.

use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use crate::support::broker::{self, Broker, data_of};
use crate::support::client::{self, Record, consume, create_topic, produce};
use crate::support::java::Java;
use crate::support::kafka::Kafka;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Fills a broker in ways that leave traces in every kind of file.
fn fill(address: &str) {
    create_topic(address, "moved", 2, &[("segment.bytes", "1048576"), ("retention.ms", "-1")]);
    for codec in CODECS {
        let records: Vec<Record> = (0..300).map(|n| Record::of(value(codec, n)).to(1)).collect();
        let settings = [("compression.type", codec), ("enable.idempotence", "true")];
        produce(address, &settings, "moved", &records);
    }
    create_topic(address, "emptied", 1, &[]);
    let admin = client::admin(address);
    let gone = client::block_on(admin.delete_topics(&["emptied"], &client::options()));
    assert_eq!(gone.expect("an answer"), [Ok("emptied".to_owned())]);
}

fn value(codec: &str, number: usize) -> Vec<u8> {
    format!("{codec} {number} ").repeat(200).into_bytes()
}

/// Everything [`fill`] wrote is there, and the broker takes more.
fn assert_filled(address: &str) {
    let count = CODECS.len() * 300;
    let messages = consume(address, "moved", 1, Offset::Beginning, count);
    for (index, message) in messages.iter().enumerate() {
        let expected = value(CODECS[index / 300], index % 300);
        assert_eq!(message.payload(), Some(expected.as_slice()), "offset {index}");
        assert_eq!(message.offset(), i64::try_from(index).expect("few"));
    }
    let end = i64::try_from(count).expect("few");
    let settings = [("enable.idempotence", "true")];
    let written = produce(address, &settings, "moved", &[Record::of("more").to(1)]);
    assert_eq!(written, [(1, end)]);
    assert_eq!(produce(address, &[], "moved", &[Record::of("more").to(0)]), [(0, 0)]);
    create_topic(address, "new", 1, &[]);
    assert_eq!(produce(address, &[], "new", &[Record::of("more").to(0)]), [(0, 0)]);
}

#[test]
fn kafka_boots_on_our_directory_and_we_on_it_again() {
    let Some(java) = Java::get() else { return };
    let broker = Broker::own(&[]);
    fill(broker.address());
    let home = broker.stop_for_home();
    let kafka = Kafka::boot(java, home.path(), &data_of(&home), &[]);
    assert_filled(kafka.address());
    let described = java.run(
        "org.apache.kafka.tools.TopicCommand",
        &["--bootstrap-server", kafka.address(), "--describe"],
    );
    assert!(described.contains("Topic: moved\t"), "{described}");
    assert!(described.contains("retention.ms=-1"), "{described}");
    assert!(!described.contains("emptied"), "{described}");
    kafka.stop();
    // What Kafka left, with its own additions, is ours again.
    let broker = Broker::on(home, &[]);
    let messages = consume(broker.address(), "moved", 1, Offset::OffsetTail(1), 1);
    assert_eq!(client::payloads(&messages), [b"more"]);
    assert_eq!(produce(broker.address(), &[], "new", &[Record::of("x").to(0)]), [(0, 1)]);
}

#[test]
fn we_boot_on_kafkas_directory() {
    let Some(java) = Java::get() else { return };
    let home = broker::home();
    let kafka = Kafka::boot(java, home.path(), &data_of(&home), &[]);
    fill(kafka.address());
    kafka.stop();
    let broker = Broker::on(home, &[]);
    assert_filled(broker.address());
    let home = broker.stop_for_home();
    // And Kafka on what we made of it.
    let kafka = Kafka::boot(java, home.path(), &data_of(&home), &[]);
    let messages = consume(kafka.address(), "new", 0, Offset::Beginning, 1);
    assert_eq!(client::payloads(&messages), [b"more"]);
}
