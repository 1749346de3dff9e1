//! The cores' side: each copies out what it counts, core 0 puts it together.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use engine::ids::Offset;
use engine::meter::{Metrics, Snapshot};
use engine::partition::Partition;
use engine::rt::Inbox;
use futures_util::future::{Either, join_all, select};
use replication::cores::PartitionKey;

use super::families::{CacheMetrics, CoreMetrics, JournalMetrics};
use super::{Ask, Phase, Report};
use crate::core::Core;
use crate::groups::NoHost;
use crate::mesh;

/// Asks a core how it is.
pub(crate) struct Gather {
    /// And what it has counted.
    counts: bool,
    /// Pairs of group and topic at most.
    lags_max: usize,
}

/// What a core says.
#[derive(Clone, Debug)]
pub(crate) struct Shot {
    /// Log directories that are offline, and why.
    pub(crate) failed_dirs: Vec<(String, Arc<str>)>,
    pub(crate) counts: Option<Box<Counts>>,
}

/// What a core has counted.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) net: Snapshot,
    pub(crate) log: Snapshot,
    pub(crate) cache: Snapshot,
    pub(crate) journal: Snapshot,
    pub(crate) core: Snapshot,
    /// By API.
    pub(crate) apis: Vec<(&'static str, Snapshot)>,
    /// By API and error.
    pub(crate) errors: Vec<((&'static str, &'static str), Snapshot)>,
    /// Partitions that are open.
    pub(crate) partitions: Vec<Held>,
    /// Partitions that could not be opened.
    pub(crate) unopened: usize,
    /// Groups by kind and state.
    pub(crate) groups: BTreeMap<(&'static str, &'static str), i64>,
    /// Partitions of `__consumer_offsets` whose groups are being loaded.
    pub(crate) groups_loading: usize,
    pub(crate) committed: Vec<Committed>,
    /// Offsets in it.
    pub(crate) offsets: usize,
    /// Pairs of group and topic that there was no room for in `committed`.
    pub(crate) committed_unsaid: usize,
}

/// A partition that is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) key: PartitionKey,
    pub(crate) log_bytes: u64,
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) log_end: Offset,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) records_in: u64,
    /// Never compacted, and due to be.
    pub(crate) uncompacted_bytes: u64,
    /// This broker leads it.
    pub(crate) leads: bool,
    /// As its leader: fewer replicas are in sync than `min.insync.replicas`, and than there are.
    pub(crate) under_min_isr: bool,
    pub(crate) under_replicated: bool,
    /// It has stopped after a failure.
    pub(crate) failed: bool,
}

/// What a group has committed of a topic.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    pub(crate) group: String,
    pub(crate) topic: String,
    /// Partition and offset.
    pub(crate) offsets: Vec<(i32, i64)>,
}

/// Answers what is asked of core 0, for ever.
pub(crate) async fn answer(core: Rc<Core>, asks: Inbox<Ask>, serving: Rc<Cell<bool>>) {
    while let Some(Ask { counts, answer }) = asks.recv().await {
        // Who has given up is not worth the work.
        if !answer.is_disconnected() {
            let report = report(&core, counts, serving.get()).await;
            drop(answer.try_send(report));
        }
    }
}

async fn report(core: &Rc<Core>, counts: bool, serving: bool) -> Report {
    let lags_max = core.node.config.odradek_metrics_lags_max as usize;
    let calls = core.mesh.cores().map(|id| {
        let call = mesh::call(core, id, Gather { counts, lags_max });
        async move {
            match select(pin!(call), core.rt.sleep(ANSWER_LIMIT)).await {
                Either::Left((answer, _)) => answer.ok(),
                Either::Right(_) => None,
            }
        }
    });
    let cores = join_all(calls).await;
    Report {
        phase: match (core.is_draining(), serving) {
            (true, _) => Phase::Stopping,
            (_, true) => Phase::Serving,
            _ => Phase::Starting,
        },
        cores,
        image: core.image(),
        quorum: core.meta().and_then(|meta| meta.describe_quorum().ok()),
        node: core.node.id,
    }
}

/// Answers for this core.
pub(crate) async fn gather(core: Rc<Core>, asked: Gather) -> Shot {
    let offline = core.dirs.iter().filter_map(|dir| Some((dir, dir.failure()?)));
    let failed_dirs = offline.map(|(dir, why)| (dir.path().display().to_string(), why)).collect();
    let counts = match asked.counts {
        true => Some(Box::new(count(&core, asked.lags_max).await)),
        false => None,
    };
    Shot { failed_dirs, counts }
}

