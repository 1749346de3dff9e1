//! A follower's side: appends what its leader has, and gives up what its leader has not.

use std::rc::Rc;

use super::read::ReadBound;
use super::state::{FollowerSpec, Role};
use super::unfinished::Unfinished;
use super::{Origin, Partition};
use crate::batch::header::BatchView;
use crate::batch::validate::Placement;
use crate::buf::Slice;
use crate::error::{AppendError, LogError};
use crate::ids::Offset;
use crate::log::Load;

impl Partition {
    /// Appends what a fetch from the leader returned, and takes over its high watermark and log
    /// start. Answers the log's end, from which to fetch next once it is synced.
    ///
    /// # Errors
    /// When the batches do not continue this log, or the log cannot take them.
    pub async fn append_as_follower(
        self: &Rc<Self>,
        records: Slice,
        leader_high_watermark: Offset,
        leader_log_start: Offset,
    ) -> Result<Offset, AppendError> {
        let turn = self.log.turn.lock().await;
        self.check_open()?;
        let epoch = self.follower()?.epoch;
        if !records.is_empty() {
            let validated = self.validate(&records, epoch, Origin::Replica)?;
            for batch in &validated.batches {
                self.append_replicated(&records, batch).await?;
                if self.follower()?.epoch != epoch {
                    return Err(AppendError::NotLeader);
                }
            }
        }
        self.log.raise_log_start(leader_log_start.0.min(self.log.log_end()));
        drop(turn);
        self.readers[ReadBound::LogEnd as usize].wake_below(self.log.log_end());
        self.raise_high_watermark(leader_high_watermark.0.min(self.log.durable_end()));
        Ok(Offset(self.log.log_end()))
    }

    async fn append_replicated(
        self: &Rc<Self>,
        records: &Slice,
        batch: &crate::batch::validate::AppendBatch,
    ) -> Result<(), AppendError> {
        let header = batch.header_at(Placement::AsIs);
        let expected = Offset(self.log.log_end());
        if header.base_offset < expected {
            return Err(AppendError::Misplaced { found: header.base_offset, expected });
        }
        let load = Load {
            bytes: batch.size() as u64,
            max_timestamp_ms: header.max_timestamp,
            last_offset: header.last_offset().0,
        };
        self.log.prepare(load).await?;
        let (head, payload) = batch.pieces(records, Placement::AsIs)?;
        let unfinished = Unfinished::begin(&self.log, "an append");
        self.log.append(&head, payload);
        self.log.commit(u64::try_from(header.records_count).unwrap_or(0));
        let range = batch.source_range().expect("a replica's batches are stored as they came");
        let view = BatchView::decode(&records[range]).expect("validated");
        self.log.replayed(&view);
        unfinished.done();
        Ok(())
    }

    fn follower(&self) -> Result<FollowerSpec, AppendError> {
        match *self.role.borrow() {
            Role::Follower(spec) => Ok(spec),
            _ => Err(AppendError::NotLeader),
        }
    }

    /// Gives up everything from `end` on, down to a batch border, because the leader has other
    /// records there or none. Durable when done.
    ///
    /// # Errors
    /// When the log could not be cut, after which it serves no more.
    pub async fn truncate_to(self: &Rc<Self>, end: Offset) -> Result<(), LogError> {
        let _shape = self.log.shape.lock().await;
        let _turn = self.log.turn.lock().await;
        self.check_open()?;
        let unfinished = Unfinished::begin(&self.log, "a truncation");
        let truncated = self.log.truncate_to(end.0).await;
        unfinished.done();
        truncated?;
        let log_end = self.log.log_end();
        if self.log.high_watermark.get() > log_end {
            self.log.high_watermark.set(log_end);
        }
        // What producers did was learnt again; transactions that end below are replicated.
        let high_watermark = Offset(self.log.high_watermark.get());
        self.log.producers_mut(|producers| producers.on_high_watermark(high_watermark));
        self.changed();
        Ok(())
    }
}
