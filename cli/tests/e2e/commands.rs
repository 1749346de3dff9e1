//! The binary's own commands, checked from the other side by librdkafka and by the files.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use crate::support::broker::{Broker, binary, data_of};
use crate::support::client::{
    LIMIT, Record, consume, consumer, create_topic, headers, payloads, produce,
};
use crate::support::process::{self, Finished};
use crate::support::{eventually, unique};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

fn odradek(arguments: &[&str], input: &str) -> Finished {
    let mut command = Command::new(binary());
    command.args(arguments);
    process::run(command, input.as_bytes(), Duration::from_secs(60))
}

/// A command that talks to the broker.
fn at(broker: &Broker, arguments: &[&str], input: &str) -> Finished {
    let bootstrap = ["--bootstrap-server", broker.address()];
    odradek(&[arguments, &bootstrap].concat(), input)
}

#[test]
fn a_topic_is_made_changed_and_deleted() {
    let broker = Broker::start();
    let topic = unique("cli-topic");
    let run = |arguments: &[&str]| at(&broker, &[&["topic"], arguments].concat(), "");
    let create = ["create", &topic, "--partitions", "2", "--config", "retention.ms=12345"];
    run(&create).expect_success();
    let again = run(&create).expect_failure();
    assert!(again.contains(&topic) && again.contains("already exists"), "{again}");
    run(&[&create[..], &["--if-not-exists"]].concat()).expect_success();
    assert!(run(&["list"]).expect_success().lines().any(|line| line == topic));

    run(&["alter", &topic, "--partitions", "5", "--config", "segment.bytes=2097152"])
        .expect_success();
    let watcher = consumer(broker.address(), &[]);
    let metadata = watcher.fetch_metadata(Some(&topic), LIMIT).expect("an answer");
    assert_eq!(metadata.topics()[0].partitions().len(), 5);
    let described = run(&["describe", &topic]).expect_success();
    for part in [&topic, "retention.ms=12345", "segment.bytes=2097152"] {
        assert!(described.contains(part), "{part} is not in\n{described}");
    }
    run(&["alter", &topic, "--delete-config", "segment.bytes"]).expect_success();
    assert!(!run(&["describe", &topic]).expect_success().contains("segment.bytes=2097152"));

    run(&["delete", &topic]).expect_success();
    let gone = run(&["delete", &topic]).expect_failure();
    assert!(gone.contains(&topic), "{gone}");
    run(&["delete", &topic, "--if-exists"]).expect_success();
}

#[test]
fn produce_writes_what_other_clients_read() {
    let broker = Broker::start();
    for codec in CODECS {
        let topic = unique("cli-produce");
        create_topic(broker.address(), &topic, 1, &[]);
        let shape = ["-K", ":", "-H", "from=odradek", "-z", codec];
        at(&broker, &[&["produce", &topic], &shape[..]].concat(), "a:1\nb:2:3\n").expect_success();
        let messages = consume(broker.address(), &topic, 0, Offset::Beginning, 2);
        assert_eq!(payloads(&messages), [&b"1"[..], b"2:3"], "{codec}");
        assert_eq!(messages[1].key(), Some(&b"b"[..]));
        assert_eq!(headers(&messages[0]), [("from".to_owned(), Some(b"odradek".to_vec()))]);
    }
}

#[test]
fn produce_takes_large_inputs_and_files() {
    let broker = Broker::start();
    let topic = unique("cli-bulk");
    create_topic(broker.address(), &topic, 3, &[]);
    let lines: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
    at(&broker, &["produce", &topic], &lines).expect_success();
    let home = crate::support::broker::home();
    let file = home.path().join("lines");
    fs::write(&file, &lines).expect("a writable home");
    let file = file.display().to_string();
    at(&broker, &["produce", &topic, "--file", &file, "--acks", "1"], "").expect_success();
    let watcher = consumer(broker.address(), &[]);
    let end = |p| watcher.fetch_watermarks(&topic, p, LIMIT).expect("an answer").1;
    // What `acks=1` acknowledges may be shown later, when it is durable.
    eventually("all is shown", LIMIT, || ((0..3).map(end).sum::<i64>() == 100_000).then_some(()));
    let read = at(&broker, &["consume", &topic, "--from-beginning", "--exit-at-end"], "");
    let mut read: Vec<String> = read.expect_success().lines().map(str::to_owned).collect();
    let mut sent: Vec<String> = lines.lines().chain(lines.lines()).map(str::to_owned).collect();
    read.sort_unstable();
    sent.sort_unstable();
    assert!(read == sent, "{} lines of {}", read.len(), sent.len());
}

