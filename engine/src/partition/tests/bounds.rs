//! How far each kind of reader is led, how long producers are known, and that a restart or a
//! truncation leads none astray.

use std::rc::Rc;

use config::TopicConfig;

use super::kit::*;
use crate::batch::control::EndTxnMarker;
use crate::batch::{BatchBuilder, BatchOptions, NewRecord};
use crate::buf::Slice;
use crate::compress::Codecs;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use crate::partition::*;
use crate::rt::sim;

/// A leader whose in-sync set is too small: nothing more is acknowledged.
fn frozen(epoch: i32) -> LeaderSpec {
    LeaderSpec { epoch: LeaderEpoch(epoch), replica_count: 3, isr_count: 1, min_isr: 2 }
}

async fn append_unacknowledged(partition: &Rc<Partition>, records: Slice) {
    let options = AppendOptions { acks: Acks::Leader, ..AppendOptions::default() };
    partition.append_as_leader(records, options).await.expect("acks=1");
}

async fn found(partition: &Rc<Partition>, query: OffsetQuery, up_to: ReadBound) -> Option<i64> {
    let found = partition.list_offset(query, up_to).await.expect("readable");
    found.map(|found| found.offset.0)
}

fn options(sequence: i32) -> BatchOptions {
    BatchOptions {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(0),
        base_sequence: sequence,
        ..BatchOptions::default()
    }
}

async fn in_transaction(partition: &Rc<Partition>, sequence: i32) {
    let mut builder = BatchBuilder::new(BatchOptions { transactional: true, ..options(sequence) });
    builder.push(&NewRecord { timestamp: 1, value: Some(b"v"), ..NewRecord::default() });
    let records = Slice::from_vec(builder.build(&mut Codecs::default()));
    let options = AppendOptions { txn_verified: true, ..AppendOptions::default() };
    let appended = partition.append_as_leader(records, options).await.expect("taken");
    partition.acked(appended.last).await.expect("acknowledged");
}

async fn end_transaction(partition: &Rc<Partition>) {
    let marker = EndTxnMarker { commit: true, coordinator_epoch: 0, timestamp: 2 };
    let records = Slice::from_vec(marker.to_batch(options(-1)));
    let options = AppendOptions { origin: Origin::Coordinator, ..AppendOptions::default() };
    let appended = partition.append_as_leader(records, options).await.expect("taken");
    partition.acked(appended.last).await.expect("acknowledged");
}

#[test]
fn offsets_by_time_end_where_the_reader_may_see() {
    sim::run(1, async |rt| {
        let config = || TopicConfig { segment_bytes: 30_000, ..TopicConfig::default() };
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(config(), 0).await;
        let mut time = 1_000;
        for _ in 0..20 {
            produce(&partition, batch_at(1, 2, 3_000, time, None)).await;
            time += 10;
        }
        // Older than what came before, then newer: the index knows neither.
        produce(&partition, batch_at(1, 2, 10, 900, None)).await;
        partition.become_leader(frozen(0));
        for later in [5_000, 6_000] {
            append_unacknowledged(&partition, batch_at(2, 2, 9_000, later, None)).await;
        }
        assert_eq!(partition.offsets().high_watermark, Offset(42));
        assert_eq!(partition.offsets().log_end, Offset(46));
        for acknowledged in [ReadBound::HighWatermark, ReadBound::LastStable] {
            let at = async |ms| found(&partition, OffsetQuery::AtTime(ms), acknowledged).await;
            assert_eq!(at(1_185).await, Some(38));
            assert_eq!(at(1_191).await, None, "not acknowledged, so it may vanish");
            assert_eq!(found(&partition, OffsetQuery::MaxTimestamp, acknowledged).await, Some(38));
            assert_eq!(found(&partition, OffsetQuery::Latest, acknowledged).await, Some(42));
        }
        let all = ReadBound::LogEnd;
        assert_eq!(found(&partition, OffsetQuery::AtTime(1_191), all).await, Some(42));
        assert_eq!(found(&partition, OffsetQuery::MaxTimestamp, all).await, Some(44));
        partition.become_leader(alone(0));
        partition.acked(Offset(45)).await.expect("acknowledged");
        let newest = found(&partition, OffsetQuery::MaxTimestamp, ReadBound::HighWatermark).await;
        assert_eq!(newest, Some(44));
    });
}

