//! Core 0's metadata role: the quorum of one, the controller, and the publishing of what they
//! decide.
//!
//! ```text
//! propose(decide) ─▶ queue ─▶ controller: decide on the image as it will be ─▶ append
//!      ▲                                                                         │ one sync
//!      ├── answer ◀─────────────────────────────────────────────────────────── commit
//!      └── answer ◀── every core has confirmed ◀── publish image and homes ◀────┘
//! ```
//!
//! There is one proposer. It takes what is queued as one round: every decision sees the ones
//! before it, all are appended, one sync commits all. What clients will use at once is answered
//! when it is published too, which is the publisher's: a slow data disk delays no commit. Requests
//! from other cores come as calls ([`requests`]).

pub(crate) mod check;
mod files;
mod format;
mod home;
mod join;
mod log;
mod proposal;
mod publisher;
mod replay;
pub(crate) mod requests;
pub(crate) mod settle;
mod snapshots;
mod upkeep;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod trouble;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use engine::ids::{LeaderEpoch, Offset};
use replication::controller::{
    Controller, ControllerOptions, DecidedBatch, Decision, Random, SESSION_TIMEOUT, Turn,
};
use replication::features::FeatureError;
use replication::image::{BatchInfo, Image, Loader};
use replication::quorum::{Effect, Event, Quorum, QuorumDescription};
use replication::record::{self, BatchPlace, ControlRecord, MetadataRecord};
use wire::primitives::Uuid;

use self::check::Checked;
use self::home::Homes;
use self::log::MetaLog;
pub(crate) use self::proposal::ProposeError;
use self::proposal::Queue;
use self::publisher::Publishes;
pub(crate) use self::settle::{Prefer, Settled};
use self::snapshots::Snapshots;
use crate::boot::{BootError, Dirs, random_id};
use crate::core::Core;

/// The metadata role.
pub(crate) struct Meta {
    core: Rc<Core>,
    log: MetaLog,
    quorum: RefCell<Quorum>,
    /// What is committed.
    loader: RefCell<Loader>,
    /// None while what it proposed last is not known to be in the log, or can't be.
    controller: RefCell<Option<Controller>>,
    homes: RefCell<Homes>,
    snapshots: RefCell<Snapshots>,
    queue: Queue,
    publishes: Publishes,
    /// Rings when the proposer or the publisher has ended, which only a defect makes them do.
    failed: (flume::Sender<()>, flume::Receiver<()>),
    /// Random, new with every start.
    incarnation: Uuid,
    /// Epoch of this broker's registration.
    broker_epoch: Cell<i64>,
    /// Partitions that could not be opened.
    offline: Cell<usize>,
}

impl Meta {
    /// Replays the log, takes the lead, registers this broker, and publishes: when this returns,
    /// every core serves its partitions.
    pub(crate) async fn start(
        core: &Rc<Core>,
        dirs: &Dirs,
        checked: Checked,
    ) -> Result<Rc<Self>, BootError> {
        let home = dirs.metadata_dir();
        let directory = home.meta.directory_id.ok_or_else(|| {
            BootError::Metadata(format!("{} has no directory.id", home.path.display()))
        })?;
        let config = log::quorum_config(&core.node.config, directory, &core.node.listeners);
        let (log, replayed) = MetaLog::open(core, dirs, &config, checked).await?;
        let now = monotonic(core);
        let (quorum, effects) = Quorum::start(now, config, replayed.quorum)?;
        let (newest, bytes) = (replayed.snapshot_end, replayed.bytes_since);
        let snapshots = Snapshots::new(&core.node.config, now, newest, bytes);
        let (queue, jobs) = Queue::new();
        let (publishes, wanted) = Publishes::new();
        let homes = Homes::load(&core.rt, core.node.id, core.cores(), dirs).await;
        let meta = Rc::new(Self {
            core: Rc::clone(core),
            log,
            quorum: RefCell::new(quorum),
            loader: RefCell::new(replayed.loader),
            controller: RefCell::default(),
            homes: RefCell::new(homes),
            snapshots: RefCell::new(snapshots),
            queue,
            publishes,
            failed: flume::bounded(1),
            incarnation: random_id(&core.rt),
            broker_epoch: Cell::new(-1),
            offline: Cell::new(0),
        });
        meta.execute(effects).await.map_err(BootError::Metadata)?;
        meta.join(dirs, &replayed.removed).await?;
        core.rt.spawn("proposer", proposal::run(Rc::clone(&meta), jobs)).detach();
        core.rt.spawn("publisher", publisher::run(Rc::clone(&meta), wanted)).detach();
        core.rt.spawn("metadata-upkeep", upkeep::run(Rc::clone(&meta))).detach();
        core.rt.spawn("metadata-watch", upkeep::watch(Rc::clone(&meta))).detach();
        core.rt.spawn("metadata-idle", upkeep::move_on(Rc::clone(&meta))).detach();
        Ok(meta)
    }

