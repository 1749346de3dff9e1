//! One simulated core: what an [`crate::rt::Rt`] of the simulated form points to.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    NodeId, Plant, Shared,
    disk::Disks,
    sched::{EventKey, Later},
};
use crate::{
    ids::CoreId,
    rt::{
        BlockingPanicked, DmaBuf, HashState, Instant, TaskPanicked, dma::DmaPool, rng::Rng,
        task::fenced_call,
    },
};

/// A core of one incarnation of a node. After a crash it does nothing any more: tasks that are
/// being dropped may still hold it.
pub(in crate::rt) struct Core {
    pub(super) shared: Rc<Shared>,
    node: NodeId,
    id: CoreId,
    incarnation: u32,
    rng: RefCell<Rng>,
    pool: DmaPool,
    disks: Disks,
}

/// A timer of the simulated clock.
pub(in crate::rt) struct Timer {
    core: Rc<Core>,
    at: Instant,
    event: Option<EventKey>,
}

impl Core {
    pub(super) fn new(
        shared: &Rc<Shared>,
        node: NodeId,
        id: CoreId,
        incarnation: u32,
        disks: Disks,
    ) -> Self {
        Self {
            shared: Rc::clone(shared),
            node,
            id,
            incarnation,
            rng: RefCell::new(shared.sched.random(Rng::fork)),
            pool: DmaPool::new(POOL_IDLE_BYTES_MAX),
            disks,
        }
    }

    pub(in crate::rt) fn id(&self) -> CoreId {
        self.id
    }

    pub(in crate::rt) fn node(&self) -> NodeId {
        self.node
    }

    pub(in crate::rt) fn now(&self) -> Instant {
        self.shared.sched.now()
    }

    pub(in crate::rt) fn wall_ms(&self) -> i64 {
        let since_start = i64::try_from(self.now().as_nanos() / 1_000_000).unwrap_or(i64::MAX);
        self.shared.wall_start_ms(self.node).saturating_add(since_start)
    }

    pub(in crate::rt) fn fill_random(&self, bytes: &mut [u8]) {
        self.rng.borrow_mut().fill(bytes);
    }

    pub(in crate::rt) fn hash_state(&self) -> HashState {
        HashState::with_seed(self.shared.hash_seed(self.node))
    }

    pub(in crate::rt) fn timer(self: &Rc<Self>, at: Instant) -> Timer {
        Timer { core: Rc::clone(self), at, event: None }
    }

    pub(in crate::rt) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // A task of a crashed node that spawns while it is dropped gets nothing.
        if self.is_alive() {
            self.shared.sched.spawn(self.node, self.id, Box::pin(task));
        }
    }

    /// Writes a task's panic into the world's list.
    pub(in crate::rt) fn witness(self: &Rc<Self>) -> impl FnOnce(&TaskPanicked) + use<> {
        let core = Rc::clone(self);
        move |panicked| core.shared.panics.borrow_mut().push((core.node, panicked.clone()))
    }

    pub(in crate::rt) async fn blocking<R: 'static>(
        self: &Rc<Self>,
        f: impl FnOnce() -> R + 'static,
    ) -> Result<R, BlockingPanicked> {
        let (later, deliver) = Later::new();
        let takes = self.random(|rng| Duration::from_nanos(20_000 + rng.below(200_000)));
        self.call_after(takes, move |_| deliver(fenced_call(f)));
        later.await
    }

    /// Whether this bug was planted.
    pub(in crate::rt) fn planted(&self, plant: Plant) -> bool {
        self.shared.options.plant == Some(plant)
    }

    /// Scribbled over, so that no one comes to rely on fresh buffers being zero.
    pub(in crate::rt) fn alloc(&self, len: usize) -> DmaBuf {
        let mut buf = self.pool.get(len);
        buf.fill(0xdb);
        buf
    }

    pub(super) fn disks(&self) -> &Disks {
        &self.disks
    }

    /// True until the node crashes.
    pub(super) fn is_alive(&self) -> bool {
        self.shared.incarnation(self.node) == Some(self.incarnation)
    }

    /// The world's randomness: how long things take, what faults do.
    pub(super) fn random<R>(&self, f: impl FnOnce(&mut Rng) -> R) -> R {
        self.shared.sched.random(f)
    }

    /// Does `f` after a while unless the node crashes before.
    pub(super) fn call_after(
        self: &Rc<Self>,
        after: Duration,
        f: impl FnOnce(&Rc<Self>) + 'static,
    ) {
        let core = Rc::clone(self);
        self.shared.sched.call_at(self.now() + after, move || {
            if core.is_alive() {
                f(&core);
            }
        });
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let sched = &self.core.shared.sched;
        if sched.now() >= self.at {
            return Poll::Ready(());
        }
        if !self.event.is_some_and(|key| sched.rearm(key, cx.waker())) {
            let key = sched.wake_at(self.at, cx.waker().clone());
            self.event = Some(key);
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(key) = self.event {
            self.core.shared.sched.cancel(key);
        }
    }
}

/// Lets the scheduler choose again.
pub(in crate::rt) fn yield_once() -> impl Future<Output = ()> {
    let mut yielded = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// A world has many cores; each keeps little.
const POOL_IDLE_BYTES_MAX: usize = 4 << 20;
