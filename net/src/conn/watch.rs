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

/// What the receiving side of a connection waits for; each has its own patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// For its own handlers, or for its answers to be taken: it receives nothing meanwhile.
    Paused,
    /// For a request to begin.
    Idle,
    /// For the rest of a frame, holding no memory beside the connection's own.
    Inline,
    /// For the rest of a small frame, in a pooled buffer.
    Filling,
    /// For the first 64 KiB of a large frame, or the byte behind them.
    Probing,
    /// For the rest of a large frame, holding a ticket of its full size.
    Large,
    /// In line for memory, holding none of the kind that others wait for.
    InLine,
    /// In line for a larger buffer, holding a small one already.
    InLineHolding,
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

/// Kinds of a core's memory: those that others wait for when the sweep looks at a connection, or
/// those that it keeps. Apart from each other: large frames that do not go on are no reason to hurry
/// small ones, nor the other way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds {
    /// Buffers of small frames.
    pub(crate) filling: bool,
    /// Buffers for the first 64 KiB of large frames.
    pub(crate) probing: bool,
    /// Large frames' tickets.
    pub(crate) large: bool,
    /// What requests become, and answers.
    pub(crate) working: bool,
    /// Memory of caches that unsent answers keep.
    pub(crate) pinned: bool,
}

impl Kinds {
    /// Both these and those.
    pub(crate) fn and(self, those: Self) -> Self {
        Self {
            filling: self.filling || those.filling,
            probing: self.probing || those.probing,
            large: self.large || those.large,
            working: self.working || those.working,
            pinned: self.pinned || those.pinned,
        }
    }

    /// Whether one of these is one of those.
    fn meets(self, those: Self) -> bool {
        (self.filling && those.filling)
            || (self.probing && those.probing)
            || (self.large && those.large)
            || (self.working && those.working)
            || (self.pinned && those.pinned)
    }

    /// What a receive may keep that stands still in this activity. Who is in line may have been
    /// granted what it has not taken yet.
    fn of(activity: Activity) -> Self {
        let none = Self::default();
        match activity {
            Activity::Paused | Activity::Idle | Activity::Inline => none,
            Activity::Filling => Self { filling: true, ..none },
            Activity::Probing => Self { probing: true, ..none },
            Activity::Large => Self { large: true, ..none },
            Activity::InLine | Activity::InLineHolding => {
                Self { filling: true, probing: true, large: true, ..none }
            }
        }
    }
}

/// The shared state of a connection's task and its core's sweep.
#[derive(Debug)]
pub(crate) struct Watch {
    activity: Cell<Activity>,
    /// Ticks since bytes came, or since an answer went.
    quiet_ticks: Cell<u32>,
    /// Bytes received of the frame under way since the sweep last judged its rate.
    window_bytes: Cell<usize>,
    window_ticks: Cell<u32>,
    /// Set while an answer is being sent.
    sending: Cell<Option<Sending>>,
    /// Ticks spent sending while others waited for what the connection keeps.
    wanted_ticks: Cell<u32>,
    /// A long poll shall end, since memory is kept behind it or others wait for some.
    hurried: Cell<bool>,
    requests_in_flight: Cell<usize>,
    /// The peer takes and sends no more; whoever only waits for news on its behalf may stop.
    gone: Cell<bool>,
    /// An idle receive shall hand the reader back.
    interrupted: Cell<bool>,
    verdict: RefCell<Option<CloseReason>>,
    task: RefCell<Option<Waker>>,
}

