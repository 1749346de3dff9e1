//! Partitions that Kafka's own tools move between the log directories of a broker under load.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use super::Programs;
use crate::support::broker;
use crate::support::client::{self, ENDLESS, LIMIT, Producer, Record, create_topic};
use crate::support::eventually;

const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const TOPIC: &str = "on-the-move";
/// A JVM or two, and a copy that waits for a loaded disk.
const MOVE_LIMIT: Duration = Duration::from_secs(120);
/// Slow enough that a move lasts until it is killed, whatever else the machine does.
const SLOW: &str = "1000000";

/// An endless idempotent load on one partition; every record is its number and a filler.
struct Load {
    producer: Producer,
    sent: usize,
    acked: BTreeMap<usize, i64>,
}

impl Load {
    fn new(address: &str) -> Self {
        Self { producer: Producer::new(address, &ENDLESS), sent: 0, acked: BTreeMap::new() }
    }

    fn value_of(number: usize) -> Vec<u8> {
        let mut value = number.to_be_bytes().to_vec();
        value.resize(8 + (number * 37) % 3_000, number as u8);
        value
    }

    fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            // Some megabytes a second: a copy has to come to the end of a log that goes on.
            while self.sent - self.acked.len() < 20 && Instant::now() < end {
                let record = Record::of(Self::value_of(self.sent)).to(0);
                self.producer.send(TOPIC, &record, self.sent).expect("room in the queue");
                self.sent += 1;
            }
            self.producer.poll(Duration::from_millis(1));
            self.collect();
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends until so many records are acknowledged.
    fn run_to(&mut self, acked: usize) {
        let end = Instant::now() + LIMIT;
        while self.acked.len() < acked {
            assert!(Instant::now() < end, "{} of {acked} records acknowledged", self.acked.len());
            self.run_for(Duration::from_millis(20));
        }
    }

    fn collect(&mut self) {
        for (number, end) in self.producer.delivered() {
            let (_, offset) = end.unwrap_or_else(|error| panic!("record {number}: {error}"));
            assert_eq!(self.acked.insert(number, offset), None, "record {number} ends once");
        }
    }

    /// Everything that was sent is there, once and in order.
    fn verify(&mut self, address: &str) {
        self.producer.flush(LIMIT).expect("all records came to an end");
        self.collect();
        assert_eq!(self.acked.len(), self.sent);
        let consumer = client::consumer(address, &[]);
        let (low, high) = consumer.fetch_watermarks(TOPIC, 0, LIMIT).expect("an answer");
        assert_eq!((low, high), (0, i64::try_from(self.sent).expect("few")));
        client::assign(&consumer, TOPIC, 0, Offset::Beginning);
        for (number, message) in client::take(&consumer, self.sent).iter().enumerate() {
            assert_eq!(message.offset(), self.acked[&number]);
            assert_eq!(message.payload(), Some(&*Self::value_of(number)), "record {number}");
        }
    }
}

/// The directories of a log directory that are of the topic.
fn names_in(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).expect("a log directory");
    let names = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(TOPIC)).collect()
}

/// What `kafka-log-dirs` says of the partition: directory, size, lag, and whether it is a copy.
fn described(programs: &Programs) -> Vec<(String, i64, i64, bool)> {
    let arguments = ["--describe", "--topic-list", TOPIC];
    let described = programs.run("org.apache.kafka.tools.LogDirsCommand", &arguments);
    let json = described.lines().find(|line| line.starts_with('{')).expect("a line of JSON");
    let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let mut found = Vec::new();
    for dir in json["brokers"][0]["logDirs"].as_array().expect("directories") {
        for partition in dir["partitions"].as_array().expect("partitions") {
            let number = |field: &str| partition[field].as_i64().expect("a number");
            let is_future = partition["isFuture"].as_bool().expect("yes or no");
            let path = dir["logDir"].as_str().expect("a path").to_owned();
            found.push((path, number("size"), number("offsetLag"), is_future));
        }
    }
    found
}

