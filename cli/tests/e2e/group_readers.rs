//! `odradek consume --group`: members that share a topic, by both protocols, and what a broker's
//! restart, a signal and an administrator do to them.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::broker::{self, Broker, binary};
use crate::support::client::{LIMIT, Record, create_topic, produce};
use crate::support::process::{self, Finished};
use crate::support::{eventually, unique};

const PROTOCOLS: [&str; 2] = ["classic", "consumer"];

/// A broker, and the commands pointed at it.
struct Setting {
    broker: Broker,
    home: TempDir,
    topic: String,
}

impl Setting {
    fn new(partitions: i32) -> Self {
        let broker = Broker::own(&["group.initial.rebalance.delay.ms=0"]);
        let topic = unique("readers");
        create_topic(broker.address(), &topic, partitions, &[]);
        Self { broker, home: broker::home(), topic }
    }

    /// Adds records `from..to`, over the partitions in turn.
    fn fill(&self, from: i32, to: i32, partitions: i32) {
        let records = (from..to).map(|n| Record::of(n.to_string()).to(n % partitions));
        produce(self.broker.address(), &[], &self.topic, &records.collect::<Vec<_>>());
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).args(["--bootstrap-server", self.broker.address()]);
        command
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        process::run(self.command(arguments), b"", Duration::from_secs(90))
    }

    /// Numbers that a member reads to the end, in order.
    fn read(&self, group: &str, protocol: &str, more: &[&str]) -> Vec<i32> {
        let what = ["consume", &self.topic, "--group", group, "--group-protocol", protocol];
        let said = self.run(&[&what[..], more].concat()).expect_success();
        sorted(&said)
    }

    /// A member that reads on; its output goes to a file.
    fn reader(&self, group: Option<&str>, protocol: &str) -> Reader {
        let out = self.home.path().join(unique("out"));
        let file = File::create(&out).expect("a writable home");
        let mut command = self.command(&["consume", &self.topic, "--from-beginning"]);
        if let Some(group) = group {
            command.args(["--group", group, "--group-protocol", protocol]);
            command.args(["--commit-interval-ms", "200"]);
        }
        Self::started(command, file, out)
    }

    /// A member by Kafka's script that reads every topic whose name matches.
    fn reader_of(&self, pattern: &str, protocol: &str) -> Reader {
        let out = self.home.path().join(unique("out"));
        let file = File::create(&out).expect("a writable home");
        let (group, protocol) = (unique("many"), format!("group.protocol={protocol}"));
        let what = ["kafka-console-consumer", "--include", pattern, "--group", &group];
        let how = ["--from-beginning", "--command-property", &protocol];
        let soon = ["--command-property", "auto.commit.interval.ms=100"];
        let command = self.command(&[&what[..], &how, &soon].concat());
        Self::started(command, file, out)
    }

    fn started(mut command: Command, file: File, out: PathBuf) -> Reader {
        let child = command.stdin(Stdio::null()).stdout(file).stderr(Stdio::null()).spawn();
        Reader { child: child.expect("the binary"), out }
    }

    /// What each member has, as `group members` shows it.
    fn assignments(&self, group: &str) -> Vec<String> {
        let finished = self.run(&["group", "members", group]);
        if !finished.status.success() || !finished.out.contains(" is Stable") {
            return Vec::new();
        }
        let rows = finished.out.lines().skip(2);
        let last = |row: &str| row.split_whitespace().last().map(str::to_owned);
        rows.filter_map(last).map(|it| it.replace(&self.topic, "t")).collect()
    }

    /// Partition, offset, end and lag by partition, as `group describe` shows it.
    fn progress(&self, group: &str) -> Vec<String> {
        let said = self.run(&["group", "describe", group]).expect_success();
        let rows = said.lines().skip(2).map(|row| {
            let cells: Vec<&str> = row.split_whitespace().collect();
            cells[1..5].join(" ")
        });
        rows.collect()
    }
}

struct Reader {
    child: Child,
    out: PathBuf,
}

impl Reader {
    fn numbers(&self) -> Vec<i32> {
        sorted(&std::fs::read_to_string(&self.out).expect("its output"))
    }

