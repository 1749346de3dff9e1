//! What the counters of all cores come to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use engine::ids::{PartitionId, TopicId};
use engine::meter::{Metrics, Snapshot};
use replication::cores::PartitionKey;

use super::Report;
use super::families::{
    BuildMetrics, ControllerMetrics, CoordinatorMetrics, LagMetrics, OffsetsMetrics,
    PartitionMetrics, ProcessMetrics, TopicMetrics,
};
use super::gather::{Counts, Held};
use super::text::{Form, Page, Row};

/// How many series there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) topics: usize,
    pub(super) lags: usize,
}

/// What the page says of topics beyond the limit.
pub(super) const OTHER: &str = "other";

/// The topics that have metrics of their own: once one has, it keeps them while it lives, or its
/// counters would seem to begin anew whenever a topic with an earlier name came.
#[derive(Debug, Default)]
pub(super) struct Shown(BTreeSet<TopicId>);

impl Shown {
    /// Of these topics, in order of name, those that are shown.
    fn choose(&mut self, topics: &[(&str, TopicId)], limit: usize) {
        let there: BTreeSet<_> = topics.iter().map(|(_, id)| *id).collect();
        self.0.retain(|id| there.contains(id));
        for (_, id) in topics {
            if self.0.len() >= limit {
                break;
            }
            self.0.insert(*id);
        }
    }
}

/// The page that says all of it.
pub(super) fn page(
    report: &Report,
    process: &ProcessMetrics,
    shown: &mut Shown,
    limits: Limits,
    form: Form,
) -> String {
    let shots = report.cores.iter().enumerate();
    let counts: Vec<(usize, &Counts)> =
        shots.filter_map(|(core, shot)| Some((core, &**shot.as_ref()?.counts.as_ref()?))).collect();
    let all = || counts.iter().map(|(_, counts)| *counts);
    let mut page = Page::new(form);
    let apis = merged(all().flat_map(|counts| &counts.apis));
    page.table(&apis.iter().map(|(api, snapshot)| (vec![*api], snapshot)).collect::<Vec<_>>());
    let errors = merged(all().flat_map(|counts| &counts.errors));
    let errors: Vec<Row<'_>> =
        errors.iter().map(|((api, error), snapshot)| (vec![*api, *error], snapshot)).collect();
    page.table(&errors);
    one(&mut page, all().map(|counts| &counts.net));
    let cores: Vec<_> =
        counts.iter().map(|(core, counts)| (core.to_string(), &counts.core)).collect();
    page.table(&cores.iter().map(|(core, load)| (vec![core.as_str()], *load)).collect::<Vec<_>>());
    one(&mut page, all().map(|counts| &counts.log));
    one(&mut page, all().map(|counts| &counts.journal));
    one(&mut page, all().map(|counts| &counts.cache));
    let held: Vec<Held> = all().flat_map(|counts| counts.partitions.iter().copied()).collect();
    topics(&mut page, report, &held, shown, limits.topics);
    page.one(&partitions(report, &held, all()).snapshot());
    groups(&mut page, all());
    lags(&mut page, report, &held, all(), limits.lags);
    page.one(&controller(report).snapshot());
    page.one(&process.snapshot());
    let build = BuildMetrics::default();
    build.info.set(1);
    page.table(&[(vec![env!("CARGO_PKG_VERSION")], &build.snapshot())]);
    page.finish()
}

/// One snapshot for each key, of all cores.
fn merged<'a, K: Ord + Copy + 'a>(
    rows: impl Iterator<Item = &'a (K, Snapshot)>,
) -> BTreeMap<K, Snapshot> {
    let mut merged: BTreeMap<K, Snapshot> = BTreeMap::new();
    for (key, snapshot) in rows {
        match merged.get_mut(key) {
            Some(sum) => sum.merge(snapshot),
            None => drop(merged.insert(*key, snapshot.clone())),
        }
    }
    merged
}

fn one<'a>(page: &mut Page, mut snapshots: impl Iterator<Item = &'a Snapshot>) {
    let Some(mut sum) = snapshots.next().cloned() else { return };
    snapshots.for_each(|snapshot| sum.merge(snapshot));
    page.one(&sum);
}

fn topics(page: &mut Page, report: &Report, held: &[Held], shown: &mut Shown, limit: usize) {
    let mut by_topic: BTreeMap<TopicId, TopicMetrics> = BTreeMap::new();
    for held in held {
        add(by_topic.entry(held.key.topic).or_default(), held);
    }
    // One that was deleted a moment ago is still open on some core.
    let named =
        by_topic.keys().filter_map(|id| Some((&*report.image.topics().get(*id)?.name, *id)));
    let mut named: Vec<(&str, TopicId)> = named.collect();
    named.sort_unstable();
    shown.choose(&named, limit);
    let mut rows: Vec<(&str, Snapshot)> = Vec::new();
    let mut other: Option<Snapshot> = None;
    for (name, id) in named {
        let snapshot = by_topic[&id].snapshot();
        match (shown.0.contains(&id), &mut other) {
            (true, _) => rows.push((name, snapshot)),
            (false, Some(sum)) => sum.merge(&snapshot),
            (false, None) => other = Some(snapshot),
        }
    }
    rows.extend(other.map(|sum| (OTHER, sum)));
    page.table(&rows.iter().map(|(name, topic)| (vec![*name], topic)).collect::<Vec<_>>());
}

