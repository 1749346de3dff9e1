//! A log directory: one root, usually one disk, with partitions below it.
//!
//! Several may exist, and one may fail alone. A directory is read once at start, on one core
//! ([`DirContents`], which is `Send`); every core then has its own [`LogDir`] on it. The root holds
//! what Kafka has there and, beside it, plain files of ours whose names start with `odradek`:
//! Kafka's loader passes over plain files and stops at directories it does not know.
//!
//! Nothing that is not understood is changed. Refusals name the thing and the remedy.

mod doomed;
mod kafka;
mod ledger;
mod meta;
mod moves;
mod own;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

pub use kafka::{CleanShutdown, OffsetFile, TopicPartition};
pub use meta::MetaProperties;
pub use own::OwnState;
use wire::primitives::Uuid;

use super::checkpoint::{Checkpoint, Entry};
use super::journal::{self, Journal, JournalLimits};
use super::names::{DirKind, dir_kind};
use super::own::OwnFileError;
use crate::error::{DirError, LogError, is_full};
use crate::ids::TopicId;
use crate::rt::{FileLock, Rt};

/// What a path that is to be a log directory holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirState {
    /// Nothing, or it does not exist: may be formatted.
    Empty,
    /// A data directory of this node or another.
    Formatted(MetaProperties),
}

/// Everything that is known about a directory before its partitions are opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirContents {
    /// The root.
    pub path: PathBuf,
    /// Whose it is.
    pub meta: MetaProperties,
    /// Partitions by name, sorted.
    pub partitions: Vec<TopicPartition>,
    /// Directories that wait for removal.
    pub doomed: Vec<PathBuf>,
    /// Unfinished copies of partitions that were on their way here.
    pub futures: Vec<(TopicPartition, PathBuf)>,
    /// How the last process left it; `None` after a crash.
    pub clean: Option<CleanShutdown>,
    /// Offsets below which Kafka, or an earlier run, synced everything.
    pub recovery_points: BTreeMap<TopicPartition, i64>,
    /// High watermarks as of a few seconds before the last stop.
    pub high_watermarks: BTreeMap<TopicPartition, i64>,
    /// First offsets.
    pub log_starts: BTreeMap<TopicPartition, i64>,
    /// Offsets below which compacted topics are clean.
    pub cleaned_through: BTreeMap<TopicPartition, i64>,
    /// What we left, if it can still be believed.
    own: Option<OwnState>,
    /// Number of the stretch of time in which only we use the directory.
    generation: u64,
    /// Checkpoints by core, sorted by log; none when somebody else used the directory since.
    checkpoints: BTreeMap<u16, Vec<Entry>>,
}

/// Offsets of one log, for the files that Kafka reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// Everything below is synced.
    pub recovery_point: i64,
    /// Everything below is acknowledged.
    pub high_watermark: i64,
    /// First readable offset.
    pub log_start: i64,
    /// Everything below was compacted; `None` where nothing ever was.
    pub cleaned_through: Option<i64>,
}

/// One core's hold on a log directory.
pub struct LogDir {
    rt: Rt,
    contents: Arc<DirContents>,
    failure: RefCell<Option<Arc<str>>>,
    doomed: RefCell<doomed::Doomed>,
    ledger: ledger::Ledger,
    journal: Rc<Journal>,
}

