//! The proposer: changes of the metadata, in rounds.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use replication::controller::{Controller, Decision, TooLarge, Turn};

use super::{Batch, Meta};

/// Why a decision has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProposeError {
    /// The metadata log could not be written. It may work again once there is room.
    #[error("the metadata log: {0}")]
    Log(String),
    /// More than one batch can hold.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// This core or this node leads no quorum, or not any more.
    #[error("not the controller")]
    NotController,
    /// The controller panicked; the panic is in the log.
    #[error("the controller failed at this request")]
    Defect,
}

pub(super) type Finish = Box<dyn FnOnce(Result<(), ProposeError>)>;
type Decide = Box<dyn FnOnce(&mut Controller, &mut Turn<'_>) -> Decision<()>>;

/// A change to decide, and who waits for it.
pub(super) struct Job {
    decide: Decide,
    finish: Finish,
    answer: Answer,
}

/// When a change is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Committed,
    Published,
}

/// Requests that wait for the proposer.
pub(super) struct Queue(flume::Sender<Job>);

impl Queue {
    /// The queue, and the proposer's end of it.
    pub(super) fn new() -> (Self, flume::Receiver<Job>) {
        let (sender, receiver) = flume::bounded(QUEUE_CAPACITY);
        (Self(sender), receiver)
    }
}

impl Meta {
    /// Has a change decided in its turn; answers when it is committed and every core has it.
    pub(crate) async fn propose<T: 'static>(
        &self,
        decide: impl FnOnce(&mut Controller, &mut Turn<'_>) -> Decision<T> + 'static,
    ) -> Result<T, ProposeError> {
        self.ask(Answer::Published, decide).await
    }

    /// Has a change decided in its turn; answers when it is committed, for who needs no core to
    /// know of it.
    pub(crate) async fn propose_only<T: 'static>(
        &self,
        decide: impl FnOnce(&mut Controller, &mut Turn<'_>) -> Decision<T> + 'static,
    ) -> Result<T, ProposeError> {
        self.ask(Answer::Committed, decide).await
    }

    async fn ask<T: 'static>(
        &self,
        answer: Answer,
        decide: impl FnOnce(&mut Controller, &mut Turn<'_>) -> Decision<T> + 'static,
    ) -> Result<T, ProposeError> {
        let (done, answered) = flume::bounded(1);
        let outcome = Rc::new(RefCell::new(None));
        let decided = Rc::clone(&outcome);
        let decide: Decide = Box::new(move |controller, turn| {
            decide(controller, turn).map(|outcome| *decided.borrow_mut() = Some(outcome))
        });
        let finish: Finish = Box::new(move |committed| {
            let outcome = || outcome.take().expect("a decision has an outcome");
            // The asker may be gone.
            drop(done.send(committed.map(|()| outcome())));
        });
        let gone = |_| ProposeError::NotController;
        self.queue.0.send_async(Job { decide, finish, answer }).await.map_err(gone)?;
        // A job that is dropped undone was refused with everything behind a failure.
        answered.recv_async().await.map_err(|_| ProposeError::NotController)?
    }

    /// Decides, appends and commits one round; then answers it, or has it published and answered.
    ///
    /// What no batch can hold is refused alone. When something cannot be appended, or the
    /// controller panics, it and everything behind it is void: the rest of the round is dropped,
    /// and a new controller takes office on what is committed.
    async fn round(&self, jobs: Vec<Job>) {
        let (mut batches, mut waiting) = (Vec::new(), Vec::new());
        let mut failure = None;
        for Job { decide, finish, answer } in jobs {
            let Some(before) = self.controller.borrow().as_ref().map(Controller::mark) else {
                break;
            };
            let decided = match catch_unwind(AssertUnwindSafe(|| self.decide(decide))) {
                Ok(decided) => decided.expect("there was a controller just now"),
                Err(panic) => {
                    let reason = panic_message(&*panic);
                    tracing::error!("the controller panicked, and is replaced: {reason}");
                    finish(Err(ProposeError::Defect));
                    failure = Some(reason);
                    break;
                }
            };
            match self.append(decided, &mut batches).await {
                Ok(()) => waiting.push((answer, finish)),
                Err(error @ ProposeError::TooLarge(_)) => {
                    if let Some(controller) = &mut *self.controller.borrow_mut() {
                        controller.return_to(before);
                    }
                    finish(Err(error));
                }
                Err(error) => {
                    failure = Some(error.to_string());
                    finish(Err(error));
                    break;
                }
            }
        }
        let committed = self.commit(&batches).await;
        self.answer(waiting, &committed);
        if let Some(reason) = committed.err().or(failure) {
            self.start_anew(&reason).await;
        }
    }

    fn answer(&self, waiting: Vec<(Answer, Finish)>, committed: &Result<(), String>) {
        let mut published = Vec::new();
        for (answer, finish) in waiting {
            match (answer, committed) {
                (_, Err(reason)) => finish(Err(ProposeError::Log(reason.clone()))),
                (Answer::Committed, Ok(())) => finish(Ok(())),
                (Answer::Published, Ok(())) => published.push(finish),
            }
        }
        self.publishes.want(published);
    }

    /// Puts a new controller on what is committed, if the log can still be written.
    async fn start_anew(&self, reason: &str) {
        *self.controller.borrow_mut() = None;
        if self.log.has_failed() {
            tracing::error!("the metadata can't be changed until a restart: {reason}");
            return;
        }
        tracing::warn!("a change of the metadata failed: {reason}");
        let first = match self.activate(&[]) {
            Ok(first) => first,
            Err(error) => {
                tracing::error!("the metadata can't be changed until a restart: {error}");
                return;
            }
        };
        let mut batches: Vec<Batch> = Vec::new();
        let mut committed = self.append(first, &mut batches).await.map_err(|e| e.to_string());
        if committed.is_ok() {
            committed = self.commit(&batches).await;
        }
        if let Err(reason) = committed {
            tracing::error!("the metadata can't be changed until a restart: {reason}");
            *self.controller.borrow_mut() = None;
        }
    }
}

/// Runs rounds for ever.
pub(super) async fn run(meta: Rc<Meta>, jobs: flume::Receiver<Job>) {
    let ending = Ending { meta: Rc::clone(&meta), jobs };
    while let Ok(first) = ending.jobs.recv_async().await {
        let mut jobs = vec![first];
        jobs.extend(ending.jobs.try_iter().take(ROUND_MAX - 1));
        meta.round(jobs).await;
    }
}

/// Has nobody wait for a proposer that is no more.
struct Ending {
    meta: Rc<Meta>,
    jobs: flume::Receiver<Job>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.jobs.drain().for_each(drop);
        self.meta.fail();
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

/// Requests that wait; more wait to be queued.
const QUEUE_CAPACITY: usize = 1024;
/// Decisions that one sync commits.
const ROUND_MAX: usize = 256;
