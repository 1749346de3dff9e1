//! Kafka's system-test clients: what one produces, a group of the others takes each once, while
//! members come, go, are killed and fall asleep. And its measuring consumer.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::Programs;
use crate::support::client::{self, Record, create_topic};
use crate::support::{eventually, process, unique};

const CONSUMER: &str = "org.apache.kafka.tools.VerifiableConsumer";
const PRODUCER: &str = "org.apache.kafka.tools.VerifiableProducer";

/// JVMs beside a build on two cores, and sessions of 45 s that have to run out.
const LIMIT: Duration = Duration::from_secs(180);

/// A running member and what it tells.
struct Member {
    child: Child,
    out: PathBuf,
}

impl Member {
    fn join(programs: &Programs, topic: &str, group: &str, protocol: &str) -> Self {
        let out = programs.home().join(unique("member"));
        let file = |path| File::create(path).expect("a writable home");
        let quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
        let mut command = programs.java.command(&quick, CONSUMER);
        command.args(["--bootstrap-server", programs.address(), "--topic", topic]);
        command.args(["--group-id", group, "--group-protocol", protocol]);
        if protocol == "classic" {
            command.args(["--session-timeout", "6000"]);
        }
        command.stdout(file(out.clone())).stderr(file(out.with_extension("log")));
        let child = command.stdin(Stdio::null()).spawn();
        Self { child: child.expect("java"), out }
    }

    fn events(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(&self.out).expect("its output");
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["name"] == name).collect()
    }

    fn has_assigned(&self) -> bool {
        let assigned = self.events("partitions_assigned");
        assigned.iter().any(|event| event["partitions"].as_array().is_some_and(|it| !it.is_empty()))
    }

    /// First and last offset of each run of records that it took, by partition.
    fn taken(&self) -> Vec<(i64, i64, i64)> {
        let consumed = self.events("records_consumed").into_iter();
        let runs =
            consumed.flat_map(|event| event["partitions"].as_array().cloned().expect("runs"));
        let number = |run: &Value, key: &str| run[key].as_i64().expect("a number");
        runs.map(|run| {
            (number(&run, "partition"), number(&run, "minOffset"), number(&run, "maxOffset"))
        })
        .collect()
    }

    fn signal(&self, signal: i32) {
        process::signal(&self.child, signal);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            for path in [&self.out, &self.out.with_extension("log")] {
                println!(
                    "--- {}\n{}",
                    path.display(),
                    fs::read_to_string(path).unwrap_or_default()
                );
            }
        }
    }
}

/// How often each offset of each partition was taken.
fn counts(members: &[&Member]) -> BTreeMap<(i64, i64), u32> {
    let mut counts = BTreeMap::new();
    for (partition, first, last) in members.iter().flat_map(|member| member.taken()) {
        for offset in first..=last {
            *counts.entry((partition, offset)).or_default() += 1;
        }
    }
    counts
}

fn produce(programs: &Programs, topic: &str, count: &str) {
    let said =
        programs.run(PRODUCER, &["--topic", topic, "--max-messages", count, "--throughput", "500"]);
    let told = said.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let told = told.expect("its last words");
    assert_eq!(told["acked"].to_string().trim_matches('"'), count, "{told}");
}

#[test]
fn each_record_is_taken_once_over_rebalances() {
    let Some(programs) = Programs::own() else { return };
    for protocol in ["classic", "consumer"] {
        let (topic, group) = (unique("verifiable"), unique(protocol));
        create_topic(programs.address(), &topic, 4, &[]);
        let first = Member::join(&programs, &topic, &group, protocol);
        eventually("one has all", LIMIT, || first.has_assigned().then_some(()));
        produce(&programs, &topic, "500");
        let second = Member::join(&programs, &topic, &group, protocol);
        eventually("both have some", LIMIT, || second.has_assigned().then_some(()));
        produce(&programs, &topic, "500");
        // In order: it commits and leaves.
        first.signal(libc::SIGTERM);
        eventually("one has left", LIMIT, || {
            (!first.events("shutdown_complete").is_empty()).then_some(())
        });
        produce(&programs, &topic, "500");
        let members = [&first, &second];
        eventually("all is taken", LIMIT, || (counts(&members).len() >= 1500).then_some(()));
        let counts = counts(&members);
        let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        assert!(counts.len() == 1500 && twice.is_empty(), "{protocol}: twice {twice:?}");
    }
}

