//! `odradek consume`: prints the records of a topic.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use crate::args::ConsumeArgs;
use crate::client::cluster::Cluster;
use crate::client::conn::is_broken;
use crate::client::fetcher::{Fetcher, OutputGone, Reset};
use crate::client::interrupt::Interrupt;
use crate::client::member::{MemberOptions, Wanted};
use crate::client::offsets::{EARLIEST, LATEST, all_at};
use crate::client::partitions::TopicPartition;
use crate::client::reader::{GroupReader, ReadOptions};
use crate::format::{Format, RecordView};

/// Prints records until the limit, the end (with `--exit-at-end`) or a signal.
pub(crate) fn run(args: &ConsumeArgs) -> Result<ExitCode> {
    let format = if args.json {
        Format::Json
    } else {
        Format::parse(args.format.as_deref().unwrap_or("%v\\n"))?
    };
    let interrupt = Interrupt::watch();
    let reset = if args.from_beginning { Reset::Earliest } else { Reset::Latest };
    let mut limits = Limits { records: args.max_messages, idle: None, ends: None };
    let source = match &args.group {
        Some(group) => {
            if args.exit_at_end {
                limits.ends = Some(Ends::default());
            }
            Source::Group(Box::new(join(args, group, reset)?))
        }
        None => {
            let mut fetcher =
                Fetcher::new(Cluster::connect(&args.bootstrap.bootstrap_server)?, reset);
            let ends = seek(args, &mut fetcher)?;
            limits.ends = args.exit_at_end.then_some(Ends { known: ends });
            Source::Alone(Box::new(fetcher))
        }
    };
    let read = read(source, limits, &interrupt, |out, record| format.write(out, record))?;
    Ok(read.exit_code())
}

/// Where records come from.
pub(crate) enum Source {
    Alone(Box<Fetcher>),
    Group(Box<GroupReader>),
}

/// When to stop.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// After so many records.
    pub(crate) records: Option<u64>,
    /// After so long without a record.
    pub(crate) idle: Option<Duration>,
    /// At the ends that partitions had when they were seen first.
    pub(crate) ends: Option<Ends>,
}

/// Where partitions ended when they were seen first.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    known: BTreeMap<TopicPartition, i64>,
}

/// What was read, and why no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) records: u64,
    pub(crate) stop: Stop,
}

/// Why reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// As it was meant to.
    Done,
    /// Nothing came for as long as was allowed.
    Idle,
    /// A signal.
    Signal(i32),
}

impl Read {
    /// As shells do it where a signal ended the command.
    pub(crate) fn exit_code(self) -> ExitCode {
        match self.stop {
            Stop::Done | Stop::Idle => ExitCode::SUCCESS,
            Stop::Signal(signal) => ExitCode::from(128 + signal as u8),
        }
    }
}

