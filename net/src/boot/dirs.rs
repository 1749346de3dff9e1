//! The log directories at start: looked at, locked, and formatted where they are new.
//!
//! ```text
//! Found::look ─ the check of the metadata (crate::meta::check) ─ Found::take ─▶ Dirs
//! ```
//!
//! Nothing is changed before `take`, not even a lock file made; whatever is refused, is refused
//! before. Formatting writes `meta.properties`, as Kafka's `kafka-storage format` does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::Config;
use engine::error::DirError;
use engine::ids::{Offset, PartitionId};
use engine::log::dir::{DirContents, DirState, MetaProperties};
use engine::rt::{FileLock, Rt};
use wire::primitives::Uuid;

use super::BootError;

/// The directories of a node, locked for as long as this lives.
pub(crate) struct Dirs {
    pub(crate) cluster_id: String,
    /// In the order of `log.dirs`.
    pub(crate) contents: Vec<Arc<DirContents>>,
    /// Index of the directory that holds the metadata log, or will.
    pub(crate) metadata: usize,
    _locks: Vec<FileLock>,
}

impl Dirs {
    /// Where the metadata log is.
    pub(crate) fn metadata_dir(&self) -> &Arc<DirContents> {
        &self.contents[self.metadata]
    }
}

/// The directories as they were found, and not changed yet.
pub(crate) struct Found {
    cluster_id: Option<String>,
    /// In the order of `log.dirs`.
    roots: Vec<Root>,
    metadata: usize,
}

struct Root {
    path: PathBuf,
    state: DirState,
    /// Of a formatted one.
    contents: Option<DirContents>,
    /// Of one that was locked by somebody before.
    lock: Option<FileLock>,
}

impl Found {
    /// Looks at every directory of the configuration, and locks those that can be locked without a
    /// trace.
    pub(crate) async fn look(rt: &Rt, config: &Config) -> Result<Self, BootError> {
        let mut roots = Vec::new();
        for path in config.log_dirs() {
            let state = DirContents::inspect(rt, path).await?;
            roots.push(Root { path: path.clone(), state, contents: None, lock: None });
        }
        let cluster_id = agree(config, &roots)?;
        for root in &mut roots {
            root.lock = DirContents::lock_again(rt, &root.path).await?;
        }
        for root in &mut roots {
            if let DirState::Formatted(_) = root.state {
                let contents = DirContents::read(rt, &root.path).await?;
                contents.check_journals(rt).await?;
                root.contents = Some(contents);
            }
        }
        let metadata = metadata_root(&roots)?;
        Ok(Self { cluster_id, roots, metadata })
    }

    /// Path of the directory that holds the metadata log, or will.
    pub(crate) fn metadata_root(&self) -> &Path {
        &self.roots[self.metadata].path
    }

    /// Id of that directory; zero if it has none yet.
    pub(crate) fn metadata_directory(&self) -> Uuid {
        self.roots[self.metadata].id().unwrap_or(Uuid::ZERO)
    }

    /// Ids of all directories: random ones in the place of those that there are not yet.
    pub(crate) fn directories(&self, rt: &Rt) -> Vec<Uuid> {
        self.roots.iter().map(|root| root.id().unwrap_or_else(|| random_id(rt))).collect()
    }

    /// Offset below which a log in the metadata directory is known to be synced; where it was
    /// closed in order, all of it.
    pub(crate) fn synced(&self, topic: &str, partition: PartitionId) -> Offset {
        let Some(contents) = &self.roots[self.metadata].contents else { return Offset::ZERO };
        if contents.clean.is_some() {
            return Offset(i64::MAX);
        }
        let noted = contents.recovery_points.get(&(topic.to_owned(), partition.0));
        noted.map_or(Offset::ZERO, |offset| Offset(*offset))
    }

    /// A cluster is only made where there is no data: topics without the metadata that names them
    /// would be set aside. A format that was cut short leaves the metadata log's directory with
    /// nothing in it; that is none.
    pub(crate) fn refuse_orphans(&self) -> Result<(), BootError> {
        let is_data = |(topic, _): &(String, i32)| topic != METADATA_TOPIC;
        let with_data = self.roots.iter().find(|root| root.partitions().any(is_data));
        with_data.map_or(Ok(()), |root| {
            Err(BootError::Mismatch(format!(
                "{} holds partitions, but no log directory holds {METADATA_TOPIC}-0: restore it, \
                 or add the directory that has it to log.dirs",
                root.path.display()
            )))
        })
    }

    /// Locks every directory, formats those that are new, and begins a run on all.
    pub(crate) async fn take(mut self, rt: &Rt, config: &Config) -> Result<Dirs, BootError> {
        for root in &mut self.roots {
            root.lock(rt).await?;
        }
        let cluster_id = self.cluster_id.unwrap_or_else(|| random_id(rt).to_string());
        for root in &mut self.roots {
            root.format(rt, &cluster_id, config.node_id).await?;
        }
        let (mut contents, mut locks) = (Vec::new(), Vec::new());
        for root in self.roots {
            contents.push(match root.contents {
                Some(contents) => contents,
                None => {
                    let contents = DirContents::read(rt, &root.path).await?;
                    contents.check_journals(rt).await?;
                    contents
                }
            });
            locks.extend(root.lock);
        }
        for dir in &contents {
            if dir.clean.is_none() {
                sync_name(rt, &dir.path).await?;
            }
            dir.replay_journals(rt).await?;
            dir.begin(rt).await?;
        }
        DirContents::finish_moves(rt, &mut contents).await?;
        let contents = contents.into_iter().map(Arc::new).collect();
        Ok(Dirs { cluster_id, contents, metadata: self.metadata, _locks: locks })
    }
}