/// Writes down that the partition is to be in `dir`.
fn plan(programs: &Programs, dir: &Path) -> String {
    let file = programs.home().join("moves.json");
    let part = format!(
        r#"{{"topic":"{TOPIC}","partition":0,"replicas":[1],"log_dirs":["{}"]}}"#,
        dir.display()
    );
    fs::write(&file, format!(r#"{{"version":1,"partitions":[{part}]}}"#)).expect("a home");
    file.display().to_string()
}

#[test]
fn a_partition_moves_under_load_and_over_a_kill() {
    let disks = broker::home();
    let roots: [PathBuf; 2] = ["one", "two"].map(|name| disks.path().join(name));
    let setting = format!("log.dirs={},{}", roots[0].display(), roots[1].display());
    let Some(mut programs) = Programs::with(&[&setting]) else { return };
    let configs = [("segment.bytes", "4194304"), ("file.delete.delay.ms", "100")];
    create_topic(programs.address(), TOPIC, 1, &configs);
    let mut load = Load::new(programs.address());
    load.run_to(10_000);
    let (from, to) = match names_in(&roots[0]).is_empty() {
        true => (&roots[1], &roots[0]),
        false => (&roots[0], &roots[1]),
    };

    let file = plan(&programs, to);
    let slowly = ["--execute", "--replica-alter-log-dirs-throttle", SLOW];
    let arguments = [&["--reassignment-json-file", &file], &slowly[..]].concat();
    let started = programs.run(REASSIGN, &arguments);
    let to_place = format!("moving log directory to {} for replica {TOPIC}-0", to.display());
    assert!(started.contains(&to_place), "{started}");
    load.run_for(Duration::from_millis(500));
    let both = described(&programs);
    let place = |path: &Path| {
        let found = both.iter().find(|(dir, ..)| Path::new(dir) == path);
        found.unwrap_or_else(|| panic!("{} is not in {both:?}", path.display()))
    };
    assert!(!place(from).3, "{both:?}");
    let &(_, size, lag, is_future) = place(to);
    assert!(is_future && size < place(from).1 && lag > 0, "{both:?}");

    programs.broker.kill();
    programs.broker.restart();
    load.run_for(Duration::from_millis(500));
    let verify = ["--reassignment-json-file", &file, "--verify"];
    let said = programs.run(REASSIGN, &verify);
    assert!(
        said.contains(&format!("Reassignment of replica {TOPIC}-0-1 is still in progress")),
        "{said}"
    );
    assert_eq!(names_in(from), [format!("{TOPIC}-0")], "the log is where it was");
    let fast = ["--entity-type", "brokers", "--entity-name", "1", "--alter", "--delete-config"];
    let key = "replica.alter.log.dirs.io.max.bytes.per.second";
    programs.run("kafka.admin.ConfigCommand", &[&fast[..], &[key]].concat());
    eventually("the partition is there", MOVE_LIMIT, || {
        load.run_for(Duration::from_millis(200));
        (names_in(to) == [format!("{TOPIC}-0")] && names_in(from).is_empty()).then_some(())
    });
    let said = programs.run(REASSIGN, &verify);
    assert!(
        said.contains(&format!("Reassignment of replica {TOPIC}-0-1 completed successfully")),
        "{said}"
    );
    load.verify(programs.address());

    // And back, as fast as it goes, with a power cut's worth of trust: what is read comes from disk.
    let file = plan(&programs, from);
    programs.run(REASSIGN, &["--reassignment-json-file", &file, "--execute"]);
    eventually("the partition is back", MOVE_LIMIT, || {
        load.run_for(Duration::from_millis(100));
        (names_in(from) == [format!("{TOPIC}-0")]).then_some(())
    });
    programs.broker.kill();
    programs.broker.restart();
    load.verify(programs.address());
    let there = described(&programs);
    assert_eq!(there.len(), 1, "{there:?}");
    assert_eq!((Path::new(&there[0].0), there[0].3), (&**from, false));
}

#[test]
fn a_move_that_cannot_be_is_refused() {
    let disks = broker::home();
    let roots: [PathBuf; 2] = ["one", "two"].map(|name| disks.path().join(name));
    let setting = format!("log.dirs={},{}", roots[0].display(), roots[1].display());
    let Some(programs) = Programs::with(&[&setting]) else { return };
    create_topic(programs.address(), TOPIC, 1, &[]);
    let file = plan(&programs, &disks.path().join("nowhere"));
    let said = programs.refused(REASSIGN, &["--reassignment-json-file", &file, "--execute"]);
    assert!(said.contains("LogDirNotFoundException"), "{said}");
}
