//! What must not be believed, or forgotten, of logs that were lost, not opened, or not recovered.

use std::path::Path;
use std::rc::Rc;

use config::TopicConfig;

use super::kit::*;
use super::restart::{on, world};
use crate::error::OpenError;
use crate::ids::Offset;
use crate::log::dir::OwnState;
use crate::rt::Rt;
use crate::rt::sim::{Crash, DiskOp, SimOptions, World};

#[test]
fn a_deletion_is_kept_although_the_log_cannot_say_more() {
    let world = Rc::new(World::new(1, SimOptions::default()));
    let node = world.add_node(1);
    let disk = Rc::clone(&world);
    on(&world, node, async move |rt| {
        let kit = Kit::start(&rt).await;
        let config = TopicConfig { index_interval_bytes: 0, ..TopicConfig::default() };
        let partition = kit.lead(config, 0).await;
        for tag in 0..10 {
            produce(&partition, batch(tag, 1, 100)).await;
        }
        disk.fail_next(node, &partition_dir(), DiskOp::Write, libc::EIO);
        partition.delete_records(Offset(6)).await.expect("deleted");
    });
    world.crash(node, Crash::PowerLoss);
    world.restart(node);
    on(&world, node, async |rt| {
        let partition = Kit::start(&rt).await.lead(TopicConfig::default(), 1).await;
        assert_eq!(partition.offsets().log_start, Offset(6));
        assert_eq!(read_all(&partition, 6).await.len(), 4);
    });
}

#[test]
fn a_log_that_is_gone_does_not_come_back_empty() {
    // Whatever was in it, and whether all of it is gone.
    for (appends, whole) in [(0, true), (0, false), (3, true), (3, false)] {
        let (world, node) = world(2);
        on(&world, node, async move |rt| {
            let partition = Kit::start(&rt).await.lead(TopicConfig::default(), 0).await;
            for tag in 0..appends {
                produce(&partition, batch(tag, 1, 100)).await;
            }
        });
        world.crash(node, Crash::PowerLoss);
        world.restart(node);
        on(&world, node, async move |rt| {
            match whole {
                true => rt.remove_dir_all(&partition_dir()).await.expect("there"),
                false => {
                    let log = partition_dir().join("00000000000000000000.log");
                    rt.remove_file(&log).await.expect("there");
                }
            }
            for _ in 0..2 {
                // Also at the start after that, and after a stop in order.
                let kit = Kit::start(&rt).await;
                let opened = kit.open(TopicConfig::default()).await;
                assert!(matches!(opened, Err(OpenError::Missing { .. })), "{appends} {whole}");
                kit.dir.checkpoint_last().await.expect("written");
            }
        });
    }
}

#[test]
fn a_creation_that_fails_anywhere_can_be_tried_again() {
    for seed in 0..12 {
        for op in [DiskOp::Meta, DiskOp::Sync, DiskOp::Write] {
            for root in [Path::new(ROOT), &partition_dir()] {
                let world = Rc::new(World::new(seed, SimOptions::default()));
                let node = world.add_node(1);
                let (disk, root) = (Rc::clone(&world), root.to_owned());
                on(&world, node, async move |rt| {
                    let kit = Kit::start(&rt).await;
                    for _ in 0..seed {
                        disk.fail_next(node, &root, op, libc::EIO);
                    }
                    let _ = kit.open(TopicConfig::default()).await;
                    disk.clear_faults(node);
                });
                world.crash(node, Crash::PowerLoss);
                world.restart(node);
                on(&world, node, async |rt| {
                    let partition = Kit::start(&rt).await.lead(TopicConfig::default(), 1).await;
                    produce(&partition, batch(1, 1, 100)).await;
                });
            }
        }
    }
}

/// A whole run that leaves a log from offset 5 to 9.
async fn run_to_nine(rt: &Rt) {
    let kit = Kit::start(rt).await;
    let partition = kit.lead(TopicConfig::default(), 0).await;
    for tag in 0..9 {
        produce(&partition, batch(tag, 1, 100)).await;
    }
    partition.delete_records(Offset(5)).await.expect("deleted");
    partition.close().await.expect("closes");
    kit.stop(7).await;
}

#[test]
fn what_an_unopened_log_had_is_known_when_it_can_be_opened() {
    let (world, node) = world(3);
    on(&world, node, async |rt| {
        run_to_nine(&rt).await;
        let metadata = partition_dir().join("partition.metadata");
        let good = rt.read_file(&metadata, 100).await.expect("there");
        rt.write_file(&metadata, b"?").await.expect("written");

        let kit = Kit::start(&rt).await;
        assert!(kit.dir.opened_all());
        assert!(kit.open(TopicConfig::default()).await.is_err());
        assert!(!kit.dir.opened_all());
        kit.dir.checkpoint_last().await.expect("written");
        kit.dir.contents().write_positions(&rt, &kit.dir.positions()).await.expect("written");

        rt.write_file(&metadata, &good).await.expect("written");
        let partition = Kit::start(&rt).await.lead(TopicConfig::default(), 1).await;
        assert_eq!(partition.offsets().log_start, Offset(5));
        assert_eq!(partition.offsets().log_end, Offset(9));
    });
}

#[test]
fn a_log_that_was_not_recovered_since_somebody_else_used_it_is_as_that_one_left_it() {
    let (world, node) = world(4);
    on(&world, node, async |rt| {
        run_to_nine(&rt).await;
        // As when Kafka ran on the directory and crashed.
        rt.remove_file(&Path::new(ROOT).join(OwnState::FILE)).await.expect("there");
        // Begun, and killed before the log was opened.
        Kit::start(&rt).await;
        let kit = Kit::start(&rt).await;
        assert!(kit.dir.is_ours());
        let partition = kit.lead(TopicConfig::default(), 1).await;
        assert_eq!(partition.offsets().log_start, Offset(5));
        assert!(partition.recovery().rescanned_bytes > 0);
    });
}
