//! Segments that were begun and not used, and appends behind one that found no room.

use std::rc::Rc;
use std::time::Duration;

use config::TopicConfig;

use super::kit::*;
use super::restart::on;
use crate::log::dir::{CleanShutdown, OwnState};
use crate::partition::{AppendOptions, Partition};
use crate::rt::sim::{Crash, DiskOp, SimOptions, World};
use crate::rt::{OpenMode, Rt};

fn segments_of(bytes: u64) -> TopicConfig {
    TopicConfig { segment_bytes: bytes, retention_ms: None, ..TopicConfig::default() }
}

#[test]
fn a_roll_that_fails_half_way_leaves_no_segment_and_refuses_what_comes_at_once() {
    let world = Rc::new(World::new(1, SimOptions::default()));
    let node = world.add_node(1);
    let disk = Rc::clone(&world);
    on(&world, node, async move |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(segments_of(20_000), 0).await;
        for tag in 0..3 {
            produce(&partition, batch(tag, 1, 5_000)).await;
        }
        // The file is cut to its data, so that a roll has nothing to sync but the new name.
        rt.sleep(Duration::from_secs(60)).await;
        partition.housekeep(rt.wall_ms()).await.expect("well");
        disk.fail_next(node, &partition_dir(), DiskOp::Sync, libc::EIO);
        let large = batch_at(3, 1, 9_000, 5, Some((7, 0, 0)));
        let refused = partition.append_as_leader(large.clone(), AppendOptions::default()).await;
        refused.expect_err("the roll fails");
        assert!(!rt.exists(&partition_dir().join("00000000000000000003.log")).await.expect("seen"));
        // What its producer sent behind it must not come before it.
        let next = batch_at(4, 1, 10, 5, Some((7, 0, 1)));
        let refused = partition.append_as_leader(next.clone(), AppendOptions::default()).await;
        refused.expect_err("it waits for the one before");
        rt.sleep(Duration::from_secs(1)).await;
        produce(&partition, large).await;
        produce(&partition, next).await;
    });
    world.crash(node, Crash::PowerLoss);
    world.restart(node);
    on(&world, node, async |rt| {
        let partition = Kit::start(&rt).await.lead(segments_of(20_000), 1).await;
        assert_eq!(read_all(&partition, 0).await.len(), 5);
    });
}

/// Four segments of three batches, the directory left as `leave` says, then an empty segment at
/// `stray`; all batches are still there after a start, and after another.
fn survives_an_empty_segment(
    stray: i64,
    leave: impl AsyncFnOnce(Rt, Rc<Partition>, Kit) + 'static,
) {
    let world = World::new(2, SimOptions::default());
    let node = world.add_node(1);
    on(&world, node, async move |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(segments_of(16_000), 0).await;
        for tag in 0..12 {
            produce(&partition, batch(tag, 1, 5_000)).await;
        }
        leave(rt.clone(), partition, kit).await;
        let path = partition_dir().join(format!("{stray:020}.log"));
        let empty = rt.open(&path, OpenMode::CreateNew).await.expect("not there");
        empty.sync().await.expect("well");
        rt.sync_dir(&partition_dir()).await.expect("well");
    });
    for epoch in 1..3 {
        world.crash(node, Crash::PowerLoss);
        world.restart(node);
        on(&world, node, async move |rt| {
            let partition = Kit::start(&rt).await.lead(segments_of(16_000), epoch).await;
            let tags: Vec<u64> = read_all(&partition, 0).await.iter().map(|b| b.2).collect();
            assert_eq!(tags, (0..12).collect::<Vec<u64>>(), "a segment at {stray}");
        });
    }
}

#[test]
fn an_empty_segment_in_the_middle_of_another_hides_nothing() {
    for stray in [1, 5, 10, 11] {
        survives_an_empty_segment(stray, async |_, _, kit| {
            kit.dir.checkpoint().await.expect("written");
        });
        survives_an_empty_segment(stray, async |rt, _, kit| {
            // Nothing is known but that only we were here.
            kit.dir.checkpoint().await.expect("written");
            let damage = b"damaged";
            let path = kit.dir.path().join("odradek-core-0.checkpoint");
            rt.write_file(&path, damage).await.expect("written");
        });
        survives_an_empty_segment(stray, async |rt, partition, kit| {
            // As Kafka leaves it.
            partition.close().await.expect("closes");
            kit.stop(3).await;
            rt.remove_file(&kit.dir.path().join(OwnState::FILE)).await.expect("there");
            let clean = CleanShutdown { broker_epoch: 9 };
            clean.write(&rt, kit.dir.path()).await.expect("written");
        });
    }
}

