//! Groups of clients that are written in other languages: confluent-kafka of Python and kafkajs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::broker::{Broker, binary};
use crate::support::client::{Record, create_topic, produce};
use crate::support::{process, skip, unique};

const CONFLUENT_KAFKA: &str = "confluent-kafka==2.16.1";
const KAFKAJS: &str = "kafkajs@2.2.4";

const LIMIT: Duration = Duration::from_secs(120);
const FETCH_LIMIT: Duration = Duration::from_secs(600);

/// A language's program and where its client library is.
struct Client {
    program: PathBuf,
    home: PathBuf,
    script: &'static str,
}

impl Client {
    fn python() -> Option<Self> {
        if !process::available("python3", "--version") {
            skip("python3 is needed for confluent-kafka");
            return None;
        }
        let home = fetched("confluent-kafka", |home| {
            let mut venv = Command::new("python3");
            venv.args(["-m", "venv"]).arg(home);
            let mut pip = Command::new(home.join("bin/pip"));
            pip.args(["install", "--quiet", "--disable-pip-version-check", CONFLUENT_KAFKA]);
            vec![venv, pip]
        });
        let script = include_str!("group.py");
        Some(Self { program: home.join("bin/python"), home, script })
    }

    fn node() -> Option<Self> {
        if !process::available("npm", "--version") {
            skip("npm is needed for kafkajs");
            return None;
        }
        let home = fetched("kafkajs", |home| {
            let mut npm = Command::new("npm");
            npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]);
            npm.arg(home).arg(KAFKAJS);
            vec![npm]
        });
        Some(Self { program: "node".into(), home, script: include_str!("group.js") })
    }

    /// What a member prints that takes `count` records.
    fn take(&self, broker: &Broker, topic: &str, group: &str, how: (&str, i32)) -> Vec<i32> {
        let (protocol, count) = how;
        // Beside the library, where node looks for it.
        let script = self.home.join(unique("member"));
        fs::write(&script, self.script).expect("a writable target directory");
        let mut command = Command::new(&self.program);
        command.arg(&script).args([broker.address(), topic, group, protocol]);
        command.arg(count.to_string());
        let said = process::run(command, b"", LIMIT).expect_success();
        fs::remove_file(&script).expect("just written");
        said.lines().map(|line| line.parse().expect("a number")).collect()
    }
}

/// A library in the target directory, fetched once for all test processes.
fn fetched(name: &str, steps: impl FnOnce(&Path) -> Vec<Command>) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp lies in target");
    let home = target.join(name);
    let lock = File::create(target.join(format!("{name}.lock"))).expect("a lock file");
    lock.lock().expect("a lock");
    let whole = home.join("whole");
    if !whole.exists() {
        fs::create_dir_all(&home).expect("a writable target directory");
        for step in steps(&home) {
            process::run(step, b"", FETCH_LIMIT).expect_success();
        }
        // A fetch that was cut short is made again.
        File::create(whole).expect("a writable target directory");
    }
    home
}

/// Members one after the other share a topic: each goes on where the group is.
fn a_group_goes_on(client: &Client, protocol: &str) {
    let broker = Broker::own(&["group.initial.rebalance.delay.ms=0"]);
    let (topic, group) = (unique("other"), unique(protocol));
    create_topic(broker.address(), &topic, 2, &[]);
    let records: Vec<Record> = (0..10).map(|n: i32| Record::of(n.to_string()).to(n % 2)).collect();
    produce(broker.address(), &[], &topic, &records);
    let mut all = client.take(&broker, &topic, &group, (protocol, 4));
    all.extend(client.take(&broker, &topic, &group, (protocol, 6)));
    all.sort_unstable();
    assert_eq!(all, (0..10).collect::<Vec<_>>(), "{protocol}");
    let mut lag = Command::new(binary());
    lag.args(["group", "lag", &group, "--bootstrap-server", broker.address()]);
    let lag = process::run(lag, b"", LIMIT).expect_success();
    let row = lag.lines().nth(1).expect("one topic");
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells, [&*group, &*topic, "2", "0", "0"], "{lag}");
}

#[test]
fn groups_of_confluent_kafka_go_on() {
    let Some(client) = Client::python() else { return };
    a_group_goes_on(&client, "classic");
    a_group_goes_on(&client, "consumer");
}

#[test]
fn groups_of_kafkajs_go_on() {
    let Some(client) = Client::node() else { return };
    a_group_goes_on(&client, "classic");
}