impl DirContents {
    /// Says what is at `path`, changing nothing.
    ///
    /// # Errors
    /// When something is there that is no data directory, or that cannot be read.
    pub async fn inspect(rt: &Rt, path: &Path) -> Result<DirState, DirError> {
        let file = path.join(MetaProperties::FILE);
        match rt.read_file(&file, META_MAX).await {
            Ok(bytes) => return Ok(DirState::Formatted(MetaProperties::decode(&file, &bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(DirError::io("read", &file, &error)),
        }
        let entries = match rt.list_dir(path).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DirState::Empty),
            Err(error) => return Err(DirError::io("list", path, &error)),
        };
        let foreign = entries.iter().find(|entry| !harmless(&entry.name.to_string_lossy()));
        match foreign {
            Some(entry) => Err(DirError::Foreign {
                path: path.to_owned(),
                found: entry.name.to_string_lossy().into_owned(),
            }),
            None => Ok(DirState::Empty),
        }
    }

    /// Takes the directory for this process; to be held as long as it runs.
    ///
    /// # Errors
    /// When another process has it.
    pub fn lock(rt: &Rt, path: &Path) -> Result<FileLock, DirError> {
        let file = path.join(LOCK_FILE);
        rt.lock_file(&file).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => DirError::Locked { path: path.to_owned() },
            _ => DirError::io("lock", &file, &error),
        })
    }

    /// Takes the directory as [`DirContents::lock`] does, if anybody ever did: changes nothing.
    ///
    /// # Errors
    /// When another process has it.
    pub async fn lock_again(rt: &Rt, path: &Path) -> Result<Option<FileLock>, DirError> {
        let file = path.join(LOCK_FILE);
        match rt.exists(&file).await {
            Ok(true) => Self::lock(rt, path).map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(DirError::io("look at", &file, &error)),
        }
    }

    /// Makes an empty directory this node's.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn format(rt: &Rt, path: &Path, meta: &MetaProperties) -> Result<(), DirError> {
        let file = path.join(MetaProperties::FILE);
        let made: io::Result<()> = async {
            rt.create_dir_all(path).await?;
            rt.replace_file(&file, meta.encode().as_bytes()).await?;
            match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                Some(parent) => rt.sync_dir(parent).await,
                None => Ok(()),
            }
        }
        .await;
        made.map_err(|error| DirError::io("format", path, &error))
    }

    /// Reads a formatted directory's root, changing nothing.
    ///
    /// # Errors
    /// When it holds something that is not understood.
    pub async fn read(rt: &Rt, path: &Path) -> Result<Self, DirError> {
        let DirState::Formatted(meta) = Self::inspect(rt, path).await? else {
            let reason = "missing; the directory is not formatted";
            return Err(DirError::unreadable(&path.join(MetaProperties::FILE), reason));
        };
        let entries = rt.list_dir(path).await.map_err(|e| DirError::io("list", path, &e))?;
        let (mut partitions, mut doomed, mut futures) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries.iter().filter(|entry| entry.is_dir) {
            let name = entry.name.to_string_lossy();
            match dir_kind(&name) {
                Some(DirKind::Partition { topic, partition }) => {
                    partitions.push((topic, partition));
                }
                Some(DirKind::Doomed) => doomed.push(path.join(&entry.name)),
                Some(DirKind::Future { topic, partition }) => {
                    futures.push(((topic, partition), path.join(&entry.name)));
                }
                Some(DirKind::Parked) => {
                    tracing::warn!(path = %path.join(&entry.name).display(), "left alone");
                }
                None if harmless(&name) => {}
                None => {
                    let name = name.into_owned();
                    return Err(DirError::StrangeDirectory { path: path.to_owned(), name });
                }
            }
        }
        partitions.sort_unstable();
        let clean = CleanShutdown::read(rt, path).await?;
        let own = OwnState::read(rt, path).await?.filter(|own| own.continues(clean));
        let mut checkpoints = BTreeMap::new();
        for core in entries.iter().filter_map(|e| Checkpoint::parse_name(&e.name.to_string_lossy()))
        {
            if let Some(found) = read_checkpoint(rt, path, core, own).await? {
                checkpoints.insert(core, found);
            }
        }
        Ok(Self {
            path: path.to_owned(),
            meta,
            partitions,
            doomed,
            futures,
            clean,
            own,
            generation: own.map_or_else(|| rt.random_u64(), |own| own.generation),
            checkpoints,
            recovery_points: OffsetFile::RecoveryPoint.read(rt, path).await?,
            high_watermarks: OffsetFile::HighWatermark.read(rt, path).await?,
            log_starts: OffsetFile::LogStart.read(rt, path).await?,
            cleaned_through: OffsetFile::Cleaner.read(rt, path).await?,
        })
    }
}

