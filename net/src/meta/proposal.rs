//! The proposer: changes of the metadata, in rounds.

use std::rc::Rc;

use replication::controller::{Controller, Decision, Turn};

use super::{Batch, Meta};

/// Why a decision has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProposeError {
    /// The metadata log could not be written. It may work again once there is room.
    #[error("the metadata log: {0}")]
    Log(String),
    /// This core or this node leads no quorum, or not any more.
    #[error("not the controller")]
    NotController,
}

type Finish = Box<dyn FnOnce(Result<(), ProposeError>)>;
type Job = Box<dyn FnOnce(&mut Controller, &mut Turn<'_>) -> (Decision<()>, Finish)>;

/// Requests that wait for the proposer.
pub(super) struct Queue {
    sender: flume::Sender<Job>,
    receiver: flume::Receiver<Job>,
}

impl Queue {
    pub(super) fn new() -> Self {
        let (sender, receiver) = flume::bounded(QUEUE_CAPACITY);
        Self { sender, receiver }
    }
}

impl Meta {
    /// Has a change decided in its turn; answers when it is committed and every core has it.
    pub(crate) async fn propose<T: 'static>(
        &self,
        decide: impl FnOnce(&mut Controller, &mut Turn<'_>) -> Decision<T> + 'static,
    ) -> Result<T, ProposeError> {
        let (done, answer) = flume::bounded(1);
        let job: Job = Box::new(move |controller, turn| {
            let mut outcome = None;
            let decision = decide(controller, turn).map(|decided| outcome = Some(decided));
            let finish: Finish = Box::new(move |committed| {
                let outcome = outcome.expect("a decision has an outcome");
                // The asker may be gone.
                drop(done.send(committed.map(|()| outcome)));
            });
            (decision, finish)
        });
        let gone = |_| ProposeError::NotController;
        self.queue.sender.send_async(job).await.map_err(gone)?;
        // A job that is dropped undone was refused with everything behind a failure.
        answer.recv_async().await.map_err(|_| ProposeError::NotController)?
    }

    /// Decides, appends, commits and publishes one round; then answers it.
    ///
    /// When something cannot be appended, it and everything behind it is void: the rest of the
    /// round is dropped, and a new controller takes office on what is committed.
    async fn round(&self, jobs: Vec<Job>) {
        let mut batches: Vec<Batch> = Vec::new();
        let mut waiting: Vec<Finish> = Vec::new();
        let mut failure = None;
        for job in jobs {
            let Some((decision, finish)) = self.decide_job(job) else { break };
            match self.append(decision).await {
                Ok(batch) => {
                    batches.extend(batch);
                    waiting.push(finish);
                }
                Err(reason) => {
                    finish(Err(ProposeError::Log(reason.clone())));
                    failure = Some(reason);
                    break;
                }
            }
        }
        let committed = self.commit(&batches).await;
        if committed.is_ok() && !batches.is_empty() {
            self.publish().await;
        }
        let outcome = committed.clone().map_err(ProposeError::Log);
        waiting.into_iter().for_each(|finish| finish(outcome.clone()));
        if let Some(reason) = committed.err().or(failure) {
            self.start_anew(&reason).await;
        }
        self.snapshot_if_due().await;
    }

    fn decide_job(&self, job: Job) -> Option<(Decision<()>, Finish)> {
        let mut finish = None;
        let decision = self.decide(|controller, turn| {
            let (decision, finisher) = job(controller, turn);
            finish = Some(finisher);
            decision
        })?;
        Some((decision, finish.expect("the job ran")))
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
        let appended = self.append(first).await;
        let committed = match appended {
            Ok(Some(batch)) => self.commit(&[batch]).await,
            Ok(None) => Ok(()),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = committed {
            tracing::error!("the metadata can't be changed until a restart: {reason}");
            *self.controller.borrow_mut() = None;
        }
    }
}

/// Runs rounds for ever.
pub(super) async fn run(meta: Rc<Meta>) {
    while let Ok(first) = meta.queue.receiver.recv_async().await {
        let mut jobs = vec![first];
        jobs.extend(meta.queue.receiver.try_iter().take(ROUND_MAX - 1));
        meta.round(jobs).await;
    }
}

/// Requests that wait; more wait to be queued.
const QUEUE_CAPACITY: usize = 1024;
/// Decisions that one sync commits.
const ROUND_MAX: usize = 256;
