//! Kafka's console clients, its load generator and its offset and deletion tools.

use std::fs;
use std::process::Command;

use super::Programs;
use crate::support::broker::binary;
use crate::support::client::{LIMIT, Record, create_topic, produce};
use crate::support::{process, unique};

const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

/// Where `__consumer_offsets` has what is known of group `readers`.
const READERS_PARTITION: &str = "28";

/// Lines from one partition, from offset `from` on.
fn read(programs: &Programs, topic: &str, partition: &str, from: &str, count: usize) -> String {
    let count = count.to_string();
    let what = ["--topic", topic, "--partition", partition, "--offset", from];
    let limits = ["--max-messages", &count, "--timeout-ms", "20000"];
    let shape = [
        "--formatter-property",
        "print.offset=true",
        "--formatter-property",
        "print.key=true",
        "--formatter-property",
        "print.headers=true",
    ];
    programs.run(CONSOLE_CONSUMER, &[&what[..], &limits, &shape].concat())
}

#[test]
fn the_console_clients_meet() {
    let Some(programs) = Programs::start() else { return };
    let topic = unique("java-console");
    create_topic(programs.address(), &topic, 1, &[]);
    let arguments = [
        "--topic",
        &topic,
        "--compression-codec",
        "zstd",
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "key.separator=:",
        "--reader-property",
        "parse.headers=true",
        "--reader-property",
        "headers.delimiter=|",
    ];
    let input = b"h:1|a:first\nh:2|b:second\nh:3|c:third\n";
    programs.feed("org.apache.kafka.tools.ConsoleProducer", &arguments, input);
    let lines = read(&programs, &topic, "0", "1", 2);
    assert_eq!(lines, "Offset:1\th:2\tb\tsecond\nOffset:2\th:3\tc\tthird\n");
}

/// Ours and Kafka's console consumer print the same, whatever is asked of the formatter.
#[test]
fn messages_are_printed_alike() {
    let Some(programs) = Programs::own() else { return };
    let address = programs.address();
    create_topic(address, "printed", 3, &[]);
    let headers = vec![("h".to_owned(), Some(b"v".to_vec())), ("i".to_owned(), None)];
    let whole = Record { key: Some(b"k".to_vec()), headers, ..Record::of("\u{ff}? \u{e9}").to(0) };
    let bare = Record { value: None, ..Record::of("").to(0) };
    let narrow = Record { key: Some(b"wxyz".to_vec()), ..Record::of("abcd").to(1) };
    let id = Record::of("0-1-2-3-AbCdEf").to(2);
    produce(address, &[], "printed", &[whole, bare, narrow, id]);
    let group = ["--topic", "printed", "--group", "readers", "--from-beginning"];
    let group = [&group[..], &["--max-messages", "4", "--timeout-ms", "60000"]].concat();
    programs.run(CONSOLE_CONSUMER, &group);

    let alike = |topic: &str, partition: &str, count: &str, how: &[&str]| {
        let what = ["--topic", topic, "--partition", partition, "--offset", "earliest"];
        let limit = ["--max-messages", count, "--timeout-ms", "60000"];
        let how: Vec<&str> = how.iter().flat_map(|it| it.split(' ')).collect();
        let arguments = [&what[..], &limit, &how].concat();
        let theirs = programs.run(CONSOLE_CONSUMER, &arguments);
        let mut command = Command::new(binary());
        command.args(["kafka-console-consumer", "--bootstrap-server", address]).args(&arguments);
        let ours = process::run(command, b"", LIMIT).expect_success();
        assert_eq!(ours, theirs, "{arguments:?}");
        assert!(!ours.is_empty(), "{arguments:?}");
    };
    let property = |text: &str| format!("--formatter-property {text}");
    let parts = ["timestamp", "partition", "offset", "delivery", "headers", "key"];
    let mut all: Vec<String> =
        parts.iter().map(|part| property(&format!("print.{part}=true"))).collect();
    let strange =
        ["key.separator=|", "line.separator=;", "headers.separator=~", "null.literal=NIL"];
    let strange = strange.map(property);
    alike("printed", "0", "2", &all.iter().map(String::as_str).collect::<Vec<_>>());
    all.extend(strange);
    alike("printed", "0", "2", &all.iter().map(String::as_str).collect::<Vec<_>>());
    alike("printed", "0", "2", &[&property("print.value=false"), &property("print.key=true")]);
    let class = |name: &str| format!("org.apache.kafka.common.serialization.{name}Deserializer");
    for kind in ["String", "Integer", "Float", "Bytes"] {
        let (key, value) = (class(kind), class(kind));
        let how = format!("--key-deserializer {key} --value-deserializer {value}");
        alike("printed", "1", "1", &[&how, &property("print.key=true")]);
    }
    alike("printed", "2", "1", &[&format!("--value-deserializer {}", class("UUID"))]);
    let string = property(&format!("headers.deserializer={}", class("String")));
    alike("printed", "1", "1", &[&property("print.headers=true"), &string]);

    // Group "readers" is in this partition.
    for formatter in ["OffsetsMessageFormatter", "GroupMetadataMessageFormatter"] {
        let formatter = format!("--formatter org.apache.kafka.tools.consumer.{formatter}");
        alike("__consumer_offsets", READERS_PARTITION, "3", &[&formatter]);
    }
}

