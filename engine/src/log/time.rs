//! Records by their time.

use std::ops::Range;
use std::rc::Rc;

use super::Log;
use super::reader::{Held, Lack, Place};
use super::segment::Segment;
use crate::batch::header::BatchView;
use crate::batch::search::{self, Dated, SearchError};
use crate::batch::validate::OPENED_BYTES_MAX;
use crate::compress::DecompressError;
use crate::error::LogError;
use crate::ids::Offset;

impl Log {
    /// The first record at or after `at_ms`, from the log's start on and below offset `below`.
    pub(crate) async fn record_at_time(
        self: &Rc<Self>,
        at_ms: i64,
        below: i64,
    ) -> Result<Option<Dated>, LogError> {
        let log_start = self.log_start();
        for segment in self.segments_from(log_start) {
            if segment.base >= below {
                break;
            }
            if segment.size() == 0 || self.newest_of(&segment).await? < at_ms {
                continue;
            }
            let from = segment.with_indexes(|indexes| {
                u64::from(indexes.offsets.floor(indexes.times.floor(at_ms)))
            });
            let mut position = from.unwrap_or(0);
            while position < segment.size() {
                let found = self.look_until(|log, held| {
                    log.look_newer(&segment, position, at_ms, log_start..below, held)
                });
                let Some(place) = found.await? else { break };
                let batch = self.whole_batch(&place).await?;
                if let Some(dated) = self.first_at(&place, &batch, at_ms, log_start)? {
                    return Ok(Some(dated).filter(|dated| dated.offset.0 < below));
                }
                position = place.position + place.header.size() as u64;
            }
        }
        Ok(None)
    }

    /// The first of the records below offset `below` that has their largest timestamp.
    pub(crate) async fn newest_record(
        self: &Rc<Self>,
        below: i64,
    ) -> Result<Option<Dated>, LogError> {
        let log_start = self.log_start();
        let mut newest: Option<(i64, Rc<Segment>)> = None;
        for segment in self.segments_from(log_start) {
            if segment.size() == 0 || segment.base >= below {
                continue;
            }
            let at_ms = self.newest_below(&segment, below).await?;
            if at_ms >= 0 && newest.as_ref().is_none_or(|(best, _)| at_ms > *best) {
                newest = Some((at_ms, segment));
            }
        }
        let Some((at_ms, segment)) = newest else { return Ok(None) };
        let from = segment
            .with_indexes(|indexes| u64::from(indexes.offsets.floor(indexes.times.floor(at_ms))));
        let position = from.unwrap_or(0);
        let place = self
            .look_until(|log, held| {
                log.look_newer(&segment, position, at_ms, log_start..below, held)
            })
            .await?;
        let Some(place) = place else { return Ok(None) };
        let batch = self.whole_batch(&place).await?;
        let view = BatchView::decode(&batch).map_err(|e| bad(&place, &e))?;
        let mut scratch = self.site.cx.scratch.borrow_mut();
        match search::latest(&view, &mut scratch, OPENED_BYTES_MAX) {
            // Its header says nearly as much.
            Err(SearchError::Compressed(DecompressError::TooLarge { .. })) => {
                let offset = Offset(place.header.last_offset().0.min(below - 1));
                Ok(Some(Dated { offset, timestamp: place.header.max_timestamp }))
            }
            found => found.map_err(|error| bad(&place, &error)),
        }
    }

    /// The largest timestamp of a segment's batches below offset `below`; −1 without one.
    async fn newest_below(
        self: &Rc<Self>,
        segment: &Rc<Segment>,
        below: i64,
    ) -> Result<i64, LogError> {
        let newest = self.newest_of(segment).await?;
        if segment.newest().offset < below {
            return Ok(newest);
        }
        self.look_until(|log, held| log.look_newest(segment, below, held)).await
    }

    /// The largest timestamp of a segment's records.
    pub(crate) async fn newest_of(self: &Rc<Self>, segment: &Rc<Segment>) -> Result<i64, LogError> {
        if segment.newest().timestamp_ms >= 0 || segment.size() == 0 {
            return Ok(segment.newest().timestamp_ms);
        }
        if segment.with_indexes(|_| ()).is_none() {
            self.load_indexes(segment).await?;
        }
        Ok(segment.newest().timestamp_ms)
    }

    /// The index knows all but the last few batches below `below`.
    fn look_newest(&self, segment: &Rc<Segment>, below: i64, held: &Held) -> Result<i64, Lack> {
        let last = segment.relative(below - 1).unwrap_or(i32::MAX as u32);
        let known = segment.with_indexes(|indexes| {
            let newest = indexes.times.newest_at(last).unwrap_or(-1);
            (newest, u64::from(indexes.offsets.floor(last)))
        });
        let (mut newest, mut position) = known.ok_or_else(|| Lack::Index(Rc::clone(segment)))?;
        while position < segment.size() {
            let header = self.header_at(segment, position, held)?;
            if header.last_offset().0 >= below {
                break;
            }
            newest = newest.max(header.max_timestamp);
            position += header.size() as u64;
        }
        Ok(newest)
    }

    /// The first batch at or behind position `from` that holds a record of `at_ms` or later, as far
    /// as it reaches into `offsets`.
    fn look_newer(
        &self,
        segment: &Rc<Segment>,
        from: u64,
        at_ms: i64,
        offsets: Range<i64>,
        held: &Held,
    ) -> Result<Option<Place>, Lack> {
        let mut position = from;
        while position < segment.size() {
            let header = self.header_at(segment, position, held)?;
            if header.base_offset.0 >= offsets.end {
                break;
            }
            if header.max_timestamp >= at_ms && header.last_offset().0 >= offsets.start {
                return Ok(Some(Place { segment: Rc::clone(segment), position, header }));
            }
            position += header.size() as u64;
        }
        Ok(None)
    }

    async fn whole_batch(self: &Rc<Self>, place: &Place) -> Result<Vec<u8>, LogError> {
        let end = place.position + place.header.size() as u64;
        let slices = self
            .look_until(|log, held| log.collect(&place.segment, place.position, end, held))
            .await?;
        Ok(slices.iter().flat_map(|slice| slice.iter().copied()).collect())
    }

    fn first_at(
        &self,
        place: &Place,
        batch: &[u8],
        at_ms: i64,
        log_start: i64,
    ) -> Result<Option<Dated>, LogError> {
        let view = BatchView::decode(batch).map_err(|error| bad(place, &error))?;
        let mut scratch = self.site.cx.scratch.borrow_mut();
        let from = Offset(log_start);
        match search::first_at(&view, at_ms, from, &mut scratch, OPENED_BYTES_MAX) {
            // Whoever reads from its front on misses nothing.
            Err(SearchError::Compressed(DecompressError::TooLarge { .. })) => {
                let offset = place.header.base_offset.max(from);
                Ok(Some(Dated { offset, timestamp: place.header.max_timestamp }))
            }
            found => found.map_err(|error| bad(place, &error)),
        }
    }
}

fn bad(place: &Place, error: &impl std::fmt::Display) -> LogError {
    place.segment.corrupt(place.position, &error.to_string())
}
