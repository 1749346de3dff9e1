//! The logs that a core has open in a directory, and the core's checkpoint of them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};

use wire::primitives::Uuid;

use super::kafka::TopicPartition;
use super::{LogDir, Positions};
use crate::error::LogError;
use crate::ids::{PartitionId, TopicId};
use crate::log::Log;
use crate::log::checkpoint::{Checkpoint, Entry};
use crate::waiters::Waiters;

/// What one core knows of its logs in one directory.
#[derive(Default)]
pub(super) struct Ledger {
    open: RefCell<BTreeMap<(Uuid, i32), Weak<Log>>>,
    entries: RefCell<BTreeMap<(Uuid, i32), Known>>,
    /// Of logs that were closed in order, or not opened.
    closed: RefCell<BTreeMap<TopicPartition, Positions>>,
    /// Logs that could not be opened.
    unopened: RefCell<BTreeSet<(Uuid, i32)>>,
    /// Bytes appended since the last checkpoint began.
    appended: Cell<u64>,
    /// Logs that were appended to since then, or hardly fewer.
    changed: Cell<u64>,
    /// Bytes of the last checkpoint.
    file_bytes: Cell<u64>,
    /// Checkpoints asked for, begun and ended; a run serves everyone who asked before it began.
    asked: Cell<i64>,
    ended: Cell<i64>,
    running: Cell<bool>,
    failure: RefCell<Option<LogError>>,
    done: Waiters,
}

struct Known {
    entry: Entry,
    /// Noted by an earlier run, and not yet by this one.
    inherited: bool,
}

impl Ledger {
    /// A log is here no more; what was noted of it stays.
    pub(super) fn leave(&self, key: (Uuid, i32)) {
        self.open.borrow_mut().remove(&key);
    }

    /// Forgets what was noted of a log that is not open here; true if something was.
    pub(super) fn forget(&self, key: (Uuid, i32)) -> bool {
        if self.open.borrow().contains_key(&key) {
            return false;
        }
        self.entries.borrow_mut().remove(&key).is_some()
    }
}

impl LogDir {
    /// Makes a log part of the checkpoint.
    pub(crate) fn register(&self, log: &Rc<Log>) {
        self.ledger.open.borrow_mut().insert(log.key(), Rc::downgrade(log));
        self.ledger.unopened.borrow_mut().remove(&log.key());
    }

    /// Takes a log out of the checkpoint: closed with what is known of it, or deleted.
    pub(crate) fn unregister(&self, log: &Log, last: Option<Entry>) {
        let key = log.key();
        self.ledger.open.borrow_mut().remove(&key);
        let mut entries = self.ledger.entries.borrow_mut();
        match last {
            Some(entry) => {
                entries.insert(key, Known { entry, inherited: false });
                self.ledger.closed.borrow_mut().insert(log.topic_partition(), log.positions());
            }
            None => drop(entries.remove(&key)),
        }
    }

    /// Keeps what earlier runs noted of a log that is here and cannot be opened. The directory is
    /// then not left as one that was stopped in order.
    pub fn leave_unopened(&self, topic: &str, topic_id: TopicId, partition: PartitionId) {
        let (ledger, contents) = (&self.ledger, &self.contents);
        ledger.unopened.borrow_mut().insert((topic_id.0, partition.0));
        let entries = contents.entries(topic_id, partition.0);
        let log_start = entries.iter().map(|entry| entry.log_start).max();
        if let Some((mut entry, log_start)) = entries.into_iter().next().zip(log_start) {
            entry.log_start = log_start;
            let known = Known { entry, inherited: false };
            ledger.entries.borrow_mut().insert((topic_id.0, partition.0), known);
        }
        let name = (topic.to_owned(), partition.0);
        let noted = |offsets: &BTreeMap<TopicPartition, i64>| offsets.get(&name).copied();
        let positions = Positions {
            recovery_point: noted(&contents.recovery_points).unwrap_or(0),
            high_watermark: noted(&contents.high_watermarks).unwrap_or(0),
            log_start: noted(&contents.log_starts).unwrap_or(0),
            cleaned_through: noted(&contents.cleaned_through),
        };
        ledger.closed.borrow_mut().insert(name, positions);
    }

    /// Whether every log that this core was to open here was opened.
    #[must_use]
    pub fn opened_all(&self) -> bool {
        self.ledger.unopened.borrow().is_empty()
    }

    /// The logs that this core has open here.
    pub(crate) fn open_logs(&self) -> Vec<Rc<Log>> {
        self.ledger.open.borrow().values().filter_map(Weak::upgrade).collect()
    }

    /// Entries of this core's file, as the last run left it: kept until their logs are opened.
    pub(super) fn inherit(&self, entries: impl Iterator<Item = Entry>) {
        let mut known = self.ledger.entries.borrow_mut();
        known.extend(entries.map(|entry| (entry.key(), Known { entry, inherited: true })));
    }

