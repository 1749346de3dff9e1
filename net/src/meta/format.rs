//! What a new cluster starts from, as `kafka-storage format --standalone` writes it:
//! `bootstrap.checkpoint` in every log directory, and the 0-0 checkpoint of the metadata log, which
//! comes last. What a formatting before left stays as it is: Kafka's may hold an older level, or
//! credentials.

use std::path::Path;

use engine::rt::Rt;
use replication::quorum::snapshot::{self, SnapshotId};
use replication::quorum::{QuorumConfig, format};
use replication::record::MetadataRecord;

use super::files::{MetaFiles, SNAPSHOT_MAX, failed, read_if_there};
use crate::boot::{BootError, Dirs};

/// Writes it.
pub(super) async fn write(
    files: &MetaFiles,
    dirs: &Dirs,
    quorum: &QuorumConfig,
) -> Result<(), BootError> {
    let (rt, root) = (&files.rt, &dirs.metadata_dir().path);
    let now_ms = rt.wall_ms();
    let encoded = |error: wire::error::EncodeError| BootError::Metadata(error.to_string());
    let bootstrap = match read_if_there(rt, &root.join(BOOTSTRAP), SNAPSHOT_MAX).await? {
        Some(found) => found,
        None => format::bootstrap_checkpoint(now_ms).map_err(encoded)?,
    };
    for home in &dirs.contents {
        let path = home.path.join(BOOTSTRAP);
        if !rt.exists(&path).await.map_err(|error| failed(&path, &error))? {
            rt.replace_file(&path, &bootstrap).await.map_err(|error| failed(&path, &error))?;
        }
    }
    rt.create_dir_all(&files.dir).await.map_err(|error| failed(&files.dir, &error))?;
    let first = format::empty_log_checkpoint(quorum, now_ms).map_err(encoded)?;
    let written = files.write_snapshot(SnapshotId::EMPTY_LOG, &first).await;
    written.map_err(|error| failed(&files.dir, &error))?;
    rt.sync_dir(root).await.map_err(|error| failed(root, &error))
}

/// The first records of a new cluster, as `bootstrap.checkpoint` below `root` has them.
pub(super) async fn bootstrap(rt: &Rt, root: &Path) -> Result<Vec<MetadataRecord>, BootError> {
    let path = root.join(BOOTSTRAP);
    let Some(bytes) = read_if_there(rt, &path, SNAPSHOT_MAX).await? else {
        return Ok(format::bootstrap_levels());
    };
    match snapshot::decode(SnapshotId::EMPTY_LOG, &bytes) {
        Ok(read) => Ok(read.image.snapshot_records()),
        Err(error) => Err(BootError::Metadata(format!("{}: {error}", path.display()))),
    }
}

const BOOTSTRAP: &str = "bootstrap.checkpoint";