#[test]
fn consume_reads_what_other_clients_write() {
    let broker = Broker::start();
    let topic = unique("cli-consume");
    create_topic(broker.address(), &topic, 1, &[]);
    for (round, codec) in CODECS.iter().enumerate() {
        let record = |n: usize| Record {
            key: Some(format!("k{n}").into_bytes()),
            timestamp_ms: Some(1_000_000 + i64::try_from(n).expect("few")),
            headers: vec![("h".to_owned(), Some(b"v".to_vec()))],
            ..Record::of(format!("{codec} {n}")).to(0)
        };
        let records: Vec<Record> = (round * 10..round * 10 + 10).map(record).collect();
        produce(broker.address(), &[("compression.type", codec)], &topic, &records);
    }
    let run = |arguments: &[&str]| {
        at(&broker, &[&["consume", &topic], arguments].concat(), "").expect_success()
    };
    let all = run(&["--from-beginning", "--exit-at-end"]);
    assert_eq!(all.lines().count(), 50);
    assert_eq!(all.lines().next(), Some("none 0"));
    let format = ["--format", "%p %o %k=%v\\n"];
    assert_eq!(
        run(&[&["--offset", "23", "-n", "1"], &format[..]].concat()),
        "0 23 k23=snappy 23\n"
    );
    assert_eq!(run(&["--offset", "-1", "-n", "1"]), "zstd 49\n");
    assert_eq!(run(&["--timestamp", "1000031", "-n", "2"]), "lz4 31\nlz4 32\n");
    let json = run(&["--offset", "10", "-n", "1", "--json", "--partition", "0"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json["offset"], &json["value"]), (&10.into(), &"gzip 10".into()));
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let broker = Broker::start();
    let topic = unique("cli-nowhere");
    let said = at(&broker, &["consume", &topic, "--from-beginning", "-e"], "").expect_failure();
    assert!(said.contains(&topic), "{said}");
    let said =
        odradek(&["topic", "list", "--bootstrap-server", "127.0.0.1:1"], "").expect_failure();
    assert!(said.contains("127.0.0.1:1"), "{said}");
    for wrong in [&["topic", "list", "--no-such-flag"][..], &["nonsense"], &[]] {
        let said = odradek(wrong, "").expect_failure();
        assert!(said.contains("Usage"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn logs_are_dumped_and_verified() {
    let broker = Broker::own(&[]);
    create_topic(broker.address(), "checked", 1, &[("segment.bytes", "1048576")]);
    for codec in CODECS {
        let records: Vec<Record> =
            (0..200).map(|n| Record::of(format!("{codec} {n} ").repeat(300)).to(0)).collect();
        let settings = [("compression.type", codec), ("enable.idempotence", "true")];
        produce(broker.address(), &settings, "checked", &records);
    }
    let home = broker.stop_for_home();
    let partition = data_of(&home).join("checked-0");
    let path = partition.display().to_string();
    odradek(&["log", "verify", &path], "").expect_success();
    let data = data_of(&home).display().to_string();
    odradek(&["log", "verify", &data], "").expect_success();
    let dump = odradek(&["log", "dump", &path, "--deep-iteration"], "").expect_success();
    assert!(dump.contains("zstd 199 "), "the last record is in the dump");

    let log = partition.join("00000000000000000000.log");
    let mut bytes = fs::read(&log).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&log, bytes).expect("a writable home");
    let said = odradek(&["log", "verify", &path], "").expect_failure();
    assert!(said.contains("00000000000000000000.log"), "{said}");
}

#[test]
fn the_reference_is_the_one_in_the_tree() {
    let page = odradek(&["config", "reference"], "").expect_success();
    assert_eq!(page, include_str!("../../../config/REFERENCE.md"));
    let file = odradek(&["config", "reference", "--toml"], "").expect_success();
    assert_eq!(file, include_str!("../../../config/odradek.toml"));
    assert!(odradek(&["completions", "bash"], "").expect_success().contains("odradek"));
}

#[test]
fn configs_are_altered_and_described() {
    let broker = Broker::own(&[]);
    let topic = unique("cli-config");
    create_topic(broker.address(), &topic, 1, &[]);
    let run = |arguments: &[&str]| at(&broker, &[&["config"], arguments].concat(), "");
    let of_topic = ["--topic", topic.as_str()];
    let alter = |how: &[&str]| run(&[&["alter"], &of_topic[..], how].concat());
    let describe = |how: &[&str]| {
        let said = run(&[&["describe"], &of_topic[..], how].concat()).expect_success();
        said.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let row = |lines: &[String], key: &str| {
        let row = lines.iter().find(|line| line.starts_with(key)).cloned();
        row.map(|row| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    alter(&["--set", "retention.ms=5000", "--set", "cleanup.policy=compact"]).expect_success();
    alter(&["--append", "cleanup.policy=delete", "--set", "retention.ms=6000", "--dry-run"])
        .expect_success();
    let found = row(&describe(&[]), "retention.ms").expect("it is set");
    assert_eq!(found, ["retention.ms", "5000", "DYNAMIC_TOPIC_CONFIG"]);
    assert!(row(&describe(&[]), "segment.ms").is_none());
    assert!(row(&describe(&["--all"]), "segment.ms").is_some());
    alter(&["--append", "cleanup.policy=delete"]).expect_success();
    let told = describe(&["cleanup.policy", "--synonyms", "--documentation"]).join("\n");
    for part in ["compact,delete", "DYNAMIC_TOPIC_CONFIG: ", "DEFAULT_CONFIG: log.cleanup.policy"] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    alter(&["--delete", "retention.ms", "--subtract", "cleanup.policy=compact"]).expect_success();
    assert!(row(&describe(&[]), "retention.ms").is_none());
    let refused = alter(&["--set", "nonsense=1"]).expect_failure();
    assert!(refused.contains("INVALID_CONFIG") && refused.contains("nonsense"), "{refused}");
    assert!(
        run(&["describe", "--topic", &topic, "nonsense"]).expect_failure().contains("not a key")
    );

    run(&["alter", "--broker-default", "--set", "log.retention.ms=90000"]).expect_success();
    let said = run(&["describe", "--broker", "1"]).expect_success();
    assert!(said.contains("90000") && said.contains("DYNAMIC_DEFAULT_BROKER_CONFIG"), "{said}");
    run(&["alter", "--broker-default", "--delete", "log.retention.ms"]).expect_success();
    assert!(!run(&["describe", "--broker-default"]).expect_success().contains("90000"));
}

#[test]
fn a_group_is_listed_moved_and_deleted() {
    let broker = Broker::own(&["group.initial.rebalance.delay.ms=0"]);
    let (topic, group) = (unique("cli-group"), unique("group"));
    create_topic(broker.address(), &topic, 2, &[]);
    let records: Vec<Record> = (0..10).map(|n: i32| Record::of(n.to_string()).to(n % 2)).collect();
    produce(broker.address(), &[], &topic, &records);
    let run = |arguments: &[&str]| at(&broker, &[&["group"], arguments].concat(), "");
    let reset = |how: &[&str]| {
        let what = ["reset", &group, "--topic", &topic, "--execute"];
        run(&[&what[..], how].concat())
    };
    reset(&["--to-latest"]).expect_success();
    let offsets = || {
        let described = run(&["describe", &group]).expect_success();
        let rows = described.lines().skip(2).map(|line| {
            let cells = line.split_whitespace().skip(1).take(4);
            cells.map(str::to_owned).collect::<Vec<_>>().join(" ")
        });
        rows.collect::<Vec<_>>()
    };
    assert_eq!(offsets(), ["0 5 5 0", "1 5 5 0"]);
    reset(&["--shift-by", "-2"]).expect_success();
    assert_eq!(offsets(), ["0 3 5 2", "1 3 5 2"]);
    let only = ["reset", &group, "--topic", &format!("{topic}:1"), "--to-earliest"];
    let shown = run(&only).expect_success();
    assert!(shown.contains(&topic) && offsets() == ["0 3 5 2", "1 3 5 2"], "{shown}");
    run(&[&only[..], &["--execute"]].concat()).expect_success();
    assert_eq!(offsets(), ["0 3 5 2", "1 0 5 5"]);
    let listed = run(&["list"]).expect_success();
    assert!(listed.lines().any(|line| line.starts_with(&group) && line.contains("Empty")));

    let member = consumer(broker.address(), &[("group.id", &group)]);
    member.subscribe(&[&topic]).expect("a topic's name");
    let first = crate::support::client::take(&member, 1);
    assert!([0, 3].contains(&first[0].offset()));
    let members = run(&["members", &group]).expect_success();
    assert!(members.contains("is Stable") && members.contains("/127.0.0.1"), "{members}");
    assert!(run(&["delete", &group]).expect_failure().contains("NON_EMPTY_GROUP"));
    assert!(reset(&["--to-latest"]).expect_failure().contains("only a group without members"));
    drop(member);
    eventually("it has left", LIMIT, || run(&["delete", &group]).status.success().then_some(()));
    assert!(!run(&["list"]).expect_success().contains(&group));
}

#[test]
fn a_consumer_group_shows_its_members() {
    let broker = Broker::own(&[]);
    let (topic, group) = (unique("cli-group"), unique("group"));
    create_topic(broker.address(), &topic, 2, &[]);
    produce(broker.address(), &[], &topic, &[Record::of("one").to(0)]);
    let run = |arguments: &[&str]| at(&broker, &[&["group"], arguments].concat(), "");
    let settings =
        [("group.id", &*group), ("group.protocol", "consumer"), ("auto.offset.reset", "earliest")];
    let member = consumer(broker.address(), &settings);
    member.subscribe(&[&topic]).expect("a topic's name");
    crate::support::client::take(&member, 1);
    let listed = run(&["list"]).expect_success();
    let row = listed.lines().find(|line| line.starts_with(&group)).expect("the group");
    assert!(row.contains("consumer") && row.contains("Stable"), "{row}");
    let members = run(&["members", &group]).expect_success();
    assert!(
        members.contains("is Stable") && members.contains(&format!("{topic}:0,1")),
        "{members}"
    );
    assert!(run(&["delete", &group]).expect_failure().contains("NON_EMPTY_GROUP"));
    drop(member);
    eventually("it has left", LIMIT, || run(&["delete", &group]).status.success().then_some(()));
}
