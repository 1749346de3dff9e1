//! Compacted topics: of each key the newest record stays, where it was, for every reader.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::support::broker::{self, Broker, data_of};
use crate::support::client::{
    LIMIT, Producer, Record, assign, consumer, create_topic, produce, timeout,
};
use crate::support::java::Java;
use crate::support::kafka::Kafka;
use crate::support::{eventually, process};

/// A partition's records: offset, key, value.
type Seen = Vec<(i64, Vec<u8>, Option<Vec<u8>>)>;

/// Everything in partition 0 of a topic, up to its end as of now.
fn read_all(address: &str, topic: &str) -> Seen {
    let reader = consumer(address, &[("enable.partition.eof", "true")]);
    assign(&reader, topic, 0, Offset::Beginning);
    let (deadline, mut seen) = (Instant::now() + LIMIT, Seen::new());
    loop {
        assert!(Instant::now() < deadline, "{} records, and no end", seen.len());
        match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let key = message.key().expect("a key").to_vec();
                seen.push((message.offset(), key, message.payload().map(<[u8]>::to_vec)));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return seen,
            Some(Err(error)) => panic!("after {} records: {error}", seen.len()),
            None => {}
        }
    }
}

/// What was written to a topic, by offset, and each key's newest offset.
#[derive(Default)]
struct Written {
    records: BTreeMap<i64, (Vec<u8>, Option<Vec<u8>>)>,
    newest: BTreeMap<Vec<u8>, i64>,
}

impl Written {
    fn write(&mut self, address: &str, topic: &str, codec: &str, records: &[Record]) {
        let settings = [("compression.type", codec), ("enable.idempotence", "true")];
        for (record, (_, offset)) in records.iter().zip(produce(address, &settings, topic, records))
        {
            let key = record.key.clone().expect("a key");
            self.newest.insert(key.clone(), offset);
            self.records.insert(offset, (key, record.value.clone()));
        }
    }

    /// What is there was written there, and every key's newest value is there.
    fn check(&self, seen: &Seen) {
        let mut last = -1;
        for (offset, key, value) in seen {
            assert!(*offset > last, "offset {offset} after {last}");
            last = *offset;
            assert_eq!(self.records.get(offset), Some(&(key.clone(), value.clone())));
        }
        for (key, offset) in &self.newest {
            let there = seen.iter().any(|(at, ..)| at == offset);
            let deleted = self.records[offset].1.is_none();
            assert!(there || deleted, "{} at {offset}", String::from_utf8_lossy(key));
            let older = seen.iter().any(|(at, of, _)| of == key && at < offset);
            assert!(there || !older, "{} came back", String::from_utf8_lossy(key));
        }
    }
}

fn keyed(key: &str, value: Option<Vec<u8>>) -> Record {
    Record { key: Some(key.as_bytes().to_vec()), value, ..Record::default() }.to(0)
}

/// Twelve rounds over forty keys with every codec, one key deleted on the way.
fn fill(written: &mut Written, address: &str, topic: &str) {
    for round in 0..12_u8 {
        let codec = ["none", "gzip", "snappy", "zstd"][usize::from(round) % 4];
        let value = |n: u8| (0..3_000).map(|i| ((i % 16) as u8) ^ n ^ round).collect();
        let mut records: Vec<Record> =
            (0..40).map(|n| keyed(&format!("key-{n}"), Some(value(n)))).collect();
        if round == 7 {
            records.push(keyed("deleted", None));
        } else if round < 7 {
            records.push(keyed("deleted", Some(value(99))));
        }
        written.write(address, topic, codec, &records);
        // The next append begins a segment.
        std::thread::sleep(Duration::from_millis(20));
    }
    written.write(address, topic, "none", &[keyed("last", Some(b"one".to_vec()))]);
}

const SETTINGS: &[&str] = &["log.cleaner.backoff.ms=100"];

