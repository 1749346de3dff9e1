//! ListOffsets: offsets by their place or by their records' time.

use std::rc::Rc;

use super::Partition;
use super::read::ReadBound;
use crate::error::ReadError;
use crate::ids::{LeaderEpoch, Offset};

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// First offset of the log (−2).
    Earliest,
    /// The end of what the reader may see (−1).
    Latest,
    /// The record with the largest timestamp (−3).
    MaxTimestamp,
    /// First offset that is on local disk (−4).
    EarliestLocal,
    /// Last offset in remote storage (−5): there is none yet.
    LatestTiered,
    /// First offset that waits for its upload (−6): there is none yet.
    EarliestPendingUpload,
    /// The first record at or after this time, Unix ms.
    AtTime(i64),
}

/// The answer to an [`OffsetQuery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: Offset,
    /// The record's time; −1 where the answer is no record.
    pub timestamp_ms: i64,
    /// Leader epoch at the offset, where it is known.
    pub epoch: Option<LeaderEpoch>,
}

impl Partition {
    /// Answers `query` for a reader that may see `up_to`; `None` when no record below that
    /// matches. What is not acknowledged may still vanish, so consumers are not sent there.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn list_offset(
        self: &Rc<Self>,
        query: OffsetQuery,
        up_to: ReadBound,
    ) -> Result<Option<FoundOffset>, ReadError> {
        self.check_open()?;
        let log_start = self.log.log_start();
        match query {
            OffsetQuery::Earliest | OffsetQuery::EarliestLocal => {
                Ok(Some(self.place_of(log_start, -1)))
            }
            OffsetQuery::Latest => {
                let epoch = self.log.epochs(|epochs| epochs.latest()).map(LeaderEpoch);
                let offset = Offset(self.visible(up_to));
                Ok(Some(FoundOffset { offset, timestamp_ms: -1, epoch }))
            }
            OffsetQuery::MaxTimestamp => {
                let found = self.log.newest_record(self.visible(up_to)).await?;
                Ok(found.map(|dated| self.place_of(dated.offset.0, dated.timestamp)))
            }
            OffsetQuery::LatestTiered | OffsetQuery::EarliestPendingUpload => Ok(None),
            OffsetQuery::AtTime(at_ms) => {
                let found = self.log.record_at_time(at_ms, self.visible(up_to)).await?;
                Ok(found.map(|dated| self.place_of(dated.offset.0, dated.timestamp)))
            }
        }
    }

    fn place_of(&self, offset: i64, timestamp_ms: i64) -> FoundOffset {
        let epoch = self.log.epochs(|epochs| epochs.at(offset)).map(LeaderEpoch);
        FoundOffset { offset: Offset(offset), timestamp_ms, epoch }
    }
}
