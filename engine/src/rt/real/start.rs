//! Starting and watching the cores of a real node.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    thread,
    time::Duration,
};

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement, timer};

use super::{
    Core,
    check::{self, StartError},
    core::{Common, fill_from_kernel},
};
use crate::{
    ids::CoreId,
    rt::{JoinHandle, Rt, RtForm, dma::GLOMMIO_BYTES, task::panic_message},
};

/// How to run one core.
#[derive(Clone, Debug)]
pub struct CoreSpec {
    /// The CPU to pin its thread to; `None` leaves that to the scheduler.
    pub cpu: Option<usize>,
    /// Direct I/O buffers kept for reuse while idle, at most; they are given back to the system
    /// within ten seconds of quiet.
    pub dma_idle_bytes_max: usize,
    /// How long to look for work before going to sleep. Halves the delay between cores and costs
    /// CPU while idle; only for pinned cores that have their CPU to themselves.
    pub spin: Option<Duration>,
}

impl Default for CoreSpec {
    fn default() -> Self {
        Self { cpu: None, dma_idle_bytes_max: 64 << 20, spin: None }
    }
}

/// How a core ended.
#[derive(Debug)]
pub struct CoreExit {
    /// Which core.
    pub core: CoreId,
    /// `Ok` when its main future returned, else the panic's message.
    pub result: Result<(), String>,
}

/// The threads of a running node.
pub struct RunningCores {
    threads: Vec<thread::JoinHandle<()>>,
    exits: flume::Receiver<CoreExit>,
}

/// Starts one executor per entry and runs its function on it. Returns once all are up.
///
/// # Errors
/// What stands in the way, with the remedy. Cores that had started by then are left running: the
/// process is expected to end.
pub fn start<F, Fut>(cores: Vec<(CoreSpec, F)>) -> Result<RunningCores, StartError>
where
    F: FnOnce(Rt) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    check::environment()?;
    let mut seed = [0; 8];
    fill_from_kernel(&mut seed);
    let common = Common { epoch: std::time::Instant::now(), hash_seed: u64::from_le_bytes(seed) };
    let count = cores.len();
    let (exit, exits) = flume::bounded(count.max(1));
    let (up, ups) = flume::bounded(count.max(1));
    let mut threads = Vec::with_capacity(count);
    for (id, (spec, main)) in cores.into_iter().enumerate() {
        let id = CoreId(u16::try_from(id).expect("core ids are 16 bits"));
        let (common, exit, up) = (common.clone(), exit.clone(), up.clone());
        let life = move || {
            let result = catch_unwind(AssertUnwindSafe(|| live(id, &spec, &common, main, up)));
            let result = result.unwrap_or_else(|payload| Err(panic_message(payload.as_ref())));
            // Fails when nobody watches any more.
            drop(exit.send(CoreExit { core: id, result }));
        };
        let thread = thread::Builder::new().name(format!("core-{id}")).spawn(life);
        threads.push(thread.map_err(check::from_io)?);
    }
    drop((exit, up));
    for _ in 0..count {
        ups.recv().unwrap_or_else(|_| Err(StartError::Other("a core died at its start".into())))?;
    }
    Ok(RunningCores { threads, exits })
}

impl RunningCores {
    /// Waits until a core ends, and tells how; `None` when all have.
    pub fn next_exit(&self) -> Option<CoreExit> {
        self.exits.recv().ok()
    }

    /// Waits until all cores have ended.
    ///
    /// # Errors
    /// The exits that were not in order, except those that [`RunningCores::next_exit`] has told.
    pub fn join(self) -> Result<(), Vec<CoreExit>> {
        let failed: Vec<_> = self.exits.iter().filter(|exit| exit.result.is_err()).collect();
        for thread in self.threads {
            // Its panics have been caught and told.
            drop(thread.join());
        }
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }
}

impl fmt::Debug for RunningCores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunningCores({})", self.threads.len())
    }
}

/// A core's thread from beginning to end.
fn live<F, Fut>(
    id: CoreId,
    spec: &CoreSpec,
    common: &Common,
    main: F,
    up: flume::Sender<Result<(), StartError>>,
) -> Result<(), String>
where
    F: FnOnce(Rt) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let executor = match executor(spec) {
        Ok(executor) => executor,
        Err(e) => {
            let message = e.to_string();
            drop(up.send(Err(e)));
            return Err(message);
        }
    };
    let (common, idle_bytes_max) = (common.clone(), spec.dma_idle_bytes_max);
    executor.run(async move {
        let core = Core::start(id, &common, idle_bytes_max);
        // The first sleep of a process registers its memory barriers, which takes milliseconds.
        timer::sleep(Duration::from_micros(1)).await;
        let rt = Rt(RtForm::Real(Rc::clone(&core)));
        let main = async move {
            drop(up.send(Ok(())));
            drop(up);
            main(rt).await;
        };
        let (handle, task) = JoinHandle::pair("main", main, |_| {});
        task.await;
        let result = handle.await.map_err(|panicked| panicked.message);
        core.settle().await;
        result
    })
}

fn executor(spec: &CoreSpec) -> Result<LocalExecutor, StartError> {
    let placement = spec.cpu.map_or(Placement::Unbound, Placement::Fixed);
    let builder = LocalExecutorBuilder::new(placement)
        .io_memory(GLOMMIO_BYTES)
        // Short timers make the fault that the heartbeat bounds more likely.
        .preempt_timer(Duration::from_millis(10))
        .blocking_thread_pool_placement(PoolPlacement::Unbound(2));
    let builder = match spec.spin {
        Some(spin) => builder.spin_before_park(spin),
        None => builder,
    };
    builder.make().map_err(|e| check::from_glommio(e, spec.cpu))
}
