//! Real cores that repeat an operation when they are told to, for criterion to time.
//!
//! Criterion measures on its own thread and knows no futures; a core has nothing but futures. So a
//! core times a run of repetitions itself, and says how long it took.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use engine::rt::real::{CoreSpec, RunningCores, start};
use engine::rt::{Inbox, InboxSender, Rt, inbox};

/// What a core does.
type Main = Box<dyn FnOnce(Rt) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// One or two cores of this process, not pinned. They end with the value.
pub struct Cores {
    /// `None` while they end.
    jobs: Option<InboxSender<u64>>,
    took: Receiver<Duration>,
    running: Option<RunningCores>,
}

/// On a core: what it is told.
pub struct Jobs {
    rt: Rt,
    repeats: Inbox<u64>,
    took: Sender<Duration>,
}

impl Cores {
    /// Starts a core.
    ///
    /// # Panics
    /// When this machine has no io_uring to give.
    pub fn one<F, Fut>(main: F) -> Self
    where
        F: FnOnce(Rt, Jobs) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        Self::start(main, Vec::new())
    }

    /// Starts a core, and another one that runs `other` until that returns.
    ///
    /// # Panics
    /// As [`Cores::one`].
    pub fn two<F, Fut, G, Gut>(main: F, other: G) -> Self
    where
        F: FnOnce(Rt, Jobs) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
        G: FnOnce(Rt) -> Gut + Send + 'static,
        Gut: Future<Output = ()> + 'static,
    {
        Self::start(main, vec![Box::new(|rt| Box::pin(other(rt)))])
    }

    fn start<F, Fut>(main: F, others: Vec<Main>) -> Self
    where
        F: FnOnce(Rt, Jobs) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let (jobs, repeats) = inbox(1);
        let (sender, took) = channel();
        let first: Main = Box::new(move |rt: Rt| {
            let jobs = Jobs { rt: rt.clone(), repeats, took: sender };
            Box::pin(main(rt, jobs))
        });
        let mains = std::iter::once(first).chain(others);
        let running = start(mains.map(|main| (CoreSpec::default(), main)).collect());
        Self { jobs: Some(jobs), took, running: Some(running.expect("cores start")) }
    }

    /// How long the operation takes `repeats` times.
    ///
    /// # Panics
    /// When the core did.
    pub fn time(&self, repeats: u64) -> Duration {
        let jobs = self.jobs.as_ref().expect("the cores run");
        jobs.send(repeats).expect("the core runs");
        self.took.recv().expect("the core runs")
    }
}

impl Jobs {
    /// Repeats `op` as often as it is told, and does `between` when nobody measures, until the
    /// cores are to end.
    pub async fn each(self, mut op: impl AsyncFnMut(), mut between: impl AsyncFnMut()) {
        while let Some(repeats) = self.repeats.recv().await {
            let began = Instant::now();
            for _ in 0..repeats {
                op().await;
                self.rt.turn().await;
            }
            let took = began.elapsed();
            between().await;
            // Fails when nobody waits for it any more.
            let _ = self.took.send(took);
        }
    }

    /// As [`Jobs::each`], of an operation that says itself how long the part took that counts.
    pub async fn parts(self, mut op: impl AsyncFnMut() -> Duration) {
        while let Some(repeats) = self.repeats.recv().await {
            let mut took = Duration::ZERO;
            for _ in 0..repeats {
                took += op().await;
                self.rt.turn().await;
            }
            // Fails when nobody waits for it any more.
            let _ = self.took.send(took);
        }
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let ended = self.running.take().expect("they end once").join();
        if !std::thread::panicking() {
            ended.expect("no core panics");
        }
    }
}

impl fmt::Debug for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cores")
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jobs")
    }
}
