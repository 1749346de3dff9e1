//! One run: prepare, warm up, measure, wait for the last answers, read back, clean up.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::clock::Clock;
use crate::control::{Control, TopicView};
use crate::cost::{self, CpuTime, Sample};
use crate::load::worker::{Outcome, Part, Start, run as run_worker};
use crate::load::{Books, Errors, Shared};
use crate::measure::{Interval, Percentiles, Series, Window, curve, hlog};
use crate::progress::Progress;
use crate::readback::read_back;
use crate::result::{Direction, LoadResult, RunResult};
use crate::setup::{Bounds, Setup, bounds};
use crate::verify::Lanes;
use crate::workload::Workload;

/// How to run a workload.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// A broker to begin with, `HOST:PORT`.
    pub bootstrap: String,
    /// What the broker is called in reports; its address when empty.
    pub label: String,
    /// The broker's process; found by its port when none is given and it is on this machine.
    pub pid: Option<u32>,
    /// Threads that make load.
    pub threads: usize,
    /// Whether the topic stays.
    pub keep: bool,
    /// Where the histograms are written in HdrHistogram's log format.
    pub hlog: Option<PathBuf>,
    /// Whether progress is shown.
    pub progress: bool,
}

/// Runs a workload against a broker. `cool` is called when what was prefilled is to be cold, and
/// returns the broker's process if that is a new one.
pub fn run(
    workload: &Workload,
    options: &RunOptions,
    cool: &mut dyn FnMut() -> Result<Option<u32>>,
) -> Result<RunResult> {
    workload.check()?;
    let clock = Clock::new();
    let run = (clock.now() / 1000) as u32;
    let mut control = Control::open(&options.bootstrap)?;
    let name =
        format!("perf-{}-{run:08x}", workload.name.replace(|c: char| !c.is_alphanumeric(), "-"));
    let mut progress = Progress::new(options.progress);
    progress.say(&format!("{name}: {} partitions", workload.topic.partitions));
    let topic = control.create_topic(&name, &workload.topic)?;
    let mut session = Session { workload, options, clock, run, topic, lanes: Lanes::default() };
    let outcome = session.go(&mut control, cool, &mut progress);
    progress.end();
    if !options.keep {
        // After a restart of the broker the old connection is gone.
        let deleted =
            Control::open(&options.bootstrap).and_then(|mut c| c.delete_topic(&session.topic));
        if outcome.is_ok() {
            deleted?;
        }
    }
    outcome
}

struct Session<'a> {
    workload: &'a Workload,
    options: &'a RunOptions,
    clock: Clock,
    run: u32,
    topic: TopicView,
    lanes: Lanes,
}

/// What came of a set of parts.
struct Measured {
    window: Window,
    series: Vec<Series>,
    outcomes: Vec<Outcome>,
    samples: Samples,
}

/// Of the broker and of this process, at the window's start and end.
#[derive(Default)]
struct Samples {
    broker: [Option<Sample>; 2],
    load: [Option<Sample>; 2],
    machine: [Option<CpuTime>; 2],
}

