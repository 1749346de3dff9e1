//! What a record carries arrives as it was sent: keys, nulls, headers, timestamps, size.

use std::time::{SystemTime, UNIX_EPOCH};

use rdkafka::Timestamp;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use crate::support::broker::Broker;
use crate::support::client::{self, Producer, Record, consume, create_topic, produce};
use crate::support::unique;

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}

#[test]
fn keys_values_and_headers_arrive_as_sent() {
    let broker = Broker::start();
    let topic = unique("records");
    create_topic(broker.address(), &topic, 1, &[]);
    let header = |key: &str, value: Option<&[u8]>| (key.to_owned(), value.map(<[u8]>::to_vec));
    let records = [
        Record::of("value"),
        Record { key: Some(b"key".to_vec()), ..Record::of("") },
        Record { key: Some(vec![]), ..Record::default() },
        Record { value: None, ..Record::default() },
        Record {
            key: Some((0..=255).collect()),
            headers: vec![
                header("twice", Some(b"1")),
                header("twice", Some(&[0, 255])),
                header("empty", Some(b"")),
                header("null", None),
                header("ключ", Some("значение".as_bytes())),
            ],
            ..Record::of((0..=255).rev().collect::<Vec<u8>>())
        },
    ]
    .map(|record| record.to(0));
    produce(broker.address(), &[], &topic, &records);
    let messages = consume(broker.address(), &topic, 0, Offset::Beginning, records.len());
    for (record, message) in records.iter().zip(&messages) {
        assert_eq!(message.key(), record.key.as_deref());
        assert_eq!(message.payload(), record.value.as_deref());
        assert_eq!(client::headers(message), record.headers);
    }
}

#[test]
fn a_create_time_is_the_producers() {
    let broker = Broker::start();
    let topic = unique("create-time");
    create_topic(broker.address(), &topic, 1, &[]);
    let times = [1, 1_000_000_000_000, now_ms()];
    let records = times.map(|time| Record { timestamp_ms: Some(time), ..Record::of("x") }.to(0));
    produce(broker.address(), &[], &topic, &records);
    let messages = consume(broker.address(), &topic, 0, Offset::Beginning, times.len());
    let read: Vec<Timestamp> = messages.iter().map(Message::timestamp).collect();
    assert_eq!(read, times.map(Timestamp::CreateTime));
}

#[test]
fn a_log_append_time_is_the_brokers() {
    for codec in ["none", "lz4"] {
        let broker = Broker::start();
        let topic = unique("append-time");
        let config = [("message.timestamp.type", "LogAppendTime")];
        create_topic(broker.address(), &topic, 1, &config);
        let record = Record { timestamp_ms: Some(1), ..Record::of("x") }.to(0);
        let before = now_ms();
        produce(broker.address(), &[("compression.type", codec)], &topic, &[record]);
        let message = &consume(broker.address(), &topic, 0, Offset::Beginning, 1)[0];
        let Timestamp::LogAppendTime(time) = message.timestamp() else {
            panic!("{codec}: {:?}", message.timestamp());
        };
        assert!((before..=now_ms()).contains(&time), "{codec}: {before} {time}");
    }
}

#[test]
fn a_timestamp_outside_the_topics_window_is_refused() {
    let broker = Broker::start();
    let topic = unique("window");
    create_topic(broker.address(), &topic, 1, &[("message.timestamp.before.max.ms", "60000")]);
    let at = |time| Record { timestamp_ms: Some(time), ..Record::of("x") }.to(0);
    let producer = Producer::new(broker.address(), &[("linger.ms", "0")]);
    // An hour ahead is Kafka's default limit.
    for time in [now_ms() - 120_000, now_ms() + 7_200_000] {
        let refused = Err(KafkaError::MessageProduction(RDKafkaErrorCode::InvalidTimestamp));
        assert_eq!(producer.send_all(&topic, &[at(time)]), [refused]);
    }
    assert_eq!(producer.send_all(&topic, &[at(now_ms())]), [Ok((0, 0))]);
}

#[test]
fn large_messages_pass_up_to_the_topics_limit() {
    let broker = Broker::start();
    let topic = unique("large");
    create_topic(broker.address(), &topic, 1, &[("max.message.bytes", "8000000")]);
    let large = |size: usize| -> Vec<u8> { (0..size).map(|i| ((i * 31) >> 3) as u8).collect() };
    let sizes = [1_000_000, 7_900_000, 3];
    let records = sizes.map(|size| Record::of(large(size)).to(0));
    let settings = [("message.max.bytes", "20000000"), ("linger.ms", "0")];
    produce(broker.address(), &settings, &topic, &records);

    let too_large = Record::of(large(8_100_000)).to(0);
    let ends = Producer::new(broker.address(), &settings).send_all(&topic, &[too_large]);
    let error = KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge);
    assert_eq!(ends, [Err(error)]);

    let messages = consume(broker.address(), &topic, 0, Offset::Beginning, sizes.len());
    for (message, size) in messages.iter().zip(sizes) {
        assert!(message.payload() == Some(&large(size)), "{size} bytes differ");
    }
}

#[test]
fn acknowledgement_levels_all_write() {
    let broker = Broker::start();
    let topic = unique("acks");
    create_topic(broker.address(), &topic, 1, &[]);
    for acks in ["all", "1", "0"] {
        produce(broker.address(), &[("acks", acks)], &topic, &[Record::of(acks).to(0)]);
    }
    let messages = consume(broker.address(), &topic, 0, Offset::Beginning, 3);
    assert_eq!(client::payloads(&messages), [&b"all"[..], b"1", b"0"]);
}
