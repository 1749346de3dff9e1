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
mod meta;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

pub use kafka::{CleanShutdown, OffsetFile, TopicPartition};
pub use meta::MetaProperties;

use super::names::{DirKind, dir_kind};
use crate::error::DirError;
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
    /// Partitions by name.
    pub partitions: Vec<TopicPartition>,
    /// Directories that wait for removal.
    pub doomed: Vec<PathBuf>,
    /// How the last process left it; `None` after a crash.
    pub clean: Option<CleanShutdown>,
    /// Offsets below which Kafka, or an earlier run, synced everything.
    pub recovery_points: BTreeMap<TopicPartition, i64>,
    /// High watermarks as of a few seconds before the last stop.
    pub high_watermarks: BTreeMap<TopicPartition, i64>,
    /// First offsets.
    pub log_starts: BTreeMap<TopicPartition, i64>,
}

/// One core's hold on a log directory.
pub struct LogDir {
    rt: Rt,
    contents: Arc<DirContents>,
    failure: RefCell<Option<Arc<str>>>,
    doomed: RefCell<doomed::Doomed>,
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
        let (mut partitions, mut doomed) = (Vec::new(), Vec::new());
        for entry in entries.iter().filter(|entry| entry.is_dir) {
            let name = entry.name.to_string_lossy();
            match dir_kind(&name) {
                Some(DirKind::Partition { topic, partition }) => {
                    partitions.push((topic, partition));
                }
                Some(DirKind::Doomed) => doomed.push(path.join(&entry.name)),
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
        Ok(Self {
            path: path.to_owned(),
            meta,
            partitions,
            doomed,
            clean: CleanShutdown::read(rt, path).await?,
            recovery_points: OffsetFile::RecoveryPoint.read(rt, path).await?,
            high_watermarks: OffsetFile::HighWatermark.read(rt, path).await?,
            log_starts: OffsetFile::LogStart.read(rt, path).await?,
        })
    }
}

impl LogDir {
    /// This core's hold on a directory that was read.
    #[must_use]
    pub fn attach(rt: &Rt, contents: &Arc<DirContents>) -> Rc<Self> {
        Rc::new(Self {
            rt: rt.clone(),
            contents: Arc::clone(contents),
            failure: RefCell::new(None),
            doomed: RefCell::default(),
        })
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
/// `meta.properties` has four short lines.
const META_MAX: usize = 64 << 10;
