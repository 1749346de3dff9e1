//! Kafka's consumers in classic groups, and its tool that looks after them.

use super::Programs;
use crate::support::client::{Record, create_topic, produce};
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
    let what = ["--topic", topic, "--group", group, "--max-messages", count];
    let how = [
        "--timeout-ms",
        "60000",
        "--command-property",
        "group.protocol=classic",
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
