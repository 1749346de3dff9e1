//! Kafka's console clients, its load generator and its offset and deletion tools.

use std::fs;

use super::Programs;
use crate::support::client::create_topic;
use crate::support::unique;

const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";

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
