//! Broker keys that are defaults of topic keys, and coarser units of the same; and limits of group
//! keys.
//!
//! No code reads them by name: a topic's effective value follows its row's synonyms, and a group's
//! is judged by the table of limits in `config::group`.

use super::keys;
use super::topic::{GROWS_BY_STEPS, HOUR_MS, MINUTE_MS, NO_TIERS};
use crate::choice::{BatchValidation, CleanupPolicy, CompressionType, Durability, TimestampType};
use crate::table::Synonym;

keys! {
    /// Keys of a broker that topics take their defaults from.
    table DEFAULTS;

    "Retention of topics" {
        "log.cleanup.policy": CleanupPolicy = "delete", one_of(CleanupPolicy::NAMES), dynamic,
            "Default of `cleanup.policy`.";
        "log.retention.ms": Millis, not_zero(RETENTION_ZERO), dynamic,
            from(&[
                Synonym::same("log.retention.ms"),
                Synonym::scaled("log.retention.minutes", MINUTE_MS),
                Synonym::scaled("log.retention.hours", HOUR_MS),
            ]),
            "Default of `retention.ms`; where it is not set, `log.retention.minutes` is.";
        "log.retention.minutes": Int, not_zero(RETENTION_ZERO), fixed,
            from(&[
                Synonym::same("log.retention.minutes"),
                Synonym::scaled("log.retention.hours", 60),
            ]),
            "`retention.ms` in minutes; where it is not set, `log.retention.hours` is.";
        "log.retention.hours": Int = 168, not_zero(RETENTION_ZERO), fixed,
            "`retention.ms` in hours.";
        "log.retention.bytes": Long = -1, dynamic,
            "Default of `retention.bytes`.";
        "log.segment.delete.delay.ms": Millis = 60_000, min(0), dynamic,
            "Default of `file.delete.delay.ms`.";
        "log.cleaner.delete.retention.ms": Millis = 86_400_000, min(0), dynamic,
            "Default of `delete.retention.ms`.";
        "log.cleaner.min.cleanable.ratio": Double = 0.5, range(0, 1), dynamic,
            "Default of `min.cleanable.dirty.ratio`.";
        "log.cleaner.min.compaction.lag.ms": Millis = 0, min(0), dynamic,
            "Default of `min.compaction.lag.ms`.";
        "log.cleaner.max.compaction.lag.ms": Millis = 9_223_372_036_854_775_807, min(1), dynamic,
            "Default of `max.compaction.lag.ms`.";
        "log.local.retention.ms": Millis = -2, min(-2), dynamic, inert(NO_TIERS),
            "Default of `local.retention.ms`.";
        "log.local.retention.bytes": Long = -2, min(-2), dynamic, inert(NO_TIERS),
            "Default of `local.retention.bytes`.";
    }

    "Segments of topics" {
        "log.segment.bytes": IntBytes = 1_073_741_824, min(1_048_576), dynamic,
            "Default of `segment.bytes`.";
        "log.roll.ms": Millis, min(1), dynamic,
            from(&[Synonym::same("log.roll.ms"), Synonym::scaled("log.roll.hours", HOUR_MS)]),
            "Default of `segment.ms`; where it is not set, `log.roll.hours` is.";
        "log.roll.hours": Int = 168, min(1), fixed,
            "`segment.ms` in hours.";
        "log.roll.jitter.ms": Millis, min(0), dynamic,
            from(&[
                Synonym::same("log.roll.jitter.ms"),
                Synonym::scaled("log.roll.jitter.hours", HOUR_MS),
            ]),
            "Default of `segment.jitter.ms`; where it is not set, `log.roll.jitter.hours` is.";
        "log.roll.jitter.hours": Int = 0, min(0), fixed,
            "`segment.jitter.ms` in hours.";
        "log.index.size.max.bytes": IntBytes = 10_485_760, min(4), dynamic,
            "Default of `segment.index.bytes`.";
        "log.index.interval.bytes": IntBytes = 4_096, min(0), dynamic,
            "Default of `index.interval.bytes`.";
        "log.preallocate": Bool = false, dynamic, inert(GROWS_BY_STEPS),
            "Default of `preallocate`.";
    }

    "Records of topics" {
        "message.max.bytes": IntBytes = 1_048_588, min(0), dynamic,
            "Default of `max.message.bytes`.";
        "compression.type": CompressionType = "producer", one_of(CompressionType::NAMES), dynamic,
            "Default of the topic key of the same name.";
        "compression.gzip.level": Int = -1, range_or(1, 9, -1), dynamic,
            "Default of the topic key of the same name.";
        "compression.lz4.level": Int = 9, range(1, 17), dynamic,
            "Default of the topic key of the same name.";
        "compression.zstd.level": Int = 3, range(-131_072, 22), dynamic,
            "Default of the topic key of the same name.";
        "log.message.timestamp.type": TimestampType = "CreateTime", one_of(TimestampType::NAMES),
            dynamic,
            "Default of `message.timestamp.type`.";
        "log.message.timestamp.before.max.ms": Millis = 9_223_372_036_854_775_807, min(0), dynamic,
            "Default of `message.timestamp.before.max.ms`.";
        "log.message.timestamp.after.max.ms": Millis = 3_600_000, min(0), dynamic,
            "Default of `message.timestamp.after.max.ms`.";
        "odradek.batch.validation": BatchValidation = "header", one_of(BatchValidation::NAMES),
            dynamic,
            "Default of the topic key of the same name.";
    }

    "Durability of topics" {
        "min.insync.replicas": Count = 1, min(1), dynamic,
            "Default of the topic key of the same name.";
        "unclean.leader.election.enable": Bool = false, dynamic,
            "Default of the topic key of the same name.";
        "odradek.durability": Durability = "sync", one_of(Durability::NAMES), dynamic,
            "Default of the topic key of the same name.";
        "odradek.write-cache.max.bytes": Bytes = 8_388_608, min(1), dynamic,
            "Default of the topic key of the same name.";
        "odradek.write-cache.max.ms": Millis = 100, min(1), dynamic,
            "Default of the topic key of the same name.";
        "log.flush.interval.messages": Long = 9_223_372_036_854_775_807, min(1), dynamic,
            "Default of `flush.messages`.";
        "log.flush.interval.ms": Millis, min(0), dynamic,
            from(&[
                Synonym::same("log.flush.interval.ms"),
                Synonym::same("log.flush.scheduler.interval.ms"),
            ]),
            "Default of `flush.ms`; where it is not set, `log.flush.scheduler.interval.ms` is.";
        "log.flush.scheduler.interval.ms": Millis = 9_223_372_036_854_775_807, min(0), fixed,
            "Stands in for `log.flush.interval.ms`; there is no separate flusher that it could pace.";
    }

    "Limits of what is set on single groups" {
        "group.consumer.min.session.timeout.ms": IntMillis = 45_000, min(1), fixed,
            "Shortest `consumer.session.timeout.ms` that may be set on a group.";
        "group.consumer.max.session.timeout.ms": IntMillis = 60_000, min(1), fixed,
            "Longest `consumer.session.timeout.ms` that may be set on a group.";
        "group.consumer.min.heartbeat.interval.ms": IntMillis = 5_000, min(1), fixed,
            "Shortest `consumer.heartbeat.interval.ms` that may be set on a group.";
        "group.consumer.max.heartbeat.interval.ms": IntMillis = 15_000, min(1), fixed,
            "Longest `consumer.heartbeat.interval.ms` that may be set on a group.";
        "group.consumer.min.assignment.interval.ms": IntMillis = 0, min(0), fixed,
            "Shortest `consumer.assignment.interval.ms` that may be set on a group.";
        "group.consumer.max.assignment.interval.ms": IntMillis = 15_000, min(0), fixed,
            "Longest `consumer.assignment.interval.ms` that may be set on a group.";
    }
}

const RETENTION_ZERO: &str = "must be unlimited (-1) or, greater than or equal to 1";
