//! Which snapshots, and how much of the log before them, may go.
//!
//! The log may only start where a snapshot ends, and the newest snapshot never goes. So a snapshot
//! goes by moving the log's start to the end of the next one: whole segments below go with it.

use engine::ids::Offset;

use super::snapshot::SnapshotId;

/// When old snapshots go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// `metadata.max.retention.bytes`: of log and snapshots together; `None` (−1) for no limit.
    pub bytes_max: Option<u64>,
    /// `metadata.max.retention.ms`: age of what a snapshot contains; `None` (−1) for no limit.
    pub age_max_ms: Option<i64>,
}

/// A snapshot on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// Its name.
    pub id: SnapshotId,
    /// Size of the file.
    pub bytes: u64,
    /// Time of the last record it contains, from its header; Unix milliseconds.
    pub timestamp_ms: i64,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionPlan {
    /// Move the log's start here first, if at all.
    pub log_start: Option<Offset>,
    /// Then delete these.
    pub delete: Vec<SnapshotId>,
}

/// Plans which of `snapshots` (in any order) go. `log_bytes` is the size of the log.
#[must_use]
pub fn retain(
    policy: RetentionPolicy,
    snapshots: &[StoredSnapshot],
    log_bytes: u64,
    now_ms: i64,
) -> RetentionPlan {
    let mut ordered = snapshots.to_vec();
    ordered.sort_unstable_by_key(|snapshot| snapshot.id);
    let mut bytes = log_bytes + ordered.iter().map(|snapshot| snapshot.bytes).sum::<u64>();
    let mut plan = RetentionPlan::default();
    for pair in ordered.windows(2) {
        let [old, next] = pair else { unreachable!("windows of two") };
        let too_big = policy.bytes_max.is_some_and(|max| bytes > max);
        let too_old = policy.age_max_ms.is_some_and(|max| now_ms - old.timestamp_ms > max);
        if !too_big && !too_old {
            break;
        }
        bytes -= old.bytes;
        plan.log_start = Some(next.id.end);
        plan.delete.push(old.id);
    }
    plan
}

/// Snapshots below the log's start, which a crash between the two steps of a plan can leave.
pub fn orphans(
    snapshots: &[StoredSnapshot],
    log_start: Offset,
) -> impl Iterator<Item = SnapshotId> + '_ {
    snapshots.iter().map(|snapshot| snapshot.id).filter(move |id| id.end < log_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(end: i64, bytes: u64, timestamp_ms: i64) -> StoredSnapshot {
        StoredSnapshot { id: SnapshotId { end: Offset(end), epoch: 1 }, bytes, timestamp_ms }
    }

    const NEVER: RetentionPolicy = RetentionPolicy { bytes_max: None, age_max_ms: None };

    #[test]
    fn the_newest_stays_whatever_it_takes() {
        let policy = RetentionPolicy { bytes_max: Some(0), age_max_ms: Some(0) };
        let snapshots = [stored(0, 10, 0), stored(50, 10, 1), stored(90, 10, 2)];
        let plan = retain(policy, &snapshots, 1000, 10);
        assert_eq!(plan.log_start, Some(Offset(90)));
        assert_eq!(plan.delete, [snapshots[0].id, snapshots[1].id]);
        assert_eq!(retain(policy, &snapshots[2..], 1000, 10), RetentionPlan::default());
    }

    #[test]
    fn size_and_age_go_from_the_oldest() {
        let snapshots = [stored(90, 10, 300), stored(0, 10, 100), stored(50, 10, 200)];
        let by_size = RetentionPolicy { bytes_max: Some(125), ..NEVER };
        assert_eq!(retain(by_size, &snapshots, 100, 0).delete, [snapshots[1].id]);
        let by_age = RetentionPolicy { age_max_ms: Some(50), ..NEVER };
        assert_eq!(retain(by_age, &snapshots, 100, 160).log_start, Some(Offset(50)));
        assert_eq!(retain(NEVER, &snapshots, u64::MAX / 2, i64::MAX), RetentionPlan::default());
        assert_eq!(orphans(&snapshots, Offset(60)).count(), 2);
    }
}
