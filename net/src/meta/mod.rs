//! Core 0's metadata role: the quorum of one, the controller, and the publishing of what they
//! decide.
//!
//! ```text
//! propose(decide) ─▶ queue ─▶ decide on the image as it will be ─▶ append ─▶ durable ─▶ commit
//!      ▲                                                                                  │
//!      └── answer ◀── every core has confirmed ◀── publish image and homes ◀── replay ◀───┘
//! ```
//!
//! There is one proposer. It takes what is queued as one round: every decision sees the ones
//! before it, all are appended, one sync commits all, one publish answers all.

mod home;
pub(crate) mod join;
mod log;
mod proposal;
mod publisher;
mod snapshots;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use engine::ids::{LeaderEpoch, Offset};
use replication::features;
use replication::image::{BatchInfo, Image, Loader};
use replication::quorum::{Effect, Event, Quorum};
use replication::record::{self, BatchPlace, ControlRecord, MetadataRecord};

use self::home::Homes;
use self::log::MetaLog;
use self::proposal::Queue;
pub(crate) use self::proposal::{Decision, Desk};
use self::snapshots::Snapshots;
use crate::boot::{BootError, Dirs};
use crate::core::Core;

/// The metadata role.
pub(crate) struct Meta {
    core: Rc<Core>,
    log: MetaLog,
    quorum: RefCell<Quorum>,
    /// What is committed.
    loader: RefCell<Loader>,
    homes: RefCell<Homes>,
    snapshots: RefCell<Snapshots>,
    queue: Queue,
    /// Partitions that could not be opened.
    offline: Cell<usize>,
    /// Why no change is possible any more, if so.
    failed: RefCell<Option<Rc<str>>>,
}

impl Meta {
    /// Replays the log, takes the lead, registers this broker, and publishes: when this returns,
    /// every core serves its partitions.
    pub(crate) async fn start(core: &Rc<Core>, dirs: &Dirs) -> Result<Rc<Self>, BootError> {
        let config = log::quorum_config(core, dirs)?;
        let (log, replayed) = MetaLog::open(core, dirs, &config).await?;
        features::check(replayed.loader.image().features())?;
        let now = monotonic(core);
        let (quorum, effects) = Quorum::start(now, config, replayed.quorum)?;
        let (newest, bytes) = (replayed.snapshot_end, replayed.bytes_since);
        let snapshots = Snapshots::new(&core.node.config, now, newest, bytes);
        let homes = Homes::load(&core.rt, core.node.id, core.cores(), dirs).await;
        let meta = Rc::new(Self {
            core: Rc::clone(core),
            log,
            quorum: RefCell::new(quorum),
            loader: RefCell::new(replayed.loader),
            homes: RefCell::new(homes),
            snapshots: RefCell::new(snapshots),
            queue: Queue::new(),
            offline: Cell::new(0),
            failed: RefCell::default(),
        });
        meta.execute(effects).await.map_err(BootError::Metadata)?;
        meta.join(dirs).await?;
        core.rt.spawn("proposer", proposal::run(Rc::clone(&meta))).detach();
        Ok(meta)
    }

    /// Partitions that this node serves, and those that it could not open.
    pub(crate) fn partitions(&self) -> (usize, usize) {
        let all = self.loader.borrow().image().topics().partitions().count();
        (all - self.offline.get(), self.offline.get())
    }

    /// The present epoch of the quorum.
    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.quorum.borrow().epoch()
    }

    /// The committed image.
    fn image(&self) -> Image {
        self.loader.borrow().image().clone()
    }

    /// Does what the quorum asks, in its order; reports what became durable.
    async fn execute(&self, effects: Vec<Effect>) -> Result<(), String> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Persist { state, version } => {
                    let persisted = self.log.persist(&state, version).await;
                    persisted.map_err(|error| format!("quorum-state: {error}"))?;
                }
                Effect::Append { at, epoch, records } => {
                    self.log.lead(epoch);
                    let end = self.append_control(at, epoch, &records).await?;
                    effects.extend(self.note_durable(end));
                }
                // Rounds apply what they commit themselves; a lone voter sets no timers.
                _ => {}
            }
        }
        Ok(())
    }

    async fn append_control(
        &self,
        at: Offset,
        epoch: LeaderEpoch,
        records: &[ControlRecord],
    ) -> Result<Offset, String> {
        let timestamp_ms = self.core.rt.wall_ms();
        let place = BatchPlace { base: at, epoch, timestamp_ms };
        let batch = record::control_batch(place, records).map_err(|error| error.to_string())?;
        let appended = self.log.append(batch).await?;
        self.log.durable(appended.last).await?;
        let end = appended.last.plus(1);
        let info = BatchInfo { base: at, epoch: epoch.0, timestamp_ms };
        self.loader.borrow_mut().skip_control(info, end);
        Ok(end)
    }

    fn note_durable(&self, end: Offset) -> Vec<Effect> {
        let now = monotonic(&self.core);
        self.quorum.borrow_mut().handle(now, Event::Durable { end })
    }

    /// Appends records as one batch, in memory only; returns what is needed to commit them.
    async fn append(&self, records: Vec<MetadataRecord>) -> Result<Batch, String> {
        let epoch = self.epoch();
        let (base, timestamp_ms) = (self.log.end(), self.core.rt.wall_ms());
        let version = self.image().features().metadata_version();
        let version = version.unwrap_or(features::MetadataVersion::LATEST);
        let values = record::encode(&records, version).map_err(|error| error.to_string())?;
        let place = BatchPlace { base, epoch, timestamp_ms };
        let batch = record::metadata_batch(place, &values);
        let bytes = batch.len();
        let appended = self.log.append(batch).await?;
        let info = BatchInfo { base, epoch: epoch.0, timestamp_ms };
        Ok(Batch { info, last: appended.last, bytes, records })
    }

    /// Waits until appended batches are durable, and takes them into the image.
    async fn commit(&self, batches: &[Batch]) -> Result<(), String> {
        let Some(last) = batches.last().map(|batch| batch.last) else { return Ok(()) };
        self.log.durable(last).await?;
        let effects = self.note_durable(last.plus(1));
        let now = monotonic(&self.core);
        for batch in batches {
            self.snapshots.borrow_mut().applied(now, batch.bytes);
            let applied = self.loader.borrow_mut().apply_records(batch.info, &batch.records);
            applied.map_err(|error| error.to_string())?;
        }
        self.execute(effects).await
    }

    /// Notes that the log cannot be written any more: no change is possible until a restart.
    fn fail(&self, reason: &str) {
        let mut failed = self.failed.borrow_mut();
        if failed.is_none() {
            tracing::error!("the metadata can no longer be changed: {reason}");
            *failed = Some(Rc::from(reason));
        }
    }
}

/// Appended, not committed.
struct Batch {
    info: BatchInfo,
    last: Offset,
    bytes: usize,
    records: Vec<MetadataRecord>,
}

/// The node's clock as the state machines take it.
fn monotonic(core: &Core) -> Duration {
    Duration::from_nanos(core.rt.now().as_nanos())
}
