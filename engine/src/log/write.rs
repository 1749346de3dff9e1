//! Appending to a log, and beginning its next segment.

use std::rc::Rc;

use super::Log;
use super::appender::{Appender, AppenderSpec};
use super::aside::{self, Tail};
use super::recovery::{Leftover, Report};
use super::segment::Segment;
use crate::batch::header::{BatchHeader, HEADER_BYTES};
use crate::error::LogError;
use crate::waiters::OwnedFifoGuard;

/// Bytes about to be appended, as far as segments care.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) bytes: u64,
    /// Largest timestamp in them.
    pub(crate) max_timestamp_ms: i64,
    /// Offset of their last record.
    pub(crate) last_offset: i64,
}

impl Log {
    /// Makes sure that `load` can be appended: begins a new segment when it is time, and reserves
    /// the room. The caller holds the append lock, and appends without waiting in between.
    ///
    /// # Errors
    /// `DiskFull`, after which the log is as before.
    pub(crate) async fn prepare(self: &Rc<Self>, load: Load) -> Result<(), LogError> {
        self.check_open()?;
        if self.appender().uncommitted() > 0 {
            // A panic came between. Half an append must not be committed with the next one.
            return Err(self.fail("an append broke off"));
        }
        if let Some(error) = self.appender().refuses() {
            return Err(error);
        }
        let room = self.make_room(load).await;
        if let Err(error) = &room {
            self.appender().refuse_for_a_while(error);
        }
        room
    }

    /// The same, if there is nothing to wait for and nothing in the way; false if there is, and
    /// nothing is changed.
    pub(crate) fn prepare_now(&self, load: Load) -> bool {
        let appender = self.appender();
        self.check_open().is_ok()
            && appender.uncommitted() == 0
            && appender.refuses().is_none()
            && self.leftover.borrow().is_none()
            && !self.should_roll(load)
            && appender.reserve_now(load.bytes)
    }

    async fn make_room(self: &Rc<Self>, load: Load) -> Result<(), LogError> {
        self.clear_leftover().await?;
        if self.should_roll(load) {
            self.roll().await?;
        }
        let appender = self.appender();
        appender.reserve(load.bytes).await
    }

    /// Moves bytes out of the way that recovery left behind the log's end, since the disk was full.
    /// The caller holds the append lock.
    pub(super) async fn clear_leftover(&self) -> Result<(), LogError> {
        let Some(Leftover { end, len, why }) = self.leftover.borrow().clone() else {
            return Ok(());
        };
        let (segment, mut report) = (self.active(), Report::default());
        match aside::cut(&self.site, &segment, end, len, &why, &mut report).await? {
            Tail::InPlace => return Err(self.site.full()),
            Tail::None | Tail::Zeros | Tail::Aside => {}
        }
        self.site.cx.metrics.set_aside_bytes.add(report.cut_bytes);
        self.appender().was_cut();
        *self.leftover.borrow_mut() = None;
        Ok(())
    }

    /// Appends one batch. [`Log::prepare`] made the room.
    pub(crate) fn append(&self, head: &[u8; HEADER_BYTES], payload: &[u8]) {
        let header = BatchHeader::decode(head).expect("whoever appends built it");
        let (segment, appender) = (self.active(), self.appender());
        let position = appender.end();
        appender.append(head);
        appender.append(payload);
        segment.note_bytes(position, head);
        segment.note_bytes(position + head.len() as u64, payload);
        segment.note_batch(&header, position, self.config().index_interval_bytes);
        let mut state = self.state.borrow_mut();
        state.log_end = header.next_offset().0;
        if state.epochs.assign(header.leader_epoch.0, header.base_offset.0) {
            state.epochs_changed = true;
        }
    }

    /// Lets what was appended since the last commit go to the device.
    pub(crate) fn commit(&self, records: u64) {
        let (appender, log_end) = (self.appender(), self.log_end());
        let was_captured = !self.changed_since_capture();
        self.note_change();
        let bytes = appender.uncommitted();
        self.site.cx.metrics.appended_bytes.add(bytes);
        self.site.dir().note_appended(bytes, was_captured);
        appender.commit(log_end, records);
    }

    /// Kafka's conditions for beginning a new segment.
    fn should_roll(&self, load: Load) -> bool {
        let (segment, config) = (self.active(), self.config());
        let size = segment.size();
        if size == 0 {
            return segment.relative(load.last_offset).is_none();
        }
        size + load.bytes > config.segment_bytes
            || segment.relative(load.last_offset).is_none()
            || segment.index_full(config.segment_index_bytes)
            || self.is_time_to_roll(load.max_timestamp_ms)
    }