#[test]
fn the_load_generator_writes_what_it_counts() {
    let Some(programs) = Programs::start() else { return };
    let topic = unique("java-load");
    create_topic(programs.address(), &topic, 3, &[]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let compression = format!("compression.type={codec}");
        let report = programs.run(
            "org.apache.kafka.tools.ProducerPerformance",
            &[
                "--topic",
                &topic,
                "--num-records",
                "2000",
                "--record-size",
                "200",
                "--throughput",
                "-1",
                "--command-property",
                &compression,
            ],
        );
        assert!(report.contains("2000 records sent"), "{codec}: {report}");
    }
    let ends = programs.run(OFFSETS, &["--topic", &topic]);
    let count: i64 = ends
        .lines()
        .map(|line| line.rsplit(':').next().expect("topic:partition:offset"))
        .map(|offset| offset.parse::<i64>().expect("an offset"))
        .sum();
    assert_eq!(count, 10_000, "{ends}");
    assert_eq!(read(&programs, &topic, "1", "earliest", 100).lines().count(), 100);
}

#[test]
fn offsets_are_listed_and_records_deleted() {
    let Some(programs) = Programs::start() else { return };
    let topic = unique("java-offsets");
    create_topic(programs.address(), &topic, 2, &[]);
    let lines: String = (0..30).map(|n| format!("{n}\n")).collect();
    let to = ["--topic", &topic];
    programs.feed("org.apache.kafka.tools.ConsoleProducer", &to, lines.as_bytes());
    let offsets = |time: &str| {
        programs
            .run(OFFSETS, &["--topic", &topic, "--time", time])
            .replace(&format!("{topic}:"), "")
    };
    let ends = offsets("latest");
    let of = |list: &str, partition: &str| -> i64 {
        let line = list.lines().find_map(|l| l.strip_prefix(partition)).expect("the partition");
        line.parse().expect("an offset")
    };
    assert_eq!(of(&ends, "0:") + of(&ends, "1:"), 30);
    assert_eq!(offsets("earliest"), "0:0\n1:0\n");

    let (partition, end) = if of(&ends, "0:") > 0 { (0, of(&ends, "0:")) } else { (1, 30) };
    let file = programs.home().join("delete.json");
    let delete = |offset: i64| {
        let part = format!(r#"{{"topic":"{topic}","partition":{partition},"offset":{offset}}}"#);
        fs::write(&file, format!(r#"{{"version":1,"partitions":[{part}]}}"#)).expect("a home");
        let file = file.display().to_string();
        programs.run("org.apache.kafka.tools.DeleteRecordsCommand", &["--offset-json-file", &file])
    };
    let deleted = delete(end - 1);
    let expected = format!("partition: {topic}-{partition}\tlow_watermark: {}", end - 1);
    assert!(deleted.contains(&expected), "{deleted}");
    assert_eq!(of(&offsets("earliest"), &format!("{partition}:")), end - 1);
    // -1 is the high watermark.
    assert!(delete(-1).contains(&format!("low_watermark: {end}")));
}
