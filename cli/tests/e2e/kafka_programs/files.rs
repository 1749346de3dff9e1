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

const LIMIT: Duration = Duration::from_secs(60);