    /// Partitions that this node serves, and those that it could not open.
    pub(crate) fn partitions(&self) -> (usize, usize) {
        let all = self.loader.borrow().image().topics().partitions().count();
        (all - self.offline.get(), self.offline.get())
    }

    /// Resolves when this role has ended by a defect: nothing can be changed any more.
    pub(crate) async fn failed(&self) {
        // The other end is in here.
        let _ = self.failed.1.recv_async().await;
    }

    /// Looks at what the controller knows, committed or not.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Controller) -> T) -> Result<T, ProposeError> {
        self.controller.borrow().as_ref().map(look).ok_or(ProposeError::NotController)
    }

    /// The quorum as its leader sees it.
    pub(crate) fn describe_quorum(&self) -> Result<QuorumDescription, ProposeError> {
        let described = self.quorum.borrow().describe(self.core.rt.wall_ms());
        described.ok_or(ProposeError::NotController)
    }

    /// Epoch of this broker's registration.
    pub(crate) fn broker_epoch(&self) -> i64 {
        self.broker_epoch.get()
    }

    /// The committed image.
    fn image(&self) -> Image {
        self.loader.borrow().image().clone()
    }

    /// The controller takes office on what is committed; the decision holds its first records.
    fn activate(&self, bootstrap: &[MetadataRecord]) -> Result<Decision<()>, FeatureError> {
        let options = ControllerOptions {
            node: self.core.node.id,
            cluster_id: self.core.node.cluster_id.clone(),
            kraft_version: self.quorum.borrow().kraft_version(),
            session_timeout: SESSION_TIMEOUT,
            config: self.core.node.config.clone(),
        };
        let (now, next) = (monotonic(&self.core), self.log.end());
        let loader = self.loader.borrow();
        let (controller, first) = Controller::activate(now, options, &loader, next, bootstrap)?;
        *self.controller.borrow_mut() = Some(controller);
        Ok(first)
    }

    /// Lets the controller decide something; none while there is no controller.
    fn decide<T>(
        &self,
        decide: impl FnOnce(&mut Controller, &mut Turn<'_>) -> Decision<T>,
    ) -> Option<Decision<T>> {
        let rt = &self.core.rt;
        let mut bits = || rt.random_u64();
        let mut turn = Turn { now: monotonic(&self.core), random: Random::new(&mut bits) };
        let mut controller = self.controller.borrow_mut();
        controller.as_mut().map(|controller| decide(controller, &mut turn))
    }

    /// Does what the quorum asks, in its order; reports what became durable.
    async fn execute(&self, effects: Vec<Effect>) -> Result<(), String> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Persist { state, version } => {
                    let persisted = self.log.files.persist(&state, version).await;
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

    /// Appends a decision's records, in memory only; `batches` get what is needed to commit them,
    /// also of the first ones where a later one cannot be appended.
    async fn append(
        &self,
        decision: Decision<()>,
        batches: &mut Vec<Batch>,
    ) -> Result<(), ProposeError> {
        let (base, timestamp_ms) = (self.log.end(), self.core.rt.wall_ms());
        let epoch = self.quorum.borrow().epoch();
        let decided = decision.batches(BatchPlace { base, epoch, timestamp_ms })?;
        let mut records = decision.records.into_iter();
        for DecidedBatch { place, records: count, bytes } in decided {
            let len = bytes.len();
            let appended = self.log.append(bytes).await.map_err(ProposeError::Log)?;
            let info = BatchInfo { base: place.base, epoch: epoch.0, timestamp_ms };
            let records = records.by_ref().take(count).collect();
            batches.push(Batch { info, last: appended.last, bytes: len, records });
        }
        Ok(())
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
