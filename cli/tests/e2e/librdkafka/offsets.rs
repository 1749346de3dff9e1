//! Finding a place in a partition: seeks, watermarks, offsets by time.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::support::broker::Broker;
use crate::support::client::{
    LIMIT, Record, assert_drained, assign, consume, consumer, create_topic, produce, take,
    take_over_restart, timeout,
};
use crate::support::{eventually, unique};

/// A partition of `count` records in few batches, record `n` at time `1000 * n`.
fn filled(broker: &Broker, count: i64) -> String {
    let topic = unique("offsets");
    create_topic(broker.address(), &topic, 1, &[]);
    let record = |n: i64| {
        let timestamp_ms = Some((n + 1) * 1000);
        Record { timestamp_ms, ..Record::of(n.to_string()) }.to(0)
    };
    let records: Vec<Record> = (0..count).map(record).collect();
    // A long linger makes batches of many records, with a codec that the broker must not open.
    let settings = [("linger.ms", "200"), ("compression.type", "gzip")];
    produce(broker.address(), &settings, &topic, &records);
    topic
}

#[test]
fn a_fetch_may_start_inside_a_batch() {
    let broker = Broker::start();
    let topic = filled(&broker, 100);
    for from in [0, 1, 57, 99] {
        let messages = consume(broker.address(), &topic, 0, Offset::Offset(from), 1);
        assert_eq!(messages[0].offset(), from);
        assert_eq!(messages[0].payload(), Some(from.to_string().as_bytes()));
    }
}

#[test]
fn a_consumer_seeks_back_and_forth() {
    let broker = Broker::start();
    let topic = filled(&broker, 100);
    let consumer = consumer(broker.address(), &[]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    assert_eq!(take(&consumer, 1)[0].offset(), 0);
    for (to, next) in [
        (Offset::Offset(90), 90),
        (Offset::Offset(3), 3),
        (Offset::OffsetTail(5), 95),
        (Offset::Beginning, 0),
    ] {
        consumer.seek(&topic, 0, to, timeout()).expect("a seek");
        assert_eq!(take(&consumer, 1)[0].offset(), next, "{to:?}");
    }
    consumer.seek(&topic, 0, Offset::End, timeout()).expect("a seek");
    assert_drained(&consumer);
    produce(broker.address(), &[], &topic, &[Record::of("later").to(0)]);
    assert_eq!(take(&consumer, 1)[0].offset(), 100);
}

#[test]
fn an_offset_outside_the_log_is_an_error() {
    let broker = Broker::start();
    let topic = filled(&broker, 10);
    let consumer = consumer(broker.address(), &[]);
    assign(&consumer, &topic, 0, Offset::Offset(11));
    let error = eventually("an error", LIMIT, || consumer.poll(Duration::from_millis(100)));
    let error = error.map(|message| message.offset()).expect_err("beyond the end");
    let expected = RDKafkaErrorCode::AutoOffsetReset;
    assert_eq!(error, KafkaError::MessageConsumption(expected));
}

#[test]
fn watermarks_are_the_logs_ends() {
    let broker = Broker::start();
    let topic = filled(&broker, 10);
    let consumer = consumer(broker.address(), &[]);
    let ends = consumer.fetch_watermarks(&topic, 0, LIMIT).expect("an answer");
    assert_eq!(ends, (0, 10));
}

#[test]
fn offsets_are_found_by_time() {
    let broker = Broker::start();
    let topic = filled(&broker, 100);
    let consumer = consumer(broker.address(), &[]);
    let find = |time: i64| {
        let mut times = TopicPartitionList::new();
        times.add_partition_offset(&topic, 0, Offset::Offset(time)).expect("a time");
        let found = consumer.offsets_for_times(times, LIMIT).expect("an answer");
        found.elements()[0].offset()
    };
    assert_eq!(find(0), Offset::Offset(0));
    assert_eq!(find(1000), Offset::Offset(0));
    assert_eq!(find(1001), Offset::Offset(1));
    assert_eq!(find(57_500), Offset::Offset(57));
    assert_eq!(find(100_000), Offset::Offset(99));
    // Nothing is that young: librdkafka answers with the end.
    assert_eq!(find(100_001), Offset::End);
}

#[test]
fn a_waiting_consumer_is_woken_by_data() {
    let broker = Broker::start();
    let topic = filled(&broker, 1);
    let consumer = consumer(broker.address(), &[("fetch.wait.max.ms", "20000")]);
    assign(&consumer, &topic, 0, Offset::Offset(1));
    assert_drained(&consumer);
    produce(broker.address(), &[], &topic, &[Record::of("wake").to(0)]);
    // Far less than the fetch would wait without a wake-up.
    let message = consumer.poll(Duration::from_secs(10)).expect("woken").expect("a message");
    assert_eq!(message.payload(), Some(&b"wake"[..]));
}

#[test]
fn a_consumer_outlives_a_restart() {
    let mut broker = Broker::own(&[]);
    let topic = filled(&broker, 10);
    let consumer = consumer(broker.address(), &[("reconnect.backoff.max.ms", "200")]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    take(&consumer, 10);
    // A new leader epoch makes the consumer ask where the one it has read in ended.
    broker.kill();
    broker.restart();
    produce(broker.address(), &[], &topic, &[Record::of("after").to(0)]);
    let message = take_over_restart(&consumer, 1).remove(0);
    assert_eq!((message.offset(), message.payload()), (10, Some(&b"after"[..])));
    assert_drained(&consumer);
}
