//! Every metric there is, and those that nobody counts: they are worked out when somebody asks.

use std::fmt::Write as _;

use engine::cx::LogMetrics;
use engine::meter::{Description, Kind};

use crate::metrics::{AnswerMetrics, ApiMetrics, NetMetrics};

engine::metrics! {
    /// The load of one core.
    pub(crate) CoreMetrics by [core] {
        busy: Time "Processor time that the core's thread used, spinning included; the rest of the time it slept or waited for a processor",
        requests: Counter "Requests answered",
        connections: Gauge "Connections now",
        partitions: Gauge "Partitions open now",
        messages_queued: Gauge "Messages of other cores that it has not looked at",
        messages_late: Gauge "Messages to other cores that wait for room in their mailboxes",
        calls_waiting: Gauge "Its calls to other cores that wait for their answer",
        calls_held: Gauge "Calls of other cores that wait here for something to happen",
        deadlines: Gauge "Requests that wait with a deadline",
        ack_waiters: Gauge "Produce requests, by partition, that wait until it is durable",
        read_waiters: Gauge "Fetch requests, by partition, that wait for something new",
    }
}

engine::metrics! {
    /// What the commit journals hold.
    pub(crate) JournalMetrics {
        used_bytes: Gauge "Bytes of the commit journals in use: the files of their logs may not have them yet",
    }
}

engine::metrics! {
    /// What the caches hold.
    pub(crate) CacheMetrics {
        tail_bytes: Gauge "Memory that the newest records of all logs take",
        cold_bytes: Gauge "Memory that older records take, which somebody has read",
        dirty_bytes: Gauge "Bytes appended that the device has not taken yet",
        index_bytes: Gauge "Memory that indexes and checksums of closed segments take",
    }
}

engine::metrics! {
    /// A topic on this broker.
    pub(crate) TopicMetrics by [topic] {
        bytes_in: Counter "Bytes of batches appended by leaders here",
        records_in: Counter "Records in them",
        bytes_out: Counter "Bytes of batches read",
        partitions: Gauge "Partitions open here",
        log_bytes: Gauge "Bytes of the logs",
        log_offsets: Gauge "Offsets between the first and the last of the logs",
        uncompacted_bytes: Gauge "Bytes of logs due for compaction that were never compacted, when it looked last",
        under_min_isr: Gauge "Partitions led here with fewer replicas in sync than min.insync.replicas",
    }
}

engine::metrics! {
    /// Partitions of this broker.
    pub(crate) PartitionMetrics {
        open: Gauge "Partitions open here",
        led: Gauge "Partitions led here",
        unopened: Gauge "Partitions that could not be opened",
        failed: Gauge "Partitions that have stopped after a failed write or sync",
        under_replicated: Gauge "Partitions led here with replicas that are not in sync",
        under_min_isr: Gauge "Partitions led here with fewer replicas in sync than min.insync.replicas",
        log_dirs_offline: Gauge "Log directories that are offline",
    }
}

engine::metrics! {
    /// Groups that this broker coordinates.
    pub(crate) CoordinatorMetrics by [protocol, state] {
        groups: Gauge "Groups of this protocol in this state",
    }
}

engine::metrics! {
    /// How far a group is behind in a topic.
    pub(crate) LagMetrics by [group, topic] {
        records: Gauge "Records between what the group has committed and the high watermark, over the partitions that this broker leads",
    }
}

engine::metrics! {
    /// What groups have committed.
    pub(crate) OffsetsMetrics {
        partitions_loading: Gauge "Partitions of __consumer_offsets whose groups are being loaded",
        lags_untold: Gauge "Pairs of group and topic beyond odradek.metrics.lags.max, whose lag is not told",
    }
}

engine::metrics! {
    /// The cluster as this node's metadata has it.
    pub(crate) ControllerMetrics {
        active: Gauge "1 where this node is the active controller, else 0",
        epoch: Gauge "Epoch of the metadata's leader, where this node is it",
        brokers: Gauge "Brokers registered and not fenced",
        brokers_fenced: Gauge "Brokers registered and fenced",
        topics: Gauge "Topics",
        partitions: Gauge "Partitions",
        partitions_offline: Gauge "Partitions without a leader",
        partitions_not_preferred: Gauge "Partitions that another than the preferred replica leads",
        metadata_end: Gauge "Offset behind the last record of the metadata that is in effect",
    }
}

engine::metrics! {
    /// The process.
    pub(crate) ProcessMetrics {
        cpu: Time "Processor time of all threads",
        resident_bytes: Gauge "Memory that is resident",
        open_files: Gauge "File descriptors open, sockets among them",
        started_seconds: Gauge "When it was started, seconds of Unix time",
        up: Gauge "1",
    }
}

engine::metrics! {
    /// The program.
    pub(crate) BuildMetrics by [version] {
        info: Gauge "1",
    }
}

/// Every family of metrics by where it comes from.
const FAMILIES: &[(&str, &[Description])] = &[
    ("Requests by API", ApiMetrics::DESCRIPTIONS),
    ("Errors by API and code", AnswerMetrics::DESCRIPTIONS),
    ("Connections and requests", NetMetrics::DESCRIPTIONS),
    ("Cores", CoreMetrics::DESCRIPTIONS),
    ("Logs", LogMetrics::DESCRIPTIONS),
    ("Commit journals", JournalMetrics::DESCRIPTIONS),
    ("Caches", CacheMetrics::DESCRIPTIONS),
    ("Topics", TopicMetrics::DESCRIPTIONS),
    ("Partitions", PartitionMetrics::DESCRIPTIONS),
    ("Groups", CoordinatorMetrics::DESCRIPTIONS),
    ("Lag of groups", LagMetrics::DESCRIPTIONS),
    ("Offsets of groups", OffsetsMetrics::DESCRIPTIONS),
    ("Metadata and controller", ControllerMetrics::DESCRIPTIONS),
    ("Process", ProcessMetrics::DESCRIPTIONS),
    ("Program", BuildMetrics::DESCRIPTIONS),
];

/// Every metric, in the order of the page.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = &'static Description> {
    FAMILIES.iter().flat_map(|(_, descriptions)| *descriptions)
}

/// `config/METRICS.md`: every metric in tables. A test keeps the file so.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    for (heading, descriptions) in FAMILIES {
        page.push_str(&format!(
            "\n## {heading}\n\n| metric | type | labels | |\n|---|---|---|---|\n"
        ));
        for metric in *descriptions {
            let (name, kind, help) = (metric.full_name(), type_of(metric.kind), metric.help);
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            writeln!(page, "| `{name}` | {kind} | {} | {help}. |", labels.join(" "))
                .expect("a String takes all");
        }
    }
    page
}

/// Prometheus' name of a kind.
pub(super) fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter | Kind::Time => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

const INTRODUCTION: &str = "\
# Metrics

What `http://<odradek.admin.listener>/metrics` tells, in Prometheus' text format. Rendered from the
metrics' declarations by `odradek metrics reference`.

Metrics without a label `core` are sums over the cores of the node. Counters begin at 0 with the
process, those of a topic when its partitions are opened. Histograms have a bucket for each doubling
from 16 µs to 34 s. How many series there are is bounded: APIs and errors by what the broker knows,
topics by `odradek.metrics.topics.max` (the rest is `topic=\"other\"`), groups' lags by
`odradek.metrics.lags.max`.
";
