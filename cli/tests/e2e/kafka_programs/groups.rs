//! Kafka's consumers in classic groups, and its tool that looks after them.

use std::path::{Path, PathBuf};

use super::Programs;
use crate::support::broker::data_of;
use crate::support::client::{Record, create_topic, produce};
use crate::support::java::Java;
use crate::support::unique;

const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";

/// A topic of two partitions with five records each.
fn filled(programs: &Programs) -> String {
    let topic = unique("java-groups");
    create_topic(programs.address(), &topic, 2, &[]);
    let records = (0..10).map(|n: i32| Record::of(n.to_string()).to(n % 2));
    produce(programs.address(), &[], &topic, &records.collect::<Vec<_>>());
    topic
}

/// Reads `count` records as a member of the group.
fn read(programs: &Programs, topic: &str, group: &str, count: &str) -> Vec<String> {
    read_by("classic", programs, topic, group, count)
}

fn read_by(
    protocol: &str,
    programs: &Programs,
    topic: &str,
    group: &str,
    count: &str,
) -> Vec<String> {
    let protocol = format!("group.protocol={protocol}");
    let what = ["--topic", topic, "--group", group, "--max-messages", count];
    let how = [
        "--timeout-ms",
        "60000",
        "--command-property",
        &protocol,
        "--command-property",
        "auto.offset.reset=earliest",
    ];
    let said = programs.run(CONSOLE_CONSUMER, &[&what[..], &how].concat());
    let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Current and end offset of each partition, as `--describe` tells them.
fn offsets(programs: &Programs, topic: &str, group: &str) -> Vec<(String, String)> {
    let described = programs.run(GROUPS, &["--describe", "--group", group]);
    let mut rows: Vec<Vec<&str>> = described
        .lines()
        .map(|line| line.split_whitespace().collect())
        .filter(|fields: &Vec<&str>| fields.len() > 5 && fields[1] == topic)
        .collect();
    rows.sort();
    rows.iter().map(|fields| (fields[3].to_owned(), fields[4].to_owned())).collect()
}

fn pair(current: &str, end: &str) -> (String, String) {
    (current.to_owned(), end.to_owned())
}

#[test]
fn a_group_is_read_described_reset_and_deleted() {
    let Some(programs) = Programs::start() else { return };
    let (topic, group) = (filled(&programs), unique("java-group"));
    let all: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    assert_eq!(read(&programs, &topic, &group, "10"), all);
    assert_eq!(offsets(&programs, &topic, &group), [pair("5", "5"), pair("5", "5")]);
    let listed = programs.run(GROUPS, &["--list", "--state"]);
    let row = listed.lines().find(|line| line.contains(&group)).expect("the group");
    assert!(row.contains("Empty"), "{row}");

    let at = format!("{topic}:0");
    let reset = |how: &[&str], at: &str| {
        let what = ["--reset-offsets", "--group", &group, "--topic", at, "--execute"];
        programs.run(GROUPS, &[&what[..], how].concat())
    };
    reset(&["--to-earliest"], &at);
    assert_eq!(offsets(&programs, &topic, &group), [pair("0", "5"), pair("5", "5")]);
    reset(&["--shift-by", "2"], &at);
    assert_eq!(offsets(&programs, &topic, &group), [pair("2", "5"), pair("5", "5")]);
    assert_eq!(read(&programs, &topic, &group, "3"), ["4", "6", "8"]);

    let forgotten = ["--delete-offsets", "--group", &group, "--topic", &at];
    let said = programs.run(GROUPS, &forgotten);
    assert!(said.contains("Successful"), "{said}");
    assert_eq!(offsets(&programs, &topic, &group), [pair("5", "5")]);
    let said = programs.run(GROUPS, &["--delete", "--group", &group]);
    assert!(said.contains("was successful"), "{said}");
    assert!(!programs.run(GROUPS, &["--list"]).contains(&group));
}

#[test]
fn a_group_in_use_is_not_deleted() {
    let Some(programs) = Programs::start() else { return };
    let (topic, group) = (filled(&programs), unique("java-group"));
    let settings = [("group.id", group.as_str()), ("auto.offset.reset", "earliest")];
    let member = crate::support::client::consumer(programs.address(), &settings);
    rdkafka::consumer::Consumer::subscribe(&member, &[&topic]).expect("a topic's name");
    crate::support::client::take(&member, 10);
    let described = programs.run(GROUPS, &["--describe", "--group", &group, "--members"]);
    let row = described.lines().find(|line| line.contains("rdkafka")).expect("a member");
    let fields: Vec<&str> = row.split_whitespace().collect();
    assert_eq!((fields[0], fields[2], fields[4]), (&*group, "/127.0.0.1", "2"), "{described}");
    let refused = programs.run(GROUPS, &["--delete", "--group", &group]);
    assert!(refused.contains("GroupNotEmptyException"), "{refused}");
}

#[test]
fn a_consumer_group_is_read_described_and_deleted() {
    let Some(programs) = Programs::own() else { return };
    let (topic, group) = (filled(&programs), unique("java-group"));
    let all: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    assert_eq!(read_by("consumer", &programs, &topic, &group, "10"), all);
    assert_eq!(offsets(&programs, &topic, &group), [pair("5", "5"), pair("5", "5")]);

    let settings = [
        ("group.id", group.as_str()),
        ("group.protocol", "consumer"),
        ("auto.offset.reset", "earliest"),
    ];
    let member = crate::support::client::consumer(programs.address(), &settings);
    rdkafka::consumer::Consumer::subscribe(&member, &[&topic]).expect("a topic's name");
    produce(programs.address(), &[], &topic, &[Record::of("more").to(0)]);
    crate::support::client::take(&member, 1);
    let described = programs.run(GROUPS, &["--describe", "--group", &group, "--members"]);
    let row = described.lines().find(|line| line.contains("rdkafka")).expect("a member");
    assert!(row.starts_with(&group) && row.contains("/127.0.0.1"), "{described}");
    let state = programs.run(GROUPS, &["--describe", "--group", &group, "--state"]);
    assert!(state.contains("uniform") && state.contains("Stable"), "{state}");
    let old = unique("java-group");
    read(&programs, &topic, &old, "1");
    let kinds = |filter: &[&str]| {
        let listed = [&["--list"], filter].concat();
        let listed = programs.run("org.apache.kafka.tools.GroupsCommand", &listed);
        let kind = |name: &str| {
            let row = listed.lines().find(|line| line.starts_with(&format!("{name} ")))?;
            row.split_whitespace().nth(1).map(str::to_owned)
        };
        (kind(&group), kind(&old))
    };
    let (new, old) = (Some("Consumer".to_owned()), Some("Classic".to_owned()));
    assert_eq!(kinds(&[]), (new.clone(), old.clone()));
    assert_eq!(kinds(&["--consumer"]), (new.clone(), old.clone()));
    assert_eq!(kinds(&["--group-type", "consumer"]), (new, None));
    assert_eq!(kinds(&["--group-type", "classic"]), (None, old.clone()));
    assert_eq!(kinds(&["--protocol", "consumer", "--group-type", "classic"]), (None, old));
    assert_eq!(kinds(&["--share"]), (None, None));
    let refused = programs.run(GROUPS, &["--delete", "--group", &group]);
    assert!(refused.contains("GroupNotEmptyException"), "{refused}");
    drop(member);
    let said = programs.run(GROUPS, &["--delete", "--group", &group]);
    assert!(said.contains("was successful"), "{said}");
    assert!(!programs.run(GROUPS, &["--list"]).contains(&group));

    let (java, home) = (programs.java, programs.broker.stop_for_home());
    let dumped = dump_of_groups(java, &data_of(&home));
    for kind in ["3", "5", "6", "7", "8"] {
        let key = format!(r#"key: {{"type":"{kind}","data":{{"groupId":"{group}""#);
        let told: Vec<&str> = dumped.lines().filter(|line| line.contains(&key)).collect();
        let deleted = told.last().is_some_and(|line| line.ends_with("payload: <DELETE>"));
        assert!(told.len() > 1 && deleted, "{kind}: {told:#?}");
    }
}

/// All records about groups, as Kafka's own decoder reads them.
fn dump_of_groups(java: &Java, data: &Path) -> String {
    let partitions = std::fs::read_dir(data).expect("a data directory");
    let partitions = partitions.map(|entry| entry.expect("an entry").path());
    let of_groups = |path: &PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy();
        name.starts_with("__consumer_offsets-")
    };
    let logs = partitions.filter(of_groups).map(|path| path.join("00000000000000000000.log"));
    let logs = logs.filter(|log| std::fs::metadata(log).is_ok_and(|it| it.len() > 0));
    let logs: Vec<String> = logs.map(|log| log.display().to_string()).collect();
    let options = ["--offsets-decoder", "--print-data-log", "--files", &logs.join(",")];
    java.run("org.apache.kafka.tools.DumpLogSegments", &options)
}