#[test]
fn members_change_over_to_the_other_protocol_one_by_one() {
    let Some(programs) = Programs::own() else { return };
    for (from, to) in [("classic", "consumer"), ("consumer", "classic")] {
        let (topic, group) = (unique("rolling"), unique(from));
        create_topic(programs.address(), &topic, 4, &[]);
        let join = |protocol| Member::join(&programs, &topic, &group, protocol);
        let old = [join(from), join(from)];
        for member in &old {
            eventually("both have some", LIMIT, || member.has_assigned().then_some(()));
        }
        produce(&programs, &topic, "300");
        let mut new = Vec::new();
        for member in &old {
            member.signal(libc::SIGTERM);
            eventually("one has left", LIMIT, || {
                (!member.events("shutdown_complete").is_empty()).then_some(())
            });
            new.push(join(to));
            eventually("the next has some", LIMIT, || {
                new[new.len() - 1].has_assigned().then_some(())
            });
            // After the first of them the group has members of both kinds.
            produce(&programs, &topic, "300");
        }
        let members: Vec<_> = old.iter().chain(&new).collect();
        eventually("all is taken", LIMIT, || (counts(&members).len() >= 900).then_some(()));
        let counts = counts(&members);
        let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        assert!(counts.len() == 900 && twice.is_empty(), "{from} to {to}: twice {twice:?}");
        let listed = programs.run("org.apache.kafka.tools.GroupsCommand", &["--list"]);
        let row = listed.lines().find(|line| line.contains(&group)).expect("the group");
        let kind = row.split_whitespace().nth(1).map(str::to_lowercase);
        assert_eq!(kind.as_deref(), Some(to), "{row}");
    }
}

#[test]
fn members_that_are_killed_or_asleep_are_replaced() {
    let Some(programs) = Programs::own() else { return };
    for protocol in ["classic", "consumer"] {
        let (topic, group) = (unique("gone"), unique(protocol));
        create_topic(programs.address(), &topic, 3, &[]);
        let killed = Member::join(&programs, &topic, &group, protocol);
        let asleep = Member::join(&programs, &topic, &group, protocol);
        let third = Member::join(&programs, &topic, &group, protocol);
        let members = [&killed, &asleep, &third];
        eventually("each has one", LIMIT, || {
            members.iter().all(|member| member.has_assigned()).then_some(())
        });
        // One that falls asleep before it knows where to begin ends when it wakes, with Kafka too.
        let mut end = 0;
        eventually("each has taken records", LIMIT, || {
            end = produce_to_each(&programs, &topic, 1);
            members
                .iter()
                .all(|member| !member.events("offsets_committed").is_empty())
                .then_some(())
        });
        killed.signal(libc::SIGKILL);
        asleep.signal(libc::SIGSTOP);
        let next = produce_to_each(&programs, &topic, 100);
        eventually("the third takes all", LIMIT, || has_all(&[&third], end..next).then_some(()));
        let before = asleep.events("partitions_assigned").len();
        asleep.signal(libc::SIGCONT);
        eventually("the second is back", LIMIT, || {
            (asleep.events("partitions_assigned").len() > before).then_some(())
        });
        let last = produce_to_each(&programs, &topic, 100);
        let awake = [&asleep, &third];
        eventually("both take the rest", LIMIT, || has_all(&awake, next..last).then_some(()));
    }
}

/// Writes `count` records to each of three partitions; where those end.
fn produce_to_each(programs: &Programs, topic: &str, count: usize) -> i64 {
    let records: Vec<_> =
        (0..3 * count).map(|n| Record::of(n.to_string()).to((n % 3) as i32)).collect();
    let at = client::produce(programs.address(), &[], topic, &records);
    1 + at.into_iter().map(|(_, offset)| offset).max().expect("records")
}

/// Whether they took the records of all three partitions with these offsets.
fn has_all(members: &[&Member], mut offsets: Range<i64>) -> bool {
    let counts = counts(members);
    offsets.all(|offset| (0..3).all(|partition| counts.contains_key(&(partition, offset))))
}

#[test]
fn the_measuring_consumer_counts_all() {
    let Some(programs) = Programs::start() else { return };
    let topic = unique("measured");
    create_topic(programs.address(), &topic, 2, &[]);
    let records: Vec<_> = (0..2000).map(|n: i32| Record::of(n.to_string()).to(n % 2)).collect();
    client::produce(programs.address(), &[], &topic, &records);
    for protocol in ["classic", "consumer"] {
        let property = format!("group.protocol={protocol}");
        let what = ["--topic", &topic, "--num-records", "2000", "--timeout", "60000"];
        let how = ["--group", &unique(protocol), "--command-property", &property, "--hide-header"];
        let said =
            programs.run("org.apache.kafka.tools.ConsumerPerformance", &[&what[..], &how].concat());
        let row = said.lines().last().expect("a row of figures");
        let count = row.split(", ").nth(4).expect("the number of records");
        assert_eq!(count, "2000", "{said}");
    }
}