/// Hands records to `write` until a limit or a signal; a group is left in order then.
pub(crate) fn read(
    mut source: Source,
    mut limits: Limits,
    interrupt: &Interrupt,
    mut write: impl FnMut(&mut dyn Write, &RecordView<'_>) -> io::Result<()>,
) -> Result<Read> {
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut records = 0;
    let mut last = Instant::now();
    let stop = loop {
        if let Some(signal) = interrupt.asked() {
            break Ok(Stop::Signal(signal));
        }
        if limits.records.is_some_and(|most| records >= most) {
            break Ok(Stop::Done);
        }
        match limits.ends.as_mut().map(|ends| ends.reached(&mut source)).transpose() {
            Ok(Some(true)) => break Ok(Stop::Done),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
        let left = limits.idle.map(|idle| idle.saturating_sub(last.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            break Ok(Stop::Idle);
        }
        let wait = left.map_or(WAIT, |left| left.min(WAIT)).as_millis() as i32;
        let polled = source.poll(wait.max(1), |record| {
            // What came after the end as it was at the start is left for the next time.
            if limits.ends.as_ref().is_some_and(|ends| ends.is_past(record)) {
                return Ok(ControlFlow::Continue(()));
            }
            write(&mut out, record).map_err(output_error)?;
            (records, last) = (records + 1, Instant::now());
            let full = limits.records.is_some_and(|most| records >= most);
            Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        // Before the next round commits what this one has printed.
        let flushed = out.flush().map_err(output_error);
        if let Err(error) = polled.map(|_| ()).and(flushed) {
            break Err(error);
        }
    };
    let stop = match stop {
        Err(error) if error.is::<OutputGone>() => Ok(Stop::Done),
        stop => stop,
    };
    // What could not be printed is not committed: the group reads it again.
    let left = source.leave(stop.is_ok());
    let stop = stop?;
    left?;
    Ok(Read { records, stop })
}

impl Source {
    fn poll(
        &mut self,
        wait_ms: i32,
        visit: impl FnMut(&RecordView<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        match self {
            Self::Alone(fetcher) => fetcher.poll(wait_ms, visit),
            Self::Group(reader) => reader.poll(wait_ms, visit),
        }
    }

    fn positions(&self) -> &BTreeMap<TopicPartition, i64> {
        match self {
            Self::Alone(fetcher) => fetcher.positions(),
            Self::Group(reader) => reader.positions(),
        }
    }

    fn leave(self, commit: bool) -> Result<()> {
        match self {
            Self::Alone(_) => Ok(()),
            Self::Group(reader) => reader.leave(commit),
        }
    }
}

impl Ends {
    /// Whether all that is read now has been read to its end.
    fn reached(&mut self, source: &mut Source) -> Result<bool> {
        let known = &self.known;
        let new = source.positions().keys().filter(|at| !known.contains_key(at)).cloned();
        let new: Vec<_> = new.collect();
        if let Source::Group(reader) = source {
            if !reader.has_settled() {
                return Ok(false);
            }
            match all_at(reader.cluster(), &new, LATEST) {
                // Reading waits for the broker, too.
                Err(error) if is_broken(&error) => return Ok(false),
                ends => self.known.extend(ends?),
            }
        }
        Ok(source.positions().iter().all(|(at, position)| *position >= self.known[at]))
    }

    fn is_past(&self, record: &RecordView<'_>) -> bool {
        let at = TopicPartition::new(record.topic, record.partition);
        self.known.get(&at).is_some_and(|&end| record.offset >= end)
    }
}

fn join(args: &ConsumeArgs, group: &str, reset: Reset) -> Result<GroupReader> {
    let alone = [
        ("--partition", !args.partition.is_empty()),
        ("--offset", args.offset.is_some()),
        ("--timestamp", args.timestamp.is_some()),
    ];
    if let Some((flag, _)) = alone.iter().find(|(_, given)| *given) {
        bail!("{flag} is not for members of a group, which says what they read and from where");
    }
    let bootstrap_server = args.bootstrap.bootstrap_server.clone();
    // A misspelt topic would be waited for without a word.
    Cluster::connect(&bootstrap_server)?.topic(&args.topic, false)?;
    let session = Duration::from_millis(args.session_timeout_ms.into());
    let member = MemberOptions {
        bootstrap_server,
        client_id: "odradek-cli".to_owned(),
        group: group.to_owned(),
        protocol: args.group_protocol.into(),
        wanted: Wanted::Topics(vec![args.topic.clone()]),
        instance_id: args.group_instance_id.clone(),
        session_timeout: session,
        rebalance_timeout: REBALANCE_TIMEOUT,
        heartbeat_interval: (session / 3).min(HEARTBEAT_INTERVAL),
        assignor: None,
    };
    let commit_every = Some(Duration::from_millis(args.commit_interval_ms));
    GroupReader::join(member, ReadOptions { reset, commit_every, read_committed: false })
}

/// Sets where each partition begins and returns where each ends now.
fn seek(args: &ConsumeArgs, fetcher: &mut Fetcher) -> Result<BTreeMap<TopicPartition, i64>> {
    let topic = fetcher.cluster().topic(&args.topic, false)?;
    let partitions: Vec<_> = if args.partition.is_empty() {
        topic.every().collect()
    } else {
        let chosen = args.partition.iter().map(|&index| match topic.partition(index) {
            Some(_) => Ok(TopicPartition::new(&*args.topic, index)),
            None => bail!(
                "partition {index} is not there: topic {} has partitions 0 to {}",
                args.topic,
                topic.partitions.len() - 1
            ),
        });
        chosen.collect::<Result<_>>()?
    };
    let mut at = |time| all_at(fetcher.cluster(), &partitions, time);
    let ends = at(LATEST)?;
    let mut starts = match (args.offset, args.timestamp) {
        (Some(offset), _) if offset >= 0 => ends.keys().map(|it| (it.clone(), offset)).collect(),
        (Some(back), _) => {
            let mut starts = at(EARLIEST)?;
            starts.iter_mut().for_each(|(it, first)| *first = (ends[it] + back).max(*first));
            starts
        }
        (None, Some(ms)) => at(ms)?,
        (None, None) if args.from_beginning => at(EARLIEST)?,
        (None, None) => ends.clone(),
    };
    for (it, start) in &mut starts {
        // No record is so late.
        if *start < 0 {
            *start = ends[it];
        }
        fetcher.seek(it.clone(), *start);
    }
    Ok(ends)
}

/// Whoever closed the pipe has seen enough. Other failures are told as text: as they are they would
/// be taken for those of a connection, which is opened again.
fn output_error(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => OutputGone.into(),
        io::ErrorKind::InvalidData => anyhow!("{error}"),
        _ => anyhow!("can't write the output: {error}"),
    }
}

/// How long one Fetch waits for new records.
const WAIT: Duration = Duration::from_millis(500);

/// As Kafka's clients.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(300);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
