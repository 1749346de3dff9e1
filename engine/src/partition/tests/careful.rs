//! Things that go wrong beside a log's records, and what they must not lead to.

use std::rc::Rc;

use config::TopicConfig;

use super::kit::*;
use super::restart::{on, world};
use crate::batch::{BatchBuilder, BatchOptions, NewRecord};
use crate::buf::Slice;
use crate::compress::{Codec, Codecs, Compression};
use crate::error::AppendError;
use crate::ids::{LeaderEpoch, Offset};
use crate::partition::*;
use crate::rt::sim::{DiskOp, SimOptions, World};

fn short_segments() -> TopicConfig {
    TopicConfig {
        segment_bytes: 16_000,
        index_interval_bytes: 0,
        retention_ms: None,
        ..TopicConfig::default()
    }
}

#[test]
fn a_log_start_is_seen_only_once_a_crash_does_not_undo_it() {
    let world = Rc::new(World::new(1, SimOptions::default()));
    let node = world.add_node(1);
    let disk = Rc::clone(&world);
    on(&world, node, async move |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(short_segments(), 0).await;
        for tag in 0..9 {
            produce(&partition, batch(tag, 1, 100)).await;
        }
        let checkpoint = kit.dir.path().join("odradek-core-0.checkpoint.tmp");
        disk.fail_next(node, &checkpoint, DiskOp::Meta, libc::EIO);
        partition.delete_records(Offset(4)).await.expect_err("it cannot be noted");
        assert_eq!(partition.offsets().log_start, Offset(0));
        assert_eq!(partition.delete_records(Offset(4)).await, Ok(Offset(4)));
        assert_eq!(partition.offsets().log_start, Offset(4));
        assert_eq!(partition.delete_records(Offset(2)).await, Ok(Offset(4)));
    });
}

#[test]
fn a_leadership_that_is_over_does_not_begin_again() {
    let (world, node) = world(2);
    on(&world, node, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 5).await;
        produce(&partition, batch(0, 1, 100)).await;
        partition.become_leader(alone(3));
        assert_eq!(partition.leader_epoch(), LeaderEpoch(5));
        partition.become_follower(FollowerSpec { epoch: LeaderEpoch(4) });
        assert!(partition.is_leader());
        partition.close().await.expect("closes");
        kit.stop(1).await;
        // Not after a restart either: a batch of it would be cut off by the next recovery.
        let partition = Kit::start(&rt).await.lead(TopicConfig::default(), 3).await;
        let refused = partition.append_as_leader(batch(1, 1, 1), AppendOptions::default()).await;
        assert!(matches!(refused, Err(AppendError::NotLeader)), "{refused:?}");
    });
}

#[test]
fn part_of_an_index_is_not_left_to_be_taken_for_all_of_it() {
    let world = Rc::new(World::new(3, SimOptions::default()));
    let node = world.add_node(1);
    let disk = Rc::clone(&world);
    on(&world, node, async move |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(short_segments(), 0).await;
        produce(&partition, batch(0, 1, 5_000)).await;
        produce(&partition, batch(1, 1, 5_000)).await;
        kit.dir.checkpoint().await.expect("written");
        let index = partition_dir().join("00000000000000000000.timeindex");
        assert!(rt.exists(&index).await.expect("seen"), "the checkpoint wrote what there was");
        let tmp = partition_dir().join("00000000000000000000.timeindex.tmp");
        disk.fail_next(node, &tmp, DiskOp::Meta, libc::EIO);
        for tag in 2..9 {
            produce(&partition, batch(tag, 1, 5_000)).await;
        }
        assert!(!rt.exists(&index).await.expect("seen"));
        for tag in 0..9 {
            let query = OffsetQuery::AtTime(1_000 + tag);
            let found = partition.list_offset(query, ReadBound::LogEnd).await.expect("readable");
            assert_eq!(found.expect("there").offset, Offset(tag));
        }
    });
}

#[test]
fn a_batch_that_is_too_large_to_be_opened_is_found_by_its_time() {
    let (world, node) = world(4);
    on(&world, node, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        produce(&partition, batch_at(0, 1, 10, 5, None)).await;
        let compression = Compression::new(Codec::Zstd);
        let mut builder = BatchBuilder::new(BatchOptions { compression, ..Default::default() });
        let value = vec![0; 12 << 20];
        for timestamp in [10, 11, 12] {
            let value = Some(&value[..]);
            builder.push(&NewRecord { timestamp, value, ..NewRecord::default() });
        }
        produce(&partition, Slice::from_vec(builder.build(&mut Codecs::default()))).await;
        for query in [OffsetQuery::AtTime(11), OffsetQuery::MaxTimestamp] {
            let found = partition.list_offset(query, ReadBound::HighWatermark).await;
            let found = found.expect("answered").expect("there");
            assert!((1..=3).contains(&found.offset.0), "{found:?}");
            assert_eq!(found.timestamp_ms, 12);
        }
    });
}

#[test]
fn a_disk_that_cannot_be_read_is_not_taken_for_damage() {
    let world = Rc::new(World::new(5, SimOptions::default()));
    let node = world.add_node(1);
    let disk = Rc::clone(&world);
    on(&world, node, async move |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(short_segments(), 0).await;
        for tag in 0..6 {
            produce(&partition, batch(tag, 1, 5_000)).await;
        }
        disk.fail_next(node, &partition_dir(), DiskOp::Read, libc::EIO);
        assert_eq!(kit.dir.scrub(u64::MAX).await, 0);
        assert_eq!(kit.cx.metrics.damage_found.get(), 0);
    });
}

#[test]
fn snapshots_of_earlier_stops_go() {
    let (world, node) = world(6);
    on(&world, node, async |rt| {
        for run in 0..5 {
            let kit = Kit::start(&rt).await;
            let partition = kit.lead(TopicConfig::default(), 0).await;
            produce(&partition, batch_at(run, 1, 10, 5, Some((7, 0, run as i32)))).await;
            partition.close().await.expect("closes");
            kit.stop(1).await;
        }
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        let next = batch_at(5, 1, 10, 5, Some((7, 0, 5)));
        assert_eq!(produce(&partition, next).await.first, Offset(5), "its producer is known");
        let files = rt.list_dir(&partition_dir()).await.expect("listable");
        let snapshots = files.iter().filter(|f| f.name.to_string_lossy().ends_with(".snapshot"));
        assert_eq!(snapshots.count(), 1);
    });
}
