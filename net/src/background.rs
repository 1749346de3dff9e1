//! What a core does when nobody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use engine::error::LogError;
use engine::log::{Cleaned, Cleaner, CleanerLimits, Filth};
use engine::partition::Partition;
use replication::cores::PartitionKey;

use crate::conn::watch::{Kinds, Patience, TICK};
use crate::core::Core;
use crate::{isolate, publish};

/// Judges every connection of the core once a tick, for ever.
pub(crate) async fn sweep(core: Rc<Core>) {
    let patience = Patience::new(&core.node.config);
    loop {
        core.rt.sleep(TICK).await;
        let memory = &core.memory;
        let wanted = Kinds {
            filling: memory.filling.contended(),
            probing: memory.probing.contended(),
            large: memory.large.contended(),
            working: core.working.contended(),
            pinned: core.pinned.contended(),
        };
        gauge(&core);
        // Killing a connection wakes its task and no more, so the list stands still meanwhile.
        for (_, watch) in core.conns.borrow().iter() {
            watch.tick(patience, wanted);
        }
    }
}

fn gauge(core: &Core) {
    let memory = &core.memory;
    let budgets = [&memory.filling, &memory.serving, &memory.probing, &memory.large];
    let level = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    core.metrics.frame_bytes.set(level(budgets.iter().map(|budget| budget.used()).sum()));
    core.metrics.working_bytes.set(level(core.working.used()));
    core.metrics.pinned_bytes.set(level(core.pinned.used()));
    core.metrics.calls_waiting.set(level(core.mesh.calls_waiting()));
}

/// Lets every partition of the core roll, expire and forget what is due, for ever.
pub(crate) async fn housekeep(core: Rc<Core>) {
    // The first look at retention comes one interval after the start, as in Kafka: whoever starts
    // on old data has time to change a setting.
    let mut due = core.rt.now() + check_interval(&core);
    let forget_every = millis(core.config().producer_id_expiration_check_interval_ms);
    let mut forget_at = core.rt.now() + forget_every;
    let mut open_at = core.rt.now() + OPEN_AGAIN;
    let mut failed_logs = 0;
    loop {
        core.rt.sleep(LOOK).await;
        isolate::look(&core, &mut failed_logs).await;
        for dir in core.dirs.iter().filter(|dir| dir.failure().is_none()) {
            dir.remove_due().await;
        }
        if core.rt.now() >= open_at {
            open_at = core.rt.now() + OPEN_AGAIN;
            publish::open_lacking(&core).await;
        }
        if core.rt.now() >= forget_at {
            forget_at = core.rt.now() + forget_every;
            for (_, partition) in core.partitions.all_open() {
                partition.expire_producers(core.rt.wall_ms());
                core.rt.turn().await;
            }
        }
        // The interval may have been shortened meanwhile.
        due = due.min(core.rt.now() + check_interval(&core));
        if core.rt.now() < due {
            continue;
        }
        due = core.rt.now() + check_interval(&core);
        for (_, partition) in core.partitions.all_open() {
            if let Err(error) = partition.housekeep(core.rt.wall_ms()).await
                && let Some(unsaid) = core.quiet.storage.pass(core.rt.now())
            {
                tracing::error!(partition = &*partition.name(), unsaid, "upkeep failed: {error}");
            }
            core.rt.turn().await;
        }
    }
}

/// Compacts the partitions of the core that need it, the one with most to gain first, for ever.
pub(crate) async fn compact(core: Rc<Core>) {
    let cleaner = Cleaner::new(&core.rt, cleaner_limits(&core));
    loop {
        core.rt.sleep(millis(core.config().log_cleaner_backoff_ms).max(LEAST)).await;
        // One that cannot be cleaned now must not keep the others waiting.
        let mut failed = BTreeSet::new();
        while let Some((key, partition, filth)) = filthiest(&core, &failed).await {
            cleaner.set_limits(cleaner_limits(&core));
            let began = core.rt.now();
            match partition.clean(&cleaner, filth, core.rt.wall_ms()).await {
                Ok(cleaned) => {
                    let (name, ms) = (partition.name(), core.rt.now().since(began).as_millis());
                    let Cleaned { through, bytes_before, bytes_after, records_removed } = cleaned;
                    tracing::info!(
                        partition = &*name,
                        through,
                        bytes_before,
                        bytes_after,
                        records_removed,
                        ms = u64::try_from(ms).unwrap_or(u64::MAX),
                        "compacted"
                    );
                }
                Err(error) => {
                    failed.insert(key);
                    note_failure(&core, &partition, &error);
                }
            }
            core.rt.turn().await;
        }
    }
}

/// The partition with the largest share of bytes that were never compacted, of those that are due.
async fn filthiest(
    core: &Core,
    failed: &BTreeSet<PartitionKey>,
) -> Option<(PartitionKey, Rc<Partition>, Filth)> {
    let mut worst: Option<(PartitionKey, Rc<Partition>, Filth)> = None;
    let mut uncompacted = BTreeMap::new();
    for (key, partition) in core.partitions.all_open() {
        if failed.contains(&key) || !partition.config().cleanup_policy.compact {
            continue;
        }
        match partition.filth(core.rt.wall_ms()).await {
            Ok(Some(filth)) => {
                uncompacted.insert(key, filth.dirty_bytes());
                if worst.as_ref().is_none_or(|(.., other)| filth.ratio() > other.ratio()) {
                    worst = Some((key, partition, filth));
                }
            }
            Ok(None) => {}
            Err(error) => note_failure(core, &partition, &error),
        }
        core.rt.turn().await;
    }
    core.uncompacted.replace(uncompacted);
    worst
}

fn note_failure(core: &Core, partition: &Partition, error: &LogError) {
    if matches!(error, LogError::Closed | LogError::Retry) {
        // It was deleted, truncated or is being closed: the next look tells.
        return;
    }
    if let Some(unsaid) = core.quiet.storage.pass(core.rt.now()) {
        tracing::error!(partition = &*partition.name(), unsaid, "compaction failed: {error}");
    }
}

/// This core's share of what compaction may take.
fn cleaner_limits(core: &Core) -> CleanerLimits {
    let config = core.config();
    let cores = core.node.cores.max(1);
    CleanerLimits {
        map_bytes: config.log_cleaner_dedupe_buffer_size / cores as u64,
        bytes_per_second: config.log_cleaner_io_max_bytes_per_second / cores as f64,
    }
}

fn check_interval(core: &Core) -> Duration {
    millis(core.config().log_retention_check_interval_ms)
}

fn millis(interval: i64) -> Duration {
    Duration::from_millis(u64::try_from(interval).unwrap_or(0))
}

/// Least time between two looks for a log to compact.
const LEAST: Duration = Duration::from_millis(10);
/// How often partitions that lack room are tried again.
const OPEN_AGAIN: Duration = Duration::from_secs(5);
/// How late a delayed delete, or a change of the interval, may be noticed.
const LOOK: Duration = Duration::from_secs(1);
