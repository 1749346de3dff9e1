//! `kill -9` and clean stops under load: nothing acknowledged is lost, nothing is there twice.
//!
//! The ordinary run does a few rounds. As many as wanted, by one command:
//!
//! ```sh
//! ODRADEK_KILL_ROUNDS=100 cargo test -p odradek --test e2e kill_nine -- --nocapture
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use crate::support::broker::Broker;
use crate::support::client::{self, ENDLESS, LIMIT, Producer, Record, create_topic};

const PARTITIONS: i32 = 6;
/// What goes to a journal, and what does not.
const SMALL_BATCHES: &str = "8192";
const LARGE_BATCHES: &str = "1000000";
/// Records that may wait for an acknowledgement: enough for full requests in flight at the kill.
const UNACKED_MAX: usize = 5_000;

/// A small generator, so that a run can be told again by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        // Marsaglia's xorshift: no quality is needed here.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// An endless idempotent load whose every record carries its number.
struct Load {
    producer: Producer,
    topic: String,
    sent: usize,
    unacked: usize,
    /// Partition and offset by record number.
    acked: BTreeMap<usize, (i32, i64)>,
}

impl Load {
    fn new(address: &str, topic: &str, batch_bytes: &str) -> Self {
        let settings = [&ENDLESS[..], &[("batch.size", batch_bytes)]].concat();
        let producer = Producer::new(address, &settings);
        Self { producer, topic: topic.to_owned(), sent: 0, unacked: 0, acked: BTreeMap::new() }
    }

    fn partition_of(number: usize) -> i32 {
        i32::try_from(number).expect("few enough") % PARTITIONS
    }

    /// Value of a record: its number and a filler of a length that varies.
    fn value_of(number: usize) -> Vec<u8> {
        let mut value = number.to_be_bytes().to_vec();
        value.resize(8 + (number * 37) % 700, number as u8);
        value
    }

    fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            while self.unacked < UNACKED_MAX && Instant::now() < end {
                let record =
                    Record::of(Self::value_of(self.sent)).to(Self::partition_of(self.sent));
                self.producer.send(&self.topic, &record, self.sent).expect("room in the queue");
                self.sent += 1;
                self.unacked += 1;
            }
            self.producer.poll(Duration::from_millis(1));
            self.collect();
        }
    }

    fn finish(&mut self) {
        self.producer.flush(Duration::from_secs(60)).expect("all records came to an end");
        self.collect();
        assert_eq!(self.unacked, 0);
    }

    fn collect(&mut self) {
        for (number, end) in self.producer.delivered() {
            let place = end.unwrap_or_else(|error| panic!("record {number}: {error}"));
            self.unacked -= 1;
            assert_eq!(self.acked.insert(number, place), None, "record {number} ends once");
        }
    }
}

/// Reads every partition and compares it with what was acknowledged.
fn verify(address: &str, topic: &str, load: &Load) {
    for partition in 0..PARTITIONS {
        let consumer = client::consumer(address, &[]);
        let (low, high) = consumer.fetch_watermarks(topic, partition, LIMIT).expect("an answer");
        assert_eq!(low, 0);
        let sent = (0..load.sent).filter(|number| Load::partition_of(*number) == partition);
        client::assign(&consumer, topic, partition, Offset::Beginning);
        // One producer, in order, each record once: the log is exactly what was sent.
        for (offset, number) in (0..high).zip(sent.clone()) {
            let message = client::take(&consumer, 1).remove(0);
            assert_eq!(message.offset(), offset, "partition {partition}");
            let expected = Load::value_of(number);
            let value = message.payload().expect("a value");
            assert_eq!(value, expected, "partition {partition}, offset {offset}, record {number}");
            if let Some(place) = load.acked.get(&number) {
                assert_eq!(*place, (partition, offset), "record {number}");
            }
        }
        assert_eq!(high, i64::try_from(sent.count()).expect("few"), "partition {partition}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled() {
    // Of a size that is made at once, and whose halves take turns all the time.
    let log = kill_under_load("odradek.journal.bytes=4194304", SMALL_BATCHES);
    assert!(log.contains("the commit journal was replayed"), "it was used:\n{log}");
}

#[test]
fn nothing_is_lost_or_doubled_without_a_journal() {
    kill_under_load("odradek.journal.bytes=0", LARGE_BATCHES);
}

/// Returns the broker's log.
fn kill_under_load(setting: &str, batch_bytes: &str) -> String {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect(name));
    let rounds: usize = number("ODRADEK_KILL_ROUNDS").unwrap_or(8);
    let seed = number("ODRADEK_KILL_SEED").unwrap_or(0x9e37_79b9_7f4a_7c15_u64 as usize);
    let mut random = Random(seed as u64 | 1);
    let mut broker = Broker::own(&[setting]);
    create_topic(broker.address(), "killed", PARTITIONS, &[("segment.bytes", "4194304")]);
    let mut load = Load::new(broker.address(), "killed", batch_bytes);
    load.run_for(Duration::from_millis(500));
    for round in 1..=rounds {
        let before = load.acked.len();
        load.run_for(Duration::from_millis(50 + random.below(400)));
        broker.kill();
        // Down for a moment, or back at once.
        load.run_for(Duration::from_millis(random.below(60)));
        let started = Instant::now();
        broker.restart();
        println!(
            "round {round}: {} acknowledged, serving again after {:?}",
            load.acked.len() - before,
            started.elapsed()
        );
    }
    load.run_for(Duration::from_millis(200));
    load.finish();
    assert!(load.acked.len() > rounds * 100, "there was a load: {}", load.acked.len());
    verify(broker.address(), "killed", &load);
    // And a clean stop keeps it, too.
    assert!(broker.stop().success());
    broker.restart();
    verify(broker.address(), "killed", &load);
    println!("{setting}: {} records over {rounds} kills: none lost, none doubled", load.sent);
    broker.log()
}

#[test]
fn a_clean_stop_under_load_keeps_everything() {
    let mut broker = Broker::own(&[]);
    create_topic(broker.address(), "stopped", PARTITIONS, &[]);
    let mut load = Load::new(broker.address(), "stopped", SMALL_BATCHES);
    for _ in 0..3 {
        load.run_for(Duration::from_millis(300));
        let status = broker.stop();
        assert!(status.success(), "{status}");
        broker.restart();
    }
    load.run_for(Duration::from_millis(100));
    load.finish();
    verify(broker.address(), "stopped", &load);
}