#[test]
fn offsets_by_time_end_at_an_open_transaction() {
    sim::run(2, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        produce(&partition, batch_at(1, 1, 10, 500, None)).await;
        in_transaction(&partition, 0).await;
        produce(&partition, batch_at(1, 1, 10, 700, None)).await;
        let committed = ReadBound::LastStable;
        assert_eq!(found(&partition, OffsetQuery::AtTime(600), committed).await, None);
        assert_eq!(found(&partition, OffsetQuery::MaxTimestamp, committed).await, Some(0));
        let any = ReadBound::HighWatermark;
        assert_eq!(found(&partition, OffsetQuery::AtTime(600), any).await, Some(2));
        end_transaction(&partition).await;
        assert_eq!(found(&partition, OffsetQuery::AtTime(600), committed).await, Some(2));
    });
}

#[test]
fn ended_transactions_hold_nothing_back_after_a_restart() {
    sim::run(3, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        in_transaction(&partition, 0).await;
        end_transaction(&partition).await;
        assert_eq!(partition.offsets().last_stable, Offset(2));
        partition.close().await.expect("closes");
        kit.stop(0).await;
        // As a killed Kafka node leaves it: it noted its offsets, but no producers.
        let root = std::path::Path::new(ROOT);
        for ours in [root.join("odradek.state"), root.join(".kafka_cleanshutdown")] {
            rt.remove_file(&ours).await.expect("there");
        }
        for file in rt.list_dir(&partition_dir()).await.expect("listable") {
            if file.name.to_string_lossy().ends_with(".snapshot") {
                rt.remove_file(&partition_dir().join(&file.name)).await.expect("there");
            }
        }
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 1).await;
        let offsets = partition.offsets();
        assert_eq!(offsets.high_watermark, Offset(2));
        assert_eq!(offsets.last_stable, Offset(2));
    });
}

#[test]
fn ended_transactions_hold_nothing_back_after_a_truncation() {
    sim::run(4, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        in_transaction(&partition, 0).await;
        end_transaction(&partition).await;
        partition.become_leader(frozen(0));
        append_unacknowledged(&partition, batch(1, 1, 10)).await;
        partition.become_follower(FollowerSpec { epoch: LeaderEpoch(1) });
        partition.truncate_to(Offset(2)).await.expect("truncated");
        let offsets = partition.offsets();
        assert_eq!((offsets.log_end, offsets.high_watermark), (Offset(2), Offset(2)));
        assert_eq!(offsets.last_stable, Offset(2));
    });
}

#[test]
fn a_snapshot_of_producers_behind_the_log_is_not_believed() {
    sim::run(5, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        produce(&partition, batch_at(1, 1, 10, 5, Some((7, 0, 0)))).await;
        partition.close().await.expect("closes");
        kit.stop(0).await;
        // As a Kafka node leaves it.
        rt.remove_file(&std::path::Path::new(ROOT).join("odradek.state")).await.expect("there");
        let stray = partition_dir().join("00000000000000000099.snapshot");
        let nobody =
            crate::producer::ProducerStates::new(kit.cx.producer_limits(), Offset(99)).snapshot();
        rt.replace_file(&stray, &nobody).await.expect("written");
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 1).await;
        assert!(!rt.exists(&stray).await.expect("known"), "it would be believed later");
        let again = produce(&partition, batch_at(1, 1, 10, 5, Some((7, 0, 0)))).await;
        assert!(again.duplicate);
    });
}

#[test]
fn producers_are_remembered_within_the_limits_of_now() {
    sim::run(6, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        let old = rt.wall_ms();
        produce(&partition, batch_at(1, 1, 10, old, Some((7, 0, 0)))).await;
        assert_eq!(partition.expire_producers(old + 1_000), 0);
        let limits = kit.cx.producer_limits();
        kit.cx.set_producer_limits(crate::producer::ProducerLimits {
            expiration_ms: 1_000,
            ..limits
        });
        assert_eq!(partition.expire_producers(old + 5_000), 1);
        assert!(partition.producers().is_empty());
    });
}
