//! What a connection is doing, as its core's sweep sees it, and the sweep's say in it.
//!
//! Connections keep no timers. Once a [`TICK`] the core walks over all of them and counts the ticks
//! in which nothing moved; anything that moves sets the count back. So ten thousand idle
//! connections cost one walk a second, and the deadlines below are exact to a tick.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};
use std::time::Duration;

use config::Settings;

use super::CloseReason;

/// What a connection waits for; each has its own patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// For a request to begin, with none in flight.
    Idle,
    /// For the rest of a frame that has begun.
    Receiving,
    /// For the rest of a large frame, holding a ticket of its full size.
    ReceivingLarge,
    /// In line for memory, holding none of the kind that others wait for.
    InLine,
    /// In line for a larger small buffer, holding one already.
    InLineHolding,
    /// For its own handlers.
    Serving,
    /// For the peer to take what is being sent.
    Sending,
}

/// The patience of one core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// `connections.max.idle.ms`; none means for ever.
    pub(crate) idle_ticks: Option<u32>,
    /// `odradek.request.progress.timeout.ms`.
    pub(crate) request_ticks: u32,
    /// `odradek.response.progress.timeout.ms`.
    pub(crate) response_ticks: u32,
}

impl Patience {
    /// As configured.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            idle_ticks: settings.connections_max_idle_ms.map(ticks),
            request_ticks: ticks(settings.odradek_request_progress_timeout_ms),
            response_ticks: ticks(settings.odradek_response_progress_timeout_ms),
        }
    }
}

/// Milliseconds in ticks, at least one.
fn ticks(ms: i64) -> u32 {
    let tick_ms = i64::try_from(TICK.as_millis()).expect("a second or so");
    u32::try_from(ms.div_euclid(tick_ms).max(1)).unwrap_or(u32::MAX)
}

/// What the sweep knows of the core when it looks at a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pressure {
    /// Others wait for buffers of small frames.
    pub(crate) small: bool,
    /// Others wait for large frames' tickets.
    pub(crate) large: bool,
}

