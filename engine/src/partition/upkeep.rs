//! What a partition does in the background, and how it ends.

use std::io::ErrorKind;
use std::rc::Rc;

use wire::primitives::Uuid;

use super::{Partition, moving};
use crate::error::{AppendError, LogError, ReadError};
use crate::ids::Offset;
use crate::log::{Cleaned, Cleaner, Filth, doomed_dir};

impl Partition {
    /// Forgets producers that were idle for too long, under the limits as they are now; answers how
    /// many. Called by the core's background task; `now_ms` is the wall clock.
    pub fn expire_producers(&self, now_ms: i64) -> usize {
        let limits = self.cx.producer_limits();
        self.log.producers_mut(|producers| {
            producers.set_limits(limits);
            producers.expire(now_ms)
        })
    }

    /// Removes what retention lets go, writes what lags behind. Called by
    /// the core's background task every few seconds to minutes; `now_ms` is the wall clock.
    ///
    /// # Errors
    /// What the file system reports; the partition serves on.
    pub async fn housekeep(self: &Rc<Self>, now_ms: i64) -> Result<(), LogError> {
        self.check_open()?;
        let high_watermark = self.log.high_watermark.get();
        let start = self.log.log_start();
        self.log.apply_retention(high_watermark, now_ms).await?;
        if self.log.log_start() != start {
            self.changed();
        }
        self.log.save_epochs().await;
        self.log.rest_if_idle().await
    }

    /// Whether it is time to compact the log, and how much there is to do; `now_ms` is the wall
    /// clock.
    ///
    /// # Errors
    /// When the log is closed, or cannot be read.
    pub async fn filth(self: &Rc<Self>, now_ms: i64) -> Result<Option<Filth>, LogError> {
        self.log.filth(self.offsets().last_stable.0, now_ms).await
    }

    /// Compacts the log, in the background: appends and reads go on. One caller at a time.
    ///
    /// # Errors
    /// What the file system reports; what was done until then stays, and the partition serves on
    /// but after [`LogError::Failed`]. [`LogError::Corrupt`] on damage, after which the log is
    /// compacted no more until the next start.
    pub async fn clean(
        self: &Rc<Self>,
        cleaner: &Cleaner,
        filth: Filth,
        now_ms: i64,
    ) -> Result<Cleaned, LogError> {
        self.log.clean(cleaner, filth, now_ms).await
    }

    /// Moves the log's start to `before` (−1 for the high watermark): older records are readable
    /// no more, also after a crash, and their segments go with the next housekeeping. Answers the
    /// log's start. On a full disk the crash alone is not provided for.
    ///
    /// # Errors
    /// `OutOfRange` behind the high watermark; not on a follower.
    pub async fn delete_records(self: &Rc<Self>, before: Offset) -> Result<Offset, ReadError> {
        self.check_open()?;
        self.leader().map_err(|_: AppendError| ReadError::NotLeader)?;
        let high_watermark = self.log.high_watermark.get();
        let to = if before.0 == -1 { high_watermark } else { before.0 };
        if to > high_watermark || to < 0 {
            let offsets = self.offsets();
            return Err(ReadError::OutOfRange {
                asked: before,
                log_start: offsets.log_start,
                log_end: offsets.high_watermark,
            });
        }
        // Also when the start was moved on a full disk.
        let to = to.max(self.log.log_start());
        if to > self.noted_start.get() {
            self.log.intend_log_start(to);
            match self.log_dir().checkpoint().await {
                Ok(()) => self.noted_start.set(to.max(self.noted_start.get())),
                // Deleting is how room comes back: it must not need any.
                Err(LogError::Io { kind: ErrorKind::StorageFull, .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Nobody sees a start that a crash may undo.
        if to > self.log.log_start() {
            self.log.raise_log_start(to);
            self.changed();
        }
        Ok(Offset(self.log.log_start()))
    }

    /// Ends the partition for good: it stops serving, its directory is renamed so that a restart
    /// does not find it, and the log directory removes it after `file.delete.delay.ms`.
    ///
    /// # Errors
    /// When the directory could not be renamed.
    pub async fn delete(self: &Rc<Self>) -> Result<(), LogError> {
        let mut unique = [0; 16];
        self.cx.rt.fill_random(&mut unique);
        let name = doomed_dir(&self.spec.topic, self.spec.partition.0, Uuid(unique));
        let copy = self.cancel_move();
        self.end_role();
        let deleted = self.log.delete(&name).await;
        if let Some(to) = copy {
            moving::discard(&to).await;
        }
        deleted
    }
}