    /// Whether the active segment spans more than `segment.ms`, by records' time if they have one.
    pub(crate) fn is_time_to_roll(&self, timestamp_ms: i64) -> bool {
        let (segment, config) = (self.active(), self.config());
        let waited = match segment.first_timestamp_ms() {
            Some(first) if first >= 0 => timestamp_ms.saturating_sub(first),
            _ => self.site.cx.rt.wall_ms() - segment.created_ms(),
        };
        let mut segment_ms = config.segment_ms;
        if config.cleanup_policy.compact {
            // An active segment is not cleaned.
            segment_ms = segment_ms.min(config.max_compaction_lag_ms);
        }
        segment.size() > 0 && waited > segment_ms - segment.jitter_ms(config.segment_jitter_ms)
    }

    /// Closes the active segment and begins one at the log's end. The caller holds the lock.
    ///
    /// A segment is begun only after everything before it is synced, so recovery may take any
    /// segment that has a successor for whole. What stands beside the old one is written while
    /// appends go on: the lock on these files is kept until then, and recovery reads the segment
    /// again if that was not finished.
    pub(crate) async fn roll(self: &Rc<Self>) -> Result<(), LogError> {
        self.clear_leftover().await?;
        let (began, metrics) = (self.site.cx.rt.now(), &self.site.cx.metrics);
        let (old, appender) = (self.active(), self.appender());
        appender.drain().await?;
        if let Err(error) = appender.trim().await {
            return Err(self.fail(&format!("cannot trim a segment: {error}")));
        }
        let base = self.log_end();
        assert!(base > old.base || old.size() == 0, "a segment is begun behind the one before");
        // Those of the segment before: no more than one is behind.
        let files = self.files.lock_owned().await;
        let (fresh, next) = match self.begin_segment(base).await {
            Ok(begun) => begun,
            Err(error) if base == old.base => return Err(error),
            Err(error) => {
                // An empty segment in the middle would hide what is appended from here on.
                if let Err(left) = self.site.discard(base).await {
                    return Err(self.fail(&format!("a segment is left half begun: {left}")));
                }
                return Err(error);
            }
        };
        appender.rest();
        fresh.start_txns();
        fresh.with_indexes_mut(|_| ());
        let mut state = self.state.borrow_mut();
        state.segments.insert(base, Rc::clone(&fresh));
        state.active = fresh;
        state.appender = next;
        drop(state);
        self.save_closed(&old, base, files);
        self.note_change();
        metrics.segments_rolled.inc();
        metrics.roll_time.record(self.site.cx.rt.now() - began);
        self.site.dir().checkpoint_soon();
        Ok(())
    }

    /// Lets the files beside `old` be written, which ended at `end` just now, and the producers'
    /// state there.
    fn save_closed(self: &Rc<Self>, old: &Rc<Segment>, end: i64, files: OwnedFifoGuard) {
        old.finish_time_index();
        old.close_sidecar();
        old.set_unsaved(&self.site.cx, true);
        old.unpin(&self.site.cx);
        let producers = self.producers(|producers| producers.snapshot());
        let (log, old) = (Rc::clone(self), Rc::clone(old));
        let saving = async move {
            log.save_segment(&old).await;
            // Last: recovery takes the segments before a snapshot for done with.
            log.save_snapshot(end, &producers).await;
            old.set_unsaved(&log.site.cx, false);
            drop(files);
        };
        self.site.cx.rt.spawn("log roll", saving).detach();
    }

    async fn begin_segment(
        self: &Rc<Self>,
        base: i64,
    ) -> Result<(Rc<Segment>, Rc<Appender>), LogError> {
        let fresh = self.site.create_segment(base).await?;
        let appender = self.make_appender(&fresh, base).await?;
        Ok((fresh, appender))
    }

    /// An appender at the end of `segment`, all of which is synced.
    pub(super) async fn make_appender(
        self: &Rc<Self>,
        segment: &Rc<Segment>,
        end_offset: i64,
    ) -> Result<Rc<Appender>, LogError> {
        let config = self.config();
        let spec = self.site.appender_spec(segment, end_offset, &config).await?;
        Ok(self.appender_of(spec))
    }

    pub(super) fn appender_of(self: &Rc<Self>, spec: AppenderSpec) -> Rc<Appender> {
        let me = Rc::downgrade(self);
        let listener = move || {
            if let Some(log) = me.upgrade() {
                log.progressed();
            }
        };
        Appender::new(&self.site.cx, spec, listener)
    }
}
