//! `odradek perf` with members of groups, against a broker that lets them rest: what the harness
//! counts has happened, and nobody had a partition beside somebody else.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::broker::{Broker, binary};
use crate::support::process;

/// Runs a workload of two groups whose first members come and go; requests that were counted.
fn run(broker: &Broker, protocol: &str, measure: &str) -> u64 {
    let workload = format!(
        "about = \"members that come and go\"\nwarmup = \"1s\"\nduration = \"4s\"\n\
         [topic]\npartitions = 7\n\
         [[group]]\ngroups = 2\nmembers = 5\nprotocol = \"{protocol}\"\nmeasure = \"{measure}\"\n\
         heartbeat = \"50ms\"\ncommit = \"20ms\"\nstay = \"500ms\"\n"
    );
    let dir = broker.data().parent().expect("a home").to_owned();
    let (file, json) = (dir.join("load.toml"), dir.join("load.json"));
    fs::write(&file, workload).expect("a writable home");
    let mut command = Command::new(binary());
    command.args(["perf", "run", "-q", "--bootstrap", broker.address(), "--json"]).arg(&json);
    command.arg(&file);
    // It fails where an answer was an error, or a partition had two owners.
    process::run(command, b"", Duration::from_secs(60)).expect_success();
    let text = fs::read_to_string(&json).expect("a report");
    let (_, after) = text.split_once("\"requests\":").expect("the load's requests");
    let digits: String = after.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

#[test]
fn members_come_and_go_and_each_partition_has_one_owner() {
    let broker = Broker::own(&["group.initial.rebalance.delay.ms=0"]);
    for protocol in ["consumer", "classic"] {
        for measure in ["heartbeat", "commit", "join"] {
            let requests = run(&broker, protocol, measure);
            assert!(requests > 2, "{protocol}, {measure}: {requests}");
        }
    }
}