impl DirContents {
    /// Begins a run on the directory: from here on nothing that was noted about a clean stop may
    /// be believed by who comes next. To be called once, after every directory of the node was
    /// read, and before any partition is opened.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn begin(&self, rt: &Rt) -> Result<(), DirError> {
        let running = OwnState { generation: self.generation, stopped: None };
        let begun: io::Result<()> = async {
            // Replacing the file also makes the names in the root durable, which a killed process
            // may have left undone.
            match running.write(rt, &self.path).await {
                Err(error) if is_full(&error) => {
                    // Without it nothing is believed at the next start, which is slow and safe.
                    OwnState::forget(rt, &self.path).await?;
                }
                other => other?,
            }
            CleanShutdown::clear(rt, &self.path).await
        }
        .await;
        begun.map_err(|error| DirError::io("begin on", &self.path, &error))
    }

    /// Looks whether what a crash left in the journals of the directory, of all cores, can be
    /// written to its logs; changes nothing.
    ///
    /// # Errors
    /// When a journal is not understood, or somebody else used the directory since. What the file
    /// system reports.
    pub async fn check_journals(&self, rt: &Rt) -> Result<(), DirError> {
        journal::check(rt, &self.path, self.meta.directory_id, self.clean.is_some()).await
    }

    /// Writes what a crash left in the journals of the directory, which were
    /// [checked](Self::check_journals), to its logs. To be called once, before
    /// [`DirContents::begin`].
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn replay_journals(&self, rt: &Rt) -> Result<(), DirError> {
        let replayed = journal::replay(rt, &self.path).await?;
        if replayed.journals > 0 {
            let (path, logs, bytes) = (self.path.display(), replayed.logs, replayed.bytes);
            tracing::info!(%path, logs, bytes, "the commit journal was replayed");
        }
        Ok(())
    }

    /// Writes the offsets of all cores' logs into the files that Kafka reads. One caller at a time.
    ///
    /// # Errors
    /// What the file system reports; each file is the old or the new one.
    pub async fn write_positions(
        &self,
        rt: &Rt,
        positions: &BTreeMap<TopicPartition, Positions>,
    ) -> io::Result<()> {
        let column = |get: fn(&Positions) -> Option<i64>| {
            let known = positions.iter().filter_map(|(log, at)| Some((log.clone(), get(at)?)));
            known.collect::<BTreeMap<_, _>>()
        };
        let files = [
            (OffsetFile::RecoveryPoint, column(|at| Some(at.recovery_point))),
            (OffsetFile::HighWatermark, column(|at| Some(at.high_watermark))),
            (OffsetFile::LogStart, column(|at| Some(at.log_start))),
            (OffsetFile::Cleaner, column(|at| at.cleaned_through)),
        ];
        for (file, offsets) in files {
            file.write(rt, &self.path, &offsets).await?;
        }
        Ok(())
    }

    /// Ends a run in order, as the broker registration of `broker_epoch`: all logs are closed, and
    /// every core has written its last checkpoint and `positions` holds them all.
    ///
    /// # Errors
    /// What the file system reports; the next start then takes the directory for one that crashed.
    pub async fn end(
        &self,
        rt: &Rt,
        positions: &BTreeMap<TopicPartition, Positions>,
        broker_epoch: i64,
    ) -> io::Result<()> {
        self.write_positions(rt, positions).await?;
        CleanShutdown { broker_epoch }.write(rt, &self.path).await?;
        let stopped = OwnState { generation: self.generation, stopped: Some(broker_epoch) };
        stopped.write(rt, &self.path).await
    }

    /// Whether the directory had a partition of this name when it was read.
    #[must_use]
    pub fn holds(&self, topic: &str, partition: i32) -> bool {
        let wanted = (topic, partition);
        self.partitions.binary_search_by(|(t, p)| (t.as_str(), *p).cmp(&wanted)).is_ok()
    }

    /// Whether an earlier run had a log here.
    #[must_use]
    pub fn knows(&self, topic_id: TopicId, partition: i32) -> bool {
        self.entries_of(topic_id, partition).next().is_some()
    }

    fn entries_of(&self, topic_id: TopicId, partition: i32) -> impl Iterator<Item = &Entry> {
        let key = (topic_id.0, partition);
        self.checkpoints.values().filter_map(move |entries| {
            entries.binary_search_by_key(&key, Entry::key).ok().map(|at| &entries[at])
        })
    }

    /// What checkpoints say of a log, the furthest first.
    fn entries(&self, topic_id: TopicId, partition: i32) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.entries_of(topic_id, partition).cloned().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.offset));
        entries
    }
}

