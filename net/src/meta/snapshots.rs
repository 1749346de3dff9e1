//! Snapshots of the metadata: when the log behind the newest one has grown or aged enough.

use std::collections::BTreeSet;
use std::time::Duration;

use config::Settings;
use engine::ids::Offset;
use replication::quorum::retention::{self, RetentionPolicy};
use replication::quorum::snapshot::{self, SinceSnapshot, SnapshotId, SnapshotPolicy};

use super::{Meta, monotonic};

/// What was committed since the newest snapshot.
#[derive(Debug)]
pub(super) struct Snapshots {
    newest: Offset,
    since: SinceSnapshot,
    policy: SnapshotPolicy,
}

impl Snapshots {
    /// The newest snapshot ends at `newest`; `bytes` of log follow it.
    pub(super) fn new(settings: &Settings, now: Duration, newest: Offset, bytes: u64) -> Self {
        let interval = u64::try_from(settings.metadata_log_max_snapshot_interval_ms).unwrap_or(0);
        let policy = SnapshotPolicy {
            bytes_max: settings.metadata_log_max_record_bytes_between_snapshots,
            interval: (interval > 0).then(|| Duration::from_millis(interval)),
        };
        let mut since = SinceSnapshot::default();
        if bytes > 0 {
            since.applied(now, bytes);
        }
        Self { newest, since, policy }
    }

    /// A batch of `bytes` was committed.
    pub(super) fn applied(&mut self, now: Duration, bytes: usize) {
        self.since.applied(now, bytes as u64);
    }
}

impl Meta {
    /// Writes a snapshot of everything committed if it is time for one. A failure is told, and
    /// tried again when as much has come again: the log still has it all.
    pub(super) async fn snapshot_if_due(&self) {
        let image = self.image();
        let provenance = image.provenance();
        let id = SnapshotId { end: provenance.end, epoch: provenance.epoch };
        {
            let mut snapshots = self.snapshots.borrow_mut();
            let due = snapshots.since.is_due(monotonic(&self.core), snapshots.policy);
            if !due || !provenance.batch_aligned || id.end <= snapshots.newest {
                return;
            }
            snapshots.since.taken();
        }
        let voters = self.quorum.borrow().snapshot_voters(id.end);
        let written = match snapshot::encode(&image, voters.as_ref(), self.core.rt.wall_ms()) {
            Ok(bytes) => {
                let written = self.log.files.write_snapshot(id, &bytes).await;
                written.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match written {
            Ok(()) => {
                self.snapshots.borrow_mut().newest = id.end;
                tracing::info!(%id, "wrote a snapshot of the metadata");
                if let Err(error) = self.forget_old().await {
                    tracing::warn!("old metadata stays: {error}");
                }
            }
            Err(error) => tracing::error!(%id, "no snapshot of the metadata: {error}"),
        }
    }

    /// Lets old snapshots go, and the log that only they need: first the log's start moves to a
    /// later snapshot, durably, then files go. What an earlier time left goes too.
    pub(super) async fn forget_old(&self) -> Result<(), String> {
        let config = &self.core.node.config;
        let policy = RetentionPolicy {
            bytes_max: config.metadata_max_retention_bytes,
            age_max_ms: config.metadata_max_retention_ms,
        };
        let stored = self.log.files.stored_snapshots().await.map_err(|error| error.to_string())?;
        let log = self.log.partition();
        let plan = retention::retain(policy, &stored, log.size_bytes(), self.core.rt.wall_ms());
        if let Some(start) = plan.log_start {
            self.log.start_at(start).await?;
            self.quorum.borrow_mut().trim(start);
        }
        let left = retention::orphans(&stored, log.offsets().log_start);
        let gone: BTreeSet<_> = plan.delete.into_iter().chain(left).collect();
        for id in gone {
            self.log.files.remove_snapshot(id).await.map_err(|error| format!("{id}: {error}"))?;
        }
        Ok(())
    }
}
