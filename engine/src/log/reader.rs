//! Finds batches and hands out their bytes.
//!
//! Looking never waits: a look goes through what is cached and either succeeds or says which
//! window or index it lacks. The caller reads that and looks again, holding on to what it read, so
//! the second look gets further whatever was evicted meanwhile.

use std::cell::Cell;
use std::rc::Rc;

use smallvec::SmallVec;

use super::Log;
use super::segment::Segment;
use crate::batch::header::{BatchHeader, HEADER_BYTES};
use crate::buf::{Chunk, Slice};
use crate::cache::WINDOW;
use crate::error::LogError;
use crate::ids::Offset;
use crate::producer::txn_index::AbortedTxn;

/// What a look at the log lacks.
#[derive(Clone)]
pub(crate) enum Lack {
    /// The windows of these positions.
    Windows(Rc<Segment>, SmallVec<[u64; 8]>),
    /// The segment's indexes.
    Index(Rc<Segment>),
    /// The bytes there are no batches.
    Bad(LogError),
}

/// Windows that this read already waited for.
pub(crate) type Held = SmallVec<[(Rc<Segment>, Rc<Chunk>); 8]>;

/// A batch's place.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) segment: Rc<Segment>,
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

/// How much to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// An offset inside the first batch.
    pub(crate) from: i64,
    /// Only batches that start below.
    pub(crate) below: i64,
    pub(crate) max_bytes: u64,
    /// The first batch even if it is larger than `max_bytes`.
    pub(crate) at_least_one: bool,
}

/// Whole batches.
#[derive(Default)]
pub(crate) struct Bytes {
    pub(crate) slices: SmallVec<[Slice; 4]>,
    pub(crate) bytes: usize,
    /// Offset behind the last batch, or behind that.
    pub(crate) until: i64,
    /// Segment, and the bytes of it that were read.
    place: Option<(Rc<Segment>, u64, u64)>,
}

impl Log {
    /// Reads batches of one segment.
    pub(crate) async fn read(self: &Rc<Self>, want: Want) -> Result<Bytes, LogError> {
        let looks = Cell::new(0_u32);
        let look = |log: &Self, held: &Held| {
            looks.set(looks.get() + 1);
            log.look_for(want, held)
        };
        let read = self.look_until(look).await?;
        let metrics = &self.site.cx.metrics;
        metrics.reads.inc();
        metrics.read_bytes.add(read.bytes as u64);
        // What a look lacks is on the disk.
        metrics.reads_from_disk.add(u64::from(looks.get() > 1));
        if let Some((segment, from, to)) = &read.place {
            self.read_ahead(segment, *from, *to);
        }
        Ok(read)
    }

    /// Lets the windows behind a sequential read of older data be read before they are asked for.
    fn read_ahead(self: &Rc<Self>, segment: &Rc<Segment>, from: u64, to: u64) {
        if self.site.tail.find(segment.uid, from).is_some() || !segment.goes_on(from, to) {
            return;
        }
        for ahead in 1..=WINDOWS_AHEAD {
            let at = (to / WINDOW + ahead) * WINDOW;
            let known = at >= segment.size()
                || self.site.tail.find(segment.uid, at).is_some()
                || self.site.cx.cold.knows(segment.uid, at);
            if !known {
                let (cx, of) = (Rc::clone(&self.site.cx), Rc::clone(segment));
                let read = move |start| of.read_window(cx, start);
                self.site.cx.cold.request(segment.uid, at, read);
            }
        }
    }

    /// Repeats `look` until it lacks nothing.
    pub(crate) async fn look_until<T>(
        self: &Rc<Self>,
        look: impl Fn(&Self, &Held) -> Result<T, Lack>,
    ) -> Result<T, LogError> {
        let mut held = Held::new();
        loop {
            match look(self, &held) {
                Ok(found) => return Ok(found),
                Err(Lack::Bad(error)) => return Err(error),
                Err(Lack::Index(segment)) => self.load_indexes(&segment).await?,
                Err(Lack::Windows(segment, positions)) => {
                    let loads = positions.iter().map(|&at| self.load_window(&segment, at));
                    for loaded in futures_util::future::join_all(loads).await {
                        held.push((Rc::clone(&segment), loaded?));
                    }
                }
            }
            self.site.cx.rt.turn().await;
        }
    }

