//! `kafka-delete-records`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;

use super::{Failed, Server, exception, parse, short};
use crate::client::partitions::TopicPartition;
use crate::client::topics::delete_records;

/// Delete records of the given partitions down to the specified offset.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true, infer_long_args = true)]
struct Options {
    #[command(flatten)]
    server: Server,
    /// {"partitions": [{"topic": "foo", "partition": 1, "offset": 1}], "version": 1}
    #[arg(long, value_name = "FILE")]
    offset_json_file: Option<PathBuf>,
}

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, Failed> {
    let options: Options = parse("kafka-delete-records", args)?;
    options.server.check()?;
    let Some(path) = &options.offset_json_file else {
        return Err("Missing required argument \"[offset-json-file]\"".into());
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("can't read {}: {error}", path.display()))?;
    let before = offsets(&text)?;
    let mut cluster = options.server.connect()?;
    println!("Executing records delete operation");
    let outcomes = delete_records(&mut cluster, &before).map_err(short)?;
    println!("Records delete operation completed:");
    for (at, outcome) in outcomes {
        match outcome {
            Ok(start) => println!("partition: {at}\tlow_watermark: {start}"),
            Err(refusal) => println!("partition: {at}\terror: {}", exception(&refusal.into())),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn offsets(text: &str) -> Result<BTreeMap<TopicPartition, i64>, Failed> {
    let json: Value =
        serde_json::from_str(text).map_err(|_| "The input string is not a valid JSON")?;
    match json.get("version").map_or(Some(1), Value::as_i64) {
        Some(1) => {}
        _ => return Err("Not supported version field value".into()),
    }
    let Some(partitions) = json.get("partitions").and_then(Value::as_array) else {
        return Err("Missing partitions field".into());
    };
    let (mut offsets, mut twice) = (BTreeMap::new(), Vec::new());
    for it in partitions {
        let entry = || {
            let topic = it.get("topic")?.as_str()?;
            let partition = it.get("partition")?.as_i64()?.try_into().ok()?;
            Some((TopicPartition::new(topic, partition), it.get("offset")?.as_i64()?))
        };
        let (at, offset) =
            entry().ok_or_else(|| format!("{it} does not name topic, partition and offset"))?;
        if offsets.insert(at.clone(), offset).is_some() {
            twice.push(at.to_string());
        }
    }
    match twice.is_empty() {
        true => Ok(offsets),
        false => {
            let twice = twice.join(",");
            Err(format!("Offset json file contains duplicate topic partitions: {twice}").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kafkas() {
        let entry = r#"{"topic": "t", "partition": 1, "offset": 5}"#;
        let of = |entries: &str| offsets(&format!(r#"{{"partitions":[{entries}],"version":1}}"#));
        let read = of(entry).expect("one");
        assert_eq!(read, [(TopicPartition::new("t", 1), 5)].into());
        let refused = |entries: &str| of(entries).expect_err("wrong").0;
        let twice = refused(&format!("{entry},{entry}"));
        assert_eq!(twice, "Offset json file contains duplicate topic partitions: t-1");
        assert!(refused(r#"{"topic": "t"}"#).contains("partition"));
        assert_eq!(offsets("x").expect_err("no JSON").0, "The input string is not a valid JSON");
    }
}