    fn stop(&mut self, signal: i32) -> Option<i32> {
        process::signal(&self.child, signal);
        process::wait(&mut self.child, LIMIT).expect("it ends").code()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sorted(lines: &str) -> Vec<i32> {
    let mut numbers: Vec<i32> = lines.lines().map(|it| it.parse().expect("a number")).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_group_goes_on_where_it_was() {
    let setting = Setting::new(2);
    setting.fill(0, 10, 2);
    for protocol in PROTOCOLS {
        let group = unique(protocol);
        let first = setting.read(&group, protocol, &["--from-beginning", "-n", "4"]);
        let rest = setting.read(&group, protocol, &["--exit-at-end"]);
        assert_eq!((first.len(), rest.len()), (4, 6), "{protocol}");
        let both = [first, rest].concat().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(sorted(&both.join("\n")), (0..10).collect::<Vec<_>>(), "{protocol}");
        assert_eq!(setting.progress(&group), ["0 5 5 0", "1 5 5 0"], "{protocol}");
        let new = unique(protocol);
        assert!(setting.read(&new, protocol, &["--exit-at-end"]).is_empty(), "from the end");
    }
    let said = setting.run(&["group", "lag"]).expect_success();
    assert_eq!(said.lines().count(), 5, "{said}");
    assert!(said.lines().skip(1).all(|row| row.ends_with("  2           0        0")), "{said}");
}

#[test]
fn members_share_and_a_signal_leaves_in_order() {
    let setting = Setting::new(2);
    setting.fill(0, 10, 2);
    for protocol in PROTOCOLS {
        let group = unique(protocol);
        let mut first = setting.reader(Some(&group), protocol);
        eventually("it has all", LIMIT, || {
            (setting.assignments(&group) == ["t:0,1"] && first.numbers().len() == 10).then_some(())
        });
        let second = setting.reader(Some(&group), protocol);
        eventually("they share", LIMIT, || {
            let mut shares = setting.assignments(&group);
            shares.sort();
            (shares == ["t:0", "t:1"]).then_some(())
        });
        let refused = setting.run(&["group", "reset", &group, "--all-topics", "--to-earliest"]);
        let refused = refused.expect_failure();
        assert!(refused.contains("only a group without members"), "{refused}");

        assert_eq!(first.stop(libc::SIGINT), Some(130), "{protocol}");
        eventually("the other has all", LIMIT, || {
            (setting.assignments(&group) == ["t:0,1"]).then_some(())
        });
        setting.fill(10, 20, 2);
        let expected: Vec<i32> = (10..20).collect();
        eventually("it reads on, nothing twice", LIMIT, || {
            let read = second.numbers();
            assert!(read.iter().all(|n| *n >= 10), "{protocol}: read again: {read:?}");
            (read == expected).then_some(())
        });
        let topic = setting.topic.clone();
        setting.run(&["topic", "delete", &topic]).expect_success();
        create_topic(setting.broker.address(), &topic, 2, &[]);
        setting.fill(0, 10, 2);
    }
}

#[test]
fn readers_outlive_a_killed_broker() {
    let mut setting = Setting::new(2);
    setting.fill(0, 10, 2);
    let readers = [
        setting.reader(None, ""),
        setting.reader(Some("c"), "classic"),
        setting.reader(Some("m"), "consumer"),
    ];
    let all_have = |count: usize| {
        eventually("all is read", LIMIT, || {
            readers.iter().all(|reader| reader.numbers().len() >= count).then_some(())
        });
    };
    all_have(10);
    for group in ["c", "m"] {
        eventually("it is committed", LIMIT, || {
            (setting.progress(group) == ["0 5 5 0", "1 5 5 0"]).then_some(())
        });
    }
    setting.broker.kill();
    setting.broker.restart();
    for group in ["c", "m"] {
        assert_eq!(setting.progress(group), ["0 5 5 0", "1 5 5 0"], "offsets survive");
    }
    setting.fill(10, 20, 2);
    all_have(20);
    let expected: Vec<i32> = (0..20).collect();
    for reader in &readers {
        assert_eq!(reader.numbers(), expected);
    }
}

#[test]
fn a_member_that_is_gone_gives_way() {
    let setting = Setting::new(1);
    setting.fill(0, 5, 1);
    let group = unique("gone");
    let mut first = setting.reader(Some(&group), "classic");
    eventually("it reads", LIMIT, || (first.numbers().len() == 5).then_some(()));
    eventually("it has committed", LIMIT, || {
        (setting.progress(&group) == ["0 5 5 0"]).then_some(())
    });
    // No word of leaving: the group waits out the session, which is as short as brokers allow.
    let short = ["--session-timeout-ms", "6000"];
    assert_eq!(first.stop(libc::SIGTERM), Some(143));
    let mut command = setting.command(&["consume", &setting.topic, "--group", &group]);
    command.args(["--group-protocol", "classic"]).args(short);
    let mut killed = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a child");
    eventually("it is in", LIMIT, || (setting.assignments(&group) == ["t:0"]).then_some(()));
    killed.kill().expect("a child of ours");
    killed.wait().expect("a child of ours");
    setting.fill(5, 8, 1);
    assert_eq!(setting.read(&group, "classic", &["-n", "3"]), [5, 6, 7]);
}

#[test]
fn a_topic_that_goes_takes_no_reader_with_it() {
    let setting = Setting::new(1);
    setting.fill(0, 3, 1);
    for (protocol, next) in PROTOCOLS.into_iter().zip(10..) {
        let gone = format!("{}-gone", setting.topic);
        create_topic(setting.broker.address(), &gone, 1, &[]);
        produce(setting.broker.address(), &[], &gone, &[Record::of("100").to(0)]);
        let mut reader = setting.reader_of(&format!("{}.*", setting.topic), protocol);
        eventually("it reads both", LIMIT, || {
            [2, 100].iter().all(|n| reader.numbers().contains(n)).then_some(())
        });
        setting.run(&["topic", "delete", &gone]).expect_success();
        setting.fill(next, next + 1, 1);
        eventually("it reads on", LIMIT, || reader.numbers().contains(&next).then_some(()));
        assert_eq!(reader.stop(libc::SIGTERM), Some(143), "{protocol}");
    }
}

/// A disk that is full is not a broker that is gone: the reader ends, and commits nothing.
#[test]
fn what_cannot_be_printed_is_read_again() {
    let setting = Setting::new(1);
    let topic = &setting.topic;
    setting.fill(0, 10, 1);
    for protocol in PROTOCOLS {
        let group = unique(protocol);
        let what = ["consume", topic, "--group", &group, "--group-protocol", protocol];
        let mut command = setting.command(&what);
        command.args(["--from-beginning", "--exit-at-end"]);
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let child = command.stdout(full).stderr(Stdio::piped()).spawn().expect("the binary");
        let ended = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && said.contains("can't write the output"), "{said}");
        let again = setting.read(&group, protocol, &["--from-beginning", "--exit-at-end"]);
        assert_eq!(again, (0..10).collect::<Vec<_>>(), "{protocol}");
    }
    let narrow = ["--value-deserializer", "org.apache.kafka.common.serialization.LongDeserializer"];
    let what = ["kafka-console-consumer", "--topic", topic, "--partition", "0", "--offset", "0"];
    let refused = setting.run(&[&what[..], &narrow].concat()).expect_failure();
    assert!(refused.contains("the 1 bytes of a message are no Long"), "{refused}");
    let how = ["--skip-message-on-error", "--max-messages", "10"];
    let skipped = setting.run(&[&what[..], &narrow, &how].concat()).expect_success();
    assert_eq!(skipped, "");
}

#[test]
fn offsets_move_by_every_strategy() {
    let setting = Setting::new(2);
    let at = |n: i32| Record {
        timestamp_ms: Some(1_000_000_000_000 + i64::from(n) * 60_000),
        ..Record::of(n.to_string()).to(n % 2)
    };
    let records: Vec<Record> = (0..20).map(at).collect();
    produce(setting.broker.address(), &[], &setting.topic, &records);
    let (group, topic) = (unique("moved"), setting.topic.clone());
    let reset =
        |how: &[&str]| setting.run(&[&["group", "reset", &group, "--execute"][..], how].concat());
    let moved = |how: &[&str]| {
        reset(how).expect_success();
        let rows = setting.progress(&group);
        let offset = |row: &String| row.split(' ').nth(1).expect("an offset").to_owned();
        rows.iter().map(offset).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(moved(&["--topic", &topic, "--to-latest"]), "10 10");
    assert_eq!(moved(&["--all-topics", "--to-earliest"]), "0 0");
    assert_eq!(moved(&["--topic", &format!("{topic}:1"), "--to-offset", "7"]), "0 7");
    assert_eq!(moved(&["--all-topics", "--shift-by", "2"]), "2 9");
    assert_eq!(moved(&["--all-topics", "--shift-by", "-5"]), "0 4");
    assert_eq!(moved(&["--all-topics", "--to-offset", "99"]), "10 10");
    // Record n is of minute n; 2001-09-09T01:46:40 is minute 0.
    assert_eq!(moved(&["--all-topics", "--to-datetime", "2001-09-09T01:51:40.000"]), "3 2");
    assert_eq!(moved(&["--all-topics", "--to-datetime", "2001-09-09T03:51:40+02:00"]), "3 2");
    assert_eq!(moved(&["--all-topics", "--to-timestamp", "1000000600000"]), "5 5");
    assert_eq!(moved(&["--all-topics", "--to-current"]), "5 5");
    assert_eq!(moved(&["--all-topics", "--by-duration", "PT1H"]), "10 10", "nothing is so late");

    let plan = ["group", "reset", &group, "--all-topics", "--to-offset", "3", "--export"];
    let plan = setting.run(&plan).expect_success();
    assert_eq!(plan, format!("{topic},0,3\n{topic},1,3\n"));
    let file = setting.home.path().join("plan.csv");
    std::fs::write(&file, &plan).expect("a writable home");
    assert_eq!(moved(&["--from-file", &file.display().to_string()]), "3 3");

    let refused = reset(&["--topic", &format!("{topic}:7"), "--to-latest"]).expect_failure();
    assert!(refused.contains("do not exist"), "{refused}");
    let fresh = ["group", "reset", "nobody", "--topic", &topic, "--shift-by", "1"];
    let refused = setting.run(&fresh).expect_failure();
    assert!(refused.contains("no current committed offset"), "{refused}");
    assert!(reset(&["--all-topics"]).expect_failure().contains("--to-earliest"));
    let all = ["group", "reset", "--all-groups", "--all-topics", "--to-latest", "--execute"];
    setting.run(&all).expect_success();
    assert_eq!(setting.progress(&group), ["0 10 10 0", "1 10 10 0"]);
}