    async fn load_window(
        self: &Rc<Self>,
        segment: &Rc<Segment>,
        at: u64,
    ) -> Result<Rc<Chunk>, LogError> {
        loop {
            let (cx, of) = (Rc::clone(&self.site.cx), Rc::clone(segment));
            let loaded = self
                .site
                .cx
                .cold
                .load(segment.uid, at, move |start| of.read_window(cx, start))
                .await;
            match loaded {
                // Another reader's window ended before `at`, or was evicted at once.
                Err(LogError::Retry) if at < segment.size() => {}
                Ok(chunk) if at >= chunk.end() => {}
                other => return other,
            }
            self.check_open()?;
            self.site.cx.rt.turn().await;
        }
    }

    fn look_for(&self, want: Want, held: &Held) -> Result<Bytes, Lack> {
        let Some(first) = self.look_up(want.from, held)? else { return Ok(Bytes::default()) };
        if first.header.base_offset.0 >= want.below {
            return Ok(Bytes::default());
        }
        let segment = &first.segment;
        let data_end = self.look_end(segment, want.below, held)?;
        let limit = data_end.min(first.position.saturating_add(want.max_bytes));
        let first_end = first.position + first.header.size() as u64;
        let end =
            if limit == data_end { data_end } else { self.look_boundary(&first, limit, held)? };
        let end = if end < first_end && want.at_least_one { first_end } else { end };
        let until = match end == data_end {
            true => self.next_base(segment).unwrap_or(want.below).min(want.below),
            false => self.header_at(segment, end, held)?.base_offset.0,
        };
        let slices = self.collect(segment, first.position, end, held)?;
        Ok(Bytes {
            bytes: usize::try_from(end - first.position).expect("limited by the request"),
            until,
            place: Some((Rc::clone(segment), first.position, end)),
            slices,
        })
    }

    /// Bytes between two offsets, as well as that can be told from memory.
    pub(crate) fn distance(&self, from: i64, below: i64) -> u64 {
        let mut bytes = 0;
        for segment in self.segments_from(from) {
            if segment.base >= below {
                break;
            }
            let start = if segment.base < from { self.position_near(&segment, from) } else { 0 };
            let next = self.next_base(&segment);
            let end = match next.is_some_and(|next| next <= below) || below >= self.log_end() {
                true => segment.size(),
                false => self.position_near(&segment, below),
            };
            bytes += end.saturating_sub(start);
        }
        bytes
    }

    fn position_near(&self, segment: &Rc<Segment>, offset: i64) -> u64 {
        if let Some(position) = self.remembered_end(segment, offset) {
            return position;
        }
        match self.look_up(offset, &Held::new()) {
            Ok(Some(place)) if Rc::ptr_eq(&place.segment, segment) => {
                self.remember_end(segment, offset, place.position);
                place.position
            }
            Ok(_) => segment.size(),
            Err(_) => {
                let relative = segment.relative(offset).unwrap_or(i32::MAX as u32);
                let indexed = segment.with_indexes(|i| u64::from(i.offsets.floor(relative)));
                indexed.unwrap_or(0)
            }
        }
    }

    /// Aborted transactions with records in `from..until`.
    pub(crate) async fn aborted(&self, from: i64, until: i64) -> Result<Vec<AbortedTxn>, LogError> {
        let mut found = Vec::new();
        for segment in self.segments_from(from) {
            let txns = segment.txns(&self.site.cx).await?;
            if txns.borrow().collect(Offset(from), Offset(until), &mut found) {
                break;
            }
        }
        Ok(found)
    }

    /// The batch that holds `offset`, or the next one after a gap; `None` at the log's end.
    pub(crate) fn look_up(&self, offset: i64, held: &Held) -> Result<Option<Place>, Lack> {
        for segment in self.segments_from(offset) {
            let relative = segment.relative(offset.max(segment.base)).unwrap_or(i32::MAX as u32);
            let mut position =
                self.floor(&segment, |indexes| u64::from(indexes.offsets.floor(relative)))?;
            while position < segment.size() {
                let header = self.header_at(&segment, position, held)?;
                if header.last_offset().0 >= offset {
                    return Ok(Some(Place { segment, position, header }));
                }
                position += header.size() as u64;
            }
        }
        Ok(None)
    }

    /// Where the data of `segment` that lies below `offset` ends.
    fn look_end(&self, segment: &Rc<Segment>, offset: i64, held: &Held) -> Result<u64, Lack> {
        if self.next_base(segment).is_some_and(|next| next <= offset) || offset >= self.log_end() {
            return Ok(segment.size());
        }
        if let Some(position) = self.remembered_end(segment, offset) {
            return Ok(position);
        }
        let end = match self.look_up(offset, held)? {
            Some(place) if Rc::ptr_eq(&place.segment, segment) => place.position,
            _ => segment.size(),
        };
        self.remember_end(segment, offset, end);
        Ok(end)
    }

