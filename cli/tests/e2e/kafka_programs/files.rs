//! `kafka-dump-log` reads our files: records, indexes, producer state, metadata.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Programs;
use crate::support::broker::{self, Broker, data_of};
use crate::support::client::{Record, create_topic, produce};
use crate::support::java::Java;
use crate::support::process;

const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";

/// The partition's files that end in `suffix`, oldest first.
fn files(partition: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(partition).expect("a partition");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == suffix));
    found.sort();
    found
}

fn dump(java: &Java, options: &[&str], files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    java.run(DUMP, &[options, &["--files", &names.join(",")]].concat())
}

#[test]
fn our_files_are_kafkas() {
    let Some(java) = Java::get() else { return };
    let broker = Broker::own(&[]);
    // Small segments and a dense index, so that there are several of everything.
    let configs = [("segment.bytes", "1048576"), ("index.interval.bytes", "4096")];
    create_topic(broker.address(), "dumped", 1, &configs);
    for codec in ["none", "gzip", "snappy", "zstd"] {
        // Every codec must gain by it, or librdkafka sends it as it is.
        let value = |n: usize| (0..2000).map(|i| (i % 16 + n) as u8).collect::<Vec<u8>>();
        let records: Vec<Record> = (0..700).map(|n| Record::of(value(n)).to(0)).collect();
        let settings =
            [("compression.type", codec), ("enable.idempotence", "true"), ("batch.size", "20000")];
        produce(broker.address(), &settings, "dumped", &records);
    }
    // librdkafka takes a broker that has no FindCoordinator for one from before lz4.
    let mut command = Command::new(broker::binary());
    command.args(["produce", "dumped", "--bootstrap-server", broker.address()]);
    command.args(["--partition", "0", "--compression", "lz4", "--batch-size", "20000"]);
    let lines = "compressible ".repeat(100) + "\n";
    process::run(command, lines.repeat(700).as_bytes(), LIMIT).expect_success();
    let home = broker.stop_for_home();
    let partition = data_of(&home).join("dumped-0");

    let logs = files(&partition, "log");
    assert!(logs.len() > 1, "{logs:?}");
    let records = dump(java, &["--deep-iteration"], &logs);
    assert!(!records.contains("isvalid: false"), "{records}");
    let offsets = records.lines().filter_map(|l| l.strip_prefix("| offset: "));
    let offsets: Vec<&str> = offsets.map(|l| l.split(' ').next().expect("an offset")).collect();
    let expected: Vec<String> = (0..3500).map(|offset| offset.to_string()).collect();
    assert_eq!(offsets, expected);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        assert!(records.contains(&format!("compresscodec: {codec}")), "{codec}");
    }

    for (suffix, option) in [("index", "--index-sanity-check"), ("timeindex", "--deep-iteration")] {
        let indexes = files(&partition, suffix);
        assert_eq!(indexes.len(), logs.len());
        let report = dump(java, &[option], &indexes);
        for fault in ["ismatch", "out of order", "Exception"] {
            assert!(!report.contains(fault), "{report}");
        }
    }
    let producers = dump(java, &[], &files(&partition, "snapshot"));
    assert!(producers.contains("producerId: "), "{producers}");
}

#[test]
fn our_metadata_is_kafkas() {
    let Some(programs) = Programs::own() else { return };
    create_topic(programs.address(), "described", 3, &[("retention.ms", "12345")]);
    let java = programs.java;
    let home = programs.broker.stop_for_home();
    let log = files(&data_of(&home).join("__cluster_metadata-0"), "log");
    let records = dump(java, &["--cluster-metadata-decoder"], &log);
    for record in [
        "LeaderChange",
        "\"FEATURE_LEVEL_RECORD\"",
        "\"REGISTER_BROKER_RECORD\"",
        "\"type\":\"TOPIC_RECORD\",\"version\":0,\"data\":{\"name\":\"described\"",
        "\"PARTITION_RECORD\"",
        "\"resourceName\":\"described\",\"name\":\"retention.ms\",\"value\":\"12345\"",
    ] {
        assert!(records.contains(record), "{record} is not in\n{records}");
    }
    for fault in ["isvalid: false", "Could not deserialize", "Error"] {
        assert!(!records.contains(fault), "{fault} in\n{records}");
    }
}

/// What our dump tool says, under Kafka's name.
fn our_dump(options: &[&str], file: &Path) -> String {
    let mut command = Command::new(broker::binary());
    command.arg("kafka-dump-log").args(options).arg("--files").arg(file);
    process::run(command, b"", LIMIT).expect_success()
}

/// Ours and Kafka's tool say the same of our files, byte for byte.
#[test]
fn our_tool_says_what_kafkas_does() {
    let Some(programs) = Programs::own() else { return };
    let address = programs.address();
    create_topic(address, "told", 2, &[("retention.ms", "12345")]);
    create_topic(address, "gone", 1, &[]);
    produce(address, &[], "told", &[Record::of("x").to(0), Record::of("y").to(1)]);
    for (group, protocol) in [("old", "classic"), ("new", "consumer")] {
        let protocol = format!("group.protocol={protocol}");
        let what = ["--topic", "told", "--group", group, "--from-beginning", "--max-messages", "2"];
        let how = ["--timeout-ms", "60000", "--command-property", &protocol];
        programs.run(CONSOLE_CONSUMER, &[&what[..], &how].concat());
    }
    let deleted = ["group", "delete", "old", "--bootstrap-server", address];
    let mut command = Command::new(broker::binary());
    command.args(deleted);
    process::run(command, b"", LIMIT).expect_success();
    let java = programs.java;
    let home = programs.broker.stop_for_home();
    let data = data_of(&home);
    let mut compared = 0;
    let mut compare = |options: &[&str], file: &Path| {
        let file = [file.to_owned()];
        let theirs = dump(java, options, &file);
        assert_eq!(our_dump(options, &file[0]), theirs, "{options:?} {}", file[0].display());
        compared += theirs.lines().count();
    };
    for entry in std::fs::read_dir(&data).expect("a data directory") {
        let partition = entry.expect("an entry").path();
        let name = partition.file_name().expect("a name").to_string_lossy().into_owned();
        let options: &[&str] = match name.rsplit_once('-') {
            Some(("__consumer_offsets", _)) => &["--offsets-decoder"],
            Some(("__cluster_metadata", _)) => &["--cluster-metadata-decoder"],
            Some(("told", _)) => &["--print-data-log"],
            _ => continue,
        };
        let logs = files(&partition, "log").into_iter().chain(files(&partition, "checkpoint"));
        for log in logs.filter(|log| std::fs::metadata(log).is_ok_and(|log| log.len() > 0)) {
            compare(options, &log);
            if name == "told-0" {
                compare(&["--print-data-log", "--skip-record-metadata"], &log);
            }
        }
    }
    compare(&["--cluster-metadata-decoder"], &data.join("bootstrap.checkpoint"));
    assert!(compared > 100, "{compared} lines");
}

const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const LIMIT: Duration = Duration::from_secs(60);
