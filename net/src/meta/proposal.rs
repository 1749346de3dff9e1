//! The proposer: changes of the metadata, in rounds.

use std::rc::Rc;

use engine::ids::Offset;
use replication::image::Image;
use replication::record::MetadataRecord;

use super::{Batch, Meta};

/// What is decided about one request: the records that make it so, and the answer once they are
/// committed. No records mean that there is nothing to change.
#[derive(Debug)]
pub(crate) struct Decision<T> {
    pub(crate) records: Vec<MetadataRecord>,
    pub(crate) answer: T,
}

/// What a decision is made on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Desk<'a> {
    /// The metadata with everything that was decided before, committed or not.
    pub(crate) image: &'a Image,
    /// Offset that the first record of this decision will get.
    pub(crate) next: Offset,
}

/// Why a decision has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProposeError {
    /// The metadata log cannot be written.
    #[error("the metadata log failed: {0}")]
    Log(Rc<str>),
    /// The node stops.
    #[error("the controller has stopped")]
    Stopped,
}

type Finish = Box<dyn FnOnce(Result<(), ProposeError>)>;
type Job = Box<dyn FnOnce(&Desk<'_>) -> (Vec<MetadataRecord>, Finish)>;

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
        decide: impl FnOnce(&Desk<'_>) -> Decision<T> + 'static,
    ) -> Result<T, ProposeError> {
        let (done, answer) = flume::bounded(1);
        let job: Job = Box::new(move |desk| {
            let Decision { records, answer } = decide(desk);
            let finish: Finish = Box::new(move |committed| {
                // The asker may be gone.
                drop(done.send(committed.map(|()| answer)));
            });
            (records, finish)
        });
        self.queue.sender.send_async(job).await.map_err(|_| ProposeError::Stopped)?;
        answer.recv_async().await.map_err(|_| ProposeError::Stopped)?
    }

    /// Decides, appends, commits and publishes one round; then answers it.
    async fn round(&self, jobs: Vec<Job>) {
        let mut pending = self.image();
        let mut batches: Vec<Batch> = Vec::new();
        let mut waiting: Vec<Finish> = Vec::new();
        for job in jobs {
            let desk = Desk { image: &pending, next: self.log.end() };
            let (records, finish) = job(&desk);
            waiting.push(finish);
            if records.is_empty() || self.failed.borrow().is_some() {
                continue;
            }
            let replayed = records.iter().try_for_each(|record| pending.replay(record));
            let appended = match replayed {
                Ok(()) => self.append(records).await,
                Err(error) => Err(error.to_string()),
            };
            match appended {
                Ok(batch) => batches.push(batch),
                Err(reason) => self.fail(&reason),
            }
        }
        if let Err(reason) = self.commit(&batches).await {
            self.fail(&reason);
        }
        if !batches.is_empty() {
            self.publish().await;
        }
        let failed = self.failed.borrow().clone();
        let outcome = failed.map_or(Ok(()), |reason| Err(ProposeError::Log(reason)));
        waiting.into_iter().for_each(|finish| finish(outcome.clone()));
        self.snapshot_if_due().await;
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
