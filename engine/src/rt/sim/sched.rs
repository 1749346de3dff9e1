//! The simulator's scheduler: tasks of all cores of all nodes, one virtual clock, one event queue.
//!
//! Of the tasks that are ready, a seeded choice runs next; only when none is ready does time jump
//! to the next event. Every poll takes a little virtual time, so that a busy core sees its timers.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use super::{super::rng::Rng, NodeId};
use crate::{ids::CoreId, rt::Instant};

/// Scheduler state. Everything is behind its own cell: nothing stays borrowed while a task runs.
pub(super) struct Sched {
    now: Cell<Instant>,
    rng: RefCell<Rng>,
    trace: Cell<u64>,
    tasks: RefCell<slab::Slab<Task>>,
    ready: Ready,
    /// Cores that stand still.
    paused: RefCell<BTreeMap<(NodeId, CoreId), Pause>>,
    events: RefCell<BTreeMap<EventKey, Event>>,
    next_id: Cell<u64>,
    polls: Cell<u64>,
    poll_time_max: Duration,
}

/// When an event is due, and its number: events due together happen in the order they were made.
pub(super) type EventKey = (Instant, u64);

enum Event {
    Wake(Waker),
    Call(Box<dyn FnOnce()>),
}

/// Until when a core stands still, and its tasks that were to run meanwhile.
struct Pause {
    until: Instant,
    held: Vec<(usize, u64)>,
}

struct Task {
    id: u64,
    node: NodeId,
    core: CoreId,
    /// Absent while the task is being polled.
    future: Option<LocalFuture>,
    waker: Waker,
    queued: Arc<TaskWaker>,
}

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Wakers may come from other threads (the inbox), so the list of ready tasks is shared.
type Ready = Arc<Mutex<Vec<(usize, u64)>>>;

struct TaskWaker {
    slot: usize,
    id: u64,
    queued: AtomicBool,
    ready: Ready,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            lock(&self.ready).push((self.slot, self.id));
        }
    }
}