async fn count(core: &Core, lags_max: usize) -> Counts {
    let partitions = core.partitions.all_open();
    let (mut held, mut waiting) = (Vec::with_capacity(partitions.len()), (0, 0));
    for (at, (key, partition)) in partitions.into_iter().enumerate() {
        let (acks, readers) = partition.waiting();
        waiting = (waiting.0 + acks, waiting.1 + readers);
        let uncompacted_bytes = core.uncompacted.borrow().get(&key).copied().unwrap_or(0);
        held.push(Held { uncompacted_bytes, ..look(key, &partition) });
        if at % PARTITIONS_A_TURN == PARTITIONS_A_TURN - 1 {
            core.rt.turn().await;
        }
    }
    let mut counts = Counts {
        net: core.metrics.snapshot(),
        log: core.engine.metrics.snapshot(),
        cache: cache(core).snapshot(),
        journal: journal(core).snapshot(),
        core: load(core, held.len(), waiting).snapshot(),
        apis: core.requests.snapshots(),
        errors: core.requests.error_snapshots(),
        partitions: held,
        unopened: core.partitions.offline(),
        groups: BTreeMap::new(),
        groups_loading: 0,
        committed: Vec::new(),
        offsets: 0,
        committed_unsaid: 0,
    };
    count_groups(core, lags_max, &mut counts).await;
    counts
}

fn look(key: PartitionKey, partition: &Partition) -> Held {
    let (offsets, traffic, leads) =
        (partition.offsets(), partition.traffic(), partition.leadership());
    Held {
        key,
        log_bytes: partition.size_bytes(),
        log_start: offsets.log_start,
        high_watermark: offsets.high_watermark,
        log_end: offsets.log_end,
        bytes_in: traffic.bytes_in.get(),
        bytes_out: traffic.bytes_out.get(),
        records_in: traffic.records_in.get(),
        uncompacted_bytes: 0,
        leads: leads.is_some(),
        under_min_isr: leads.is_some_and(|leads| leads.isr_count < leads.min_isr_effective()),
        under_replicated: leads.is_some_and(|leads| leads.isr_count < leads.replica_count),
        failed: partition.failure().is_some(),
    }
}

async fn count_groups(core: &Core, lags_max: usize, counts: &mut Counts) {
    for host in core.groups.all() {
        match host.check_serving() {
            Err(NoHost::Loading) => counts.groups_loading += 1,
            Err(NoHost::Elsewhere) => {}
            Ok(()) => host.with(|shard, _| {
                for (group, kind, state) in shard.states() {
                    *counts.groups.entry((kind, state)).or_default() += 1;
                    add_committed(group, shard.committed(group), lags_max, counts);
                }
            }),
        }
        core.rt.turn().await;
    }
}

/// Adds the offsets of a group, which come by topic.
fn add_committed<'a>(
    group: &str,
    offsets: impl Iterator<Item = (&'a str, i32, i64)>,
    lags_max: usize,
    counts: &mut Counts,
) {
    let mut unsaid = None;
    let mut said = None;
    for (topic, partition, offset) in offsets {
        if unsaid == Some(topic) {
            continue;
        }
        if said != Some(topic) {
            if counts.offsets >= OFFSETS_MAX || counts.committed.len() >= lags_max {
                counts.committed_unsaid += 1;
                unsaid = Some(topic);
                continue;
            }
            let (group, topic) = (group.to_owned(), topic.to_owned());
            counts.committed.push(Committed { group, topic, offsets: Vec::new() });
        }
        said = Some(topic);
        let last = counts.committed.last_mut().expect("pushed for this topic");
        last.offsets.push((partition, offset));
        counts.offsets += 1;
    }
}

fn cache(core: &Core) -> CacheMetrics {
    let (memory, metrics) = (core.engine.memory(), CacheMetrics::default());
    metrics.tail_bytes.set(level(memory.tail_bytes));
    metrics.cold_bytes.set(level(memory.cold_bytes));
    metrics.dirty_bytes.set(level(memory.dirty_bytes));
    metrics.index_bytes.set(level(memory.shelf_bytes));
    metrics
}

fn journal(core: &Core) -> JournalMetrics {
    let metrics = JournalMetrics::default();
    let used: u64 = core.dirs.iter().map(|dir| dir.journal_used_bytes()).sum();
    metrics.used_bytes.set(i64::try_from(used).unwrap_or(i64::MAX));
    metrics
}

fn load(core: &Core, partitions: usize, (acks, readers): (usize, usize)) -> CoreMetrics {
    let metrics = CoreMetrics::default();
    let (queued, late) = core.mesh.queued();
    metrics.busy.set(core.rt.busy());
    metrics.requests.add(core.requests.count());
    metrics.connections.set(core.metrics.connections.get());
    metrics.partitions.set(level(partitions));
    metrics.messages_queued.set(level(queued));
    metrics.messages_late.set(level(late));
    metrics.calls_waiting.set(level(core.mesh.calls_waiting()));
    metrics.calls_held.set(level(core.mesh.calls_held()));
    metrics.deadlines.set(level(core.deadlines.waiting()));
    metrics.ack_waiters.set(level(acks));
    metrics.read_waiters.set(level(readers));
    metrics
}

fn level(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

/// Offsets of groups that a core tells: some megabytes, some milliseconds.
const OFFSETS_MAX: usize = 200_000;
/// A core that has not answered by then does not serve anybody else either.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Partitions that are looked at before others have their turn: some ten microseconds.
const PARTITIONS_A_TURN: usize = 256;