fn configs() -> Vec<(&'static str, &'static str)> {
    vec![
        ("cleanup.policy", "compact"),
        ("segment.ms", "10"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("file.delete.delay.ms", "0"),
    ]
}

/// Waits until only the newest of each key is left, but for what the last segment holds.
fn wait_for_compaction(broker: &Broker, topic: &str, written: &Written) -> Seen {
    eventually("the topic is compacted", LIMIT, || {
        let seen = read_all(broker.address(), topic);
        written.check(&seen);
        (seen.len() <= written.newest.len()).then_some(seen)
    })
}

#[test]
fn the_newest_record_of_every_key_stays() {
    let mut broker = Broker::own(SETTINGS);
    let mut configs = configs();
    configs.push(("delete.retention.ms", "100"));
    create_topic(broker.address(), "latest", 1, &configs);
    let mut written = Written::default();
    fill(&mut written, broker.address(), "latest");
    let seen = wait_for_compaction(&broker, "latest", &written);
    broker.kill();
    broker.restart();
    let again = read_all(broker.address(), "latest");
    written.check(&again);
    assert!(again.len() <= seen.len());
    // Another pass, once the tombstone's time is over.
    fill(&mut written, broker.address(), "latest");
    eventually("the tombstone goes", LIMIT, || {
        let record = keyed("turn", Some(b"over".to_vec()));
        written.write(broker.address(), "latest", "none", &[record]);
        let seen = read_all(broker.address(), "latest");
        written.check(&seen);
        let gone = !seen.iter().any(|(_, key, value)| key == b"deleted" && value.is_none());
        gone.then_some(())
    });
    if process::available("kcat", "-V") {
        let mut command = Command::new("kcat");
        command.args(["-b", broker.address(), "-C", "-t", "latest", "-e", "-q", "-f", "%o %k\n"]);
        let lines = process::run(command, b"", LIMIT).expect_success();
        let lines: Vec<(i64, &str)> = lines
            .lines()
            .map(|line| line.split_once(' ').expect("an offset and a key"))
            .map(|(offset, key)| (offset.parse().expect("a number"), key))
            .collect();
        for (offset, key) in &lines {
            assert_eq!(written.records[offset].0, key.as_bytes());
        }
        assert!(lines.len() >= 40);
    }
}

#[test]
fn a_record_without_a_key_is_named() {
    let broker = Broker::own(&[]);
    create_topic(broker.address(), "keyed", 1, &configs());
    let refused = Err(KafkaError::MessageProduction(RDKafkaErrorCode::InvalidRecord));
    for codec in ["none", "zstd"] {
        let settings = [("compression.type", codec), ("linger.ms", "200")];
        let records = [keyed("a", Some(vec![1])), Record::of(vec![2]).to(0)];
        let ends = Producer::new(broker.address(), &settings).send_all("keyed", &records);
        assert_eq!(ends[1], refused, "{codec}");
    }
    produce(broker.address(), &[], "keyed", &[keyed("a", Some(vec![3]))]);
}

#[test]
fn a_groups_offsets_outlive_the_compaction_of_their_topic() {
    let small = "offsets.topic.segment.bytes=1048576";
    let one = "offsets.topic.num.partitions=1";
    let mut broker =
        Broker::own(&[SETTINGS[0], small, one, "log.cleaner.min.cleanable.ratio=0.01"]);
    create_topic(broker.address(), "t", 1, &[]);
    let commit = |group: &str, offset: i64, note: &str| {
        let member: BaseConsumer = consumer(broker.address(), &[("group.id", group)]);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, Offset::Offset(offset)).expect("a valid offset");
        list.elements()[0].set_metadata(note);
        member.commit(&list, CommitMode::Sync).expect("committed");
    };
    commit("still", 4_711, "only once");
    let note = "x".repeat(4_000);
    let member: BaseConsumer = consumer(broker.address(), &[("group.id", "busy")]);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("t", 0, Offset::Offset(0)).expect("a valid offset");
    for offset in 1..=600 {
        let mut element = list.elements().remove(0);
        element.set_offset(Offset::Offset(offset)).expect("a valid offset");
        element.set_metadata(&note);
        member.commit(&list, CommitMode::Sync).expect("committed");
    }
    let partition = broker.data().join("__consumer_offsets-0");
    let bytes = || logs(&partition).iter().map(|log| size(log)).sum::<u64>();
    // Two segments full of commits; what is left is less than one and a half.
    eventually("the offsets are compacted", LIMIT, || (bytes() < 1_600_000).then_some(()));
    drop(member);
    broker.kill();
    broker.restart();
    for (group, offset) in [("still", 4_711), ("busy", 600)] {
        let member: BaseConsumer = consumer(broker.address(), &[("group.id", group)]);
        let mut list = TopicPartitionList::new();
        list.add_partition("t", 0);
        let committed = eventually("the group is loaded", LIMIT, || {
            member.committed_offsets(list.clone(), timeout()).ok()
        });
        assert_eq!(committed.elements()[0].offset(), Offset::Offset(offset), "{group}");
    }
}

