//! A log directory that goes away under a running broker, as one does whose disk was pulled: its
//! partitions go offline, the others serve on, and what was acknowledged is there when it is back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use crate::support::broker::{self, Broker};
use crate::support::client::{Producer, Record, consume, create_topic, produce};
use crate::support::eventually;
use crate::support::raw::{Bytes, Met, meet};

const TOPIC: &str = "spread";
const PARTITIONS: i32 = 6;
const NONE: i16 = 0;
const KAFKA_STORAGE_ERROR: i16 = 56;
const LIMIT: Duration = Duration::from_secs(60);

fn answer(broker: &Broker, request: &[u8]) -> Vec<u8> {
    match meet(broker.socket_address(), request, LIMIT) {
        Met::Answered(body) => body,
        met => panic!("{met:?}"),
    }
}

/// The error code of ListOffsets (version 1) for the newest offset of a partition.
fn list_offset(broker: &Broker, partition: i32) -> i16 {
    let topic = Bytes::new().string(TOPIC).i32(1).i32(partition).i64(-1);
    let body = Bytes::new().i32(-1).i32(1).raw(&topic.0);
    let answer = answer(broker, &body.request(2, 1, false));
    // Correlation id, count, name, count, index.
    let at = 4 + 4 + 2 + TOPIC.len() + 4 + 4;
    i16::from_be_bytes(answer[at..at + 2].try_into().expect("2 bytes"))
}

/// Error code of every log directory by DescribeLogDirs (version 1), for no partition.
fn describe(broker: &Broker) -> Vec<(String, i16)> {
    let answer = answer(broker, &Bytes::new().i32(0).request(35, 1, false));
    let mut at = 4 + 4;
    let mut take = |bytes: usize| {
        at += bytes;
        answer[at - bytes..at].to_vec()
    };
    let count = i32::from_be_bytes(take(4).try_into().expect("4 bytes"));
    let mut found = Vec::new();
    for _ in 0..count {
        let code = i16::from_be_bytes(take(2).try_into().expect("2 bytes"));
        let length = i16::from_be_bytes(take(2).try_into().expect("2 bytes"));
        let path = take(usize::try_from(length).expect("a length"));
        assert_eq!(take(4), [0; 4], "no topic was asked for");
        found.push((String::from_utf8(path).expect("a path"), code));
    }
    found
}

fn partitions_in(root: &Path) -> Vec<i32> {
    let there = |partition: &i32| root.join(format!("{TOPIC}-{partition}")).exists();
    (0..PARTITIONS).filter(there).collect()
}

#[test]
fn a_lost_log_directory_takes_nothing_else_with_it() {
    let disks = broker::home();
    let roots: [PathBuf; 2] = ["one", "two"].map(|name| disks.path().join(name));
    let setting = format!("log.dirs={},{}", roots[0].display(), roots[1].display());
    let mut broker = Broker::own(&[&setting]);
    create_topic(broker.address(), TOPIC, PARTITIONS, &[("segment.bytes", "1048576")]);
    for partition in 0..PARTITIONS {
        let record = Record::of(format!("before {partition}")).to(partition);
        produce(broker.address(), &[], TOPIC, &[record]);
    }
    // The metadata log is in the first one, which a node cannot go on without.
    let (kept, lost) = (partitions_in(&roots[0]), partitions_in(&roots[1]));
    assert!(!kept.is_empty() && lost.len() > 1, "{kept:?} and {lost:?}");

    // Nothing can be made, or found, below a file.
    let away = disks.path().join("away");
    fs::rename(&roots[1], &away).expect("renamed");
    fs::write(&roots[1], b"").expect("written");
    // It shows at the next segment of one of them.
    let settings = [("message.timeout.ms", "3000"), ("retries", "0")];
    let large = vec![Record::of(vec![1; 400_000]).to(lost[0]); 6];
    let ends = Producer::new(broker.address(), &settings).send_all(TOPIC, &large);
    assert!(ends.iter().any(Result::is_err), "{ends:?}");
    let taken = ends.iter().filter(|end| end.is_ok()).count();
    eventually("the directory is given up", LIMIT, || {
        let told = describe(&broker);
        assert_eq!(told[0], (roots[0].display().to_string(), NONE));
        (told[1] == (roots[1].display().to_string(), KAFKA_STORAGE_ERROR)).then_some(())
    });
    for &partition in &lost {
        assert_eq!(list_offset(&broker, partition), KAFKA_STORAGE_ERROR, "of {partition}");
    }
    for &partition in &kept {
        assert_eq!(list_offset(&broker, partition), NONE, "of {partition}");
        let record = Record::of(format!("after {partition}")).to(partition);
        produce(broker.address(), &[], TOPIC, &[record]);
        let read = consume(broker.address(), TOPIC, partition, Offset::Beginning, 2);
        assert_eq!(read[1].payload(), Some(format!("after {partition}").as_bytes()));
    }
    assert!(broker.is_running());

    broker.kill();
    fs::remove_file(&roots[1]).expect("removed");
    fs::rename(&away, &roots[1]).expect("renamed");
    broker.restart();
    for partition in 0..PARTITIONS {
        assert_eq!(list_offset(&broker, partition), NONE, "of {partition}");
        let read = consume(broker.address(), TOPIC, partition, Offset::Beginning, 1).remove(0);
        assert_eq!(read.payload(), Some(format!("before {partition}").as_bytes()));
    }
    let count = 1 + taken;
    let read = consume(broker.address(), TOPIC, lost[0], Offset::Beginning, count);
    assert!(read[1..].iter().all(|message| message.payload().is_some_and(|p| p.len() == 400_000)));
    assert_eq!(describe(&broker)[1].1, NONE);
}
