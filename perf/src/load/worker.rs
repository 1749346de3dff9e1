//! A thread with an epoll: moves bytes, keeps time, hands answers to the loads.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Barrier, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use super::link::{Flight, Link};
use super::{Books, Cx, Errors, Load, Shared};
use crate::clock::Clock;
use crate::measure::{Interval, Recorder, Window};

/// One load on one thread, with its connections open.
pub(crate) struct Part {
    /// Which load of the workload.
    pub(crate) number: usize,
    pub(crate) load: Box<dyn Load>,
    pub(crate) links: Vec<Link>,
}

/// What all threads of a run share.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) clock: Clock,
    /// Passed when every thread is ready, then again when the window is known.
    pub(crate) barrier: Barrier,
    pub(crate) window: OnceLock<Window>,
    pub(crate) shared: Shared,
}

/// What a thread brings home: by load, its books.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) books: Vec<(usize, Books)>,
    pub(crate) errors: Vec<(usize, Errors)>,
    /// Requests that never got an answer, by load.
    pub(crate) unanswered: Vec<(usize, u64)>,
}

struct Running {
    part: Part,
    recorder: Recorder,
    errors: Errors,
    /// Links with something to send.
    dirty: Vec<usize>,
    unanswered: u64,
    done: bool,
}

impl Running {
    fn split<'a>(&'a mut self, window: Window, shared: &'a Shared) -> (&'a mut dyn Load, Cx<'a>) {
        let cx = Cx {
            links: &mut self.part.links,
            recorder: &mut self.recorder,
            window,
            errors: &mut self.errors,
            dirty: &mut self.dirty,
            shared,
        };
        (&mut *self.part.load, cx)
    }
}

/// Runs the parts to their end.
pub(crate) fn run(
    parts: Vec<Part>,
    start: &Arc<Start>,
    sender: &Sender<Interval>,
) -> Result<Outcome> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll")?;
    for (at, part) in parts.iter().enumerate() {
        for (number, link) in part.links.iter().enumerate() {
            epoll::add(&epoll, &link.stream, token(at, number), epoll::EventFlags::IN)?;
        }
    }
    start.barrier.wait();
    start.barrier.wait();
    let window = *start.window.get().expect("set between the two waits");
    let running = parts.into_iter().map(|part| Running {
        recorder: Recorder::new(part.number, window, sender.clone()),
        part,
        errors: Errors::default(),
        dirty: Vec::new(),
        unanswered: 0,
        done: false,
    });
    let mut worker = Worker { epoll, running: running.collect(), window, start };
    worker.go()?;
    Ok(worker.close())
}

struct Worker<'a> {
    epoll: OwnedFd,
    running: Vec<Running>,
    window: Window,
    start: &'a Start,
}