/// The entries of a core's checkpoint, if it is of the directory's present generation.
async fn read_checkpoint(
    rt: &Rt,
    dir: &Path,
    core: u16,
    own: Option<OwnState>,
) -> Result<Option<Vec<Entry>>, DirError> {
    let path = dir.join(Checkpoint::file_name(core));
    let bytes = rt.read_file(&path, CHECKPOINT_MAX).await;
    let bytes = bytes.map_err(|error| DirError::io("read", &path, &error))?;
    match Checkpoint::decode(&bytes) {
        Ok(mut found) => {
            found.entries.sort_unstable_by_key(Entry::key);
            let ours = own.is_some_and(|own| own.generation == found.generation);
            Ok(ours.then_some(found.entries))
        }
        Err(error @ OwnFileError::Newer { .. }) => {
            Err(DirError::unreadable(&path, error.to_string()))
        }
        Err(OwnFileError::Damaged) => {
            tracing::warn!(path = %path.display(), "damaged, and passed over: logs are read instead");
            Ok(None)
        }
    }
}

impl LogDir {
    /// This core's hold on a directory that was read.
    #[must_use]
    pub fn attach(rt: &Rt, contents: &Arc<DirContents>) -> Rc<Self> {
        let journal = contents.path.join(Journal::file_name(rt.core().0));
        let directory = contents.meta.directory_id.unwrap_or(Uuid::ZERO);
        let dir = Rc::new(Self {
            journal: Journal::new(rt, journal, directory),
            rt: rt.clone(),
            contents: Arc::clone(contents),
            failure: RefCell::new(None),
            doomed: RefCell::default(),
            ledger: ledger::Ledger::default(),
        });
        let mine = contents.checkpoints.get(&rt.core().0);
        dir.inherit(mine.into_iter().flatten().cloned());
        dir
    }

    /// Uses a commit journal from now on, if these limits allow one.
    pub fn set_journal(&self, limits: JournalLimits) {
        self.journal.set_limits(limits);
    }

    /// Bytes of this core's journal that are in use: their logs' files may not have them yet.
    #[must_use]
    pub fn journal_used_bytes(&self) -> u64 {
        self.journal.used_bytes()
    }

    pub(crate) fn journal(&self) -> &Rc<Journal> {
        &self.journal
    }

    /// Leaves this core's journal empty; its logs are closed.
    ///
    /// # Errors
    /// When it holds what could not be synced in its log, or cannot be written.
    pub async fn close_journal(&self) -> Result<(), LogError> {
        self.journal.close().await
    }

    /// What earlier runs knew of a log, the furthest first; each entry has to prove itself.
    pub(crate) fn entries(&self, topic_id: TopicId, partition: i32) -> Vec<Entry> {
        self.contents.entries(topic_id, partition)
    }

    /// Number of the stretch of time in which only we use the directory.
    pub(crate) fn generation(&self) -> u64 {
        self.contents.generation
    }

    pub(crate) fn rt(&self) -> &Rt {
        &self.rt
    }

    /// Whether nobody else used the directory since our last run. Of its logs that holds from when
    /// we opened them on, which their entries tell.
    pub(crate) fn is_ours(&self) -> bool {
        self.contents.own.is_some()
    }

    /// The root.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.contents.path
    }

    /// What it held at start.
    #[must_use]
    pub fn contents(&self) -> &DirContents {
        &self.contents
    }

    /// Why the directory is offline, if it is.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<str>> {
        self.failure.borrow().clone()
    }

    /// Takes the directory offline on this core: nothing is opened in it any more.
    pub fn fail(&self, reason: &str) {
        let mut failure = self.failure.borrow_mut();
        if failure.is_none() {
            tracing::error!(path = %self.path().display(), reason, "a log directory went offline");
            *failure = Some(Arc::from(reason));
        }
    }

    /// Directory of a partition.
    pub(crate) fn partition_path(&self, topic: &str, partition: i32) -> PathBuf {
        self.path().join(super::names::partition_dir(topic, partition))
    }
}

impl Drop for LogDir {
    fn drop(&mut self) {
        // It knows its logs, and they know it.
        self.journal.forget();
    }
}

/// What file systems and people leave in a root, and what the node itself puts there before the
/// directory is formatted.
fn harmless(name: &str) -> bool {
    name == "lost+found"
        || name.starts_with('.')
        || name.starts_with("odradek")
        || name.ends_with(".tmp")
}

/// Kafka's lock file; holding it keeps Kafka out as well.
const LOCK_FILE: &str = ".lock";
/// A checkpoint of a million partitions.
const CHECKPOINT_MAX: usize = 1 << 30;
/// `meta.properties` has four short lines.
const META_MAX: usize = 64 << 10;
