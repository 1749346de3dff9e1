//! Keys that are set on a topic; a broker key that is named as synonym gives the cluster's default.

use super::keys;
use crate::choice::{BatchValidation, CleanupPolicy, CompressionType, Durability, TimestampType};
use crate::error::Problem;
use crate::table::Synonym;
use crate::value::Value;

keys! {
    /// Keys of a topic, in the order of [`TopicConfig`]'s fields.
    table TOPIC;

    /// Everything that is configured about one topic, with every default filled in.
    ///
    /// Milliseconds are `i64`, as timestamps are; bytes are `u64`; `None` is "no limit".
    struct TopicConfig;

    "Retention" {
        "cleanup.policy" cleanup_policy: CleanupPolicy = "delete",
            one_of(CleanupPolicy::NAMES), from(&[Synonym::same("log.cleanup.policy")]),
            "What removes old records: `delete` removes whole segments by age and size, `compact` keeps the newest record of each key, both may be named, and an empty list keeps everything.";
        "retention.ms" retention_ms: LimitMillis = 604_800_000, min(-1),
            from(&[
                Synonym::same("log.retention.ms"),
                Synonym::scaled("log.retention.minutes", MINUTE_MS),
                Synonym::scaled("log.retention.hours", HOUR_MS),
            ]),
            "How long a record is kept after its timestamp; -1 keeps it whatever its age.";
        "retention.bytes" retention_bytes: LimitBytes = -1,
            from(&[Synonym::same("log.retention.bytes")]),
            "How large a partition may grow before its oldest segments go; negative for no limit.";
        "file.delete.delay.ms" file_delete_delay_ms: Millis = 60_000, min(0),
            from(&[Synonym::same("log.segment.delete.delay.ms")]),
            "How long a deleted segment's files stay on disk, for readers that still hold them.";
        "delete.retention.ms" delete_retention_ms: Millis = 86_400_000, min(0),
            from(&[Synonym::same("log.cleaner.delete.retention.ms")]),
            "How long a compacted topic keeps the mark that a key was deleted, from when it is first compacted.";
        "min.cleanable.dirty.ratio" min_cleanable_dirty_ratio: Double = 0.5, range(0, 1),
            from(&[Synonym::same("log.cleaner.min.cleanable.ratio")]),
            "Share of a compacted log that must be uncompacted before it is compacted again.";
        "min.compaction.lag.ms" min_compaction_lag_ms: Millis = 0, min(0),
            from(&[Synonym::same("log.cleaner.min.compaction.lag.ms")]),
            "How long a record of a compacted topic is safe from compaction.";
        "max.compaction.lag.ms" max_compaction_lag_ms: Millis = 9_223_372_036_854_775_807, min(1),
            from(&[Synonym::same("log.cleaner.max.compaction.lag.ms")]),
            "How long a record of a compacted topic may escape compaction.";
    }

    "Segments" {
        "segment.bytes" segment_bytes: IntBytes = 1_073_741_824, min(1_048_576),
            from(&[Synonym::same("log.segment.bytes")]),
            "Size at which a segment file is closed and the next begun; retention works on whole segments.";
        "segment.ms" segment_ms: Millis = 604_800_000, min(1),
            from(&[
                Synonym::same("log.roll.ms"),
                Synonym::scaled("log.roll.hours", HOUR_MS),
            ]),
            "Age, by its first record's timestamp, at which a segment is closed although it is not full.";
        "segment.jitter.ms" segment_jitter_ms: Millis = 0, min(0),
            from(&[
                Synonym::same("log.roll.jitter.ms"),
                Synonym::scaled("log.roll.jitter.hours", HOUR_MS),
            ]),
            "Random time, up to this, by which a segment is closed earlier than `segment.ms` says.";
        "segment.index.bytes" segment_index_bytes: IntBytes = 10_485_760, min(4),
            from(&[Synonym::same("log.index.size.max.bytes")]),
            "Size at which a segment's index is full and the segment is closed.";
        "index.interval.bytes" index_interval_bytes: IntBytes = 4_096, min(0),
            from(&[Synonym::same("log.index.interval.bytes")]),
            "How many bytes of records lie between two entries of the index.";
        "preallocate" preallocate: Bool = false,
            from(&[Synonym::same("log.preallocate")]), inert(GROWS_BY_STEPS),
            "Whether a segment file takes its whole size from the start.";
    }

    "Records" {
        "max.message.bytes" max_message_bytes: IntBytes = 1_048_588, min(0),
            from(&[Synonym::same("message.max.bytes")]),
            "Largest record batch that is accepted, as it is stored.";
        "compression.type" compression_type: CompressionType = "producer",
            one_of(CompressionType::NAMES), from(&[Synonym::same("compression.type")]),
            "How batches are stored: as the producer sent them, or compressed anew.";
        "compression.gzip.level" compression_gzip_level: Int = -1, range_or(1, 9, -1),
            from(&[Synonym::same("compression.gzip.level")]),
            "Level for batches that Odradek compresses with gzip; -1 is the codec's own default.";
        "compression.lz4.level" compression_lz4_level: Int = 9, range(1, 17),
            from(&[Synonym::same("compression.lz4.level")]),
            "Level for batches that Odradek compresses with LZ4.";
        "compression.zstd.level" compression_zstd_level: Int = 3, range(-131_072, 22),
            from(&[Synonym::same("compression.zstd.level")]),
            "Level for batches that Odradek compresses with Zstandard.";
        "message.timestamp.type" message_timestamp_type: TimestampType = "CreateTime",
            one_of(TimestampType::NAMES), from(&[Synonym::same("log.message.timestamp.type")]),
            "Whether a record keeps its producer's timestamp or gets the broker's.";
        "message.timestamp.before.max.ms" message_timestamp_before_max_ms: Millis = 9_223_372_036_854_775_807,
            min(0), from(&[Synonym::same("log.message.timestamp.before.max.ms")]),
            "How far a producer's timestamp may lie before the broker's clock.";
        "message.timestamp.after.max.ms" message_timestamp_after_max_ms: Millis = 3_600_000,
            min(0), from(&[Synonym::same("log.message.timestamp.after.max.ms")]),
            "How far a producer's timestamp may lie after the broker's clock.";
        "odradek.batch.validation" odradek_batch_validation: BatchValidation = "header",
            one_of(BatchValidation::NAMES), from(&[Synonym::same("odradek.batch.validation")]),
            "Whether a compressed batch is opened to check every record (`records`, as Kafka does) or trusted behind its checksum (`header`).";
    }

    "Durability" {
        "min.insync.replicas" min_insync_replicas: Count = 1, min(1),
            from(&[Synonym::same("min.insync.replicas")]),
            "How many replicas must be in sync for a write with `acks=all`; with fewer it is refused.";
        "unclean.leader.election.enable" unclean_leader_election_enable: Bool = false,
            from(&[Synonym::same("unclean.leader.election.enable")]),
            "Whether a replica that may lack acknowledged records can become leader when no other is left.";
        "odradek.durability" odradek_durability: Durability = "sync",
            one_of(Durability::NAMES), from(&[Synonym::same("odradek.durability")]),
            "`sync` answers `acks=all` when the record is on the device; `write-cache` when it is written, with a bounded amount unsynced.";
        "odradek.write-cache.max.bytes" odradek_write_cache_max_bytes: Bytes = 8_388_608, min(1),
            from(&[Synonym::same("odradek.write-cache.max.bytes")]),
            "With `odradek.durability=write-cache`: bytes of a partition that may be unsynced.";
        "odradek.write-cache.max.ms" odradek_write_cache_max_ms: Millis = 100, min(1),
            from(&[Synonym::same("odradek.write-cache.max.ms")]),
            "With `odradek.durability=write-cache`: how long a record may be unsynced.";
        "flush.messages" flush_messages: Long = 9_223_372_036_854_775_807, min(1),
            from(&[Synonym::same("log.flush.interval.messages")]),
            "How many records may be unsynced, whatever `odradek.durability` and `acks` say.";
        "flush.ms" flush_ms: Millis = 9_223_372_036_854_775_807, min(0),
            from(&[
                Synonym::same("log.flush.interval.ms"),
                Synonym::same("log.flush.scheduler.interval.ms"),
            ]),
            "How long a record may be unsynced, whatever `odradek.durability` and `acks` say.";
    }

    "Replication throttles" {
        "leader.replication.throttled.replicas" leader_replication_throttled_replicas: List = "",
            checked(throttled_leader, REPLICA_LIST), default_only(NO_THROTTLES),
            "Replicas (`partition:broker`, or `*`) whose traffic is limited where they are read from.";
        "follower.replication.throttled.replicas" follower_replication_throttled_replicas: List = "",
            checked(throttled_follower, REPLICA_LIST), default_only(NO_THROTTLES),
            "Replicas (`partition:broker`, or `*`) whose traffic is limited where they are copied to.";
    }

    "Tiered storage" {
        "remote.storage.enable" remote_storage_enable: Bool = false, default_only(NO_TIERS),
            "Whether closed segments are copied to object storage.";
        "remote.log.copy.disable" remote_log_copy_disable: Bool = false, default_only(NO_TIERS),
            "Whether a tiered topic stops copying.";
        "remote.log.delete.on.disable" remote_log_delete_on_disable: Bool = false,
            default_only(NO_TIERS),
            "Whether what was copied is deleted when tiering is switched off.";
        "local.retention.ms" local_retention_ms: Millis = -2, min(-2),
            from(&[Synonym::same("log.local.retention.ms")]), inert(NO_TIERS),
            "How long a copied segment also stays on local disk; -2 is `retention.ms`.";
        "local.retention.bytes" local_retention_bytes: Long = -2, min(-2),
            from(&[Synonym::same("log.local.retention.bytes")]), inert(NO_TIERS),
            "How many bytes of copied segments also stay on local disk; -2 is `retention.bytes`.";
    }
}

