//! Compaction: of each key the newest record stays.
//!
//! ```text
//!  [ 0 .. cleaned ..)[ cleaned .. first dirty │ dirty ..)[ dirty ..)[ .. high watermark .. active
//!  └──────────── read again, and filtered ────────────┘
//!                                             └─── keys of these go into the map ───┘
//! ```
//!
//! One pass learns where in the dirty closed segments each key was written last, then writes all
//! segments up to there anew without what is superseded, group by group, and swaps each group in
//! ([`swap`]). Offsets stay what they are; readers of an old segment finish on its open file. What
//! stays of a batch says [`sift`](crate::batch::sift), and when a transaction's marker may go
//! [`txns`]. Rules are those of Kafka 4.3 (`LogCleaner`, `Cleaner`), but for these: the last batch
//! of every cleaned segment stays, if need be empty, so that the segment's offsets tell which ones
//! it replaces; and a tombstone's horizon passes by the broker's clock only.
//!
//! Whoever removes or replaces closed segments holds the log's `shape` lock; appends go on.

mod map;
mod pace;
pub(super) mod sink;
pub(super) mod source;
pub(super) mod swap;
mod txns;

use std::rc::Rc;

pub use pace::{Cleaner, CleanerLimits, Pace};
use pace::{SHARE_MAX, SHARE_MIN};

use super::Log;
use super::reader::Held;
use super::segment::Segment;
use crate::batch::header::BatchView;
use crate::batch::records::Records;
use crate::batch::sift::{SiftRules, Sifted};
use crate::error::LogError;
use crate::producer::txn_index::AbortedTxn;
use map::OffsetMap;
use sink::Sink;
use source::Source;
use txns::{Marker, TxnTrack};

/// A log that it is time to clean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filth {
    /// Records from here on were never cleaned.
    first_dirty: i64,
    /// First offset that may not be cleaned yet, where a segment begins.
    end: i64,
    clean_bytes: u64,
    dirty_bytes: u64,
    /// A record waits for longer than `max.compaction.lag.ms`.
    overdue: bool,
}

impl Filth {
    /// Bytes that were never cleaned, of those that may be.
    #[must_use]
    pub fn dirty_bytes(&self) -> u64 {
        self.dirty_bytes
    }

    /// Share of the log's bytes that were never cleaned, of those that may be.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.dirty_bytes as f64 / (self.clean_bytes + self.dirty_bytes).max(1) as f64
    }

    /// The share of a core's time that cleaning it is worth. Who appends feels what compaction
    /// takes, and a pass costs less for each byte the dirtier the log is: so it starts low and rises
    /// with the dirt, to keep up with a log that is written to fast.
    fn share(&self) -> f64 {
        if self.overdue {
            return SHARE_MAX;
        }
        let urgency = (self.ratio() - PATIENT_RATIO) / (URGENT_RATIO - PATIENT_RATIO);
        SHARE_MIN + urgency.clamp(0.0, 1.0) * (SHARE_MAX - SHARE_MIN)
    }
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Records below this offset are clean now.
    pub through: i64,
    /// Bytes of the segments that were read.
    pub bytes_before: u64,
    /// Bytes of those in their place.
    pub bytes_after: u64,
    /// Records that are gone.
    pub records_removed: u64,
}

/// One pass over one log.
struct Pass<'a> {
    cleaner: &'a Cleaner,
    map: OffsetMap,
    /// The map knows every key up to this offset.
    latest: i64,
    txns: TxnTrack,
    /// Of the log, when the pass began: what superseded others may be gone after a further one.
    truncations: u64,
    now_ms: i64,
    done: Cleaned,
}

