//! Consumers that share topics: who reads what, who takes over, and how far they have come.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::support::broker::Broker;
use crate::support::client::{LIMIT, Producer, Record, create_topic, produce, timeout};
use crate::support::unique;

/// Members are asked for a heartbeat that often.
const HASTY: &[&str] =
    &["group.consumer.min.heartbeat.interval.ms=200", "group.consumer.heartbeat.interval.ms=200"];

/// Counts the assignments that a member is given.
#[derive(Default)]
struct Rebalances(AtomicUsize);

impl ClientContext for Rebalances {}

impl ConsumerContext for Rebalances {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A member of a group.
struct Member(BaseConsumer<Rebalances>);

impl Member {
    fn join(address: &str, group: &str, topic: &str, settings: &[(&str, &str)]) -> Self {
        let mut config = ClientConfig::new();
        for (key, value) in [
            ("bootstrap.servers", address),
            ("broker.address.family", "v4"),
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "200"),
            ("fetch.wait.max.ms", "50"),
        ] {
            config.set(key, value);
        }
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let consumer: BaseConsumer<Rebalances> =
            config.create_with_context(Rebalances::default()).expect("a valid configuration");
        consumer.subscribe(&[topic]).expect("a topic's name");
        Self(consumer)
    }

    /// Serves the member for a moment; partition and offset of what it got.
    fn serve(&self) -> Option<(i32, i64)> {
        match self.0.poll(Duration::from_millis(20)) {
            Some(Ok(message)) => Some((message.partition(), message.offset())),
            Some(Err(error)) => {
                let code = error.rdkafka_error_code();
                let restart =
                    [RDKafkaErrorCode::AllBrokersDown, RDKafkaErrorCode::BrokerTransportFailure];
                assert!(code.is_some_and(|code| restart.contains(&code)), "{error}");
                None
            }
            None => None,
        }
    }

    fn partitions(&self) -> BTreeSet<i32> {
        let assigned = self.0.assignment().expect("an answer");
        assigned.elements().iter().map(|element| element.partition()).collect()
    }

    fn rebalances(&self) -> usize {
        self.0.context().0.load(Ordering::Relaxed)
    }

    fn commit(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        self.0.commit(&list, CommitMode::Sync).expect("committed");
    }

    fn committed(&self, topic: &str, partition: i32) -> Offset {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let committed = self.0.committed_offsets(list, timeout()).expect("an answer");
        committed.elements()[0].offset()
    }
}

/// Serves all members until the partitions are where they should be.
fn settle(members: &[&Member], what: &str, settled: impl Fn(&[BTreeSet<i32>]) -> bool) {
    let deadline = Instant::now() + LIMIT;
    loop {
        for member in members {
            member.serve();
        }
        let partitions: Vec<_> = members.iter().map(|member| member.partitions()).collect();
        if settled(&partitions) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {partitions:?}");
    }
}

/// All of `count` partitions are with somebody, and each with one alone.
fn is_divided(partitions: &[BTreeSet<i32>], count: i32) -> bool {
    let all: Vec<i32> = partitions.iter().flatten().copied().collect();
    let each: BTreeSet<i32> = all.iter().copied().collect();
    all.len() == each.len() && each.into_iter().eq(0..count)
}

fn evenly(count: i32) -> impl Fn(&[BTreeSet<i32>]) -> bool {
    move |partitions| is_divided(partitions, count) && partitions.iter().all(|own| !own.is_empty())
}

fn quick() -> Broker {
    Broker::own(&["group.initial.rebalance.delay.ms=0"])
}

#[test]
fn two_members_share_a_group() {
    let broker = quick();
    let (topic, group) = (unique("groups"), unique("group"));
    create_topic(broker.address(), &topic, 4, &[]);
    for strategy in ["range", "roundrobin", "cooperative-sticky"] {
        let group = format!("{group}-{strategy}");
        let settings = [("partition.assignment.strategy", strategy)];
        let join = || Member::join(broker.address(), &group, &topic, &settings);
        let first = join();
        settle(&[&first], "the first has all", |partitions| is_divided(partitions, 4));
        let second = join();
        settle(&[&first, &second], "both have some", evenly(4));
        // It says goodbye, so nobody has to wait for its session to end.
        let left = Instant::now();
        drop(first);
        settle(&[&second], "the second has all", |partitions| is_divided(partitions, 4));
        assert!(left.elapsed() < LIMIT);
    }
}

#[test]
fn a_member_goes_on_where_the_group_has_come() {
    let broker = quick();
    let (topic, group) = (unique("groups"), unique("group"));
    create_topic(broker.address(), &topic, 1, &[]);
    let records: Vec<Record> = (0..10).map(|n: i32| Record::of(n.to_string()).to(0)).collect();
    produce(broker.address(), &[], &topic, &records);
    let read_from = |expected: i64| {
        let member = Member::join(broker.address(), &group, &topic, &[]);
        let deadline = Instant::now() + LIMIT;
        let (_, offset) = loop {
            if let Some(place) = member.serve() {
                break place;
            }
            assert!(Instant::now() < deadline, "nothing to read");
        };
        assert_eq!(offset, expected);
        member
    };
    let member = read_from(0);
    member.commit(&topic, 0, 4);
    assert_eq!(member.committed(&topic, 0), Offset::Offset(4));
    drop(member);
    drop(read_from(4));
}