impl Worker<'_> {
    fn go(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let now = self.start.clock.now();
        for at in 0..self.running.len() {
            self.with(at, |load, cx| load.begin(cx, now));
            self.flush(at)?;
        }
        loop {
            let now = self.start.clock.now();
            let mut due = self.window.give_up_ns.min(now + TURN_NS);
            let mut busy = false;
            for at in 0..self.running.len() {
                self.running[at].recorder.turn(now);
                if self.running[at].part.load.due().is_some_and(|due| due <= now) {
                    self.with(at, |load, cx| load.tick(cx, now));
                    self.flush(at)?;
                }
                due = due.min(self.running[at].part.load.due().unwrap_or(due));
                busy |= !self.settle(at, now);
            }
            if !busy || now >= self.window.give_up_ns {
                return Ok(());
            }
            events.clear();
            let wait = Duration::from_nanos(due.saturating_sub(self.start.clock.now()));
            let wait = Timespec::try_from(wait).context("a short wait")?;
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait))
            {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e).context("epoll"),
            }
            for event in &events {
                let (at, number) = of_token(event.data.u64());
                self.ready(at, number, event.flags)?;
            }
            for at in 0..self.running.len() {
                self.flush(at)?;
            }
        }
    }

    /// Whether a part has nothing more to do; notes it when that is new.
    fn settle(&mut self, at: usize, now: u64) -> bool {
        let running = &mut self.running[at];
        if running.done {
            return true;
        }
        let (load, cx) = running.split(self.window, &self.start.shared);
        let done = load.is_done(&cx, now)
            && cx.links.iter().all(|link| link.in_flight.is_empty() || link.buried);
        if done {
            load.through(&cx);
            running.done = true;
        }
        done
    }

    fn with(&mut self, at: usize, call: impl FnOnce(&mut dyn Load, &mut Cx<'_>)) {
        let (load, mut cx) = self.running[at].split(self.window, &self.start.shared);
        call(load, &mut cx);
    }

    fn ready(&mut self, at: usize, number: usize, flags: epoll::EventFlags) -> Result<()> {
        let link = &mut self.running[at].part.links[number];
        if flags.contains(epoll::EventFlags::OUT) && !std::mem::replace(&mut link.dirty, true) {
            self.running[at].dirty.push(number);
        }
        if !flags
            .intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR)
        {
            return Ok(());
        }
        let mut input = self.running[at].part.links[number].receive();
        let now = self.start.clock.now();
        loop {
            let frame = match input.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(e) => {
                    self.running[at].part.links[number].dead = Some(e.to_string());
                    break;
                }
            };
            let flight = self.running[at].part.links[number].in_flight.pop_front();
            let flight = matching(flight, frame)?;
            let mut outcome = Ok(());
            self.with(at, |load, cx| outcome = load.answered(cx, number, flight, frame, now));
            outcome?;
        }
        self.running[at].part.links[number].put_back(input);
        self.bury(at, number)
    }

    /// Sends what loads put into their links.
    fn flush(&mut self, at: usize) -> Result<()> {
        while let Some(number) = self.running[at].dirty.pop() {
            let link = &mut self.running[at].part.links[number];
            link.dirty = false;
            if link.buried {
                continue;
            }
            let was_blocked = link.blocked;
            link.flush();
            if link.blocked != was_blocked {
                let mut flags = epoll::EventFlags::IN;
                flags.set(epoll::EventFlags::OUT, link.blocked);
                epoll::modify(&self.epoll, &link.stream, token(at, number), flags)?;
            }
            self.bury(at, number)?;
        }
        Ok(())
    }

    /// Deals with a link that broke: what was on its way is lost, and the run goes on.
    fn bury(&mut self, at: usize, number: usize) -> Result<()> {
        let running = &mut self.running[at];
        let link = &mut running.part.links[number];
        let Some(why) = &link.dead else { return Ok(()) };
        if std::mem::replace(&mut link.buried, true) {
            return Ok(());
        }
        running.errors.add(why);
        epoll::delete(&self.epoll, &link.stream)?;
        let lost: Vec<Flight> = link.in_flight.drain(..).collect();
        running.unanswered += lost.len() as u64;
        for flight in lost {
            running.part.load.unanswered(number, flight);
        }
        Ok(())
    }

    fn close(self) -> Outcome {
        let mut outcome = Outcome::default();
        let now = self.start.clock.now();
        for mut running in self.running {
            for number in 0..running.part.links.len() {
                for flight in std::mem::take(&mut running.part.links[number].in_flight) {
                    // It took at least this long, and leaving it out would be kind to the broker.
                    running.recorder.latency(flight.intended_ns, now, 1);
                    running.unanswered += 1;
                    running.part.load.unanswered(number, flight);
                }
            }
            let number = running.part.number;
            outcome.books.push((number, running.part.load.close()));
            outcome.errors.push((number, running.errors));
            outcome.unanswered.push((number, running.unanswered));
            running.recorder.finish();
        }
        outcome
    }
}

/// The request that an answer belongs to: answers come in request order.
fn matching(flight: Option<Flight>, answer: &[u8]) -> Result<Flight> {
    let flight = flight.context("an answer to no request")?;
    let named = answer.first_chunk().map(|id| i32::from_be_bytes(*id));
    anyhow::ensure!(
        named == Some(flight.correlation),
        "answers are out of order: request {} was answered with {named:?}",
        flight.correlation
    );
    Ok(flight)
}

fn token(part: usize, link: usize) -> epoll::EventData {
    epoll::EventData::new_u64((part as u64) << 32 | link as u64)
}

fn of_token(token: u64) -> (usize, usize) {
    ((token >> 32) as usize, (token & 0xffff_ffff) as usize)
}

const EVENTS_MAX: usize = 256;
/// How often a thread looks up even if nothing happens.
const TURN_NS: u64 = 100_000_000;