/// An answer that the peer is taking.
#[derive(Clone, Copy, Debug)]
struct Sending {
    /// Ticks since the peer took a piece.
    quiet_ticks: u32,
    /// What the answer keeps, and what is behind it.
    keeps: Kinds,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            activity: Cell::new(Activity::Paused),
            quiet_ticks: Cell::new(0),
            window_bytes: Cell::new(0),
            window_ticks: Cell::new(0),
            sending: Cell::new(None),
            wanted_ticks: Cell::new(0),
            hurried: Cell::new(false),
            requests_in_flight: Cell::new(0),
            gone: Cell::new(false),
            interrupted: Cell::new(false),
            verdict: RefCell::default(),
            task: RefCell::default(),
        }
    }

    /// The receiving side turns to something else.
    pub(crate) fn enter(&self, activity: Activity) {
        let before = self.activity.replace(activity);
        // Time in line is ours, not the peer's.
        if before != activity && matches!(before, Activity::InLine | Activity::InLineHolding) {
            self.quiet_ticks.set(0);
            self.begin_window();
        }
    }

    /// Bytes have arrived.
    pub(crate) fn received(&self, bytes: usize) {
        self.quiet_ticks.set(0);
        self.window_bytes.set(self.window_bytes.get().saturating_add(bytes));
    }

    /// The frame under way has arrived whole.
    pub(crate) fn frame_ended(&self) {
        self.begin_window();
    }

    /// Answers are being sent; they, and what stands behind them, keep memory of these kinds.
    pub(crate) fn begin_sending(&self, keeps: Kinds) {
        self.sending.set(Some(Sending { quiet_ticks: 0, keeps }));
    }

    /// The peer has taken a piece of the answer.
    pub(crate) fn sent_piece(&self) {
        self.sending.set(self.sending.get().map(|sending| Sending { quiet_ticks: 0, ..sending }));
    }

    /// The answer is sent.
    pub(crate) fn end_sending(&self) {
        self.sending.set(None);
        self.quiet_ticks.set(0);
    }

    fn begin_window(&self) {
        self.window_bytes.set(0);
        self.window_ticks.set(0);
    }

    /// How many requests the lane holds now.
    pub(crate) fn set_in_flight(&self, requests: usize) {
        self.requests_in_flight.set(requests);
        if requests == 0 {
            // Nothing is left of what was kept behind answers.
            self.wanted_ticks.set(0);
        }
    }

    /// Long polls of the connection shall end. Polled after this, they see it.
    pub(crate) fn hurry(&self) {
        self.hurried.set(true);
    }

    /// A request starts anew: there is no hurry yet.
    pub(crate) fn calm(&self) {
        self.hurried.set(false);
    }

    /// Whether long polls shall end.
    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried.get()
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
    pub(crate) fn tick(&self, patience: Patience, wanted: Kinds) {
        if let Some(sending) = self.sending.get() {
            // Nothing is received meanwhile.
            return self.judge_sending(sending, patience, wanted);
        }
        let behind_polls = Kinds { pinned: false, ..wanted };
        if self.requests_in_flight.get() > 0 && behind_polls != Kinds::default() {
            self.hurry();
            self.wake();
        }
        let activity = self.activity.get();
        if matches!(activity, Activity::Paused | Activity::InLine) {
            return;
        }
        let quiet = self.quiet_ticks.get().saturating_add(1);
        self.quiet_ticks.set(quiet);
        let idle = patience.idle_ticks.is_some_and(|limit| quiet >= limit);
        match activity {
            Activity::Paused | Activity::InLine => {}
            // Whoever waits for an answer is not idle.
            Activity::Idle if idle && self.requests_in_flight.get() == 0 => {
                self.kill(CloseReason::Idle);
            }
            Activity::Idle if quiet == REST_TICKS => self.interrupt(),
            Activity::Idle => {}
            Activity::InLineHolding if quiet >= patience.request_ticks => {
                self.kill(CloseReason::NoMemory);
            }
            Activity::InLineHolding => {}
            _ if idle => self.kill(CloseReason::StalledFrame),
            Activity::Inline => self.judge_frame(patience, None),
            Activity::Filling => {
                self.judge_frame(patience, wanted.filling.then_some(FILLING_WINDOW_BYTES));
            }
            Activity::Probing => {
                self.judge_frame(patience, wanted.probing.then_some(PROBING_WINDOW_BYTES));
            }
            Activity::Large => {
                let least = if wanted.large { LARGE_WINDOW_BYTES } else { 1 };
                self.judge_frame(patience, Some(least));
                if wanted.large && quiet > patience.request_ticks.div_ceil(4) {
                    self.kill(CloseReason::StalledFrame);
                }
            }
        }
    }

    /// A frame under way must end or bring `least` bytes per request progress timeout where others
    /// wait for the memory that it holds. Where nobody does, a trickle is closed when it has not
    /// brought [`CALM_WINDOW_BYTES`] in the time in which an idle connection would be.
    fn judge_frame(&self, patience: Patience, least: Option<usize>) {
        let (least, window) = match least {
            Some(least) => (least, patience.request_ticks),
            None => (CALM_WINDOW_BYTES, patience.idle_ticks.unwrap_or(u32::MAX)),
        };
        let ticks = self.window_ticks.get().saturating_add(1);
        if ticks < window {
            return self.window_ticks.set(ticks);
        }
        let brought = self.window_bytes.get();
        self.begin_window();
        if brought < least {
            self.kill(CloseReason::StalledFrame);
        }
    }

    /// A peer that takes nothing is closed in the end, and soon when others wait for memory that the
    /// connection keeps meanwhile. Then all must be taken within the time in which otherwise a piece
    /// must be: a trickle would keep large answers, and requests behind them, for hours.
    fn judge_sending(&self, sending: Sending, patience: Patience, wanted: Kinds) {
        let quiet_ticks = sending.quiet_ticks.saturating_add(1);
        self.sending.set(Some(Sending { quiet_ticks, ..sending }));
        let is_wanted = sending.keeps.and(Kinds::of(self.activity.get())).meets(wanted);
        let limit = match is_wanted {
            true => patience.response_ticks.div_ceil(WANTED_HASTE).max(2),
            false => patience.response_ticks,
        };
        self.wanted_ticks.set(self.wanted_ticks.get() + u32::from(is_wanted));
        if quiet_ticks >= limit || self.wanted_ticks.get() >= patience.response_ticks.max(2) {
            self.kill(CloseReason::SlowReader);
        }
    }
}