fn add(topic: &TopicMetrics, held: &Held) {
    topic.bytes_in.add(held.bytes_in);
    topic.records_in.add(held.records_in);
    topic.bytes_out.add(held.bytes_out);
    topic.partitions.inc();
    topic.log_bytes.add(level(held.log_bytes));
    topic.log_offsets.add(held.log_end.0 - held.log_start.0);
    topic.uncompacted_bytes.add(level(held.uncompacted_bytes));
    topic.under_min_isr.add(i64::from(held.under_min_isr));
}

fn partitions<'a>(
    report: &Report,
    held: &[Held],
    counts: impl Iterator<Item = &'a Counts>,
) -> PartitionMetrics {
    let metrics = PartitionMetrics::default();
    metrics.open.set(level(held.len() as u64));
    for held in held {
        metrics.led.add(i64::from(held.leads));
        metrics.failed.add(i64::from(held.failed));
        metrics.under_replicated.add(i64::from(held.under_replicated));
        metrics.under_min_isr.add(i64::from(held.under_min_isr));
    }
    metrics.unopened.set(counts.map(|counts| level(counts.unopened as u64)).sum());
    let failed = report.cores.iter().flatten().flat_map(|shot| shot.failed_dirs.iter());
    let failed: BTreeSet<_> = failed.map(|(path, _)| path).collect();
    metrics.log_dirs_offline.set(level(failed.len() as u64));
    metrics
}

fn groups<'a>(page: &mut Page, counts: impl Iterator<Item = &'a Counts>) {
    let mut states: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for (state, groups) in counts.flat_map(|counts| &counts.groups) {
        *states.entry(*state).or_default() += groups;
    }
    let rows = states.iter().map(|((kind, state), groups)| {
        let metrics = CoordinatorMetrics::default();
        metrics.groups.set(*groups);
        ((*kind, *state), metrics.snapshot())
    });
    let rows: Vec<_> = rows.collect();
    let rows = rows.iter().map(|((kind, state), groups)| (vec![*kind, *state], groups));
    page.table(&rows.collect::<Vec<_>>());
}

fn lags<'a>(
    page: &mut Page,
    report: &Report,
    held: &[Held],
    counts: impl Iterator<Item = &'a Counts>,
    limit: usize,
) {
    let ends: BTreeMap<PartitionKey, i64> = held
        .iter()
        .filter(|held| held.leads)
        .map(|held| (held.key, held.high_watermark.0))
        .collect();
    let (mut lags, metrics) = (Vec::new(), OffsetsMetrics::default());
    for counts in counts {
        metrics.partitions_loading.add(level(counts.groups_loading as u64));
        metrics.lags_untold.add(level(counts.committed_unsaid as u64));
        for committed in &counts.committed {
            let Some(topic) = report.image.topics().named(&committed.topic) else { continue };
            let behind = committed.offsets.iter().filter_map(|(partition, offset)| {
                let key = PartitionKey { topic: topic.id, partition: PartitionId(*partition) };
                Some((ends.get(&key)? - offset).max(0))
            });
            let lag = LagMetrics::default();
            lag.records.set(behind.sum());
            lags.push(((&*committed.group, &*committed.topic), lag.snapshot()));
        }
    }
    lags.sort_unstable_by_key(|(pair, _)| *pair);
    metrics.lags_untold.add(level(lags.len().saturating_sub(limit) as u64));
    lags.truncate(limit);
    let rows = lags.iter().map(|((group, topic), lag)| (vec![*group, *topic], lag));
    page.table(&rows.collect::<Vec<_>>());
    page.one(&metrics.snapshot());
}

fn controller(report: &Report) -> ControllerMetrics {
    let (image, metrics) = (&report.image, ControllerMetrics::default());
    if let Some(quorum) = &report.quorum {
        metrics.active.set(i64::from(quorum.leader == report.node));
        metrics.epoch.set(i64::from(quorum.epoch.0));
    }
    for broker in image.brokers().iter() {
        let of = if broker.fenced { &metrics.brokers_fenced } else { &metrics.brokers };
        of.inc();
    }
    metrics.topics.set(level(image.topics().len() as u64));
    for (_, _, partition) in image.topics().partitions() {
        metrics.partitions.inc();
        match (partition.leader, partition.has_preferred_leader()) {
            (None, _) => metrics.partitions_offline.inc(),
            (Some(_), false) => metrics.partitions_not_preferred.inc(),
            (Some(_), true) => {}
        }
    }
    metrics.metadata_end.set(image.provenance().end.0);
    metrics
}

/// What the kernel says of the process; what it does not say is 0.
pub(super) fn process(started_seconds: i64) -> ProcessMetrics {
    let metrics = ProcessMetrics::default();
    metrics.up.set(1);
    metrics.started_seconds.set(started_seconds);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|kib| kib.trim().trim_end_matches(" kB").parse::<i64>().ok());
    metrics.resident_bytes.set(resident.unwrap_or(0) * 1024);
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command's name may hold blanks; the fields after it do not. User and system time are the
    // twelfth and thirteenth of those, in hundredths of a second on every Linux.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks: u64 =
        fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    metrics.cpu.set(Duration::from_millis(ticks * 10));
    let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    metrics.open_files.set(level(files as u64));
    metrics
}

fn level(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}
