//! `kcat`, the tool people reach for first.

use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::consumer::Consumer;

use crate::support::broker::Broker;
use crate::support::client::{self, create_topic};
use crate::support::process::{self, Finished};
use crate::support::{eventually, skip, unique};

fn kcat(broker: &Broker, arguments: &[&str], input: &str) -> Finished {
    let mut command = Command::new("kcat");
    command.args(["-b", broker.address()]).args(arguments);
    process::run(command, input.as_bytes(), Duration::from_secs(60))
}

fn missing() -> bool {
    let missing = !process::available("kcat", "-V");
    if missing {
        skip("kcat is not installed");
    }
    missing
}

#[test]
fn lines_go_in_and_out_with_keys_and_headers() {
    if missing() {
        return;
    }
    let broker = Broker::start();
    let topic = unique("kcat");
    create_topic(broker.address(), &topic, 1, &[]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let produce = ["-P", "-t", &topic, "-p", "0", "-K", ":", "-H", "from=kcat", "-z", codec];
        kcat(&broker, &produce, &format!("a:1 {codec}\nb:2 {codec}\n")).expect_success();
    }
    let consume = ["-C", "-t", &topic, "-p", "0", "-o", "2", "-c", "3", "-f", "%o %h %k=%s\n"];
    let lines = kcat(&broker, &consume, "").expect_success();
    assert_eq!(lines, "2 from=kcat a=1 gzip\n3 from=kcat b=2 gzip\n4 from=kcat a=1 snappy\n");
    let tail = ["-C", "-t", &topic, "-p", "0", "-o", "-1", "-e", "-q", "-f", "%o\n"];
    assert_eq!(kcat(&broker, &tail, "").expect_success(), "9\n");
}

#[test]
fn metadata_and_offsets_are_listed() {
    if missing() {
        return;
    }
    let broker = Broker::start();
    let topic = unique("kcat");
    create_topic(broker.address(), &topic, 3, &[]);
    let list = kcat(&broker, &["-L", "-t", &topic], "").expect_success();
    assert!(list.contains("1 brokers:"), "{list}");
    assert!(list.contains(&format!("topic \"{topic}\" with 3 partitions:")), "{list}");
    kcat(&broker, &["-P", "-t", &topic, "-p", "2"], "x\ny\n").expect_success();
    let query = format!("{topic}:2:-1");
    let end = kcat(&broker, &["-Q", "-t", &query], "").expect_success();
    assert_eq!(end.trim(), format!("{topic} [2] offset 2"));
}

#[test]
fn a_member_that_is_killed_is_replaced() {
    if missing() {
        return;
    }
    let broker = Broker::start();
    let (topic, group) = (unique("kcat"), unique("group"));
    create_topic(broker.address(), &topic, 2, &[]);
    for partition in ["0", "1"] {
        kcat(&broker, &["-P", "-t", &topic, "-p", partition], "x\n").expect_success();
    }
    let address = broker.address();
    let member = |more: &[&str]| {
        let mut command = Command::new("kcat");
        command.args(["-b", address, "-G", &group, "-X", "auto.offset.reset=earliest"]);
        command.args(["-X", "session.timeout.ms=6000", "-X", "enable.auto.commit=false"]);
        command.args(["-f", "%p\n"]).args(more).arg(&topic);
        command
    };
    // Unlike one that ends by itself, it never says goodbye.
    let mut first = member(&[]);
    first.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut first = first.spawn().expect("kcat");
    eventually("it is a member", Duration::from_secs(60), || {
        let asker = client::consumer(address, &[]);
        let groups = asker.fetch_group_list(Some(&group), Duration::from_secs(5)).ok()?;
        let found = groups.groups().first()?;
        (found.state() == "Stable" && found.members().len() == 1).then_some(())
    });
    first.kill().expect("a child of ours");
    first.wait().expect("a child of ours");
    let second = process::run(member(&["-c", "2"]), b"", Duration::from_secs(120)).expect_success();
    let mut partitions: Vec<_> = second.lines().collect();
    partitions.sort_unstable();
    assert_eq!(partitions, ["0", "1"]);
}