/// Fills a segment and begins the next, which leaves the files beside the first to be written.
async fn rolled(partition: &Rc<Partition>) -> Rc<crate::log::Segment> {
    for tag in 0..4 {
        let sequence = i32::try_from(tag).expect("small");
        produce(partition, batch_at(tag, 1, 5_000, 1_000, Some((7, 0, sequence)))).await;
    }
    let segments = partition.log.segments_from(0);
    assert_eq!(segments.len(), 2);
    Rc::clone(&segments[0])
}

#[test]
fn appends_do_not_wait_for_what_stands_beside_a_closed_segment() {
    let world = World::new(3, SimOptions::default());
    let node = world.add_node(1);
    on(&world, node, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(segments_of(16_000), 0).await;
        let closed = rolled(&partition).await;
        assert!(closed.is_unsaved(), "acknowledged first");
        let dir = Rc::clone(&kit.dir);
        let checkpoint = rt.spawn("checkpoint", async move { dir.checkpoint().await });
        produce(&partition, batch(4, 1, 100)).await;
        assert!(closed.is_unsaved(), "nor for a checkpoint that waits for it");
        checkpoint.await.expect("no panic").expect("written");
        assert!(!closed.is_unsaved(), "which says that it is whole");
        for file in ["00000000000000000000.index", "00000000000000000003.snapshot"] {
            assert!(rt.exists(&partition_dir().join(file)).await.expect("seen"), "{file}");
        }
    });
}

#[test]
fn a_power_loss_while_a_closed_segment_is_unsaved_costs_nothing() {
    for micros in (0..4_000).step_by(100) {
        let world = World::new(4, SimOptions::default());
        let node = world.add_node(1);
        on(&world, node, async move |rt| {
            let partition = Kit::start(&rt).await.lead(segments_of(16_000), 0).await;
            rolled(&partition).await;
            rt.sleep(Duration::from_micros(micros)).await;
        });
        world.crash(node, Crash::PowerLoss);
        world.restart(node);
        on(&world, node, async move |rt| {
            let partition = Kit::start(&rt).await.lead(segments_of(16_000), 1).await;
            let tags: Vec<u64> = read_all(&partition, 0).await.iter().map(|b| b.2).collect();
            assert_eq!(tags, [0, 1, 2, 3], "after {micros} µs");
            let next = batch_at(4, 1, 10, 1_000, Some((7, 0, 4)));
            assert_eq!(produce(&partition, next.clone()).await.first.0, 4, "its producer goes on");
            assert_eq!(produce(&partition, next).await.first.0, 4, "and is known");
            let index = partition_dir().join("00000000000000000000.index");
            assert!(rt.exists(&index).await.expect("seen"), "after {micros} µs");
        });
    }
}

#[test]
fn a_segment_that_goes_at_once_leaves_no_file() {
    let world = World::new(5, SimOptions::default());
    let node = world.add_node(1);
    on(&world, node, async |rt| {
        let config = TopicConfig {
            retention_bytes: Some(1),
            file_delete_delay_ms: 0,
            ..segments_of(16_000)
        };
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(config, 0).await;
        assert!(rolled(&partition).await.is_unsaved());
        partition.housekeep(rt.wall_ms()).await.expect("well");
        assert_eq!(partition.log.log_start(), 3);
        rt.sleep(Duration::from_secs(60)).await;
        kit.dir.remove_due().await;
        let listed = rt.list_dir(&partition_dir()).await.expect("there");
        let names = listed.iter().map(|entry| entry.name.to_string_lossy().into_owned());
        let left: Vec<_> = names.filter(|name| name.starts_with("00000000000000000000.")).collect();
        assert!(left.is_empty(), "{left:?}");
    });
}
