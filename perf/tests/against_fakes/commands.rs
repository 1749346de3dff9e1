//! The commands, as they are typed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::fake::{FakeBroker, Lie};
use clap::Parser;
use perf::Comparison;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: perf::Command,
}

const WORKLOAD: &str = r#"
about = "a little of everything"
warmup = "0s"
duration = "300ms"
drain = "3s"
[topic]
partitions = 2
prefill = "100KB"
prefill-batch = "4KiB"
[[produce]]
depth = 2
batch = "4KiB"
[[consume]]
from = "end"
end-to-end = true
max-wait = "20ms"
"#;

fn execute(words: &[&str]) -> Result<(), String> {
    let cli = Cli::try_parse_from([&["perf"][..], words].concat()).map_err(|e| e.to_string())?;
    perf::execute(cli.command).map_err(|e| format!("{e:#}"))
}

fn workload(folder: &Path) -> String {
    let path = folder.join("little.toml");
    fs::write(&path, WORKLOAD).expect("a writable folder");
    path.display().to_string()
}

#[test]
fn two_brokers_are_compared_in_turn() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let quick = FakeBroker::start(Lie::None, |_| Duration::ZERO);
    let slow = FakeBroker::start(Lie::None, |_| Duration::from_millis(20));
    let (html, json, data) = (at("report.html"), at("report.json"), at("data"));
    let brokers = [format!("quick={}", quick.address), format!("slow={}", slow.address)];
    let compared = execute(&[
        "compare",
        &workload(folder.path()),
        "--rounds",
        "2",
        "--quiet",
        "--bootstrap",
        &brokers[0],
        "--bootstrap",
        &brokers[1],
        "--html",
        &html,
        "--json",
        &json,
        "--data",
        &data,
    ]);
    compared.expect("two honest brokers");
    let comparison: Comparison =
        serde_json::from_slice(&fs::read(json).expect("written")).expect("JSON of the result");
    assert_eq!(comparison.brokers, ["quick", "slow"]);
    let rounds = &comparison.workloads[0].rounds;
    assert_eq!(rounds.len(), 2);
    for round in rounds {
        let brokers: Vec<_> = round.iter().map(|run| run.broker.as_str()).collect();
        assert_eq!(brokers, ["quick", "slow"]);
        assert!(round.iter().all(|run| run.loads[0].requests > 0 && run.prefill_s > 0.0));
        assert!(round[1].loads[0].latency.min >= 20_000_000);
    }
    let page = fs::read_to_string(html).expect("written");
    assert!(page.contains("quick against slow") && page.contains("<polyline"), "{page}");
}

#[test]
fn a_lying_broker_fails_the_command_and_its_histograms_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let broker = FakeBroker::start(Lie::Repeat, |_| Duration::ZERO);
    let (file, log) = (workload(folder.path()), at("log.hlog"));
    let ran = execute(&["run", &file, "--quiet", "--bootstrap", &broker.address, "--hlog", &log]);
    assert!(ran.expect_err("records came twice").contains("fault"));
    assert!(fs::read_to_string(&log).expect("written").contains("Tag=produce,"));
    execute(&["merge", &log, &log]).expect("a sound log");
}

#[test]
fn a_workload_that_is_not_there_is_named() {
    let error = execute(&["run", "no-such-thing"]).expect_err("it is not there");
    assert!(error.contains("no-such-thing") && error.contains("perf list"), "{error}");
    assert!(execute(&["run", "produce-1m", "--bootstrap", "127.0.0.1:1"]).is_err());
    execute(&["list"]).expect("a list");
    execute(&["show", "soak"]).expect("a file");
}
