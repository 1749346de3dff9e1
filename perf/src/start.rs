//! Brokers that the harness starts itself, fresh, on a free port, in a directory of their own.

mod kafka;

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::control::Control;

/// A broker to start: `odradek`, `kafka`, or `NAME=PROGRAM` for another Odradek binary, with
/// settings behind a colon: `kafka:flush.messages=1,num.io.threads=4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartSpec {
    /// What it is called in reports.
    pub label: String,
    /// Which program.
    pub program: Program,
    /// `KEY=VALUE` of its configuration.
    pub settings: Vec<String>,
}

/// Which program to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// An Odradek binary; the running program when none is named.
    Odradek(Option<PathBuf>),
    /// Apache Kafka, fetched by Maven.
    Kafka,
}

/// Where brokers keep their data, and what they are made from.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// Holds a directory for each broker, and Kafka's jars.
    pub(crate) home: PathBuf,
    /// The Odradek binary, unless a spec names one.
    pub(crate) odradek: Option<PathBuf>,
}

/// A broker that runs; dropping it ends it and removes its data.
#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    pub(crate) address: String,
    spec: StartSpec,
    home: PathBuf,
    places: Places,
    /// From the start of the process to the first answer, seconds.
    pub(crate) start_s: f64,
}

impl StartSpec {
    /// Settings that Kafka has for topics only: they are given to the workload's topic.
    pub(crate) fn topic_settings(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.settings.iter().filter_map(|setting| setting.split_once('='));
        pairs.filter(|(key, _)| TOPIC_KEYS.contains(key))
    }

    fn broker_settings(&self) -> Vec<String> {
        let of_topics = |setting: &String| {
            setting.split_once('=').is_some_and(|(key, _)| TOPIC_KEYS.contains(&key))
        };
        self.settings.iter().filter(|setting| !of_topics(setting)).cloned().collect()
    }
}

impl FromStr for StartSpec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, settings) = text.split_once(':').unwrap_or((text, ""));
        let settings: Vec<String> =
            settings.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect();
        for setting in &settings {
            ensure!(setting.contains('='), "{setting} is not of the form KEY=VALUE");
        }
        let program = match name.split_once('=') {
            Some((_, path)) => Program::Odradek(Some(path.into())),
            None if name == "odradek" => Program::Odradek(None),
            None if name == "kafka" => Program::Kafka,
            None => bail!("{name} is neither odradek nor kafka nor NAME=PROGRAM"),
        };
        let name = name.split_once('=').map_or(name, |(name, _)| name);
        let label = match settings.is_empty() {
            true => name.to_owned(),
            false => format!("{name}:{}", settings.join(",")),
        };
        Ok(Self { label, program, settings })
    }
}

impl Broker {
    /// Starts one on a directory of its own; `settings` come behind the spec's.
    pub(crate) fn start(spec: &StartSpec, settings: &[String], places: &Places) -> Result<Self> {
        let port = free_port()?;
        let name = spec.label.split(':').next().unwrap_or("broker");
        let name = format!("{name}-{}-{port}", std::process::id());
        let home = places.home.join(name);
        fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
        let mut spec = spec.clone();
        spec.settings = spec.broker_settings();
        spec.settings.extend_from_slice(settings);
        let address = format!("127.0.0.1:{port}");
        let started = Instant::now();
        let child = launch(&spec, &home, &address, places)?;
        let mut broker = Self { child, address, spec, home, places: places.clone(), start_s: 0.0 };
        broker.wait_ready(started)?;
        Ok(broker)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it in order and starts it on the same data.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.end(Signal::TERM)?;
        self.again()
    }

    /// Kills it, and starts it on the same data.
    pub(crate) fn crash(&mut self) -> Result<()> {
        self.end(Signal::KILL)?;
        self.again()
    }

    fn again(&mut self) -> Result<()> {
        let started = Instant::now();
        self.child = launch(&self.spec, &self.home, &self.address, &self.places)?;
        self.wait_ready(started)
    }

    fn wait_ready(&mut self, started: Instant) -> Result<()> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended: {status}\n{}", self.spec.label, self.log_tail());
            }
            // Ready is who knows of a broker, not who merely listens.
            let ready = Control::open(&self.address).and_then(|mut control| control.is_ready());
            if matches!(ready, Ok(true)) {
                self.start_s = started.elapsed().as_secs_f64();
                return Ok(());
            }
            if started.elapsed() > START_LIMIT {
                bail!(
                    "{} does not serve after {START_LIMIT:?}\n{}",
                    self.spec.label,
                    self.log_tail()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a child has a process id")?, signal)?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > STOP_LIMIT {
                self.child.kill()?;
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.home.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.home);
    }
}

fn launch(spec: &StartSpec, home: &Path, address: &str, places: &Places) -> Result<Child> {
    let log = File::options().append(true).create(true).open(home.join("log"))?;
    let mut command = match &spec.program {
        Program::Kafka => kafka::command(home, address, &spec.settings, &places.home)?,
        Program::Odradek(path) => odradek(spec, path.as_ref(), home, address, places)?,
    };
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("{:?}", command.get_program()))
}

fn odradek(
    spec: &StartSpec,
    path: Option<&PathBuf>,
    home: &Path,
    address: &str,
    places: &Places,
) -> Result<Command> {
    let program = match path.or(places.odradek.as_ref()) {
        Some(path) => path.clone(),
        None => std::env::current_exe().context("the running program")?,
    };
    let mut command = Command::new(program);
    command.arg("serve").arg("--data").arg(home.join("data")).args(["--listen", address]);
    for setting in &spec.settings {
        command.args(["--set", setting]);
    }
    Ok(command)
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Keys that mean nothing in a Kafka broker's own file.
const TOPIC_KEYS: &[&str] = &[
    "cleanup.policy",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "max.message.bytes",
    "odradek.durability",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.ms",
];

/// A JVM needs seconds, and on a busy machine many.
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_named_with_their_settings() {
        let spec: StartSpec = "kafka:flush.messages=1,num.io.threads=4".parse().expect("sound");
        assert_eq!(spec.program, Program::Kafka);
        assert_eq!(spec.settings, ["flush.messages=1", "num.io.threads=4"]);
        assert_eq!(spec.label, "kafka:flush.messages=1,num.io.threads=4");
        assert_eq!(spec.topic_settings().collect::<Vec<_>>(), [("flush.messages", "1")]);
        assert_eq!(spec.broker_settings(), ["num.io.threads=4"]);
        let spec: StartSpec = "before=/opt/odradek".parse().expect("sound");
        assert_eq!(spec.label, "before");
        assert_eq!(spec.program, Program::Odradek(Some("/opt/odradek".into())));
        assert!("zebra".parse::<StartSpec>().is_err());
        assert!("kafka:flush".parse::<StartSpec>().is_err());
    }
}