impl Log {
    /// Whether the log should be cleaned, as far as its records are below `last_stable`.
    pub(crate) async fn filth(
        self: &Rc<Self>,
        last_stable: i64,
        now_ms: i64,
    ) -> Result<Option<Filth>, LogError> {
        self.check_open()?;
        let config = self.config();
        if !config.cleanup_policy.compact || self.uncleanable.get() || self.moving.get() {
            return Ok(None);
        }
        let segments = self.segments_from(i64::MIN);
        let (active, closed) = segments.split_last().expect("a log has a segment");
        let first_dirty = self.first_dirty();
        let dirty = || {
            let nexts = segments.iter().skip(1).map(|next| next.base);
            closed.iter().zip(nexts).filter(|(_, next)| *next > first_dirty).map(|(s, _)| s)
        };
        let mut limit = last_stable.min(active.base);
        if config.min_compaction_lag_ms > 0 {
            let safe_from = now_ms.saturating_sub(config.min_compaction_lag_ms);
            for segment in dirty() {
                if self.newest_of(segment).await? > safe_from {
                    limit = limit.min(segment.base);
                    break;
                }
            }
        }
        let limit = limit.max(first_dirty);
        let end = segments.iter().rev().find(|s| s.base <= limit).map_or(limit, |s| s.base);
        let dirty_bytes = dirty().filter(|s| s.base < end).map(|s| s.size()).sum();
        let all_bytes: u64 = closed.iter().filter(|s| s.base < end).map(|s| s.size()).sum();
        let clean_bytes = all_bytes - dirty_bytes;
        let mut filth = Filth { first_dirty, end, clean_bytes, dirty_bytes, overdue: false };
        if dirty_bytes == 0 {
            return Ok(None);
        }
        if let Some(before) = now_ms.checked_sub(config.max_compaction_lag_ms).filter(|b| *b > 0) {
            for segment in dirty().filter(|s| s.base < end) {
                let first = self.first_timestamp(segment).await?;
                filth.overdue |= first > 0 && first < before;
            }
        }
        let due = filth.overdue || filth.ratio() > config.min_cleanable_dirty_ratio;
        Ok(due.then_some(filth))
    }

    /// The offset from which on nothing was cleaned yet.
    pub(crate) fn first_dirty(&self) -> i64 {
        let (start, end) = (self.log_start(), self.log_end());
        self.cleaned_through.get().filter(|at| (start..=end).contains(at)).unwrap_or(start)
    }

    /// Cleans the log once. One caller at a time.
    ///
    /// # Errors
    /// `Closed` or `Retry` when the log changed under it; a damaged log is not cleaned again. What
    /// was swapped before stays.
    pub(crate) async fn clean(
        self: &Rc<Self>,
        cleaner: &Cleaner,
        filth: Filth,
        now_ms: i64,
    ) -> Result<Cleaned, LogError> {
        let truncations = self.truncations.get();
        match self.clean_through(cleaner, filth, now_ms).await {
            // What was read was cut off, and others wrote there.
            Err(LogError::Corrupt { .. }) if truncations != self.truncations.get() => {
                Err(LogError::Retry)
            }
            Err(error @ LogError::Corrupt { .. }) => {
                self.uncleanable.set(true);
                self.site.cx.metrics.damage_found.inc();
                Err(error)
            }
            cleaned => cleaned,
        }
    }

    async fn clean_through(
        self: &Rc<Self>,
        cleaner: &Cleaner,
        filth: Filth,
        now_ms: i64,
    ) -> Result<Cleaned, LogError> {
        let (rt, first) = (&self.site.cx.rt, filth.first_dirty);
        cleaner.pace.set_share(filth.share());
        let keys = u64::try_from(filth.end - first).unwrap_or(0);
        let mut pass = Pass {
            cleaner,
            map: OffsetMap::new(rt, first, keys, cleaner.map_bytes()),
            latest: first - 1,
            txns: TxnTrack::default(),
            truncations: self.truncations.get(),
            now_ms,
            done: Cleaned::default(),
        };
        self.learn(&mut pass, filth).await?;
        // From here on its old place in the file is nobody's: see the journal's replay.
        self.leave_journal().await?;
        pass.txns = TxnTrack::default();
        for group in self.groups(pass.latest) {
            self.clean_group(&mut pass, &group).await?;
        }
        if pass.truncations != self.truncations.get() {
            return Err(LogError::Retry);
        }
        pass.done.through = pass.latest + 1;
        self.cleaned_through.set(Some(pass.done.through));
        self.site.cx.metrics.cleanings.inc();
        Ok(pass.done)
    }