/// The shared state of a connection's task and its core's sweep.
#[derive(Debug)]
pub(crate) struct Watch {
    activity: Cell<Activity>,
    /// Ticks since something moved.
    quiet_ticks: Cell<u32>,
    /// Bytes received since the sweep last judged the rate.
    window_bytes: Cell<usize>,
    window_ticks: Cell<u32>,
    requests_in_flight: Cell<usize>,
    /// The peer takes and sends no more; whoever only waits for news on its behalf may stop.
    gone: Cell<bool>,
    /// An idle receive shall hand the reader back.
    interrupted: Cell<bool>,
    verdict: RefCell<Option<CloseReason>>,
    task: RefCell<Option<Waker>>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            activity: Cell::new(Activity::Idle),
            quiet_ticks: Cell::new(0),
            window_bytes: Cell::new(0),
            window_ticks: Cell::new(0),
            requests_in_flight: Cell::new(0),
            gone: Cell::new(false),
            interrupted: Cell::new(false),
            verdict: RefCell::default(),
            task: RefCell::default(),
        }
    }

    /// The connection turns to something else.
    pub(crate) fn enter(&self, activity: Activity) {
        if self.activity.replace(activity) != activity {
            self.quiet_ticks.set(0);
            self.window_bytes.set(0);
            self.window_ticks.set(0);
        }
    }

    /// Bytes have arrived.
    pub(crate) fn received(&self, bytes: usize) {
        self.quiet_ticks.set(0);
        self.window_bytes.set(self.window_bytes.get().saturating_add(bytes));
    }

    /// The peer has taken a piece of an answer, or a request was answered.
    pub(crate) fn moved(&self) {
        self.quiet_ticks.set(0);
    }

    /// How many requests the lane holds now.
    pub(crate) fn set_in_flight(&self, requests: usize) {
        self.requests_in_flight.set(requests);
    }

    /// The peer is gone.
    pub(crate) fn set_gone(&self) {
        self.gone.set(true);
    }

    /// Whether the peer is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Makes an idle receive hand the reader back.
    pub(crate) fn interrupt(&self) {
        self.interrupted.set(true);
        self.wake();
    }

    /// Ends the connection, now.
    pub(crate) fn kill(&self, reason: CloseReason) {
        self.verdict.borrow_mut().get_or_insert(reason);
        self.wake();
    }

    /// Takes the verdict, if there is one.
    pub(crate) fn killed(&self) -> Option<CloseReason> {
        self.verdict.borrow_mut().take()
    }

    /// Notes the task to wake; called whenever the connection's task is polled.
    pub(crate) fn attend(&self, waker: &Waker) {
        match &mut *self.task.borrow_mut() {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Wakes the connection's task.
    pub(crate) fn wake(&self) {
        let task = self.task.borrow().clone();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Runs `f` to its end unless the connection is interrupted first.
    pub(crate) async fn unless_interrupted<T>(&self, f: impl Future<Output = T>) -> Option<T> {
        self.interrupted.set(false);
        let mut f = pin!(f);
        poll_fn(|cx| match f.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if self.interrupted.take() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Runs `f` to its end unless the connection is killed first.
    pub(crate) async fn unless_killed<T>(
        &self,
        f: impl Future<Output = T>,
    ) -> Result<T, CloseReason> {
        let mut f = pin!(f);
        poll_fn(|cx| {
            self.attend(cx.waker());
            match self.killed() {
                Some(reason) => Poll::Ready(Err(reason)),
                None => f.as_mut().poll(cx).map(Ok),
            }
        })
        .await
    }

    /// One tick has passed: judges the connection.
    pub(crate) fn tick(&self, patience: Patience, pressure: Pressure) {
        let quiet = self.quiet_ticks.get().saturating_add(1);
        self.quiet_ticks.set(quiet);
        let idle = patience.idle_ticks.is_some_and(|limit| quiet >= limit);
        match self.activity.get() {
            _ if self.requests_in_flight.get() > 0 && self.activity.get() != Activity::Sending => {}
            Activity::Idle if idle => self.kill(CloseReason::Idle),
            Activity::Idle if quiet == REST_TICKS => self.interrupt(),
            Activity::Receiving if idle || pressure.small && quiet >= patience.request_ticks => {
                self.kill(CloseReason::StalledFrame);
            }
            Activity::InLineHolding if quiet >= patience.request_ticks => {
                self.kill(CloseReason::NoMemory);
            }
            Activity::ReceivingLarge => self.judge_rate(patience, pressure),
            Activity::Sending if quiet >= patience.response_ticks => {
                self.kill(CloseReason::SlowReader)
            }
            _ => {}
        }
    }

    /// A large frame keeps its ticket only while bytes come. When others wait, it must not pause
    /// for long, and must bring [`LARGE_WINDOW_BYTES`] per window.
    fn judge_rate(&self, patience: Patience, pressure: Pressure) {
        if pressure.large && self.quiet_ticks.get() > patience.request_ticks.div_ceil(4) {
            return self.kill(CloseReason::StalledFrame);
        }
        let ticks = self.window_ticks.get() + 1;
        if ticks < patience.request_ticks {
            return self.window_ticks.set(ticks);
        }
        self.window_ticks.set(0);
        let least = if pressure.large { LARGE_WINDOW_BYTES } else { 1 };
        if self.window_bytes.replace(0) < least {
            self.kill(CloseReason::StalledFrame);
        }
    }
}

/// The sweep's period.
pub(crate) const TICK: Duration = Duration::from_secs(1);
/// Ticks after which an idle connection gives its buffer back.
const REST_TICKS: u32 = 2;
/// What a large frame must bring per `odradek.request.progress.timeout.ms` while others wait: with
/// the default of 10 s it is 6.4 KiB/s, below any link on which large frames make sense.
const LARGE_WINDOW_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { idle_ticks: Some(600), request_ticks: 10, response_ticks: 30 };
    const CALM: Pressure = Pressure { small: false, large: false };
    const TIGHT: Pressure = Pressure { small: true, large: true };

    fn after(activity: Activity, ticks: u32, pressure: Pressure) -> Option<CloseReason> {
        let watch = Watch::new();
        watch.enter(activity);
        (0..ticks).for_each(|_| watch.tick(PATIENCE, pressure));
        watch.killed()
    }

    #[test]
    fn every_activity_has_its_patience() {
        assert!(after(Activity::Idle, 599, TIGHT).is_none());
        assert!(matches!(after(Activity::Idle, 600, CALM), Some(CloseReason::Idle)));
        assert!(after(Activity::Receiving, 599, CALM).is_none());
        assert!(matches!(after(Activity::Receiving, 10, TIGHT), Some(CloseReason::StalledFrame)));
        assert!(matches!(after(Activity::InLineHolding, 10, TIGHT), Some(CloseReason::NoMemory)));
        assert!(after(Activity::InLine, 10_000, TIGHT).is_none());
        assert!(after(Activity::ReceivingLarge, 9, CALM).is_none());
        assert!(matches!(
            after(Activity::ReceivingLarge, 10, CALM),
            Some(CloseReason::StalledFrame)
        ));
        assert!(matches!(
            after(Activity::ReceivingLarge, 4, TIGHT),
            Some(CloseReason::StalledFrame)
        ));
        assert!(matches!(after(Activity::Sending, 30, CALM), Some(CloseReason::SlowReader)));
        assert!(after(Activity::Serving, 10_000, TIGHT).is_none());
    }

    #[test]
    fn a_trickle_keeps_a_ticket_only_while_nobody_waits() {
        for (pressure, killed) in [(CALM, false), (TIGHT, true)] {
            let watch = Watch::new();
            watch.enter(Activity::ReceivingLarge);
            for _ in 0..10 {
                watch.received(100);
                watch.tick(PATIENCE, pressure);
            }
            assert_eq!(watch.killed().is_some(), killed);
        }
    }

    #[test]
    fn requests_in_flight_are_waited_for() {
        let watch = Watch::new();
        watch.set_in_flight(1);
        (0..10_000).for_each(|_| watch.tick(PATIENCE, TIGHT));
        assert!(watch.killed().is_none());
    }
}
