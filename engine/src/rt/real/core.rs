//! One real core: what an [`crate::rt::Rt`] of the real form points to, and the tasks that keep it
//! going.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    future::Future,
    io,
    rc::{Rc, Weak},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use glommio::{
    TaskQueueHandle,
    io::{DmaBuffer, ReadResult},
    timer,
};

use super::{net::Accepting, op::InFlight};
use crate::{
    ids::CoreId,
    rt::{BlockingPanicked, DmaBuf, HashState, Instant, dma::DmaPool, task::fenced_call},
};

/// A core's executor and what belongs to it.
pub(in crate::rt) struct Core {
    id: CoreId,
    /// The start of the process's monotonic clock, the same on all cores.
    epoch: std::time::Instant,
    hash_seed: u64,
    pool: DmaPool,
    in_flight: InFlight,
    /// Devices that glommio knows not to poll.
    probed: RefCell<BTreeSet<u64>>,
    listeners: RefCell<Vec<Weak<Accepting>>>,
    entropy: RefCell<Entropy>,
    /// When the executor's present run of tasks was first noticed; sockets and disks are looked at
    /// between runs.
    run_began: Cell<Instant>,
    /// Tasks polled since the heartbeat last looked.
    polled: Cell<u64>,
}

/// What all cores of a process share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) epoch: std::time::Instant,
    pub(super) hash_seed: u64,
}

struct Entropy {
    bytes: [u8; ENTROPY_BYTES],
    used: usize,
}

impl Core {
    /// Sets up this thread's core. Runs on its executor.
    pub(super) fn start(id: CoreId, common: &Common, idle_bytes_max: usize) -> Rc<Self> {
        let core = Rc::new(Self {
            id,
            epoch: common.epoch,
            hash_seed: common.hash_seed,
            pool: DmaPool::device(idle_bytes_max),
            in_flight: InFlight::default(),
            probed: RefCell::default(),
            listeners: RefCell::default(),
            entropy: RefCell::new(Entropy { bytes: [0; ENTROPY_BYTES], used: ENTROPY_BYTES }),
            run_began: Cell::new(Instant::ZERO),
            polled: Cell::new(0),
        });
        spawn(heartbeat(Rc::clone(&core)));
        core
    }

    /// Waits for what the kernel still works on. Nothing may be begun afterwards.
    pub(super) async fn settle(&self) {
        for listener in self.listeners.take().iter().filter_map(Weak::upgrade) {
            listener.shutdown();
        }
        for _ in 0..SETTLE_ROUNDS {
            // At least once, so that glommio closes the files that were dropped.
            timer::sleep(Duration::from_millis(1)).await;
            if self.in_flight.count() == 0 {
                break;
            }
        }
        self.in_flight.end();
    }

    pub(in crate::rt) fn id(&self) -> CoreId {
        self.id
    }

    pub(in crate::rt) fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    pub(in crate::rt) fn busy(&self) -> Duration {
        // The executor's own count starts anew whenever somebody reads it.
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let part = |of: i64| u64::try_from(of).unwrap_or(0);
        Duration::from_secs(part(used.tv_sec)) + Duration::from_nanos(part(used.tv_nsec))
    }