    /// Puts the keys of the dirty segments into the map, as many as it takes.
    async fn learn(self: &Rc<Self>, pass: &mut Pass<'_>, filth: Filth) -> Result<(), LogError> {
        let first = filth.first_dirty;
        pass.txns.add(&self.aborted(first, filth.end).await?);
        let mut batch = Vec::new();
        for segment in self.segments_from(first) {
            if segment.base >= filth.end {
                break;
            }
            let Some(next) = self.next_base(&segment) else { break };
            if segment.with_indexes(|_| ()).is_none() {
                self.load_indexes(&segment).await?;
            }
            let relative = segment.relative(first.max(segment.base)).unwrap_or(0);
            let from = segment.with_indexes(|i| u64::from(i.offsets.floor(relative))).unwrap_or(0);
            let mut source = Source::new(&self.site.cx, &segment, from);
            while source.next(&mut batch).await? {
                self.check_open()?;
                let began = self.site.cx.rt.now();
                if !self.learn_batch(pass, &segment, &batch, first)? {
                    return Ok(());
                }
                self.site.cx.metrics.cleaner_read_bytes.add(batch.len() as u64);
                pass.cleaner.pace.breathe(batch.len(), began).await;
            }
            pass.latest = pass.latest.max(next - 1);
        }
        Ok(())
    }

    /// False when the batch's keys do not fit into the map.
    fn learn_batch(
        &self,
        pass: &mut Pass<'_>,
        segment: &Segment,
        batch: &[u8],
        first: i64,
    ) -> Result<bool, LogError> {
        let view = BatchView::decode(batch).expect("the source checked it");
        if view.last_offset().0 < first {
            return Ok(true);
        }
        if view.attributes.is_control() {
            pass.txns.judge(&view);
        } else if !pass.txns.is_aborted(&view) {
            let none_yet = pass.latest < first;
            let mut scratch = self.site.cx.scratch.borrow_mut();
            let bad = |error: String| segment.corrupt(0, &error);
            let opened = scratch.open(&view, OPENED_BYTES_MAX);
            let opened = opened.map_err(|error| bad(error.to_string()))?;
            let records = Records::new(opened, view.records_count);
            for record in records.map_err(|error| bad(error.to_string()))? {
                let record = record.map_err(|error| bad(error.to_string()))?;
                let offset = record.offset(&view).0;
                let Some(key) = record.key.filter(|_| offset >= first) else { continue };
                if !pass.map.has_room(1) && pass.map.get(key).is_none() {
                    if !none_yet {
                        return Ok(false);
                    }
                    // One batch at least, or the log would never become clean.
                    pass.map.grow(usize::try_from(view.records_count).unwrap_or(1).max(1));
                }
                pass.map.put(key, offset);
            }
        }
        pass.latest = pass.latest.max(view.last_offset().0);
        Ok(true)
    }

    /// Sees to it that the journal holds nothing of the closed segments: a start would compare it
    /// with what is there then.
    async fn leave_journal(self: &Rc<Self>) -> Result<(), LogError> {
        let _turn = self.turn.lock().await;
        self.check_open()?;
        let appender = self.appender();
        appender.drain().await?;
        appender.leave_journal().await
    }

