//! A process that is killed at any moment of creating a partition, and a power cut later.

use std::rc::Rc;
use std::time::Duration;

use config::TopicConfig;

use super::kit::*;
use super::restart::on;
use crate::ids::CoreId;
use crate::partition::AppendOptions;
use crate::rt::sim::{Crash, DiskOp, SimOptions, World};

#[test]
fn a_partition_whose_creator_was_killed_survives_a_power_cut() {
    for seed in 0..80 {
        let world = World::new(seed, SimOptions::default());
        let node = world.add_node(1);
        on(&world, node, async |rt| drop(Kit::start(&rt).await));
        world.start_core(node, CoreId(0), async |rt| {
            let kit = Kit::start(&rt).await;
            kit.lead(TopicConfig::default(), 0).await;
        });
        world.run_for(Duration::from_micros(seed * 50));
        world.crash(node, Crash::Kill);
        world.restart(node);
        on(&world, node, async |rt| {
            let partition = Kit::start(&rt).await.lead(TopicConfig::default(), 1).await;
            produce(&partition, batch(1, 3, 100)).await;
        });
        world.crash(node, Crash::PowerLoss);
        world.restart(node);
        on(&world, node, async move |rt| {
            let partition = Kit::start(&rt).await.lead(TopicConfig::default(), 2).await;
            assert_eq!(read_all(&partition, 0).await, [(0, 2, 1)], "seed {seed}");
        });
    }
}

#[test]
fn what_a_failed_sync_left_behind_is_durable_before_it_is_served() {
    for seed in 0..40 {
        let world = Rc::new(World::new(seed, SimOptions::default()));
        let node = world.add_node(1);
        let disk = Rc::clone(&world);
        on(&world, node, async move |rt| {
            let partition = Kit::start(&rt).await.lead(TopicConfig::default(), 0).await;
            produce(&partition, batch(0, 1, 100)).await;
            disk.fail_next(node, &partition_dir(), DiskOp::Sync, libc::EIO);
            let lost = batch(1, 1, 20_000);
            let lost = partition.append_as_leader(lost, AppendOptions::default()).await;
            let last = lost.expect("taken").last;
            partition.acked(last).await.expect_err("its sync fails");
        });
        world.crash(node, Crash::Kill);
        world.restart(node);
        let seen = on(&world, node, async |rt| {
            let partition = Kit::start(&rt).await.lead(TopicConfig::default(), 1).await;
            read_all(&partition, 0).await
        });
        world.crash(node, Crash::PowerLoss);
        world.restart(node);
        on(&world, node, async move |rt| {
            let partition = Kit::start(&rt).await.lead(TopicConfig::default(), 2).await;
            assert_eq!(read_all(&partition, 0).await, seen, "seed {seed}");
        });
    }
}