impl Session<'_> {
    fn go(
        &mut self,
        control: &mut Control,
        cool: &mut dyn FnMut() -> Result<Option<u32>>,
        progress: &mut Progress,
    ) -> Result<RunResult> {
        let mut result = RunResult {
            workload: self.workload.name.clone(),
            about: self.workload.about.clone(),
            broker: match self.options.label.is_empty() {
                true => self.options.bootstrap.clone(),
                false => self.options.label.clone(),
            },
            seconds: self.workload.duration.0.as_secs_f64(),
            ..RunResult::default()
        };
        // A new partition's leader may be named before it is at work.
        bounds(control, &self.topic)?;
        let mut pid = self.options.pid.or_else(|| local_listener(control));
        let mut fresh;
        let mut control = control;
        let mut lanes_used = 0;
        if !self.workload.topic.prefill.is_empty() {
            progress.say("prefill");
            let started = self.clock.now();
            lanes_used = self.prefill(control)?;
            result.prefill_s = (self.clock.now() - started) as f64 / 1e9;
            if self.workload.topic.cold {
                progress.say("cooling down");
                pid = cool()?.or(pid);
                fresh = Control::open(&self.options.bootstrap)?;
                control = &mut fresh;
            }
        }
        let bounds = bounds(control, &self.topic)?;
        let measured = self.measure(control, &bounds, lanes_used, pid, progress)?;
        self.report(measured, &mut result)?;
        let limit = self.workload.truth.read_back.0;
        let wrote = !self.workload.produce.is_empty() || !self.workload.topic.prefill.is_empty();
        if limit > 0 && wrote {
            let truth = read_back(control, &self.topic, self.run, &self.lanes, limit, |bytes| {
                progress.read_back(bytes);
            });
            result.truth = Some(truth.context("reading back")?);
        }
        Ok(result)
    }

    fn setup<'s>(&'s self, control: &'s mut Control, lanes_used: u32) -> Setup<'s> {
        Setup {
            workload: self.workload,
            control,
            topic: &self.topic,
            clock: self.clock,
            run: self.run,
            threads: self.options.threads.max(1),
            lanes_used,
        }
    }

    /// Writes the prefill; the lanes it used.
    fn prefill(&mut self, control: &mut Control) -> Result<u32> {
        let mut setup = self.setup(control, 0);
        let parts = setup.prefill()?;
        let lanes_used = setup.lanes_used;
        let shared = Shared::new(0);
        let (sender, receiver) = mpsc::channel();
        let (start, threads) = spawn(parts, self.clock, shared, &sender);
        drop(sender);
        start.barrier.wait();
        let now = self.clock.now();
        let end = now + PREFILL_LIMIT_NS;
        let window = Window { begin_ns: now, start_ns: now, end_ns: end, give_up_ns: end };
        start.window.set(window).expect("set once");
        start.barrier.wait();
        drop(receiver);
        for outcome in join(threads)? {
            for (_, books) in outcome.books {
                self.lanes.merge(books.lanes);
            }
            for (_, Errors(errors)) in outcome.errors {
                anyhow::ensure!(errors.is_empty(), "the prefill met {errors:?}");
            }
        }
        Ok(lanes_used)
    }

    fn measure(
        &self,
        control: &mut Control,
        bounds: &Bounds,
        lanes_used: u32,
        pid: Option<u32>,
        progress: &mut Progress,
    ) -> Result<Measured> {
        let parts = self.setup(control, lanes_used).loads(bounds)?;
        let shared = Shared::new(self.workload.consume.len());
        let producing = |part: &&Part| part.number < self.workload.produce.len();
        let count = parts.iter().flatten().filter(producing).count();
        shared.producing.store(count, std::sync::atomic::Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel();
        let (start, threads) = spawn(parts, self.clock, shared, &sender);
        drop(sender);
        start.barrier.wait();
        let begin_ns = self.clock.now();
        let start_ns = begin_ns + self.workload.warmup.ns();
        let end_ns = start_ns + self.workload.duration.ns();
        let give_up_ns = end_ns + self.workload.drain.ns();
        let window = Window { begin_ns, start_ns, end_ns, give_up_ns };
        start.window.set(window).expect("set once");
        start.barrier.wait();
        let (series, samples) = self.watch(&receiver, window, pid, progress)?;
        Ok(Measured { window, series, outcomes: join(threads)?, samples })
    }

    /// Gathers what the threads send until all are through.
    fn watch(
        &self,
        receiver: &Receiver<Interval>,
        window: Window,
        pid: Option<u32>,
        progress: &mut Progress,
    ) -> Result<(Vec<Series>, Samples)> {
        let workload = self.workload;
        let loads = workload.produce.len() + workload.consume.len() + workload.group.len();
        let mut series: Vec<Series> = (0..loads).map(|_| Series::default()).collect();
        let mut samples = Samples::default();
        let edges = [window.start_ns, window.end_ns];
        let mut edge = 0;
        loop {
            let now = self.clock.now();
            if edge < 2 && now >= edges[edge] {
                samples.broker[edge] = pid.and_then(|pid| Sample::of(pid).ok());
                samples.machine[edge] = CpuTime::now();
                samples.load[edge] = Some(Sample::of(std::process::id())?);
                edge += 1;
                continue;
            }
            let next = edges.get(edge).map_or(TURN_NS, |at| at.saturating_sub(now).min(TURN_NS));
            match receiver.recv_timeout(Duration::from_nanos(next)) {
                Ok(interval) => series[interval.load].add(interval)?,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            progress.seconds(self.workload, window.second(now), &series);
        }
        Ok((series, samples))
    }

    fn report(&mut self, measured: Measured, result: &mut RunResult) -> Result<()> {
        let Measured { window, series, outcomes, samples } = measured;
        result.started_ms = window.start_ns / 1_000_000;
        let cost = |samples: [Option<Sample>; 2]| {
            let [first, last] = samples;
            Some(last?.since(&first?, result.seconds))
        };
        result.broker_cost = cost(samples.broker);
        result.load_cost = cost(samples.load).unwrap_or_default();
        if let [Some(first), Some(last)] = samples.machine {
            result.stolen = Some(last.stolen_since(&first));
        }
        let produce =
            self.workload.produce.iter().map(|load| (&load.name, Direction::Produce, false));
        let consume = self.workload.consume.iter();
        let consume = consume.map(|load| (&load.name, Direction::Consume, load.end_to_end));
        let groups = self.workload.group.iter();
        let groups = groups.map(|load| (&load.name, Direction::Coordinate, false));
        let all = produce.chain(consume).chain(groups);
        for ((name, direction, end_to_end), series) in all.zip(&series) {
            let (counts, latency) = series.total()?;
            result.loads.push(LoadResult {
                name: name.clone(),
                direction,
                end_to_end,
                requests: counts.requests,
                records: counts.records,
                bytes: counts.bytes,
                latency: Percentiles::of(&latency),
                curve: curve(&latency),
                series: series.seconds(),
                ..LoadResult::default()
            });
        }
        for outcome in outcomes {
            self.take(outcome, &mut result.loads);
        }
        if let Some(path) = &self.options.hlog {
            let file = std::fs::File::create(path).with_context(|| path.display().to_string())?;
            let named = result.loads.iter().map(|load| load.name.as_str()).zip(&series);
            hlog::write(std::io::BufWriter::new(file), window.start_ns, named)?;
        }
        Ok(())
    }

    fn take(&mut self, outcome: Outcome, loads: &mut [LoadResult]) {
        for (number, Books { lanes, tally }) in outcome.books {
            self.lanes.merge(lanes);
            if loads[number].end_to_end {
                let mut sum = loads[number].seen.unwrap_or_default();
                sum.add(&tally);
                loads[number].seen = Some(sum);
            }
        }
        for (number, errors) in outcome.errors {
            let mut sum = Errors(std::mem::take(&mut loads[number].errors));
            sum.merge(errors);
            loads[number].errors = sum.0;
        }
        for (number, count) in outcome.unanswered {
            loads[number].unanswered += count;
        }
    }
}

type Handles = Vec<thread::JoinHandle<Result<Outcome>>>;

/// Starts a thread for each list of parts that is not empty.
fn spawn(
    parts: Vec<Vec<Part>>,
    clock: Clock,
    shared: Shared,
    sender: &mpsc::Sender<Interval>,
) -> (Arc<Start>, Handles) {
    let parts: Vec<_> = parts.into_iter().filter(|parts| !parts.is_empty()).collect();
    let barrier = Barrier::new(parts.len() + 1);
    let start = Arc::new(Start { clock, barrier, window: OnceLock::new(), shared });
    let threads = parts.into_iter().map(|parts| {
        let (start, sender) = (start.clone(), sender.clone());
        thread::spawn(move || run_worker(parts, &start, &sender))
    });
    let threads = threads.collect();
    (start, threads)
}

fn join(threads: Handles) -> Result<Vec<Outcome>> {
    let outcomes = threads
        .into_iter()
        .map(|thread| thread.join().map_err(|_| anyhow!("a load thread panicked"))?);
    outcomes.collect()
}

fn local_listener(control: &Control) -> Option<u32> {
    let address = control.address();
    if address.ip().is_loopback() { cost::listener(address) } else { None }
}

const PREFILL_LIMIT_NS: u64 = 3_600_000_000_000;
const TURN_NS: u64 = 200_000_000;
