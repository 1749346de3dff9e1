//! Damage on disk that no batch's own checksum covers.

use std::path::PathBuf;

use config::TopicConfig;

use super::kit::*;
use super::restart::{on, world};
use crate::error::{LogError, ReadError};
use crate::partition::*;
use crate::rt::Rt;
use crate::rt::sim::{Crash, NodeId, World};

/// Two closed segments and an active one, closed in order or not; answers the bytes of a batch.
fn fill(world: &World, node: NodeId, in_order: bool) -> u64 {
    on(world, node, async move |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(small_segments(), 0).await;
        for tag in 0..50 {
            produce(&partition, batch(tag, 1, 5_000)).await;
        }
        if in_order {
            partition.close().await.expect("closes");
            kit.stop(1).await;
        }
    });
    batch(0, 1, 5_000).len() as u64
}

fn small_segments() -> TopicConfig {
    TopicConfig { segment_bytes: 100_000, ..TopicConfig::default() }
}

fn first_segment() -> PathBuf {
    partition_dir().join("00000000000000000000.log")
}

/// Flips a bit of the leader epoch of batch `number`.
fn flip_epoch(world: &World, node: NodeId, number: u64, size: u64) {
    world.flip_bit(node, &first_segment(), number * size + 15, 0).expect("there");
}

async fn open(rt: &Rt) -> (Kit, std::rc::Rc<Partition>) {
    let kit = Kit::start(rt).await;
    let partition = kit.lead(small_segments(), 1).await;
    (kit, partition)
}

fn is_damage<T: std::fmt::Debug>(result: Result<T, ReadError>) -> bool {
    matches!(result, Err(ReadError::Log(LogError::Corrupt { .. })))
}

#[test]
fn a_flipped_epoch_is_not_served() {
    for in_order in [true, false] {
        let (world, node) = world(11);
        let size = fill(&world, node, in_order);
        world.crash(node, Crash::Kill);
        flip_epoch(&world, node, 3, size);
        world.restart(node);
        on(&world, node, async |rt| {
            let (kit, partition) = open(&rt).await;
            assert!(is_damage(partition.read(from(3, 100)).await));
            assert!(is_damage(partition.read(from(0, 100_000)).await));
            // What lies elsewhere is.
            assert!(partition.read(from(30, 100)).await.expect("readable").bytes > 0);
            assert!(kit.cx.metrics.damage_found.get() > 0);
        });
    }
}

#[test]
fn a_scrub_finds_what_nobody_reads() {
    let (world, node) = world(12);
    let size = fill(&world, node, true);
    flip_epoch(&world, node, 3, size);
    on(&world, node, async |rt| {
        let (kit, partition) = open(&rt).await;
        assert_eq!(kit.dir.scrub(1 << 30).await, 1);
        drop(partition);
    });
}

#[test]
fn a_scrub_makes_the_checksums_that_are_missing() {
    let (world, node) = world(13);
    let size = fill(&world, node, true);
    let sidecar = partition_dir().join("00000000000000000000.blocks.odradek");
    on(&world, node, async move |rt| {
        rt.remove_file(&sidecar).await.expect("there");
        let (kit, partition) = open(&rt).await;
        assert_eq!(kit.dir.scrub(1 << 30).await, 0);
        assert!(rt.exists(&sidecar).await.expect("known"));
        partition.close().await.expect("closes");
        kit.stop(2).await;
    });
    flip_epoch(&world, node, 3, size);
    on(&world, node, async |rt| {
        let (_kit, partition) = open(&rt).await;
        assert!(is_damage(partition.read(from(3, 100)).await));
    });
}