#[test]
fn offsets_and_members_outlive_the_broker() {
    let mut broker = quick();
    let (topic, group) = (unique("groups"), unique("group"));
    create_topic(broker.address(), &topic, 2, &[]);
    let member = Member::join(broker.address(), &group, &topic, &[("session.timeout.ms", "60000")]);
    settle(&[&member], "it has all", |partitions| is_divided(partitions, 2));
    for round in 1..=3 {
        member.commit(&topic, 0, round * 100);
        member.commit(&topic, 1, round * 7);
        if round == 2 {
            assert!(broker.stop().success());
        } else {
            broker.kill();
        }
        broker.restart();
        // Nobody who only asks is a member, and is told what was acknowledged.
        let other = Member::join(broker.address(), &group, &unique("elsewhere"), &[]);
        assert_eq!(other.committed(&topic, 0), Offset::Offset(round * 100));
        assert_eq!(other.committed(&topic, 1), Offset::Offset(round * 7));
        drop(other);
        settle(&[&member], "it has all again", |partitions| is_divided(partitions, 2));
    }
}

#[test]
fn a_static_member_comes_back_unnoticed() {
    let broker = quick();
    let (topic, group) = (unique("groups"), unique("group"));
    create_topic(broker.address(), &topic, 4, &[]);
    let join = |name: &str| {
        let settings = [("group.instance.id", name), ("session.timeout.ms", "60000")];
        Member::join(broker.address(), &group, &topic, &settings)
    };
    let (one, two) = (join("one"), join("two"));
    settle(&[&one, &two], "both have some", evenly(4));
    let (own, rebalances) = (two.partitions(), one.rebalances());
    drop(two);
    let again = join("two");
    settle(&[&one, &again], "both have some again", evenly(4));
    assert_eq!(again.partitions(), own);
    assert_eq!(one.rebalances(), rebalances);
}

#[test]
fn a_second_self_fences_the_first() {
    let broker = quick();
    let (topic, group) = (unique("groups"), unique("group"));
    create_topic(broker.address(), &topic, 1, &[]);
    let join = || {
        let settings = [("group.instance.id", "one"), ("session.timeout.ms", "60000")];
        Member::join(broker.address(), &group, &topic, &settings)
    };
    let first = join();
    settle(&[&first], "it has all", |partitions| is_divided(partitions, 1));
    let second = join();
    settle(&[&second], "its second self has all", |partitions| is_divided(partitions, 1));
    let deadline = Instant::now() + LIMIT;
    while first.0.client().fatal_error().is_none() {
        let _ = first.0.poll(Duration::from_millis(20));
        assert!(Instant::now() < deadline, "the first goes on");
    }
    let (code, _) = first.0.client().fatal_error().expect("looked just now");
    assert_eq!(code, RDKafkaErrorCode::FencedInstanceId);
}

#[test]
fn nobody_else_writes_what_groups_remember() {
    let broker = quick();
    let (topic, group) = (unique("groups"), unique("group"));
    create_topic(broker.address(), &topic, 1, &[]);
    let member = Member::join(broker.address(), &group, &topic, &[]);
    settle(&[&member], "it has all", |partitions| is_divided(partitions, 1));
    let stranger = Producer::new(broker.address(), &[]);
    let ends = stranger.send_all("__consumer_offsets", &[Record::of("junk").to(0)]);
    let refused = KafkaError::MessageProduction(RDKafkaErrorCode::InvalidTopic);
    assert_eq!(ends, [Err(refused)]);
}

/// A member of a group of KIP-848's protocol.
fn join_consumer_group(address: &str, group: &str, topic: &str) -> Member {
    let mut config = ClientConfig::new();
    for (key, value) in [
        ("bootstrap.servers", address),
        ("broker.address.family", "v4"),
        ("group.id", group),
        ("group.protocol", "consumer"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        ("fetch.wait.max.ms", "50"),
    ] {
        config.set(key, value);
    }
    let consumer: BaseConsumer<Rebalances> =
        config.create_with_context(Rebalances::default()).expect("a valid configuration");
    consumer.subscribe(&[topic]).expect("a topic's name or a pattern");
    Member(consumer)
}

#[test]
fn members_of_a_consumer_group_share_and_take_over() {
    let mut broker = Broker::own(HASTY);
    let (topic, group) = (unique("consumer-group"), unique("group"));
    create_topic(broker.address(), &topic, 4, &[]);
    let join = || join_consumer_group(broker.address(), &group, &topic);
    let first = join();
    settle(&[&first], "the first has all", |partitions| is_divided(partitions, 4));
    let (second, third) = (join(), join());
    settle(&[&first, &second, &third], "all have some", evenly(4));
    drop(first);
    settle(&[&second, &third], "two have some", evenly(4));
    // They stay what they were when the broker is back.
    broker.kill();
    broker.restart();
    drop(second);
    settle(&[&third], "the last has all", |partitions| is_divided(partitions, 4));
}

#[test]
fn a_consumer_group_reads_topics_by_expression() {
    let broker = Broker::own(HASTY);
    let (prefix, group) = (unique("by-pattern"), unique("group"));
    create_topic(broker.address(), &format!("{prefix}-a"), 1, &[]);
    let member = join_consumer_group(broker.address(), &group, &format!("^{prefix}-.*"));
    let has = |count| {
        let started = Instant::now();
        while member.0.assignment().expect("an answer").count() != count {
            member.serve();
            assert!(started.elapsed() < LIMIT, "{:?}", member.0.assignment());
        }
    };
    has(1);
    create_topic(broker.address(), &format!("{prefix}-b"), 2, &[]);
    has(3);
}
