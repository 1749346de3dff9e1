//! One replica of one topic's partition: the unit that a core owns.
//!
//! Four positions are kept apart, each an offset behind the last record it covers:
//!
//! ```text
//! log start ≤ last stable ≤ high watermark ≤ synced ≤ log end        (leader, durability `sync`)
//!                                      └ written ≤ log end           (durability `write-cache`)
//! ```
//!
//! - *log end*: appended; only replicas read up to here.
//! - *synced*: survives a power loss here.
//! - *high watermark*: acknowledged; consumers read up to here. A leader counts itself in at what
//!   it made durable, the others at what they fetched.
//! - *last stable*: no open transaction before it; `read_committed` consumers read up to here.
//!
//! Everything that changes the log goes through the log's append lock, in the order in which it
//! asked. Reads never wait for it. No borrow is held across an await.

mod append;
mod follow;
mod moving;
mod query;
mod read;
mod state;
mod traffic;
mod turned_away;
mod unfinished;
mod upkeep;
mod wait;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use config::TopicConfig;

pub use crate::batch::validate::Origin;
pub use crate::log::{EpochEnd, RecoveryReport};
pub use crate::producer::ActiveProducer;
pub use append::{Acks, AppendOptions, Appended};
pub use moving::{FutureReplica, Move, MoveOutcome};
pub use query::{FoundOffset, OffsetQuery};
pub use read::{AbortedTxn, ReadBound, ReadResult, ReadSpec};
pub use state::{FollowerSpec, LeaderSpec, Offsets};
pub use traffic::Traffic;
pub use wait::{AckFuture, ReadableFuture};

use crate::cx::EngineCx;
use crate::error::{LogError, OpenError};
use crate::ids::{LeaderEpoch, Offset, PartitionId, TopicId};
use crate::log::checkpoint::Entry;
use crate::log::dir::{LogDir, TopicPartition};
use crate::log::relocate::{Note, Relocation};
use crate::log::{Log, LogSpec};
use crate::rt::Rt;
use crate::waiters::Waiters;
use state::Role;
use turned_away::TurnedAway;

/// Which partition to open, and where.
#[derive(Clone)]
pub struct PartitionSpec {
    /// Topic name.
    pub topic: String,
    /// The topic's id; the directory must carry the same.
    pub topic_id: TopicId,
    /// Index within the topic.
    pub partition: PartitionId,
    /// The log directory that holds it, or will.
    pub log_dir: Rc<LogDir>,
    /// The topic's effective configuration.
    pub config: Rc<TopicConfig>,
}

/// One replica of a partition. Always behind an `Rc`, on its owner core.
pub struct Partition {
    cx: Rc<EngineCx>,
    spec: PartitionSpec,
    log: Rc<Log>,
    recovery: RecoveryReport,
    role: RefCell<Role>,
    turned_away: RefCell<TurnedAway>,
    /// The move to another log directory that is under way.
    moving: RefCell<Option<Rc<Relocation>>>,
    /// The log start that a crash does not undo.
    noted_start: Cell<i64>,
    traffic: Traffic,
    /// Counts changes that waiters have to know of although no offset moved.
    changes: Cell<u64>,
    /// Waiting for acknowledgement.
    acks: Waiters,
    /// Waiting for data, by how far they may see.
    readers: [Waiters; 3],
}

impl Partition {
    /// Whether the partition in the directory `path` could be opened, as far as can be told without
    /// changing anything.
    ///
    /// # Errors
    /// As [`Partition::open`].
    pub async fn inspect(rt: &Rt, path: &Path, topic_id: TopicId) -> Result<(), OpenError> {
        Log::inspect(rt, path, topic_id).await
    }

    /// Opens the partition's log, creating it when it is not there, and recovers it when the last
    /// process did not close it. It has no role yet: it serves nothing.
    ///
    /// # Errors
    /// When the directory is offline, belongs to another topic, or cannot be repaired. Nothing was
    /// deleted then.
    pub async fn open(cx: &Rc<EngineCx>, spec: PartitionSpec) -> Result<Rc<Self>, OpenError> {
        let (dir, topic, id) = (Rc::clone(&spec.log_dir), spec.topic.clone(), spec.topic_id);
        let partition = spec.partition;
        let opened = Self::open_here(cx, spec).await;
        if opened.is_err() {
            dir.leave_unopened(&topic, id, partition);
        }
        opened
    }

