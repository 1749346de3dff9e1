//! The metadata log's directory: what lies in it beside the partition's own files.
//!
//! `quorum-state` is what this node must not forget about elections; the snapshots are Kafka's.

use std::io;
use std::path::{Path, PathBuf};

use engine::rt::Rt;
use replication::quorum::retention::StoredSnapshot;
use replication::quorum::snapshot::{self, Snapshot, SnapshotId};
use replication::quorum::{DataVersion, ElectionState};

use crate::boot::{BootError, METADATA_TOPIC};

/// The directory, which need not exist.
#[derive(Clone, Debug)]
pub(super) struct MetaFiles {
    pub(super) rt: Rt,
    pub(super) dir: PathBuf,
}

impl MetaFiles {
    /// Those below the log directory `root`.
    pub(super) fn below(rt: &Rt, root: &Path) -> Self {
        Self { rt: rt.clone(), dir: root.join(format!("{METADATA_TOPIC}-0")) }
    }

    /// Whether there is neither a log nor a snapshot yet.
    ///
    /// # Errors
    /// Also when there are none, but were once: `quorum-state` is never the first file.
    pub(super) async fn is_new(&self) -> Result<bool, BootError> {
        let names = self.names().await?;
        let held = |name: &String| name.ends_with(".checkpoint") || name.ends_with(".log");
        if names.iter().any(held) {
            return Ok(false);
        }
        if names.iter().any(|name| name == QUORUM_STATE) {
            return Err(BootError::Metadata(format!(
                "{}: the log and its snapshots are gone; restore the directory from a copy",
                self.dir.display()
            )));
        }
        Ok(true)
    }

    /// The segments' first offsets, in order.
    pub(super) async fn segments(&self) -> Result<Vec<(i64, PathBuf)>, BootError> {
        let base = |name: &String| name.strip_suffix(".log")?.parse().ok();
        let names = self.names().await?;
        let found = names.iter().filter_map(|name| Some((base(name)?, self.dir.join(name))));
        let mut segments: Vec<_> = found.collect();
        segments.sort_unstable();
        Ok(segments)
    }

    /// The snapshots that exist, oldest first.
    pub(super) async fn snapshots(&self) -> Result<Vec<SnapshotId>, BootError> {
        let names = self.names().await?;
        let mut ids: Vec<_> = names.iter().filter_map(|name| SnapshotId::parse(name)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// The snapshots that exist, with what decides how long they stay.
    pub(super) async fn stored_snapshots(&self) -> Result<Vec<StoredSnapshot>, BootError> {
        let mut stored = Vec::new();
        for id in self.snapshots().await? {
            let (read, bytes) = self.snapshot(id).await?;
            let timestamp_ms = read.image.provenance().timestamp_ms;
            stored.push(StoredSnapshot { id, bytes, timestamp_ms });
            self.rt.turn().await;
        }
        Ok(stored)
    }

    /// A snapshot, and the bytes of its file.
    pub(super) async fn snapshot(&self, id: SnapshotId) -> Result<(Snapshot, u64), BootError> {
        let path = self.dir.join(id.to_string());
        let bytes = self.rt.read_file(&path, SNAPSHOT_MAX).await;
        let bytes = bytes.map_err(|error| failed(&path, &error))?;
        let read = snapshot::decode(id, &bytes);
        let read =
            read.map_err(|error| BootError::Metadata(format!("{}: {error}", self.dir.display())))?;
        Ok((read, bytes.len() as u64))
    }

    /// Writes a snapshot file, durably.
    pub(super) async fn write_snapshot(&self, id: SnapshotId, bytes: &[u8]) -> io::Result<()> {
        self.rt.replace_file(&self.dir.join(id.to_string()), bytes).await
    }

    /// Removes a snapshot.
    pub(super) async fn remove_snapshot(&self, id: SnapshotId) -> io::Result<()> {
        self.rt.remove_file(&self.dir.join(id.to_string())).await
    }

    /// What `quorum-state` says, if it is there.
    pub(super) async fn election(&self) -> Result<Option<ElectionState>, BootError> {
        let path = self.dir.join(QUORUM_STATE);
        let Some(bytes) = read_if_there(&self.rt, &path, SMALL_FILE_MAX).await? else {
            return Ok(None);
        };
        let named = |what: String| BootError::Metadata(format!("{}: {what}", path.display()));
        let text = std::str::from_utf8(&bytes).map_err(|_| named("not text".to_owned()))?;
        let state = ElectionState::decode(text).map_err(|error| named(error.to_string()))?;
        Ok(Some(state))
    }

    /// Makes an election's state durable. Nothing that depends on it may leave the node before.
    pub(super) async fn persist(
        &self,
        state: &ElectionState,
        version: DataVersion,
    ) -> io::Result<()> {
        let text = state.encode(version);
        self.rt.replace_file(&self.dir.join(QUORUM_STATE), text.as_bytes()).await
    }

    async fn names(&self) -> Result<Vec<String>, BootError> {
        match self.rt.list_dir(&self.dir).await {
            Ok(entries) => {
                let names = entries.into_iter().map(|entry| entry.name);
                Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(failed(&self.dir, &error)),
        }
    }
}

/// A file's bytes; none where there is no file.
pub(super) async fn read_if_there(
    rt: &Rt,
    path: &Path,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, BootError> {
    match rt.read_file(path, bytes_max).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, &error)),
    }
}

pub(super) fn failed(path: &Path, error: &io::Error) -> BootError {
    BootError::Metadata(format!("{}: {error}", path.display()))
}

const QUORUM_STATE: &str = "quorum-state";
const SMALL_FILE_MAX: usize = 64 << 10;
/// Metadata of a few million partitions.
pub(super) const SNAPSHOT_MAX: usize = 2 << 30;
