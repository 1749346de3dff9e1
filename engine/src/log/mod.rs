//! One partition's log: segments on disk, an appender on the last of them, and what is cached.
//!
//! Owner core only. Offsets here are plain numbers; the partition above gives them their meaning
//! (who may see what). Whoever changes the log holds its append lock; readers never wait for it.
//!
//! ```text
//!   segments   [0 ........)[4711 ........)[9002 ....            )   closed ones are whole and synced
//!                                          ^ active: Appender -> device
//!   log start ≤ synced ≤ written ≤ log end
//! ```

mod appender;
mod aside;
mod blocks;
mod capture;
pub(crate) mod checkpoint;
mod clean;
mod close;
pub mod dir;
mod epochs;
mod flush;
mod index;
pub mod journal;
mod names;
mod open;
pub(crate) mod own;
mod reader;
mod recovery;
mod relearn;
pub(crate) mod relocate;
mod retention;
mod scan;
mod scrub;
mod segment;
pub(crate) mod shelf;
mod sidecar;
mod site;
mod text;
mod time;
mod truncate;
mod write;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;

pub(crate) use appender::FlushPolicy;
pub use clean::{Cleaned, Cleaner, CleanerLimits, Filth, Pace};
use epochs::EpochCache;
pub use epochs::EpochEnd;
use names::FileKind;
pub(crate) use names::doomed_dir;
pub(crate) use open::LogSpec;
pub(crate) use reader::Want;
use recovery::Leftover;
pub use recovery::Report as RecoveryReport;
pub use scrub::ScrubPace;
pub(crate) use segment::Segment;
pub use shelf::ShelfLimits;
pub(crate) use write::Load;

use smallvec::SmallVec;

use crate::batch::header::BatchView;
use crate::cache::SegmentUid;
use crate::error::LogError;
use crate::ids::Offset;
use crate::producer::{AppendPlan, ProducerStates};
use crate::rt::sim::Plant;
use crate::waiters::FifoLock;
use appender::{Appender, Progress};
use config::TopicConfig;
use site::Site;
use wire::primitives::Uuid;

/// One partition's log.
pub(crate) struct Log {
    pub(crate) site: Site,
    /// Held by whoever removes or replaces closed segments; taken before `turn`.
    pub(crate) shape: FifoLock,
    /// Held by whoever appends, rolls, truncates, trims or closes.
    pub(crate) turn: FifoLock,
    /// Held by whoever writes the files beside the segments, after a roll for longer than `turn`;
    /// taken after that.
    files: Rc<FifoLock>,
    state: RefCell<State>,
    config: RefCell<Rc<TopicConfig>>,
    /// Told when `progress` moved or the log failed.
    listener: RefCell<Option<Rc<dyn Fn()>>>,
    /// As the partition last set it; kept for checkpoints.
    pub(crate) high_watermark: Cell<i64>,
    /// Where the log is to start once that is durable; never behind the high watermark.
    intended_start: Cell<i64>,
    /// Changes that a checkpoint would note, and how many the last one did.
    changes: Cell<u64>,
    captured: Cell<u64>,
    /// Until this is out of the way, nothing can be appended.
    leftover: RefCell<Option<Leftover>>,
    /// Positions of offsets that reads ended at lately: the high watermark, the last stable one.
    ends: Cell<[Option<KnownEnd>; 2]>,
    /// Records below were compacted; noted for the next start now and then.
    cleaned_through: Cell<Option<i64>>,
    /// How often the log's end was cut off: compaction must not go by what it read before.
    truncations: Cell<u64>,
    /// Compaction found damage: it stays away until the next start.
    uncleanable: Cell<bool>,
    /// The log is being copied, which compaction would only delay.
    pub(crate) moving: Cell<bool>,
}

struct State {
    segments: BTreeMap<i64, Rc<Segment>>,
    active: Rc<Segment>,
    appender: Rc<Appender>,
    log_start: i64,
    log_end: i64,
    epochs: EpochCache,
    /// The file of epochs is behind.
    epochs_changed: bool,
    producers: ProducerStates,
    closed: bool,
}