#[test]
fn kafka_reads_what_is_left() {
    let Some(java) = Java::get() else { return };
    let broker = Broker::own(SETTINGS);
    let mut configs = configs();
    configs.push(("delete.retention.ms", "86400000"));
    create_topic(broker.address(), "latest", 1, &configs);
    let mut written = Written::default();
    fill(&mut written, broker.address(), "latest");
    wait_for_compaction(&broker, "latest", &written);
    let home = broker.stop_for_home();
    let partition = data_of(&home).join("latest-0");
    let names: Vec<String> = logs(&partition).iter().map(|f| f.display().to_string()).collect();
    let dump = "org.apache.kafka.tools.DumpLogSegments";
    let report = java.run(dump, &["--deep-iteration", "--files", &names.join(",")]);
    assert!(!report.contains("isvalid: false"), "{report}");
    assert!(report.contains("deleteHorizonMs: OptionalLong["), "{report}");
    for (suffix, option) in [("index", "--index-sanity-check"), ("timeindex", "--deep-iteration")] {
        let indexes: Vec<String> = logs(&partition)
            .iter()
            .map(|log| log.with_extension(suffix).display().to_string())
            .collect();
        let report = java.run(dump, &[option, "--files", &indexes.join(",")]);
        for fault in ["ismatch", "out of order", "Exception"] {
            assert!(!report.contains(fault), "{report}");
        }
    }
    let mut verify = Command::new(broker::binary());
    verify.args(["log", "verify"]).arg(&partition);
    process::run(verify, b"", LIMIT).expect_success();
    let checkpoint = fs::read_to_string(data_of(&home).join("cleaner-offset-checkpoint"));
    assert!(checkpoint.expect("written").contains("latest 0 "));
    // As a crash between the steps of a swap leaves it: Kafka finishes.
    let last_closed = logs(&partition).into_iter().rev().nth(1).expect("closed segments");
    for suffix in ["log", "index", "timeindex"] {
        let file = last_closed.with_extension(suffix);
        fs::rename(&file, file.with_extension(format!("{suffix}.swap"))).expect("a file");
    }
    let kafka = Kafka::boot(java, home.path(), &data_of(&home), &[]);
    written.check(&read_all(kafka.address(), "latest"));
    kafka.stop();
    assert!(!last_closed.with_extension("log.swap").exists());
    let broker = Broker::on(home, SETTINGS);
    written.check(&read_all(broker.address(), "latest"));
}

fn logs(partition: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(partition).expect("a partition");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    found.sort();
    found
}

fn size(file: &Path) -> u64 {
    // It may have been swapped out meanwhile.
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}

#[test]
fn the_policy_may_change_while_records_are_there() {
    let broker = Broker::own(SETTINGS);
    let mut configs = configs();
    configs[0].1 = "delete";
    create_topic(broker.address(), "turned", 1, &configs);
    let mut written = Written::default();
    fill(&mut written, broker.address(), "turned");
    produce(broker.address(), &[], "turned", &[keyed("x", None)]);
    let before = read_all(broker.address(), "turned").len();
    assert!(before > 400, "{before}");
    let mut command = Command::new(broker::binary());
    command.args(["topic", "alter", "turned", "--bootstrap-server", broker.address()]);
    command.args(["--config", "cleanup.policy=compact"]);
    process::run(command, b"", LIMIT).expect_success();
    eventually("it is compacted", LIMIT, || {
        let seen = read_all(broker.address(), "turned");
        (seen.len() < 60).then_some(())
    });
}