    /// The segments that begin at or before offset `latest`, in groups that fit one segment each.
    fn groups(&self, latest: i64) -> Vec<Vec<Rc<Segment>>> {
        let bytes_max = self.config().segment_bytes;
        let mut groups: Vec<(u64, Vec<Rc<Segment>>)> = Vec::new();
        for segment in self.segments_from(i64::MIN) {
            let Some(next) = self.next_base(&segment) else { break };
            if segment.base > latest {
                break;
            }
            let size = segment.size();
            let fits = |(bytes, group): &&mut (u64, Vec<Rc<Segment>>)| {
                *bytes + size <= bytes_max && group[0].relative(next - 1).is_some()
            };
            match groups.last_mut().filter(fits) {
                Some((bytes, group)) => {
                    *bytes += size;
                    group.push(segment);
                }
                None => groups.push((size, vec![segment])),
            }
        }
        // Nothing would be left to tell which offsets it stands for.
        groups.into_iter().filter(|(bytes, _)| *bytes > 0).map(|(_, group)| group).collect()
    }

    async fn clean_group(
        self: &Rc<Self>,
        pass: &mut Pass<'_>,
        group: &[Rc<Segment>],
    ) -> Result<(), LogError> {
        let result = self.rewrite_group(pass, group).await;
        if !matches!(result, Ok(true)) {
            if !matches!(result, Err(LogError::Failed { .. })) {
                self.discard_cleaned(group[0].base).await;
            }
            // Those that are still the log's let go of their memory again.
            let there = self.segments_from(i64::MIN);
            let (_, closed) = there.split_last().expect("a log has a segment");
            for segment in closed.iter().filter(|s| group.iter().any(|old| Rc::ptr_eq(s, old))) {
                segment.unpin(&self.site.cx);
            }
        }
        result.map(|_| ())
    }

    /// Writes a group anew and swaps it in; false when there is nothing to change.
    async fn rewrite_group(
        self: &Rc<Self>,
        pass: &mut Pass<'_>,
        group: &[Rc<Segment>],
    ) -> Result<bool, LogError> {
        let cx = &self.site.cx;
        for segment in group {
            // Readers go on with what is open and known, once the names are another's.
            segment.pin(cx);
            segment.file(cx).await?;
            segment.load_sidecar(cx).await?;
            segment.txns(cx).await?;
            if segment.with_indexes(|_| ()).is_none() {
                self.load_indexes(segment).await?;
            }
        }
        let interval = self.config().index_interval_bytes;
        let mut sink = Sink::begin(&self.site, group[0].base, interval).await?;
        let mut changed = group.len() > 1;
        let (mut batch, mut out) = (Vec::new(), Vec::new());
        let last_filled = group.iter().rposition(|segment| segment.size() > 0);
        for (at, segment) in group.iter().enumerate() {
            let next = self.next_base(segment).ok_or(LogError::Retry)?;
            pass.txns.add(&self.aborted(segment.base, next).await?);
            let mut source = Source::new(cx, segment, 0);
            while source.next(&mut batch).await? {
                self.check_open()?;
                let began = cx.rt.now();
                out.clear();
                let last = Some(at) == last_filled && source.is_at_end();
                let (sifted, ended) = self.sift(pass, segment, &batch, last, &mut out)?;
                changed |= sifted != Sifted::Whole;
                if !out.is_empty() {
                    sink.push(&out).await?;
                    ended.into_iter().for_each(|txn| sink.note_aborted(txn));
                }
                cx.metrics.cleaner_read_bytes.add(batch.len() as u64);
                cx.metrics.cleaner_written_bytes.add(out.len() as u64);
                pass.cleaner.pace.breathe(batch.len() + out.len(), began).await;
            }
            pass.done.bytes_before += segment.size();
        }
        pass.done.bytes_after += sink.segment.size();
        if !changed {
            return Ok(false);
        }
        let fresh = sink.finish().await?;
        self.swap(&fresh, group, pass.truncations).await?;
        Ok(true)
    }