#[derive(Clone, Copy)]
struct KnownEnd {
    segment: SegmentUid,
    offset: i64,
    position: u64,
}

impl Log {
    pub(crate) fn log_start(&self) -> i64 {
        self.state.borrow().log_start
    }

    pub(crate) fn log_end(&self) -> i64 {
        self.state.borrow().log_end
    }

    /// How far appends got on their way to the disk, as offsets.
    pub(crate) fn progress(&self) -> Progress {
        self.state.borrow().appender.progress()
    }

    /// Bytes of all segments.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.state.borrow().segments.values().map(|segment| segment.size()).sum()
    }

    pub(crate) fn config(&self) -> Rc<TopicConfig> {
        Rc::clone(&self.config.borrow())
    }

    pub(crate) fn set_config(&self, config: &Rc<TopicConfig>) {
        *self.config.borrow_mut() = Rc::clone(config);
        self.state.borrow().appender.set_policy(flush_policy(config));
    }

    /// Sets who is told of progress and of failure.
    pub(crate) fn listen(&self, listener: Rc<dyn Fn()>) {
        *self.listener.borrow_mut() = Some(listener);
    }

    /// Why the log cannot serve, if it cannot.
    pub(crate) fn check_open(&self) -> Result<(), LogError> {
        let state = self.state.borrow();
        if let Some(error) = state.appender.failure() {
            return Err(error);
        }
        if state.closed { Err(LogError::Closed) } else { Ok(()) }
    }

    /// Topic id and partition.
    pub(crate) fn key(&self) -> (Uuid, i32) {
        (self.site.topic_id.0, self.site.partition)
    }

    fn changed_since_capture(&self) -> bool {
        self.changes.get() != self.captured.get()
    }

    fn captured_changes(&self) -> u64 {
        self.changes.get()
    }

    fn set_captured(&self, changes: u64) {
        self.captured.set(changes);
    }

    /// Notes that the next checkpoint has something new to say.
    fn note_change(&self) {
        self.changes.set(self.changes.get() + 1);
    }

    /// Stops the log for good: what is on the disk is no longer known.
    pub(crate) fn fail(&self, reason: &str) -> LogError {
        let error =
            LogError::Failed { log: Arc::clone(&self.site.name), reason: Arc::from(reason) };
        let appender = Rc::clone(&self.state.borrow().appender);
        appender.fail(error.clone());
        appender.failure().unwrap_or(error)
    }

    pub(crate) fn epochs<T>(&self, look: impl FnOnce(&EpochCache) -> T) -> T {
        look(&self.state.borrow().epochs)
    }

    /// Notes that leadership `epoch` starts at `start`.
    pub(crate) fn start_epoch(&self, epoch: i32, start: i64) {
        let mut state = self.state.borrow_mut();
        if state.epochs.assign(epoch, start) {
            state.epochs_changed = true;
            drop(state);
            self.note_change();
        }
    }

    pub(crate) fn producers<T>(&self, look: impl FnOnce(&ProducerStates) -> T) -> T {
        look(&self.state.borrow().producers)
    }

    pub(crate) fn producers_mut<T>(&self, change: impl FnOnce(&mut ProducerStates) -> T) -> T {
        change(&mut self.state.borrow_mut().producers)
    }

    /// Puts a plan into effect whose batches were appended.
    pub(crate) fn producers_applied(&self, plan: AppendPlan) {
        let now = self.site.cx.rt.wall_ms();
        let aborted = self.producers_mut(|producers| producers.apply(plan, now));
        self.active().note_aborted(&aborted);
    }

    /// Takes a batch that a leader had judged into account.
    pub(crate) fn replayed(&self, batch: &BatchView<'_>) {
        let now = self.site.cx.rt.wall_ms();
        match self.producers_mut(|producers| producers.replay(batch, now)) {
            Ok(aborted) => self.active().note_aborted(&aborted),
            Err(error) => tracing::warn!(
                log = &*self.site.name, offset = batch.base_offset.0, %error,
                "a control batch says nothing that is understood"
            ),
        }
    }

    /// The offset below which an append counts as done here: synced, or with
    /// `odradek.durability=write-cache` written.
    pub(crate) fn durable_end(&self) -> i64 {
        let progress = self.progress();
        match self.config.borrow().odradek_durability {
            config::Durability::Sync if self.site.cx.rt.planted(Plant::AckBeforeSync) => {
                progress.written
            }
            config::Durability::Sync => progress.synced,
            config::Durability::WriteCache => progress.written,
        }
    }

    /// Lets the next checkpoint say that the log starts at `to`, which it does not yet.
    pub(crate) fn intend_log_start(&self, to: i64) {
        self.note_change();
        self.intended_start.set(to.max(self.intended_start.get()));
    }

    /// The log start as a checkpoint has it.
    pub(crate) fn noted_log_start(&self) -> i64 {
        self.log_start().max(self.intended_start.get())
    }

    /// Moves the first readable offset up.
    pub(crate) fn raise_log_start(&self, to: i64) {
        self.note_change();
        let mut state = self.state.borrow_mut();
        if to > state.log_start {
            state.log_start = to;
            state.producers.on_log_start(Offset(to));
            if state.epochs.truncate_start(to) {
                state.epochs_changed = true;
            }
        }
    }

    /// The segment that `offset` lies in or would lie in, and all after it.
    pub(crate) fn segments_from(&self, offset: i64) -> SmallVec<[Rc<Segment>; 2]> {
        let state = self.state.borrow();
        let before = state.segments.range(..=offset).next_back().map(|(base, _)| *base);
        let from = before.map_or(Bound::Unbounded, Bound::Included);
        state.segments.range((from, Bound::Unbounded)).map(|(_, s)| Rc::clone(s)).collect()
    }

    fn active(&self) -> Rc<Segment> {
        Rc::clone(&self.state.borrow().active)
    }

    fn appender(&self) -> Rc<Appender> {
        Rc::clone(&self.state.borrow().appender)
    }

    /// Base offset of the segment after `segment`.
    fn next_base(&self, segment: &Segment) -> Option<i64> {
        let after = (Bound::Excluded(segment.base), Bound::Unbounded);
        self.state.borrow().segments.range(after).next().map(|(base, _)| *base)
    }

    fn remembered_end(&self, segment: &Segment, offset: i64) -> Option<u64> {
        let known = self.ends.get().into_iter().flatten();
        known.filter(|e| e.segment == segment.uid && e.offset == offset).map(|e| e.position).next()
    }

    fn remember_end(&self, segment: &Segment, offset: i64, position: u64) {
        let [last, _] = self.ends.get();
        self.ends.set([Some(KnownEnd { segment: segment.uid, offset, position }), last]);
    }

    /// Takes in that the appender got further, or failed.
    fn progressed(&self) {
        let (segment, appender) = {
            let state = self.state.borrow();
            (Rc::clone(&state.active), Rc::clone(&state.appender))
        };
        segment.set_on_disk(appender.written_end());
        let listener = self.listener.borrow().clone();
        if let Some(listener) = listener {
            listener();
        }
    }
}

/// What a topic's settings mean for the appender.
pub(crate) fn flush_policy(config: &TopicConfig) -> FlushPolicy {
    use std::time::Duration;

    let sync_at_once = config.odradek_durability == config::Durability::Sync;
    let flush_ms = u64::try_from(config.flush_ms).unwrap_or(u64::MAX);
    let cache_ms = u64::try_from(config.odradek_write_cache_max_ms).unwrap_or(u64::MAX);
    FlushPolicy {
        sync_at_once,
        unsynced_bytes: config.odradek_write_cache_max_bytes,
        unsynced_for: Duration::from_millis(flush_ms.min(cache_ms)),
        unsynced_records: u64::try_from(config.flush_messages).unwrap_or(u64::MAX),
    }
}