impl Sched {
    pub(super) fn new(rng: Rng, poll_time_max: Duration) -> Self {
        Self {
            now: Cell::new(Instant::ZERO),
            rng: RefCell::new(rng),
            trace: Cell::new(0xcbf2_9ce4_8422_2325),
            tasks: RefCell::default(),
            ready: Ready::default(),
            paused: RefCell::default(),
            events: RefCell::default(),
            next_id: Cell::new(0),
            polls: Cell::new(0),
            poll_time_max,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.now.get()
    }

    pub(super) fn polls(&self) -> u64 {
        self.polls.get()
    }

    /// Hash over every decision so far.
    pub(super) fn trace_hash(&self) -> u64 {
        self.trace.get()
    }

    /// Adds something that happened to the trace.
    pub(super) fn note(&self, what: u64) {
        let mixed = (self.trace.get() ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.trace.set(mixed ^ (mixed >> 29));
    }

    /// The world's randomness. The closure must not run user code.
    pub(super) fn random<R>(&self, f: impl FnOnce(&mut Rng) -> R) -> R {
        f(&mut self.rng.borrow_mut())
    }

    pub(super) fn spawn(&self, node: NodeId, core: CoreId, future: LocalFuture) {
        let id = self.id();
        let mut tasks = self.tasks.borrow_mut();
        let entry = tasks.vacant_entry();
        let queued = Arc::new(TaskWaker {
            slot: entry.key(),
            id,
            queued: AtomicBool::new(true),
            ready: Arc::clone(&self.ready),
        });
        lock(&self.ready).push((entry.key(), id));
        entry.insert(Task {
            id,
            node,
            core,
            future: Some(future),
            waker: Waker::from(Arc::clone(&queued)),
            queued,
        });
    }

    /// Takes all tasks of a node out of the scheduler; the caller drops them, without holding a
    /// borrow, since their drops run code.
    pub(super) fn take_tasks(&self, of: Option<NodeId>) -> Vec<Box<dyn std::any::Any>> {
        let mut tasks = self.tasks.borrow_mut();
        let dead: Vec<usize> = tasks
            .iter()
            .filter(|(_, task)| of.is_none_or(|node| task.node == node))
            .map(|(slot, _)| slot)
            .collect();
        dead.into_iter()
            .map(|slot| Box::new(tasks.remove(slot)) as Box<dyn std::any::Any>)
            .collect()
    }

    /// No task of the core runs before `until`.
    pub(super) fn pause(&self, node: NodeId, core: CoreId, until: Instant) {
        let mut paused = self.paused.borrow_mut();
        let pause = paused.entry((node, core)).or_insert(Pause { until, held: Vec::new() });
        pause.until = pause.until.max(until);
        self.note(until.as_nanos() ^ u64::from(core.0));
    }

    /// Ends the pauses of a node's cores: those that are over, or all of them.
    pub(super) fn resume(&self, node: NodeId, all: bool) {
        let now = self.now.get();
        self.paused.borrow_mut().retain(|(of, _), pause| {
            let over = *of == node && (all || pause.until <= now);
            if over {
                lock(&self.ready).append(&mut pause.held);
            }
            !over
        });
    }

    pub(super) fn tasks_alive(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Wakes `waker` at `at`.
    pub(super) fn wake_at(&self, at: Instant, waker: Waker) -> EventKey {
        self.event(at, Event::Wake(waker))
    }

    /// Replaces the waker of an event that is still to come; false when it is not.
    pub(super) fn rearm(&self, key: EventKey, waker: &Waker) -> bool {
        match self.events.borrow_mut().get_mut(&key) {
            Some(Event::Wake(old)) => {
                old.clone_from(waker);
                true
            }
            _ => false,
        }
    }

    pub(super) fn cancel(&self, key: EventKey) {
        let event = self.events.borrow_mut().remove(&key);
        drop(event);
    }

    /// Runs `f` at `at`, between tasks.
    pub(super) fn call_at(&self, at: Instant, f: impl FnOnce() + 'static) {
        self.event(at, Event::Call(Box::new(f)));
    }

    /// Drops all events, for a world that ends.
    pub(super) fn take_events(&self) -> Box<dyn std::any::Any> {
        Box::new(std::mem::take(&mut *self.events.borrow_mut()))
    }

    /// One step: an event that is due, else a ready task, else a jump to the next event not after
    /// `limit`. False when there is nothing to do until then; time is then at `limit` if there
    /// are later events, and where it was if there are none.
    pub(super) fn step(&self, limit: Instant) -> bool {
        if self.fire(self.now.get()) || self.poll_one() {
            return true;
        }
        let next = self.events.borrow().first_key_value().map(|(key, _)| key.0);
        match next {
            Some(at) if at <= limit => {
                self.now.set(at.max(self.now.get()));
                self.fire(at)
            }
            Some(_) => {
                self.now.set(limit.max(self.now.get()));
                false
            }
            None => false,
        }
    }

    /// Moves an idle clock forward.
    pub(super) fn advance_to(&self, at: Instant) {
        self.now.set(at.max(self.now.get()));
    }

    fn fire(&self, due: Instant) -> bool {
        let event = {
            let mut events = self.events.borrow_mut();
            match events.first_entry() {
                Some(first) if first.key().0 <= due => {
                    let (key, event) = first.remove_entry();
                    self.note(key.1);
                    event
                }
                _ => return false,
            }
        };
        match event {
            Event::Wake(waker) => waker.wake(),
            Event::Call(f) => f(),
        }
        true
    }

    fn poll_one(&self) -> bool {
        let Some((slot, id)) = self.choose() else { return false };
        let taken = {
            let mut tasks = self.tasks.borrow_mut();
            match tasks.get_mut(slot) {
                Some(task) if task.id == id => {
                    task.queued.queued.store(false, Ordering::Release);
                    let future = task.future.take().expect("only one poll runs at a time");
                    Some((future, task.waker.clone()))
                }
                _ => None,
            }
        };
        // A waker may outlive its task.
        let Some((mut future, waker)) = taken else { return true };
        self.polls.set(self.polls.get() + 1);
        let took = self.random(|rng| rng.below(self.poll_time_max.as_nanos() as u64 + 1));
        self.now.set(self.now.get() + Duration::from_nanos(took));
        self.note(id ^ self.now.get().as_nanos().rotate_left(32));

        let done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let dead = {
            let mut tasks = self.tasks.borrow_mut();
            match tasks.get_mut(slot) {
                Some(task) if task.id == id && !done => {
                    task.future = Some(future);
                    None
                }
                Some(task) if task.id == id => Some((Some(tasks.remove(slot)), future)),
                // The node crashed while its task ran.
                _ => Some((None, future)),
            }
        };
        drop(dead);
        true
    }

    fn choose(&self) -> Option<(usize, u64)> {
        loop {
            let mut ready = lock(&self.ready);
            let chosen = match ready.len() {
                0 => return None,
                1 => ready.pop()?,
                len => {
                    let chosen = self.random(|rng| rng.index(len));
                    ready.swap_remove(chosen)
                }
            };
            drop(ready);
            if !self.hold(chosen) {
                return Some(chosen);
            }
        }
    }

    /// Keeps a task whose core stands still until that goes on.
    fn hold(&self, (slot, id): (usize, u64)) -> bool {
        let mut paused = self.paused.borrow_mut();
        if paused.is_empty() {
            return false;
        }
        let tasks = self.tasks.borrow();
        let Some(task) = tasks.get(slot).filter(|task| task.id == id) else { return false };
        let Some(pause) = paused.get_mut(&(task.node, task.core)) else { return false };
        pause.held.push((slot, id));
        true
    }

    fn event(&self, at: Instant, event: Event) -> EventKey {
        let key = (at, self.id());
        self.events.borrow_mut().insert(key, event);
        key
    }

    fn id(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        id
    }
}

/// A result that an event will deliver. The event happens whether or not anyone still waits.
pub(super) struct Later<R>(Rc<RefCell<(Option<R>, Option<Waker>)>>);

impl<R: 'static> Later<R> {
    pub(super) fn new() -> (Self, impl FnOnce(R) + 'static) {
        let cell = Rc::new(RefCell::new((None, None::<Waker>)));
        let later = Self(Rc::clone(&cell));
        let deliver = move |result| {
            let waker = {
                let mut cell = cell.borrow_mut();
                cell.0 = Some(result);
                cell.1.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        (later, deliver)
    }
}

impl<R> Future for Later<R> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let mut cell = self.0.borrow_mut();
        match cell.0.take() {
            Some(result) => Poll::Ready(result),
            None => {
                cell.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Sched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sched(at {:?}, {} tasks)", self.now.get(), self.tasks_alive())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A poisoned list is still a list: nothing panics between its changes.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
