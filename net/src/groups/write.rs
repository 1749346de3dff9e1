//! What groups are to remember, on its way into their partition.
//!
//! ```text
//! appends ──▶ writer ──▶ log        what has come since its last turn goes together in a batch
//!               └─ batches ──▶ settler: acknowledged, in order ──▶ Shard::appended
//! ```
//!
//! A few batches are under way at a time: a commit waits for one sync of the disk, not for one that
//! began before it and then its own.

use std::rc::Rc;

use engine::batch::validate::ValidateError;
use engine::batch::{BatchBuilder, BatchOptions, NewRecord};
use engine::buf::Slice;
use engine::compress::Codecs;
use engine::error::AppendError;
use engine::group::{AppendId, GroupError};
use engine::ids::Offset;
use engine::partition::{Acks, AppendOptions, Origin, Partition};

use super::Host;

/// Batches under way. More wait, and go together.
const BATCHES_MAX: usize = 8;

/// What was done with a batch.
enum Done {
    /// It is in the log's memory, up to this offset.
    Appended(Offset),
    /// It is not in the log; what came since may build on it.
    Refused(GroupError),
}

/// A batch on its way to the settler.
struct Batch {
    ids: Vec<AppendId>,
    done: Done,
}

impl Host {
    /// Writes for as long as the host serves.
    pub(super) async fn write(self: Rc<Self>, wanted: flume::Receiver<()>) {
        let (batches, to_settle) = flume::bounded(BATCHES_MAX);
        let (to_go_on, settled) = flume::bounded(1);
        let settler = Rc::clone(&self).settle(to_settle, to_go_on);
        self.rt.spawn("group-settler", settler).detach();
        while let Ok(()) = wanted.recv_async().await {
            while let Some((ids, batch)) = self.next_batch() {
                let done = match self.append(batch).await {
                    Ok(done) => done,
                    Err(reason) => return self.give_up(&reason),
                };
                let refused = matches!(done, Done::Refused(_));
                if batches.send_async(Batch { ids, done }).await.is_err() {
                    return;
                }
                // Nothing more is written before the groups know what they do not have.
                if refused && settled.recv_async().await.is_err() {
                    return;
                }
            }
            if self.is_gone() {
                return;
            }
        }
    }

    /// Tells the groups what became of batches, in their order.
    async fn settle(self: Rc<Self>, batches: flume::Receiver<Batch>, go_on: flume::Sender<()>) {
        while let Ok(Batch { mut ids, done }) = batches.recv_async().await {
            let outcome = match done {
                Done::Appended(last) => match self.partition.acked(last).await {
                    Ok(()) => Ok(()),
                    Err(error) => return self.give_up(&error.to_string()),
                },
                Done::Refused(error) => {
                    ids.extend(self.appends.borrow_mut().drain(..).map(|append| append.id));
                    Err(error)
                }
            };
            for id in ids {
                self.with(|shard, now| shard.appended(now, id, outcome));
            }
            if outcome.is_err() {
                let _ = go_on.try_send(());
            }
        }
    }

    /// Nobody knows what became of a batch, and the log says no more.
    fn give_up(&self, reason: &str) {
        if !self.is_gone() {
            let partition = &*self.partition.name();
            tracing::error!(partition, "groups are given up: {reason}");
            self.end();
        }
    }

    /// As much as fits a batch, one append at least.
    fn next_batch(&self) -> Option<(Vec<AppendId>, Vec<u8>)> {
        let mut appends = self.appends.borrow_mut();
        let max = bytes_max(&self.partition);
        let timestamp = self.rt.wall_ms();
        let options = BatchOptions { compression: self.compression, ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        let mut ids = Vec::new();
        while let Some(append) = appends.front() {
            let records = append.records.iter();
            let size = |len: usize, value: Option<&Vec<u8>>| len + value.map_or(0, Vec::len) + 32;
            let bytes: usize =
                records.map(|record| size(record.key.len(), record.value.as_ref())).sum();
            if !ids.is_empty() && builder.size() + bytes > max {
                break;
            }
            let append = appends.pop_front().expect("looked just now");
            for record in &append.records {
                let (key, value) = (Some(&*record.key), record.value.as_deref());
                builder.push(&NewRecord { timestamp, key, value, ..NewRecord::default() });
            }
            ids.push(append.id);
        }
        drop(appends);
        (!ids.is_empty()).then(|| (ids, builder.build(&mut Codecs::default())))
    }

    /// Appends a batch.
    ///
    /// # Errors
    /// The log takes no more of this host.
    async fn append(&self, batch: Vec<u8>) -> Result<Done, String> {
        let options = AppendOptions {
            acks: Acks::All,
            origin: Origin::Coordinator,
            expected_epoch: Some(self.epoch),
            ..AppendOptions::default()
        };
        let (partition, batch) = (&self.partition, Slice::from_vec(batch));
        let appended = match partition.append_now(&batch, options) {
            Some(appended) => appended,
            None => Box::pin(partition.append_as_leader(batch, options)).await,
        };
        match appended {
            Ok(appended) => Ok(Done::Appended(appended.last)),
            Err(error) if partition.failure().is_some() => Err(error.to_string()),
            Err(error @ (AppendError::NotLeader | AppendError::OtherEpoch { .. })) => {
                Err(error.to_string())
            }
            Err(error) => Ok(Done::Refused(refusal(&error, partition))),
        }
    }
}

fn refusal(error: &AppendError, partition: &Partition) -> GroupError {
    let max = bytes_max(partition);
    match error {
        AppendError::Batch(
            ValidateError::MessageTooLarge { .. } | ValidateError::RecordListTooLarge { .. },
        ) => GroupError::TooLarge { bytes: max, max },
        _ => GroupError::Unwritten,
    }
}

/// Bytes of records that a batch of the partition may hold.
pub(super) fn bytes_max(partition: &Partition) -> usize {
    let max = usize::try_from(partition.config().max_message_bytes).unwrap_or(usize::MAX);
    max.saturating_sub(HEADER_BYTES)
}

/// A batch's header, and then some.
const HEADER_BYTES: usize = 128;