    async fn open_here(cx: &Rc<EngineCx>, spec: PartitionSpec) -> Result<Rc<Self>, OpenError> {
        let dir = &spec.log_dir;
        if let Some(reason) = dir.failure() {
            return Err(OpenError::DirOffline { path: dir.path().to_owned(), reason });
        }
        let key = (spec.topic.clone(), spec.partition.0);
        let path = dir.partition_path(&spec.topic, spec.partition.0);
        let note = Note::read(&cx.rt, &path).await?;
        let entries = entries_of(&spec, note.as_ref());
        // One that we did not recover since somebody else used it is as that one left it.
        let ours = dir.is_ours() && !entries.is_empty();
        let noted =
            |offsets: &BTreeMap<TopicPartition, i64>| offsets.get(&key).copied().filter(|_| !ours);
        let noted_high_watermark = noted(&dir.contents().high_watermarks).unwrap_or(0);
        let log_spec = LogSpec {
            path,
            dir: Rc::clone(dir),
            topic: spec.topic.clone(),
            topic_id: spec.topic_id,
            partition: spec.partition.0,
            config: Rc::clone(&spec.config),
            // Kafka's files know a topic by its name only, which may have been another one's; our
            // entries know its id.
            log_start: noted(&dir.contents().log_starts),
            entries,
            ours,
            cleaned_through: dir.contents().cleaned_through.get(&key).copied(),
            recovery_point: noted(&dir.contents().recovery_points),
            closed_in_order: dir.contents().clean.is_some(),
        };
        let (log, recovery) = Log::open(cx, &log_spec).await?;
        if log_spec.entries.is_empty()
            && let Err(error) = note_first(&log).await
        {
            log.abandon();
            return Err(error.into());
        }
        let known = noted_high_watermark.max(log.high_watermark.get());
        let high_watermark = known.clamp(log.log_start(), log.log_end());
        log.high_watermark.set(high_watermark);
        // Transactions whose end is replicated hold nothing back any more.
        log.producers_mut(|producers| producers.on_high_watermark(Offset(high_watermark)));
        let partition = Rc::new(Self {
            cx: Rc::clone(cx),
            log: Rc::clone(&log),
            recovery,
            role: RefCell::new(Role::None),
            turned_away: RefCell::default(),
            moving: RefCell::default(),
            noted_start: Cell::new(log.log_start()),
            traffic: Traffic::default(),
            changes: Cell::new(0),
            acks: Waiters::default(),
            readers: Default::default(),
            spec,
        });
        let me = Rc::downgrade(&partition);
        log.listen(Rc::new(move || {
            if let Some(partition) = me.upgrade() {
                partition.on_progress();
            }
        }));
        if note.is_some() {
            moving::keep(&partition).await;
        }
        Ok(partition)
    }

    /// Topic name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.spec.topic
    }

    /// The topic's id.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        self.spec.topic_id
    }

    /// Index within the topic.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.spec.partition
    }

    /// The log directory that holds the partition.
    #[must_use]
    pub fn log_dir(&self) -> Rc<LogDir> {
        self.log.site.dir()
    }

    /// What opening had to repair.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.recovery
    }

    /// Bytes of the log.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.log.size_bytes()
    }

    /// What came and went since it was opened.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Who waits for something to be acknowledged, and who for something to read.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        (self.acks.len(), self.readers.iter().map(Waiters::len).sum())
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Rc<TopicConfig> {
        self.log.config()
    }

    /// Puts another configuration in force.
    pub fn set_config(&self, config: &Rc<TopicConfig>) {
        self.log.set_config(config);
        self.on_progress();
    }

    /// Why the partition does not serve, if its log failed.
    #[must_use]
    pub fn failure(&self) -> Option<LogError> {
        self.log.check_open().err()
    }

    /// Gives the partition up, whose directory has failed: nothing is served any more, and who waits
    /// is told.
    pub fn fail(&self, reason: &str) {
        drop(self.log.fail(reason));
        self.end_role();
    }

    /// The producers that the log remembers.
    #[must_use]
    pub fn producers(&self) -> Vec<ActiveProducer> {
        self.log.producers(|producers| producers.active().collect())
    }

    /// Where `epoch` ends in this log; `None` when that is not known (KIP-101).
    #[must_use]
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        let log_end = self.log.log_end();
        self.log.epochs(|epochs| epochs.end_of(epoch.0, log_end))
    }

    /// Closes the log in order: everything synced, files trimmed to their data, state noted.
    ///
    /// # Errors
    /// When something could not be written; the next start then recovers.
    pub async fn close(&self) -> Result<(), LogError> {
        self.end_role();
        self.log.close().await
    }

    /// Name for messages: that of the directory.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.log.site.name)
    }
}

/// What is known of a partition: by checkpoints and, where it has moved here, by the move.
fn entries_of(spec: &PartitionSpec, note: Option<&Note>) -> Vec<Entry> {
    let dir = &spec.log_dir;
    let mut entries = dir.entries(spec.topic_id, spec.partition.0);
    if let Some(note) = note.filter(|_| dir.is_ours()) {
        entries.push(note.entry.clone());
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.offset));
    }
    entries
}

/// Makes the checkpoint know of a log. One that may have been made just now is known before anyone
/// may use it: from then on it cannot get lost unnoticed.
async fn note_first(log: &Log) -> Result<(), LogError> {
    let dir = log.site.dir();
    if log.log_end() > log.log_start() {
        dir.checkpoint_soon();
        return Ok(());
    }
    match dir.checkpoint().await {
        // A start on a full disk serves what is there.
        Err(LogError::Io { kind: std::io::ErrorKind::StorageFull, .. }) => Ok(()),
        noted => noted,
    }
}
