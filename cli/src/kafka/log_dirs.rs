//! `kafka-log-dirs`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use serde_json::{Value, json};
use wire::error_code::ErrorCode;
use wire::msg::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use super::{Failed, Server, exception, parse, short};
use crate::client::cluster::Cluster;
use crate::client::conn::{Refusal, check};

/// Query log directory usage on the specified brokers.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true, infer_long_args = true)]
struct Options {
    #[command(flatten)]
    server: Server,
    /// Describe the log directories.
    #[arg(long)]
    describe: bool,
    /// Only these topics, with commas between them.
    #[arg(long, default_value = "")]
    topic_list: String,
    /// Only these brokers, with commas between them.
    #[arg(long, default_value = "")]
    broker_list: String,
}

pub(super) fn run(args: &[OsString]) -> Result<ExitCode, Failed> {
    let options: Options = parse("kafka-log-dirs", args)?;
    options.server.check()?;
    if !options.describe {
        return Err("Missing required argument \"[describe]\"".into());
    }
    let mut cluster = options.server.connect()?;
    let there = cluster.brokers().map_err(short)?;
    let wanted = brokers(&options.broker_list, &there)?;
    let list = wanted.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let topics: BTreeSet<&str> = parts(&options.topic_list).collect();
    println!("Querying brokers for log directories information");
    let dirs = wanted.iter().map(|&id| {
        dirs_of(&mut cluster, id, &topics).map(|dirs| json!({"broker": id, "logDirs": dirs}))
    });
    let dirs = dirs.collect::<Result<Vec<_>>>().map_err(short)?;
    println!("Received log directory information from brokers {list}");
    println!("{}", json!({"brokers": dirs, "version": 1}));
    Ok(ExitCode::SUCCESS)
}

fn brokers(list: &str, there: &[i32]) -> Result<Vec<i32>, Failed> {
    let wanted = parts(list).map(|id| id.parse().map_err(|_| format!("{id} is no broker id")));
    let wanted = wanted.collect::<Result<Vec<i32>, _>>()?;
    let unknown = wanted.iter().filter(|id| !there.contains(id));
    let unknown: Vec<_> = unknown.map(i32::to_string).collect();
    if !unknown.is_empty() {
        let there = there.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        return Err(format!(
            "ERROR: The given brokers do not exist from --broker-list: {}. Current existent \
             brokers: {there}",
            unknown.join(",")
        )
        .into());
    }
    Ok(if wanted.is_empty() { there.to_vec() } else { wanted })
}

fn dirs_of(cluster: &mut Cluster, broker: i32, topics: &BTreeSet<&str>) -> Result<Vec<Value>> {
    let request = DescribeLogDirsRequest { topics: None };
    let answer: DescribeLogDirsResponse<'_> = cluster.broker(broker)?.call(&request)?;
    check(answer.error_code, &format!("log directories of broker {broker}"))?;
    let dirs = answer.results.iter().map(|dir| {
        let chosen = dir.topics.iter();
        let chosen = chosen.filter(|topic| topics.is_empty() || topics.contains(topic.name));
        let partitions = chosen.flat_map(|topic| {
            let partitions = topic.partitions.to_vec().into_iter();
            partitions.map(move |it| {
                json!({
                    "partition": format!("{}-{}", topic.name, it.partition_index),
                    "size": it.partition_size,
                    "offsetLag": it.offset_lag,
                    "isFuture": it.is_future_key,
                })
            })
        });
        let failed = !ErrorCode(dir.error_code).is_ok();
        let error = failed.then(|| exception(&Refusal::new(dir.error_code, None).into()));
        let partitions: Vec<_> = partitions.collect();
        json!({"partitions": partitions, "error": error, "logDir": dir.log_dir})
    });
    Ok(dirs.collect())
}

fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_that_are_not_there_are_told() {
        assert_eq!(brokers("", &[1, 2]).expect("all"), [1, 2]);
        assert_eq!(brokers("2", &[1, 2]).expect("one"), [2]);
        let refused = brokers("1,9", &[1]).expect_err("no 9").0;
        assert!(refused.ends_with("--broker-list: 9. Current existent brokers: 1"), "{refused}");
    }
}
