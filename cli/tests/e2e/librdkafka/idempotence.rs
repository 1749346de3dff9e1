//! Idempotent producers: order and exactly one copy, with many batches in flight.

use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use crate::support::broker::Broker;
use crate::support::client::{
    Record, assert_drained, assign, consumer, create_topic, produce, take,
};
use crate::support::unique;

const IDEMPOTENT: [(&str, &str); 4] = [
    ("enable.idempotence", "true"),
    ("max.in.flight.requests.per.connection", "5"),
    ("linger.ms", "1"),
    ("batch.num.messages", "10"),
];

#[test]
fn records_keep_their_order_over_partitions() {
    const PARTITIONS: i32 = 6;
    const EACH: usize = 1000;
    let broker = Broker::start();
    let topic = unique("idempotent");
    create_topic(broker.address(), &topic, PARTITIONS, &[]);
    let records: Vec<Record> = (0..EACH)
        .flat_map(|n| (0..PARTITIONS).map(move |p| Record::of(n.to_string()).to(p)))
        .collect();
    produce(broker.address(), &IDEMPOTENT, &topic, &records);
    for partition in 0..PARTITIONS {
        let consumer = consumer(broker.address(), &[]);
        assign(&consumer, &topic, partition, Offset::Beginning);
        for (n, message) in take(&consumer, EACH).iter().enumerate() {
            assert_eq!(message.payload(), Some(n.to_string().as_bytes()), "partition {partition}");
        }
        assert_drained(&consumer);
    }
}

#[test]
fn several_producers_share_a_partition() {
    const PRODUCERS: usize = 4;
    const EACH: usize = 500;
    let broker = Broker::start();
    let topic = unique("producers");
    create_topic(broker.address(), &topic, 1, &[]);
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let (broker, topic) = (&broker, &topic);
            scope.spawn(move || {
                let record = |n| Record::of(format!("{producer} {n}")).to(0);
                let records: Vec<Record> = (0..EACH).map(record).collect();
                produce(broker.address(), &IDEMPOTENT, topic, &records);
            });
        }
    });
    let consumer = consumer(broker.address(), &[]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    let mut next = [0; PRODUCERS];
    for message in take(&consumer, PRODUCERS * EACH) {
        let text = String::from_utf8(message.payload().expect("a value").to_vec()).expect("text");
        let (producer, n) = text.split_once(' ').expect("two numbers");
        let producer: usize = producer.parse().expect("a number");
        assert_eq!(n, next[producer].to_string(), "producer {producer}");
        next[producer] += 1;
    }
    assert_drained(&consumer);
}