pub(super) const MINUTE_MS: i64 = 60_000;
pub(super) const HOUR_MS: i64 = 3_600_000;

pub(super) const GROWS_BY_STEPS: &str = "segment files grow in steps of at most 8 MiB";
pub(super) const NO_TIERS: &str = "tiered storage is not built yet";
const NO_THROTTLES: &str = "replication throttles are not built yet";
const REPLICA_LIST: &str = "`*`, or a list of `partition:broker`";

fn throttled_leader(value: &Value) -> Result<(), Problem> {
    replica_list("leader.replication.throttled.replicas", value)
}

fn throttled_follower(value: &Value) -> Result<(), Problem> {
    replica_list("follower.replication.throttled.replicas", value)
}

fn replica_list(name: &str, value: &Value) -> Result<(), Problem> {
    let Value::List(parts) = value else { return Ok(()) };
    let replica = |part: &String| {
        part.split_once(':').is_some_and(|(partition, broker)| {
            [partition, broker]
                .iter()
                .all(|n| n.bytes().all(|b| b.is_ascii_digit()) && !n.is_empty())
        })
    };
    if parts.iter().all(replica) || matches!(parts.as_slice(), [star] if star == "*") {
        return Ok(());
    }
    Err(Problem::Text(format!(
        "{name} must be the literal '*' or a list of replicas in the following format: \
         [partitionId]:[brokerId],[partitionId]:[brokerId],..."
    )))
}
