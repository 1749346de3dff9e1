//! How a broker starts on nothing, how much it holds when idle, and how it comes back after
//! `kill -9` with a log to recover.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::compare::{CompareOptions, Compared, Contestant};
use crate::cost::Sample;
use crate::goals::LIFE;
use crate::result::{Life, RunResult};
use crate::run::{RunOptions, run};
use crate::start::{Broker, Places};
use crate::units::Bytes;
use crate::workload::Workload;

/// Measures every broker that is started here, once a round.
pub(crate) fn measure(options: &CompareOptions, log: Bytes) -> Compared {
    let mut compared = Compared {
        workload: LIFE.to_owned(),
        about: format!("start on nothing, idle, restart after kill -9 with a log of {log}"),
        ..Compared::default()
    };
    for _ in 0..options.rounds.min(2) {
        let round: Result<Vec<_>> =
            options.brokers.iter().map(|contestant| one(contestant, options, log)).collect();
        match round {
            Ok(round) => compared.rounds.push(round),
            Err(e) => {
                compared.failed = Some(format!("{e:#}"));
                break;
            }
        }
    }
    compared
}

fn one(contestant: &Contestant, options: &CompareOptions, log: Bytes) -> Result<RunResult> {
    let Contestant::Start(spec) = contestant else {
        anyhow::bail!("only a broker that is started here can be killed");
    };
    let places = Places { home: options.home.clone(), odradek: options.odradek.clone() };
    let mut broker = Broker::start(spec, &[], &places)?;
    let start_s = broker.start_s;
    thread::sleep(IDLE);
    let idle_rss = Sample::of(broker.pid())?.rss;
    let mut fill = Workload::parse(LIFE, FILL)?;
    fill.topic.prefill = log;
    let filling = RunOptions {
        bootstrap: broker.address.clone(),
        label: spec.label.clone(),
        pid: Some(broker.pid()),
        threads: 1,
        keep: true,
        ..RunOptions::default()
    };
    let mut result = run(&fill, &filling, &mut || Ok(None)).context("filling the log")?;
    ensure!(result.faults().is_empty(), "filling the log: {:?}", result.faults());
    broker.crash().context("after kill -9")?;
    // The filling is not what is measured.
    result.loads.clear();
    result.broker_cost = None;
    result.life =
        Some(Life { start_s, idle_rss, log_bytes: log.0, crash_restart_s: broker.start_s });
    Ok(result)
}

const FILL: &str = r#"
about = "a log to recover"
warmup = "0s"
duration = "200ms"
truth = { read-back = 0 }
[topic]
partitions = 8
prefill-batch = "512KiB"
[[produce]]
connections = 2
depth = 2
batch = "512KiB"
"#;

const IDLE: Duration = Duration::from_secs(3);
