//! Loads: what runs on a thread of its own, with connections of its own.
//!
//! ```text
//! worker (a thread): epoll ── links ── answers ─┐
//!                      │                        ▼
//!                      └── due times ──▶ a Load: produce | client | fetch | member ── requests ─▶ links
//! ```
//!
//! A load never waits and never looks at the clock itself: the worker hands it the time.

pub(crate) mod arrivals;
pub(crate) mod client;
pub(crate) mod fetch;
pub(crate) mod link;
pub(crate) mod member;
pub(crate) mod produce;
pub(crate) mod template;
pub(crate) mod worker;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use anyhow::Result;

use crate::measure::{Recorder, Window};
use crate::verify::{Lanes, Tally};
use link::{Flight, Link};

/// A load's part on one thread.
pub(crate) trait Load: Send {
    /// Learns when it starts; sends the first requests of a closed loop.
    fn begin(&mut self, cx: &mut Cx<'_>, now: u64);

    /// When [`Load::tick`] is to be called next; none to wait for answers alone.
    fn due(&self) -> Option<u64>;

    /// Sends what is due.
    fn tick(&mut self, cx: &mut Cx<'_>, now: u64);

    /// Takes an answer on one of its links.
    fn answered(
        &mut self,
        cx: &mut Cx<'_>,
        link: usize,
        flight: Flight,
        answer: &[u8],
        now: u64,
    ) -> Result<()>;

    /// Whether nothing more is to come, answers to what is on its way aside.
    fn is_done(&self, cx: &Cx<'_>, now: u64) -> bool;

    /// Hears that it is done and all its answers are in; once.
    fn through(&mut self, cx: &Cx<'_>);

    /// Takes note of a request that never got an answer.
    fn unanswered(&mut self, link: usize, flight: Flight);

    /// Gives its books away.
    fn close(self: Box<Self>) -> Books;
}

/// What a load may touch while it is called.
pub(crate) struct Cx<'a> {
    /// Its links; numbers are its own, from 0.
    pub(crate) links: &'a mut [Link],
    pub(crate) recorder: &'a mut Recorder,
    pub(crate) window: Window,
    pub(crate) errors: &'a mut Errors,
    pub(crate) shared: &'a Shared,
    /// Links to be flushed when the load returns.
    dirty: &'a mut Vec<usize>,
}

impl Cx<'_> {
    /// A link, to put a request on; it is flushed when the load returns.
    pub(crate) fn link(&mut self, number: usize) -> &mut Link {
        let link = &mut self.links[number];
        if !std::mem::replace(&mut link.dirty, true) {
            self.dirty.push(number);
        }
        link
    }
}

/// What a load leaves behind.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// What was written, by lane.
    pub(crate) lanes: Lanes,
    /// What was read and checked.
    pub(crate) tally: Tally,
}

/// What loads of all threads know of each other.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Records acknowledged to producers of the run.
    pub(crate) acked: AtomicU64,
    /// Producing loads (by thread) that still send or wait.
    pub(crate) producing: AtomicUsize,
    /// By consuming load: records of the run's producers that it received.
    pub(crate) received: Vec<AtomicU64>,
}

/// Failures by what they are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Errors(pub(crate) BTreeMap<String, u64>);

impl Errors {
    /// Counts a failure.
    pub(crate) fn add(&mut self, what: &str) {
        match self.0.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(what.to_owned(), 1);
            }
        }
    }

    /// Counts what another thread met.
    pub(crate) fn merge(&mut self, other: Self) {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}

impl Shared {
    /// For a run with so many consuming loads.
    pub(crate) fn new(consuming: usize) -> Self {
        Self { received: (0..consuming).map(|_| AtomicU64::new(0)).collect(), ..Self::default() }
    }

    /// Whether producers are through and a consuming load has all of theirs.
    pub(crate) fn has_all(&self, consuming: usize, copies: u64) -> bool {
        self.producing.load(Ordering::Acquire) == 0
            && self.received[consuming].load(Ordering::Relaxed)
                >= copies * self.acked.load(Ordering::Relaxed)
    }
}

/// Gives `count` links to `threads` in turn: which ones thread `thread` gets.
pub(crate) fn share(count: usize, thread: usize, threads: usize) -> impl Iterator<Item = usize> {
    (thread..count).step_by(threads)
}
