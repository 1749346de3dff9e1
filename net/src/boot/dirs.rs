//! The log directories at start: looked at, locked, and formatted where they are new.
//!
//! All are looked at before one is changed. Formatting writes what Kafka's `kafka-storage format
//! --standalone` does: `meta.properties` and `bootstrap.checkpoint` everywhere, and the 0-0
//! checkpoint of the metadata log in the directory that holds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::Config;
use engine::error::DirError;
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

/// Looks at, locks, and where need be formats every directory of the configuration.
pub(crate) async fn prepare(rt: &Rt, config: &Config) -> Result<Dirs, BootError> {
    let paths = config.log_dirs();
    let mut states = Vec::new();
    for path in paths {
        states.push(DirContents::inspect(rt, path).await?);
    }
    let cluster_id = agree(config, paths, &states)?;
    let mut locks = Vec::new();
    for path in paths {
        if !rt.exists(path).await.map_err(|error| io("look at", path, &error))? {
            rt.create_dir_all(path).await.map_err(|error| io("create", path, &error))?;
        }
        locks.push(DirContents::lock(rt, path)?);
    }
    let cluster_id = cluster_id.unwrap_or_else(|| random_id(rt).to_string());
    for (path, state) in paths.iter().zip(&states) {
        let known = match state {
            DirState::Empty => None,
            DirState::Formatted(meta) => Some(meta.directory_id),
        };
        if known.is_none() {
            tracing::info!(path = %path.display(), cluster_id, "formatting a new log directory");
        }
        // Kafka before 3.7 wrote no directory id; today's gives such a directory one.
        if known.flatten().is_none() {
            let directory_id = Some(random_id(rt));
            let (cluster_id, node_id) = (cluster_id.clone(), config.node_id);
            let meta = MetaProperties { cluster_id, node_id, directory_id };
            DirContents::format(rt, path, &meta).await?;
        }
    }
    let mut contents = Vec::new();
    for path in paths {
        contents.push(Arc::new(DirContents::read(rt, path).await?));
    }
    let metadata = metadata_dir(&contents)?;
    // Nothing is refused from here on, and nothing was opened yet.
    for dir in &contents {
        dir.begin(rt).await?;
    }
    Ok(Dirs { cluster_id, contents, metadata, _locks: locks })
}

/// The cluster that formatted directories and configuration agree on, if any names one.
fn agree(
    config: &Config,
    paths: &[PathBuf],
    states: &[DirState],
) -> Result<Option<String>, BootError> {
    let mut agreed: Option<(String, String)> =
        config.cluster_id.as_ref().map(|id| (id.clone(), "cluster.id".to_owned()));
    for (path, state) in paths.iter().zip(states) {
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
fn metadata_dir(contents: &[Arc<DirContents>]) -> Result<usize, BootError> {
    let holds = |dir: &Arc<DirContents>| {
        dir.partitions.iter().any(|(topic, partition)| topic == METADATA_TOPIC && *partition == 0)
    };
    let mut holders = contents.iter().enumerate().filter(|(_, dir)| holds(dir));
    let first = holders.next();
    match (first, holders.next()) {
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

fn io(action: &'static str, path: &Path, error: &std::io::Error) -> DirError {
    DirError::Io { action, path: path.to_owned(), message: error.to_string() }
}

/// The topic whose only partition is the metadata log.
pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";
