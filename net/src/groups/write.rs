//! What groups are to remember, on its way into their partition.
//!
//! One batch is under way at a time; what comes meanwhile goes together with the next, so that a sync
//! of the disk serves all that waited for it.

use std::rc::Rc;

use engine::batch::validate::ValidateError;
use engine::batch::{BatchBuilder, BatchOptions, NewRecord};
use engine::buf::Slice;
use engine::compress::Codecs;
use engine::error::AppendError;
use engine::group::{AppendId, GroupError};
use engine::partition::{Acks, AppendOptions, Origin, Partition};

use super::Host;

/// What became of a batch.
enum Written {
    /// It is acknowledged.
    Yes,
    /// It is not in the log.
    No(GroupError),
    /// Nobody knows, and the log says no more.
    Unknown(String),
}

impl Host {
    /// Writes for as long as the host serves.
    pub(super) async fn write(self: Rc<Self>, wanted: flume::Receiver<()>) {
        while let Ok(()) = wanted.recv_async().await {
            while let Some((mut ids, batch)) = self.next_batch() {
                let outcome = match self.append(batch).await {
                    Written::Yes => Ok(()),
                    Written::No(error) => {
                        // What came meanwhile may build on what is not there.
                        ids.extend(self.appends.borrow_mut().drain(..).map(|append| append.id));
                        Err(error)
                    }
                    Written::Unknown(reason) => {
                        if !self.is_gone() {
                            let partition = &*self.partition.name();
                            tracing::error!(partition, "groups are given up: {reason}");
                            self.end();
                        }
                        return;
                    }
                };
                for id in ids {
                    self.with(|shard, now| shard.appended(now, id, outcome));
                }
            }
            if self.is_gone() {
                return;
            }
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

    async fn append(&self, batch: Vec<u8>) -> Written {
        let options = AppendOptions {
            acks: Acks::All,
            origin: Origin::Coordinator,
            expected_epoch: Some(self.epoch),
            ..AppendOptions::default()
        };
        let partition = &self.partition;
        let appended = match partition.append_as_leader(Slice::from_vec(batch), options).await {
            Ok(appended) => appended,
            Err(error) if partition.failure().is_some() => {
                return Written::Unknown(error.to_string());
            }
            Err(error @ (AppendError::NotLeader | AppendError::OtherEpoch { .. })) => {
                return Written::Unknown(error.to_string());
            }
            Err(error) => return Written::No(refusal(&error, partition)),
        };
        match partition.acked(appended.last).await {
            Ok(()) => Written::Yes,
            Err(error) => Written::Unknown(error.to_string()),
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