    /// Offsets of all logs that this core has or had open, for the files that Kafka reads.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<TopicPartition, Positions> {
        let mut positions = self.ledger.closed.borrow().clone();
        let open = self.open_logs();
        positions.extend(open.iter().map(|log| (log.topic_partition(), log.positions())));
        positions
    }

    /// Counts appended bytes, and logs that the last checkpoint knows whole and the next one does
    /// not; after enough a checkpoint is written.
    pub(crate) fn note_appended(self: &Rc<Self>, bytes: u64, was_captured: bool) {
        let ledger = &self.ledger;
        ledger.appended.set(ledger.appended.get() + bytes);
        ledger.changed.set(ledger.changed.get() + u64::from(was_captured));
        // A checkpoint of many producers, or many logs, must not cost more than a fraction of what
        // it saves.
        let of_logs = (ledger.changed.get() * CHECKPOINT_BYTES_PER_LOG).min(CHECKPOINT_BYTES_MAX);
        let due = CHECKPOINT_BYTES.max(ledger.file_bytes.get() * 8).max(of_logs);
        if ledger.appended.get() >= due && !ledger.running.get() {
            self.checkpoint_soon();
        }
    }

    /// Lets a checkpoint be written that knows everything up to now.
    pub(crate) fn checkpoint_soon(self: &Rc<Self>) -> i64 {
        let ledger = &self.ledger;
        let ticket = ledger.asked.get() + 1;
        ledger.asked.set(ticket);
        if !ledger.running.replace(true) {
            let guard = Running(Rc::clone(self));
            self.rt.spawn("checkpoint", run(guard)).detach();
        }
        ticket
    }

    /// Writes a checkpoint that knows everything up to now.
    ///
    /// # Errors
    /// When it could not be written; the one before stays.
    pub async fn checkpoint(self: &Rc<Self>) -> Result<(), LogError> {
        let ticket = self.checkpoint_soon();
        let ledger = &self.ledger;
        ledger.done.until(ticket - 1, || (ledger.ended.get() >= ticket).then_some(())).await;
        ledger.failure.borrow().clone().map_or(Ok(()), Err)
    }

    /// Writes this core's last checkpoint, without what it never opened.
    ///
    /// # Errors
    /// When it could not be written; the one before stays.
    pub async fn checkpoint_last(self: &Rc<Self>) -> Result<(), LogError> {
        self.ledger.entries.borrow_mut().retain(|_, known| !known.inherited);
        self.checkpoint().await
    }

    /// Takes in what a log says of itself; what it could not say again stays as it was said before.
    fn note(&self, log: &Log, captured: Option<Entry>) {
        let key = log.key();
        let open = self.ledger.open.borrow();
        if !open.get(&key).is_some_and(|open| std::ptr::eq(open.as_ptr(), log)) {
            // Closed or deleted meanwhile.
            return;
        }
        let mut entries = self.ledger.entries.borrow_mut();
        match captured {
            Some(entry) => drop(entries.insert(key, Known { entry, inherited: false })),
            None => {
                let first = || Known { entry: log.bare_entry(), inherited: false };
                let known = entries.entry(key).or_insert_with(first);
                // True whatever else could not be noted.
                known.entry.log_start = log.noted_log_start();
            }
        }
    }

    async fn write_checkpoint(&self) -> Result<(), LogError> {
        self.ledger.appended.set(0);
        self.ledger.changed.set(0);
        for log in self.open_logs() {
            let captured = log.capture().await;
            self.note(&log, captured);
            self.rt.turn().await;
        }
        let checkpoint = Checkpoint {
            generation: self.contents.generation,
            entries: self.ledger.entries.borrow().values().map(|k| k.entry.clone()).collect(),
        };
        let bytes = checkpoint.encode();
        let path = self.path().join(Checkpoint::file_name(self.rt.core().0));
        let written = self.rt.replace_file(&path, &bytes).await;
        written.map_err(|error| LogError::io("write", &path, &error))?;
        self.ledger.file_bytes.set(bytes.len() as u64);
        tracing::debug!(path = %path.display(), bytes = bytes.len(), "checkpoint written");
        Ok(())
    }
}

async fn run(running: Running) {
    let dir = &running.0;
    let ledger = &dir.ledger;
    while ledger.ended.get() < ledger.asked.get() {
        let serves = ledger.asked.get();
        let result = dir.write_checkpoint().await;
        if let Err(error) = &result {
            tracing::warn!(%error, "cannot write a checkpoint");
        }
        *ledger.failure.borrow_mut() = result.err();
        ledger.ended.set(serves);
        ledger.done.wake_below(serves);
    }
}

/// Marks the checkpoint task as running until it ends, also by a panic.
struct Running(Rc<LogDir>);

impl Drop for Running {
    fn drop(&mut self) {
        let ledger = &self.0.ledger;
        ledger.running.set(false);
        if std::thread::panicking() {
            *ledger.failure.borrow_mut() = Some(LogError::Closed);
            ledger.ended.set(ledger.asked.get());
            ledger.done.wake_all();
        }
    }
}

/// Appended bytes of one core after which a start should not have to read further back.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// The same for each of many logs, since each has some files to write and sync; but a start shall
/// not have to read more than the second.
const CHECKPOINT_BYTES_PER_LOG: u64 = 1 << 20;
const CHECKPOINT_BYTES_MAX: u64 = 1 << 30;