/// The sweep's period.
pub(crate) const TICK: Duration = Duration::from_secs(1);
/// Ticks after which an idle connection gives its buffer back.
const REST_TICKS: u32 = 2;
/// What a small frame in a pooled buffer must bring per `odradek.request.progress.timeout.ms` while
/// others wait for such buffers: with the default of 10 s it is 400 bytes/s.
const FILLING_WINDOW_BYTES: usize = 4 << 10;
/// What the first 64 KiB of a large frame must bring, likewise: 1.6 KiB/s.
const PROBING_WINDOW_BYTES: usize = 16 << 10;
/// What a large frame must bring, likewise: 6.4 KiB/s, below any link on which large frames make
/// sense.
const LARGE_WINDOW_BYTES: usize = 64 << 10;
/// What any frame must bring per `connections.max.idle.ms`, unless it ends.
const CALM_WINDOW_BYTES: usize = 4 << 10;
/// So much shorter is the patience with a peer that keeps memory which others wait for: with the
/// default of 30 s it must take 256 KiB in 3 s.
const WANTED_HASTE: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { idle_ticks: Some(600), request_ticks: 10, response_ticks: 30 };
    const CALM: Kinds =
        Kinds { filling: false, probing: false, large: false, working: false, pinned: false };
    const TIGHT: Kinds =
        Kinds { filling: true, probing: true, large: true, working: true, pinned: true };

    fn after(activity: Activity, ticks: u32, pressure: Kinds) -> Option<CloseReason> {
        let watch = Watch::new();
        watch.enter(activity);
        (0..ticks).for_each(|_| watch.tick(PATIENCE, pressure));
        watch.killed()
    }

    /// The verdict over a frame that brings so many bytes per tick.
    fn trickle(activity: Activity, bytes: usize, ticks: u32, pressure: Kinds) -> bool {
        let watch = Watch::new();
        for _ in 0..ticks {
            watch.enter(activity);
            watch.received(bytes);
            watch.enter(Activity::Paused);
            watch.enter(activity);
            watch.tick(PATIENCE, pressure);
        }
        watch.killed().is_some()
    }

    #[test]
    fn every_activity_has_its_patience() {
        assert!(after(Activity::Idle, 599, TIGHT).is_none());
        assert!(matches!(after(Activity::Idle, 600, CALM), Some(CloseReason::Idle)));
        assert!(after(Activity::Inline, 599, TIGHT).is_none());
        assert!(matches!(after(Activity::Inline, 600, CALM), Some(CloseReason::StalledFrame)));
        for begun in [Activity::Filling, Activity::Probing] {
            assert!(after(begun, 599, CALM).is_none());
            assert!(after(begun, 9, TIGHT).is_none());
            assert!(matches!(after(begun, 10, TIGHT), Some(CloseReason::StalledFrame)));
        }
        assert!(matches!(after(Activity::InLineHolding, 10, TIGHT), Some(CloseReason::NoMemory)));
        assert!(after(Activity::InLine, 10_000, TIGHT).is_none());
        assert!(after(Activity::Large, 9, CALM).is_none());
        assert!(matches!(after(Activity::Large, 10, CALM), Some(CloseReason::StalledFrame)));
        assert!(matches!(after(Activity::Large, 4, TIGHT), Some(CloseReason::StalledFrame)));
        assert!(after(Activity::Paused, 10_000, TIGHT).is_none());
    }

    #[test]
    fn each_kind_of_memory_has_its_own_pressure() {
        let probing = Kinds { probing: true, ..CALM };
        let filling = Kinds { filling: true, ..CALM };
        assert!(after(Activity::Filling, 20, probing).is_none());
        assert!(after(Activity::Probing, 20, filling).is_none());
        assert!(after(Activity::Filling, 10, filling).is_some());
        assert!(after(Activity::Probing, 10, probing).is_some());
    }

    #[test]
    fn a_trickle_keeps_memory_only_while_nobody_waits() {
        for (activity, slow, fair) in [
            (Activity::Filling, 100, 410),
            (Activity::Probing, 1000, 1700),
            (Activity::Large, 5000, 7000),
        ] {
            assert!(!trickle(activity, slow, 20, CALM), "{activity:?}");
            assert!(trickle(activity, slow, 20, TIGHT), "{activity:?}");
            assert!(!trickle(activity, fair, 100, TIGHT), "{activity:?}");
        }
    }

    #[test]
    fn a_trickle_does_not_last_for_ever() {
        assert!(!trickle(Activity::Inline, 1, 599, CALM));
        assert!(trickle(Activity::Inline, 1, 600, CALM));
        assert!(!trickle(Activity::Inline, 10, 2000, CALM));
    }

    #[test]
    fn frames_that_end_are_no_trickle() {
        let watch = Watch::new();
        for _ in 0..2000 {
            watch.enter(Activity::Filling);
            watch.received(100);
            watch.frame_ended();
            watch.tick(PATIENCE, TIGHT);
        }
        assert!(watch.killed().is_none());
    }

    #[test]
    fn requests_in_flight_excuse_idleness_and_nothing_else() {
        for (activity, killed) in
            [(Activity::Idle, false), (Activity::Filling, true), (Activity::Large, true)]
        {
            let watch = Watch::new();
            watch.enter(activity);
            watch.set_in_flight(1);
            (0..1000).for_each(|_| watch.tick(PATIENCE, TIGHT));
            assert_eq!(watch.killed().is_some(), killed, "{activity:?}");
        }
    }

    #[test]
    fn a_reader_is_hurried_for_the_memory_it_keeps() {
        let pinned = Kinds { pinned: true, ..CALM };
        let cases =
            [(pinned, CALM, 30), (CALM, TIGHT, 30), (pinned, TIGHT, 3), (pinned, pinned, 3)];
        for (keeps, wanted, ticks) in cases {
            let watch = Watch::new();
            watch.begin_sending(keeps);
            (1..ticks).for_each(|_| watch.tick(PATIENCE, wanted));
            assert!(watch.killed().is_none(), "{keeps:?} {wanted:?}");
            watch.sent_piece();
            (1..ticks).for_each(|_| watch.tick(PATIENCE, wanted));
            assert!(watch.killed().is_none(), "{keeps:?} {wanted:?}");
            watch.tick(PATIENCE, wanted);
            assert!(matches!(watch.killed(), Some(CloseReason::SlowReader)));
        }
    }

    /// Whether a reader that takes a piece a tick, answer after answer, is closed in so many ticks.
    fn trickled(keeps: Kinds, activity: Activity, wanted: Kinds, ticks: u32) -> bool {
        let watch = Watch::new();
        watch.enter(activity);
        watch.set_in_flight(2);
        for tick in 0..ticks {
            if tick % 7 == 0 {
                watch.end_sending();
                watch.begin_sending(keeps);
            }
            watch.sent_piece();
            watch.tick(PATIENCE, wanted);
        }
        watch.killed().is_some()
    }

    #[test]
    fn a_reader_that_trickles_keeps_memory_only_while_nobody_waits() {
        let large = Kinds { large: true, ..CALM };
        let working = Kinds { working: true, ..CALM };
        for keeps in [large, working] {
            assert!(!trickled(keeps, Activity::Paused, CALM, 1000));
            assert!(!trickled(keeps, Activity::Paused, keeps, 29));
            assert!(trickled(keeps, Activity::Paused, keeps, 30));
        }
        assert!(!trickled(large, Activity::Paused, working, 1000), "others want other memory");
        // What stands still behind the answers counts too.
        assert!(trickled(CALM, Activity::Large, large, 30));
        assert!(trickled(CALM, Activity::InLine, large, 30));
        assert!(!trickled(CALM, Activity::Idle, large, 1000));
    }

    #[test]
    fn long_polls_are_hurried_while_others_wait() {
        let watch = Watch::new();
        watch.tick(PATIENCE, TIGHT);
        assert!(!watch.is_hurried(), "it has none");
        watch.set_in_flight(1);
        watch.tick(PATIENCE, Kinds { pinned: true, ..CALM });
        assert!(!watch.is_hurried(), "they keep nothing of that");
        watch.tick(PATIENCE, Kinds { working: true, ..CALM });
        assert!(watch.is_hurried());
        watch.calm();
        assert!(!watch.is_hurried());
    }
}