    /// The last batch border at or before `limit`, from `first` on.
    fn look_boundary(&self, first: &Place, limit: u64, held: &Held) -> Result<u64, Lack> {
        let segment = &first.segment;
        let indexed = self.floor(segment, |i| u64::from(i.offsets.floor_position(limit)))?;
        let mut position = indexed.max(first.position);
        loop {
            if position >= limit {
                return Ok(position.min(limit));
            }
            let header = self.header_at(segment, position, held).map_err(|lack| {
                // The bytes before it will be wanted too: ask for all at once.
                self.with_range(lack, segment, first.position, limit, held)
            })?;
            let next = position + header.size() as u64;
            if next > limit {
                return Ok(position);
            }
            position = next;
        }
    }

    fn with_range(&self, lack: Lack, of: &Rc<Segment>, from: u64, to: u64, held: &Held) -> Lack {
        let Lack::Windows(segment, mut positions) = lack else { return lack };
        for at in self.missing(of, from, to, held) {
            if !positions.iter().any(|&have| have / WINDOW == at / WINDOW) {
                positions.push(at);
            }
        }
        Lack::Windows(segment, positions)
    }

    /// Slices of `from..to`.
    pub(super) fn collect(
        &self,
        segment: &Rc<Segment>,
        from: u64,
        to: u64,
        held: &Held,
    ) -> Result<SmallVec<[Slice; 4]>, Lack> {
        let missing = self.missing(segment, from, to, held);
        if !missing.is_empty() {
            return Err(Lack::Windows(Rc::clone(segment), missing));
        }
        let mut slices = SmallVec::new();
        let mut at = from;
        while at < to {
            let Some(chunk) = self.cached(segment, at, held) else {
                return Err(Lack::Windows(Rc::clone(segment), SmallVec::from_slice(&[at])));
            };
            let end = chunk.end().min(to);
            slices.push(chunk.slice(at, end));
            at = end;
        }
        Ok(slices)
    }

    /// Positions, one in each window, of which nothing is cached.
    fn missing(
        &self,
        segment: &Rc<Segment>,
        from: u64,
        to: u64,
        held: &Held,
    ) -> SmallVec<[u64; 8]> {
        let mut missing = SmallVec::new();
        let mut at = from;
        while at < to {
            at = match self.cached(segment, at, held) {
                Some(chunk) => chunk.end(),
                None => {
                    missing.push(at);
                    (at / WINDOW + 1) * WINDOW
                }
            };
        }
        missing
    }

    pub(super) fn header_at(
        &self,
        segment: &Rc<Segment>,
        position: u64,
        held: &Held,
    ) -> Result<BatchHeader, Lack> {
        let mut head = [0; HEADER_BYTES];
        let mut have = 0;
        while have < HEADER_BYTES && position + (have as u64) < segment.size() {
            let at = position + have as u64;
            let Some(chunk) = self.cached(segment, at, held) else {
                return Err(Lack::Windows(Rc::clone(segment), SmallVec::from_slice(&[at])));
            };
            let bytes = chunk.bytes_from(at);
            let count = bytes.len().min(HEADER_BYTES - have);
            head[have..have + count].copy_from_slice(&bytes[..count]);
            have += count;
        }
        let header = BatchHeader::decode(&head[..have]);
        header.map_err(|e| Lack::Bad(segment.corrupt(position, &e.to_string())))
    }

    fn cached(&self, segment: &Rc<Segment>, at: u64, held: &Held) -> Option<Rc<Chunk>> {
        if let Some(chunk) = self.site.tail.find(segment.uid, at) {
            return Some(chunk);
        }
        let mine = held
            .iter()
            .find(|(of, chunk)| Rc::ptr_eq(of, segment) && at >= chunk.start() && at < chunk.end());
        mine.map(|(_, chunk)| Rc::clone(chunk)).or_else(|| self.site.cx.cold.find(segment.uid, at))
    }

    fn floor(
        &self,
        segment: &Rc<Segment>,
        look: impl FnOnce(&super::segment::Indexes) -> u64,
    ) -> Result<u64, Lack> {
        segment.with_indexes(look).ok_or_else(|| Lack::Index(Rc::clone(segment)))
    }
}

/// Windows that are read ahead of a sequential reader: a megabyte.
const WINDOWS_AHEAD: u64 = 4;