    pub(in crate::rt) fn wall_ms(&self) -> i64 {
        let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        }
    }

    pub(in crate::rt) fn fill_random(&self, mut bytes: &mut [u8]) {
        let mut entropy = self.entropy.borrow_mut();
        while !bytes.is_empty() {
            if entropy.used == ENTROPY_BYTES {
                fill_from_kernel(&mut entropy.bytes);
                entropy.used = 0;
            }
            let n = bytes.len().min(ENTROPY_BYTES - entropy.used);
            let used = entropy.used;
            let (now, later) = bytes.split_at_mut(n);
            now.copy_from_slice(&entropy.bytes[used..used + n]);
            // What was given out must not be found in memory later.
            entropy.bytes[used..used + n].fill(0);
            entropy.used += n;
            bytes = later;
        }
    }

    pub(in crate::rt) fn hash_state(&self) -> HashState {
        HashState::with_seed(self.hash_seed)
    }

    pub(in crate::rt) fn timer(&self, deadline: Instant) -> timer::Timer {
        timer::Timer::new(deadline.since(self.now()))
    }

    pub(in crate::rt) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        spawn(task);
    }

    pub(in crate::rt) fn alloc(&self, len: usize) -> DmaBuf {
        self.pool.get(len)
    }

    pub(super) fn buffer_of(&self, read: ReadResult, asked: usize) -> DmaBuf {
        self.pool.adopt(read, asked)
    }

    pub(super) fn write_once(&self, copy: DmaBuffer) -> DmaBuf {
        self.pool.once(copy)
    }

    pub(super) fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    pub(super) fn probed(&self) -> &RefCell<BTreeSet<u64>> {
        &self.probed
    }

    /// Has a listener shut down before the core ends.
    pub(super) fn register(&self, listener: &Rc<Accepting>) {
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(Rc::downgrade(listener));
    }

    /// A yield alone would not do: glommio looks at its rings only when no task is runnable. The
    /// shortest sleep takes this task off the list; a run of tasks that all do so ends.
    pub(in crate::rt) async fn turn(&self) {
        self.note_run();
        if self.now().since(self.run_began.get()) > RUN_MAX {
            timer::sleep(Duration::from_micros(1)).await;
        }
    }

    /// Notices if the executor has looked at its rings since the last call: glommio counts its runs
    /// of tasks, and forgets the count when asked.
    fn note_run(&self) {
        let stats = glommio::executor().executor_stats();
        self.polled.set(self.polled.get() + stats.tasks_executed());
        if stats.scheduler_runs() > 0 {
            self.run_began.set(self.now());
        }
    }

    /// The result goes through a cell of our own: glommio's is leaked when the future is dropped,
    /// and a panic inside glommio's would end the pool's thread.
    pub(in crate::rt) async fn blocking<R: Send + 'static>(
        &self,
        f: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, BlockingPanicked> {
        let result = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&result);
        let work = move || {
            let done = fenced_call(f);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        };
        glommio::executor().spawn_blocking(work).await;
        let done = result.lock().unwrap_or_else(PoisonError::into_inner).take();
        done.expect("the pool says that it is done when it is")
    }
}

/// Spawns a task that starts once the present one waits. glommio's plain spawn polls at once, inside
/// the spawning task, which would find borrows that a simulated run would not.
fn spawn(task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local_into(task, TaskQueueHandle::default())
        .expect("the default queue exists as long as its executor")
        // Never kept and never cancelled: glommio leaks a cancelled task.
        .detach();
}

/// Bounds what a known fault of glommio can do: an executor whose thread is descheduled at the
/// wrong moment goes to sleep although tasks are ready, until something else wakes it.
///
/// Beats fast while tasks run, slowly when none do; and gives idle buffers back.
async fn heartbeat(core: Rc<Core>) {
    let mut trim_due = core.now() + TRIM_EVERY;
    let mut beat = BEAT_BUSY;
    loop {
        timer::sleep(beat).await;
        core.note_run();
        beat = if core.polled.take() > POLLS_OF_A_BEAT { BEAT_BUSY } else { BEAT_IDLE };
        let now = core.now();
        if now >= trim_due {
            trim_due = now + TRIM_EVERY;
            if core.pool.trim() >= RETURN_FROM_BYTES {
                // A panic in there has been logged, and costs nothing but memory.
                drop(core.blocking(return_free_memory).await);
            }
        }
    }
}

/// Gives the heap's free pages back to the system: its own rule gives back only what is on top.
fn return_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes a number and works on the heap's own state, under its locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The kernel's randomness, which is ready long before a broker starts.
pub(super) fn fill_from_kernel(mut bytes: &mut [u8]) {
    while !bytes.is_empty() {
        // SAFETY: the kernel writes at most `bytes.len()` bytes into `bytes`, before it returns.
        let n = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        match usize::try_from(n) {
            Ok(n) => bytes = &mut bytes[n..],
            Err(_) => {
                let e = io::Error::last_os_error();
                assert_eq!(e.kind(), io::ErrorKind::Interrupted, "no randomness: {e}");
            }
        }
    }
}

const ENTROPY_BYTES: usize = 256;

/// A run of tasks may go on for so long before sockets and disks get a look: what a client on an
/// otherwise quick core would notice.
const RUN_MAX: Duration = Duration::from_micros(500);

/// While tasks run. The fault's worst case is one beat.
const BEAT_BUSY: Duration = Duration::from_millis(5);

/// While none do: 0.1 % of a core.
const BEAT_IDLE: Duration = Duration::from_millis(100);

/// The heartbeat's own share of the count.
const POLLS_OF_A_BEAT: u64 = 2;

/// How long a buffer may lie idle, at most twice.
const TRIM_EVERY: Duration = Duration::from_secs(5);

/// Less than this is not worth walking the heap.
const RETURN_FROM_BYTES: usize = 1 << 20;

/// Milliseconds that a core waits for its last operations.
const SETTLE_ROUNDS: usize = 1000;