    /// What stays of one batch goes to `out`; with it an aborted transaction whose marker stays.
    fn sift(
        &self,
        pass: &mut Pass<'_>,
        segment: &Segment,
        batch: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(Sifted, Option<AbortedTxn>), LogError> {
        let view = BatchView::decode(batch).expect("the source checked it");
        let control = view.attributes.is_control();
        let horizon_passed =
            view.attributes.has_delete_horizon() && view.base_timestamp <= pass.now_ms;
        let (mut rules, mut ended) = (
            SiftRules {
                keep_empty: last || self.is_producers_last(&view),
                discard_records: false,
                outlived_marker: false,
                horizon_ms: pass.now_ms.saturating_add(self.config().delete_retention_ms),
                opened_bytes_max: OPENED_BYTES_MAX,
            },
            None,
        );
        if control {
            let marker = pass.txns.judge(&view);
            rules.outlived_marker = marker == Marker::Outlived;
            rules.discard_records = rules.outlived_marker && horizon_passed;
            if let Marker::NeededByAborted(txn) = marker {
                ended = Some(txn);
            }
        } else {
            rules.discard_records = pass.txns.is_aborted(&view);
        }
        let (map, latest) = (&pass.map, pass.latest);
        let keep = |record: &crate::batch::Record<'_>| {
            let offset = record.offset(&view).0;
            if control || offset > latest {
                return true;
            }
            let Some(key) = record.key else { return false };
            let superseded = map.get(key).is_some_and(|newest| offset < newest);
            !superseded && (record.value.is_some() || !horizon_passed)
        };
        let mut scratch = self.site.cx.scratch.borrow_mut();
        let mut sieve = pass.cleaner.sieve.borrow_mut();
        let sifted = sieve.sift(&view, rules, &mut scratch, keep, out);
        let sifted = sifted.map_err(|error| segment.corrupt(0, &error.to_string()))?;
        let removed = match sifted {
            Sifted::Whole => 0,
            Sifted::Rewritten(left) => view.records_count - left,
            Sifted::Gone => view.records_count,
        };
        pass.done.records_removed += u64::try_from(removed).unwrap_or(0);
        Ok((sifted, ended))
    }

    /// Whether a producer that is remembered wrote this batch last: it says which sequence and epoch
    /// come next.
    fn is_producers_last(&self, batch: &BatchView<'_>) -> bool {
        batch.has_producer()
            && self.producers(|producers| {
                producers.get(batch.producer_id).is_some_and(|entry| match entry.last_offset() {
                    Some(last) => batch.last_offset() == last,
                    None => batch.attributes.is_control() && batch.producer_epoch == entry.epoch,
                })
            })
    }

    /// Timestamp of a segment's first batch.
    async fn first_timestamp(self: &Rc<Self>, segment: &Rc<Segment>) -> Result<i64, LogError> {
        if segment.first_timestamp_ms().is_none() && segment.size() > 0 {
            let look = |log: &Self, held: &Held| log.header_at(segment, 0, held);
            let header = self.look_until(look).await?;
            segment.set_first_timestamp_ms(Some(header.max_timestamp));
        }
        Ok(segment.first_timestamp_ms().unwrap_or(-1))
    }
}

/// A log with this share of dirty bytes, or a smaller one, may be cleaned slowly.
const PATIENT_RATIO: f64 = 0.5;
/// One with this share is cleaned as fast as may be.
const URGENT_RATIO: f64 = 0.9;
/// What a batch may open to: far more than any that a producer may send.
const OPENED_BYTES_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn share(dirty_bytes: u64, overdue: bool) -> f64 {
        let clean_bytes = 1_000 - dirty_bytes;
        Filth { first_dirty: 0, end: 1, clean_bytes, dirty_bytes, overdue }.share()
    }

    #[test]
    fn a_log_gets_more_of_the_core_the_dirtier_it_is() {
        assert_eq!([share(10, false), share(500, false)], [SHARE_MIN; 2]);
        assert!(share(500, false) < share(501, false) && share(899, false) < share(900, false));
        assert_eq!([share(900, false), share(1_000, false)], [SHARE_MAX; 2]);
        assert_eq!(share(10, true), SHARE_MAX, "overdue");
    }
}
