//! Every compression codec goes in and out unchanged, alone and mixed in one partition.

use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use crate::support::broker::Broker;
use crate::support::client::{
    Record, assert_drained, assign, consumer, create_topic, produce, take,
};
use crate::support::unique;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const RECORDS: usize = 500;

/// Compressible, and different in every record.
fn value(codec: &str, number: usize) -> Vec<u8> {
    format!("{codec} {number} ").repeat(20).into_bytes()
}

fn produce_with(address: &str, topic: &str, codec: &str) -> Vec<(i32, i64)> {
    let records: Vec<Record> =
        (0..RECORDS).map(|number| Record::of(value(codec, number)).to(0)).collect();
    let settings = [("compression.type", codec), ("linger.ms", "20"), ("acks", "all")];
    produce(address, &settings, topic, &records)
}

fn assert_reads_back(address: &str, topic: &str, codecs: &[&str]) {
    let consumer = consumer(address, &[]);
    assign(&consumer, topic, 0, Offset::Beginning);
    let messages = take(&consumer, RECORDS * codecs.len());
    assert_drained(&consumer);
    for (index, message) in messages.iter().enumerate() {
        assert_eq!(message.offset(), i64::try_from(index).expect("few"));
        let expected = value(codecs[index / RECORDS], index % RECORDS);
        assert_eq!(message.payload(), Some(expected.as_slice()), "offset {index}");
    }
}

#[test]
fn five_codecs_share_a_partition() {
    let broker = Broker::start();
    let topic = unique("codecs");
    create_topic(broker.address(), &topic, 1, &[]);
    for (round, codec) in CODECS.iter().enumerate() {
        let first = i64::try_from(round * RECORDS).expect("few");
        let written = produce_with(broker.address(), &topic, codec);
        let expected: Vec<(i32, i64)> = (first..).take(RECORDS).map(|o| (0, o)).collect();
        assert_eq!(written, expected, "{codec}");
    }
    assert_reads_back(broker.address(), &topic, &CODECS);
}

#[test]
fn the_topic_may_choose_the_codec() {
    let broker = Broker::start();
    for kept in CODECS.map(|codec| if codec == "none" { "uncompressed" } else { codec }) {
        let topic = unique("recompressed");
        create_topic(broker.address(), &topic, 1, &[("compression.type", kept)]);
        for codec in CODECS {
            produce_with(broker.address(), &topic, codec);
        }
        assert_reads_back(broker.address(), &topic, &CODECS);
    }
}
