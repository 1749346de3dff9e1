//! The classic introduction to Kafka, as README tells it: its own command lines, with Kafka's Java
//! programs and with ours by Kafka's names. And what both print, side by side.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::broker::{self, Broker, binary};
use crate::support::client::{LIMIT, Record, create_topic, produce};
use crate::support::java::Java;
use crate::support::process::{self, Finished};
use crate::support::{eventually, unique};

const README: &str = include_str!("../../../README.md");

/// Whose programs run.
enum Scripts {
    Kafkas(&'static Java),
    /// Links by Kafka's names to the one binary.
    Ours(TempDir),
}

/// Kafka's scripts and the classes that they run.
const CLASSES: [(&str, &str); 9] = [
    ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-console-producer.sh", "org.apache.kafka.tools.ConsoleProducer"),
    ("kafka-console-consumer.sh", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("kafka-consumer-groups.sh", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("kafka-configs.sh", "kafka.admin.ConfigCommand"),
    ("kafka-get-offsets.sh", "org.apache.kafka.tools.GetOffsetShell"),
    ("kafka-delete-records.sh", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("kafka-log-dirs.sh", "org.apache.kafka.tools.LogDirsCommand"),
    ("kafka-dump-log.sh", "org.apache.kafka.tools.DumpLogSegments"),
];

impl Scripts {
    fn ours() -> Self {
        let home = broker::home();
        for (name, _) in CLASSES {
            symlink(binary(), home.path().join(name)).expect("a writable home");
        }
        Self::Ours(home)
    }

    fn command(&self, script: &str, arguments: &[&str]) -> Command {
        let mut command = match self {
            Self::Ours(home) => Command::new(home.path().join(script)),
            Self::Kafkas(java) => {
                let class = CLASSES.iter().find(|(name, _)| *name == script).expect("a script").1;
                let quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
                let silent = "-Dorg.slf4j.simpleLogger.defaultLogLevel=off";
                java.command(&[&quick[..], &[silent]].concat(), class)
            }
        };
        command.args(arguments);
        command
    }

    fn run(&self, script: &str, arguments: &[&str], input: &str) -> Finished {
        let command = self.command(script, arguments);
        process::run(command, input.as_bytes(), Duration::from_secs(120))
    }
}

/// README's walkthrough against one broker.
struct Walk {
    scripts: Scripts,
    broker: Broker,
    home: TempDir,
    lines: Vec<String>,
}

impl Walk {
    fn new(scripts: Scripts) -> Self {
        let broker = Broker::own(&["group.initial.rebalance.delay.ms=0"]);
        let (_, behind) = README.split_once("### The classic walkthrough").expect("it is there");
        let section = behind.split("\n### ").next().expect("a section");
        let commands = section.lines().filter(|line| line.starts_with("kafka-"));
        let lines = commands.map(|line| line.replace("localhost:9092", broker.address()));
        Self { scripts, lines: lines.collect(), broker, home: broker::home() }
    }

    /// Script and arguments of the only command line with all of these words.
    fn line(&self, words: &[&str]) -> (String, Vec<String>) {
        let with = |line: &&String| words.iter().all(|word| line.contains(word));
        let found: Vec<_> = self.lines.iter().filter(with).collect();
        let [line] = found[..] else { panic!("{words:?}: {found:?} in README") };
        let line = line.split(" #").next().expect("a line");
        let mut parts = line.split_whitespace().map(str::to_owned);
        (parts.next().expect("a script"), parts.collect())
    }

    fn run(&self, words: &[&str], input: &str) -> String {
        let (script, arguments) = self.line(words);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.scripts.run(&script, &arguments, input).expect_success()
    }

    /// A program that runs until it is interrupted, and the file it writes to.
    fn start(&self, words: &[&str]) -> Running {
        let (script, arguments) = self.line(words);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = self.scripts.command(&script, &arguments);
        let out = self.home.path().join(unique("out"));
        let file = File::create(&out).expect("a writable home");
        command.stdin(Stdio::null()).stdout(file).stderr(Stdio::null());
        // Where the tests run in the background, interrupts are ignored, and programs inherit that.
        let heed = || {
            // SAFETY: no memory is touched but the process's own table of signals.
            unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
            Ok(())
        };
        // SAFETY: what runs between fork and exec only calls `signal`, which may be called there.
        unsafe { command.pre_exec(heed) };
        Running { child: command.spawn().expect("a program"), out }
    }
}

struct Running {
    child: Child,
    out: std::path::PathBuf,
}

impl Running {
    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.out).expect("its output");
        text.lines().map(str::to_owned).collect()
    }

    /// Ctrl-C.
    fn interrupt(&mut self) {
        process::signal(&self.child, libc::SIGINT);
        let status = process::wait(&mut self.child, LIMIT).expect("it ends");
        assert!(!status.success(), "a signal shows in the status: {status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn walk(scripts: Scripts) {
    let walk = Walk::new(scripts);
    assert!(walk.run(&["--create"], "").contains("Created topic events."));
    assert_eq!(walk.run(&["kafka-topics.sh --list"], ""), "events\n");
    let described = walk.run(&["kafka-topics.sh --describe"], "");
    assert!(described.contains("PartitionCount: 3\tReplicationFactor: 1"), "{described}");

    walk.run(&["kafka-console-producer.sh"], "first\nsecond\nthird\n");
    let mut reader = walk.start(&["kafka-console-consumer.sh", "--from-beginning"]);
    let read = |running: &Running| running.lines().into_iter().collect::<BTreeSet<_>>();
    let all = ["first", "second", "third"].map(str::to_owned);
    eventually("the first three are read", LIMIT, || {
        (read(&reader) == all.clone().into()).then_some(())
    });
    reader.interrupt();

    let mut members = [0, 1].map(|_| walk.start(&["kafka-console-consumer.sh", "--group"]));
    let progress = || {
        let told = walk.run(&["kafka-consumer-groups.sh --describe"], "");
        let rows = told.lines().filter(|line| line.contains("readers") && line.contains("events"));
        let cells = |row: &str| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        rows.map(cells).collect::<Vec<_>>()
    };
    eventually("two members share three partitions", LIMIT * 2, || {
        let rows = progress();
        let owners: BTreeSet<_> = rows.iter().map(|row| row[6].clone()).collect();
        (rows.len() == 3 && owners.len() == 2 && !owners.contains("-")).then_some(())
    });
    let numbers: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    for chunk in numbers.chunks(10) {
        walk.run(&["kafka-console-producer.sh"], &(chunk.join("\n") + "\n"));
    }
    eventually("each is read once", LIMIT, || {
        let mut read = members.iter().flat_map(Running::lines).collect::<Vec<_>>();
        read.sort();
        let mut expected = numbers.clone();
        expected.sort();
        (read == expected).then_some(())
    });
    members.iter_mut().for_each(Running::interrupt);
    eventually("the group has read all and is left", LIMIT * 2, || {
        let rows = progress();
        let done = |row: &Vec<String>| row[5] == "0" && row[6] == "-";
        (rows.len() == 3 && rows.iter().all(done)).then_some(())
    });

    let moved = walk.run(&["--reset-offsets"], "");
    assert_eq!(moved.lines().filter(|line| line.starts_with("readers")).count(), 3, "{moved}");
    assert!(progress().iter().all(|row| row[3] == "0"), "{:?}", progress());
    let again = walk.start(&["kafka-console-consumer.sh", "--group"]);
    let everything: BTreeSet<_> = numbers.into_iter().chain(all).collect();
    eventually("all is read again", LIMIT, || (read(&again) == everything).then_some(()));
    assert!(walk.broker.log().lines().all(|line| !line.contains("ERROR")));
}

#[test]
fn the_classic_walkthrough_works_with_kafkas_programs() {
    let Some(java) = Java::get() else { return };
    walk(Scripts::Kafkas(java));
}

#[test]
fn the_classic_walkthrough_works_with_ours() {
    walk(Scripts::ours());
}

/// What is compared of an output: lines in order, or as a set where Kafka has none.
fn comparable(text: &str) -> BTreeSet<String> {
    let blanks = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let keep = |line: &&str| !line.trim().is_empty() && !line.starts_with("\tat ");
    text.lines().filter(keep).map(|line| sorted_configs(&blanks(line))).collect()
}

/// Java prints a topic's configurations in the order of its hash map.
fn sorted_configs(line: &str) -> String {
    match line.split_once("Configs: ") {
        Some((head, configs)) => {
            let mut configs: Vec<&str> = configs.split(',').collect();
            configs.sort_unstable();
            format!("{head}Configs: {}", configs.join(","))
        }
        None => line.to_owned(),
    }
}

/// A broker with something of everything, whose state no command of [`ALIKE`] changes for the
/// other program.
fn furnished(broker: &Broker, ours: &Scripts, home: &Path) {
    let address = ["--bootstrap-server", broker.address()];
    let run = |script: &str, arguments: &[&str], input: &str| {
        ours.run(script, &[&address[..], arguments].concat(), input).expect_success()
    };
    create_topic(broker.address(), "two", 2, &[("retention.ms", "5000000")]);
    create_topic(broker.address(), "one", 1, &[]);
    let record = |n: i32| Record {
        key: Some(format!("k{n}").into_bytes()),
        timestamp_ms: Some(1_700_000_000_000 + i64::from(n)),
        headers: vec![("h".to_owned(), Some(b"v".to_vec()))],
        ..Record::of(format!("v{n}")).to(n % 2)
    };
    produce(broker.address(), &[], "two", &(0..10).map(record).collect::<Vec<_>>());
    let consumer = ["--topic", "two", "--group", "readers", "--from-beginning"];
    run("kafka-console-consumer.sh", &[&consumer[..], &["--max-messages", "10"]].concat(), "");
    let modern = ["--topic", "two", "--group", "modern", "--from-beginning", "--max-messages", "4"];
    let protocol = ["--command-property", "group.protocol=consumer"];
    run("kafka-console-consumer.sh", &[&modern[..], &protocol].concat(), "");
    fs::write(home.join("wrong.json"), "x").expect("a writable home");
    fs::write(home.join("plan.csv"), "two,0,1\ntwo,1,99\n").expect("a writable home");
}

/// Command lines that both programs answer alike: script, arguments, whether it has an exit code
/// alone in common (usage errors, of which Kafka prints its whole help).
const ALIKE: &[(&str, &str, bool)] = &[
    ("kafka-topics.sh", "--list", false),
    ("kafka-topics.sh", "--list --topic t.*", false),
    ("kafka-topics.sh", "--list --exclude-internal", false),
    ("kafka-topics.sh", "--describe --topic two", false),
    ("kafka-topics.sh", "--describe --topic two,one", false),
    ("kafka-topics.sh", "--describe --exclude-internal --topics-with-overrides", false),
    ("kafka-topics.sh", "--describe --under-replicated-partitions", false),
    ("kafka-topics.sh", "--describe --topic none", false),
    ("kafka-topics.sh", "--describe --topic none --if-exists", false),
    ("kafka-topics.sh", "--create --topic two", false),
    ("kafka-topics.sh", "--create --topic two --if-not-exists", false),
    ("kafka-topics.sh", "--create --topic bad/name", false),
    ("kafka-topics.sh", "--create --topic x --partitions 0", false),
    ("kafka-topics.sh", "--create --topic x --config nonsense=1", false),
    ("kafka-topics.sh", "--alter --topic two --partitions 1", false),
    ("kafka-topics.sh", "--delete --topic none", false),
    ("kafka-topics.sh", "--create", true),
    ("kafka-topics.sh", "--list --create", true),
    ("kafka-topics.sh", "--nonsense", true),
    ("kafka-consumer-groups.sh", "--list", false),
    ("kafka-consumer-groups.sh", "--list --state --type", false),
    ("kafka-consumer-groups.sh", "--list --state empty --type consumer", false),
    ("kafka-consumer-groups.sh", "--list --state bogus", true),
    ("kafka-consumer-groups.sh", "--describe --group readers", false),
    ("kafka-consumer-groups.sh", "--describe --group modern --group readers --verbose", false),
    ("kafka-consumer-groups.sh", "--describe --group modern --state --verbose", false),
    ("kafka-consumer-groups.sh", "--describe --group readers --members --verbose", false),
    ("kafka-consumer-groups.sh", "--describe --all-groups --state", false),
    ("kafka-consumer-groups.sh", "--describe --group none", false),
    ("kafka-consumer-groups.sh", "--describe", true),
    (
        "kafka-consumer-groups.sh",
        "--reset-offsets --group readers --topic two --to-earliest",
        false,
    ),
    (
        "kafka-consumer-groups.sh",
        "--reset-offsets --group readers --topic two:1 --shift-by -2 --dry-run",
        false,
    ),
    (
        "kafka-consumer-groups.sh",
        "--reset-offsets --group readers --all-topics --to-offset 99 --dry-run",
        false,
    ),
    (
        "kafka-consumer-groups.sh",
        "--reset-offsets --group readers --topic two --to-datetime 2040-01-01T00:00:00.000 --dry-run",
        false,
    ),
    (
        "kafka-consumer-groups.sh",
        "--reset-offsets --group readers --topic two --by-duration PT1H --dry-run",
        false,
    ),
    (
        "kafka-consumer-groups.sh",
        "--reset-offsets --group readers --topic two:0 --to-current --export --dry-run",
        false,
    ),
    (
        "kafka-consumer-groups.sh",
        "--reset-offsets --all-groups --topic two:0 --to-latest --export --dry-run",
        false,
    ),
    (
        "kafka-consumer-groups.sh",
        "--reset-offsets --group readers --from-file HOME/plan.csv --dry-run",
        false,
    ),
    (
        "kafka-consumer-groups.sh",
        "--reset-offsets --group readers --topic two:7 --to-latest --dry-run",
        false,
    ),
    ("kafka-consumer-groups.sh", "--reset-offsets --group readers --topic two", true),
    ("kafka-consumer-groups.sh", "--delete --group none", false),
    ("kafka-consumer-groups.sh", "--delete-offsets --group readers --topic none", false),
    ("kafka-configs.sh", "--describe --entity-type topics --entity-name two", false),
    ("kafka-configs.sh", "--describe --topic two --all", false),
    ("kafka-configs.sh", "--describe --topic none", false),
    ("kafka-configs.sh", "--describe --entity-type brokers --entity-default", false),
    ("kafka-configs.sh", "--describe --broker 1", false),
    ("kafka-configs.sh", "--describe --broker 9", false),
    ("kafka-configs.sh", "--alter --topic two --add-config retention.ms=7000000", false),
    ("kafka-configs.sh", "--alter --topic two --add-config retention.ms=soon", true),
    ("kafka-configs.sh", "--alter --topic two", true),
    ("kafka-configs.sh", "--describe --entity-type nonsense", true),
    ("kafka-get-offsets.sh", "--topic two", false),
    ("kafka-get-offsets.sh", "--topic two --time earliest --partitions 1", false),
    ("kafka-get-offsets.sh", "--topic two --time 1700000000004", false),
    ("kafka-get-offsets.sh", "--topic two --time -3", false),
    ("kafka-get-offsets.sh", "--topic-partitions two:1,one:0-2 --exclude-internal-topics", false),
    ("kafka-get-offsets.sh", "--topic none", false),
    ("kafka-get-offsets.sh", "--topic two --time bogus", false),
    ("kafka-delete-records.sh", "--offset-json-file HOME/wrong.json", true),
    ("kafka-console-consumer.sh", "--topic two --partition 0 --offset 2 --max-messages 2", false),
    (
        "kafka-console-consumer.sh",
        "--topic two --partition 1 --offset earliest --max-messages 3 --formatter-property print.key=true --formatter-property print.offset=true --formatter-property print.headers=true --formatter-property print.timestamp=true --formatter-property print.partition=true",
        false,
    ),
    (
        "kafka-console-consumer.sh",
        "--topic two --partition 0 --offset latest --timeout-ms 1000",
        false,
    ),
    ("kafka-console-consumer.sh", "--topic two --offset 1", true),
    ("kafka-console-consumer.sh", "--topic two --include x", true),
];

#[test]
fn both_print_the_same() {
    let Some(java) = Java::get() else { return };
    let (kafkas, ours, home) = (Scripts::Kafkas(java), Scripts::ours(), broker::home());
    let broker = Broker::own(&["group.initial.rebalance.delay.ms=0"]);
    furnished(&broker, &ours, home.path());
    let mut differences = Vec::new();
    for &(script, arguments, only_code) in ALIKE {
        let arguments = arguments.replace("HOME", &home.path().display().to_string());
        let mut arguments: Vec<&str> = arguments.split_whitespace().collect();
        arguments.extend(["--bootstrap-server", broker.address()]);
        let [theirs, mine] = [&kafkas, &ours].map(|it| it.run(script, &arguments, ""));
        let (mut expected, mut found) = (comparable(&theirs.out), comparable(&mine.out));
        if only_code {
            expected.clear();
            found.clear();
        }
        if theirs.status.code() != mine.status.code() || expected != found {
            differences.push(format!(
                "{script} {}\n--- Kafka ({:?})\n{}--- ours ({:?})\n{}{}",
                arguments.join(" "),
                theirs.status.code(),
                theirs.out,
                mine.status.code(),
                mine.out,
                mine.err
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn options_without_a_meaning_are_refused() {
    let (broker, ours) = (Broker::own(&[]), Scripts::ours());
    create_topic(broker.address(), "t", 1, &[]);
    for (script, arguments) in [
        ("kafka-console-producer.sh", "--topic t --max-memory-bytes 5"),
        ("kafka-console-producer.sh", "--topic t --producer-property nonsense=1"),
        ("kafka-console-consumer.sh", "--topic t --command-property max.poll.records=1"),
        ("kafka-console-consumer.sh", "--topic t --formatter some.Class"),
        ("kafka-configs.sh", "--describe --entity-type users"),
    ] {
        let mut arguments: Vec<&str> = arguments.split(' ').collect();
        let last = arguments[arguments.len() - 1];
        arguments.extend(["--bootstrap-server", broker.address()]);
        let said = ours.run(script, &arguments, "x\n").expect_failure();
        assert!(said.contains(last) || said.contains("not supported"), "{script}: {said}");
    }
}

#[test]
fn the_console_clients_meet() {
    let (broker, ours) = (Broker::own(&["group.initial.rebalance.delay.ms=0"]), Scripts::ours());
    let home = broker::home();
    let server = ["--bootstrap-server", broker.address()];
    let run = |script: &str, arguments: &[&str], input: &str| {
        ours.run(script, &[&server[..], arguments].concat(), input)
    };
    let typed = ["--topic", "made-on-demand", "--reader-property", "parse.key=true"];
    let shape = ["--reader-property", "key.separator=:", "--compression-codec", "zstd", "--sync"];
    run("kafka-console-producer.sh", &[&typed[..], &shape].concat(), "a:1\nb:2\n").expect_success();
    let bad = run("kafka-console-producer.sh", &[&typed[..], &shape].concat(), "no-key\n");
    assert!(bad.expect_failure().contains("No key separator found on line number 1: 'no-key'"));
    let file = home.path().join("consumer.properties");
    let mut properties = File::create(&file).expect("a writable home");
    writeln!(properties, "group.id=by-file\nauto.offset.reset=earliest").expect("written");
    let file = file.display().to_string();
    let read = ["--topic", "made-on-demand", "--command-config", &file, "--max-messages", "2"];
    let shape = ["--property", "print.key=true", "--property", "key.separator=-"];
    let finished = run("kafka-console-consumer.sh", &[&read[..], &shape].concat(), "");
    assert!(finished.err.contains("Processed a total of 2 messages"), "{}", finished.err);
    let said = finished.expect_success();
    assert!(said.ends_with("a-1\nb-2\n"), "{said}");
    let listed = run("kafka-consumer-groups.sh", &["--list"], "").expect_success();
    assert_eq!(listed, "by-file\n");
    let told = run("kafka-log-dirs.sh", &["--describe", "--topic-list", "made-on-demand"], "");
    assert!(told.expect_success().contains(r#""partition":"made-on-demand-0""#));
    let log = broker.data().join("made-on-demand-0/00000000000000000000.log");
    let dump = ["--files", &log.display().to_string(), "--print-data-log"];
    let dumped = ours.run("kafka-dump-log.sh", &dump, "").expect_success();
    assert!(dumped.contains("key: a payload: 1") && dumped.contains("isvalid: true"), "{dumped}");
    let asked = Command::new(binary()).args(["kafka-topics", "--list"]).args(server).output();
    assert!(String::from_utf8_lossy(&asked.expect("ours").stdout).contains("made-on-demand"));
}