impl Root {
    fn id(&self) -> Option<Uuid> {
        match &self.state {
            DirState::Formatted(meta) => meta.directory_id,
            DirState::Empty => None,
        }
    }

    fn partitions(&self) -> impl Iterator<Item = &(String, i32)> {
        self.contents.iter().flat_map(|contents| &contents.partitions)
    }

    /// Locks a directory that nobody ever had locked. Somebody may have come and gone since it was
    /// looked at.
    async fn lock(&mut self, rt: &Rt) -> Result<(), BootError> {
        if self.lock.is_some() {
            return Ok(());
        }
        let path = &self.path;
        rt.create_dir_all(path).await.map_err(|error| DirError::Io {
            action: "create",
            path: path.clone(),
            message: error.to_string(),
        })?;
        self.lock = Some(DirContents::lock(rt, path)?);
        if DirContents::inspect(rt, path).await? != self.state {
            let path = path.display();
            return Err(BootError::Mismatch(format!(
                "{path} was changed by another process just now; start again"
            )));
        }
        self.contents = None;
        Ok(())
    }

    /// Makes a new directory this node's. Kafka before 3.7 wrote no directory id; today's gives
    /// such a directory one.
    async fn format(&mut self, rt: &Rt, cluster_id: &str, node_id: i32) -> Result<(), BootError> {
        if self.id().is_some() {
            return Ok(());
        }
        if self.state == DirState::Empty {
            let path = self.path.display();
            tracing::info!(%path, cluster_id, "formatting a new log directory");
        }
        let directory_id = Some(random_id(rt));
        let meta = MetaProperties { cluster_id: cluster_id.to_owned(), node_id, directory_id };
        DirContents::format(rt, &self.path, &meta).await?;
        self.contents = None;
        Ok(())
    }
}

/// Makes a directory's own name durable: a first start that was cut short may have left it undone,
/// and with it a power loss would take the whole directory.
async fn sync_name(rt: &Rt, path: &Path) -> Result<(), BootError> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    match rt.sync_dir(parent).await {
        // Whoever may not look at the parent has not made the directory there.
        Err(error) if error.kind() != std::io::ErrorKind::PermissionDenied => {
            let (path, message) = (parent.to_owned(), error.to_string());
            Err(DirError::Io { action: "sync", path, message }.into())
        }
        _ => Ok(()),
    }
}

/// The cluster that formatted directories and configuration agree on, if any names one.
fn agree(config: &Config, roots: &[Root]) -> Result<Option<String>, BootError> {
    let mut agreed: Option<(String, String)> =
        config.cluster_id.as_ref().map(|id| (id.clone(), "cluster.id".to_owned()));
    for Root { path, state, .. } in roots {
        let DirState::Formatted(meta) = state else { continue };
        let here = path.display().to_string();
        if meta.node_id != config.node_id {
            return Err(BootError::Mismatch(format!(
                "{here} belongs to node {} (meta.properties), this is node {}; start with --set node.id={0}, or with \
                 another directory",
                meta.node_id, config.node_id
            )));
        }
        match &agreed {
            Some((id, from)) if *id != meta.cluster_id => {
                return Err(BootError::Mismatch(format!(
                    "{here} belongs to cluster {} (meta.properties), but {from} says {id}; use the directories of one \
                     cluster only",
                    meta.cluster_id
                )));
            }
            Some(_) => {}
            None => agreed = Some((meta.cluster_id.clone(), here)),
        }
    }
    Ok(agreed.map(|(id, _)| id))
}

/// The directory with the metadata log; the first where none has one yet.
fn metadata_root(roots: &[Root]) -> Result<usize, BootError> {
    let is_metadata = |(topic, partition): &(String, i32)| {
        topic == METADATA_TOPIC && *partition == METADATA_PARTITION
    };
    let mut holders = (0..).zip(roots).filter(|(_, root)| root.partitions().any(is_metadata));
    match (holders.next(), holders.next()) {
        (Some((_, one)), Some((_, other))) => Err(BootError::Mismatch(format!(
            "{} and {} both hold a metadata log; keep one",
            one.path.display(),
            other.path.display()
        ))),
        (Some((index, _)), None) => Ok(index),
        (None, _) => Ok(0),
    }
}

/// A random id that Kafka takes: not one of its reserved ones, and without a leading dash, which
/// its command line tools would take for an option.
pub(crate) fn random_id(rt: &Rt) -> Uuid {
    loop {
        let mut bytes = [0; 16];
        rt.fill_random(&mut bytes);
        // Version 4, variant 1, as Java's.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let id = Uuid(bytes);
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

/// The topic whose only partition is the metadata log.
pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";
const METADATA_PARTITION: i32 = 0;
