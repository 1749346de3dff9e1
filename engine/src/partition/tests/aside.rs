//! What recovery does with bytes that cannot be part of the log.

use std::path::Path;
use std::time::Duration;

use config::TopicConfig;

use super::kit::*;
use super::restart::{on, world};
use crate::error::{AppendError, LogError};
use crate::log::Load;
use crate::log::dir::{CleanShutdown, OffsetFile, OwnState};
use crate::partition::*;
use crate::rt::sim::{Crash, NodeId, World};
use crate::rt::{OpenMode, Rt};

/// Ten batches of one record.
async fn fill(rt: &Rt, config: TopicConfig) -> (Kit, std::rc::Rc<Partition>) {
    let kit = Kit::start(rt).await;
    let partition = kit.lead(config, 0).await;
    for tag in 0..10 {
        produce(&partition, batch(tag, 1, 5_000)).await;
    }
    (kit, partition)
}

fn size() -> u64 {
    batch(0, 1, 5_000).len() as u64
}

fn flip(world: &World, node: NodeId, batch: u64) {
    let log = partition_dir().join("00000000000000000000.log");
    world.flip_bit(node, &log, batch * size() + 900, 3).expect("there");
}

/// Makes the directory one that only Kafka used.
async fn disown(rt: &Rt) {
    for name in [OwnState::FILE, "odradek-core-0.checkpoint"] {
        rt.remove_file(&Path::new(ROOT).join(name)).await.expect("there");
    }
}

async fn kept(rt: &Rt) -> Vec<String> {
    let files = rt.list_dir(&partition_dir()).await.expect("listable");
    let names = files.into_iter().map(|file| file.name.to_string_lossy().into_owned());
    names.filter(|name| name.contains(".aside.")).collect()
}

#[test]
fn a_bad_batch_where_the_index_points_does_not_let_offsets_repeat() {
    let (world, node) = world(21);
    on(&world, node, async |rt| {
        let every_batch = TopicConfig { index_interval_bytes: 0, ..TopicConfig::default() };
        let (kit, partition) = fill(&rt, every_batch).await;
        partition.close().await.expect("closes");
        kit.stop(1).await;
        disown(&rt).await;
    });
    flip(&world, node, 9);
    on(&world, node, async |rt| {
        let partition = Kit::start(&rt).await.lead(TopicConfig::default(), 1).await;
        assert_eq!(read_all(&partition, 0).await.len(), 9);
        assert_eq!(produce(&partition, batch(77, 1, 10)).await.first.0, 9);
    });
}

#[test]
fn zeros_where_records_were_are_reported() {
    let (world, node) = world(22);
    on(&world, node, async |rt| {
        let config = TopicConfig { segment_bytes: 26_000, ..TopicConfig::default() };
        let (kit, partition) = fill(&rt, config).await;
        partition.close().await.expect("closes");
        kit.stop(1).await;
        disown(&rt).await;
        CleanShutdown::clear(&rt, Path::new(ROOT)).await.expect("there");
        let points = Path::new(ROOT).join(OffsetFile::RecoveryPoint.name());
        rt.remove_file(&points).await.expect("there");
        let first = partition_dir().join("00000000000000000000.log");
        let file = rt.open(&first, OpenMode::ReadWrite).await.expect("there");
        file.truncate(3 * size()).await.expect("cut");
        file.truncate(5 * size()).await.expect("grown");
    });
    on(&world, node, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 1).await;
        assert_eq!(partition.recovery().lost, [(3, 5)]);
        assert_eq!(kit.cx.metrics.damage_found.get(), 1);
        let tags: Vec<u64> = read_all(&partition, 0).await.iter().map(|b| b.2).collect();
        assert_eq!(tags, [0, 1, 2, 5, 6, 7, 8, 9]);
    });
}

#[test]
fn what_was_set_aside_is_never_overwritten() {
    let (world, node) = world(23);
    on(&world, node, async |rt| drop(fill(&rt, TopicConfig::default()).await));
    for round in 1..=3 {
        world.crash(node, Crash::Kill);
        flip(&world, node, 7);
        world.restart(node);
        on(&world, node, async move |rt| {
            let partition = Kit::start(&rt).await.lead(TopicConfig::default(), round).await;
            assert_eq!(kept(&rt).await.len(), usize::try_from(round).expect("small"));
            for tag in 7..10 {
                produce(&partition, batch(tag, 1, 5_000)).await;
            }
        });
    }
}

#[test]
fn a_full_disk_keeps_the_tail_in_place_and_the_log_readable() {
    let (world, node) = world(24);
    let world = std::rc::Rc::new(world);
    on(&world, node, async |rt| drop(fill(&rt, TopicConfig::default()).await));
    world.crash(node, Crash::Kill);
    flip(&world, node, 7);
    let root = Path::new("/");
    world.set_disk(node, root, |disk| disk.total_bytes = 0);
    world.restart(node);
    let disk = std::rc::Rc::clone(&world);
    on(&world, node, async move |rt| {
        let config = TopicConfig { retention_ms: None, ..TopicConfig::default() };
        let partition = Kit::start(&rt).await.lead(config, 1).await;
        assert_eq!(read_all(&partition, 0).await.len(), 7);
        for _ in 0..2 {
            let refused = partition.append_as_leader(batch(7, 1, 10), AppendOptions::default());
            let refused = refused.await.expect_err("no room");
            assert!(matches!(refused, AppendError::Log(LogError::DiskFull { .. })), "{refused}");
        }
        assert_eq!(kept(&rt).await, Vec::<String>::new());
        partition.housekeep(rt.wall_ms()).await.expect("goes on");
        disk.set_disk(node, root, |disk| disk.total_bytes = 1 << 40);
        rt.sleep(Duration::from_millis(200)).await;
        assert_eq!(produce(&partition, batch(77, 1, 10)).await.first.0, 7);
        let name = kept(&rt).await.remove(0);
        let aside = rt.open(&partition_dir().join(name), OpenMode::Read).await.expect("kept");
        assert!(aside.len().await.expect("known") >= 3 * size());
    });
    world.crash(node, Crash::PowerLoss);
    world.restart(node);
    on(&world, node, async |rt| {
        let partition = Kit::start(&rt).await.lead(TopicConfig::default(), 2).await;
        let tags: Vec<u64> = read_all(&partition, 0).await.iter().map(|b| b.2).collect();
        assert_eq!(tags, [0, 1, 2, 3, 4, 5, 6, 77]);
    });
}

#[test]
fn what_was_sent_behind_a_refused_append_does_not_get_in_before_it() {
    let (world, node) = world(26);
    let world = std::rc::Rc::new(world);
    let disk = std::rc::Rc::clone(&world);
    on(&world, node, async move |rt| {
        let (_kit, partition) = fill(&rt, TopicConfig::default()).await;
        disk.set_disk(node, Path::new("/"), |disk| disk.total_bytes = 0);
        for (bytes, behind) in [(200_000, "first"), (10, "would fit")] {
            let refused = partition.append_as_leader(batch(10, 1, bytes), AppendOptions::default());
            let refused = refused.await.expect_err(behind);
            assert!(matches!(refused, AppendError::Log(LogError::DiskFull { .. })), "{refused}");
        }
        rt.sleep(Duration::from_millis(200)).await;
        assert_eq!(produce(&partition, batch(10, 1, 10)).await.first.0, 10);
    });
}

#[test]
fn half_an_append_is_not_committed_with_the_next() {
    let (world, node) = world(25);
    on(&world, node, async |rt| {
        let (_kit, partition) = fill(&rt, TopicConfig::default()).await;
        let bytes = batch(10, 1, 100);
        let load = Load { bytes: bytes.len() as u64, max_timestamp_ms: 1, last_offset: 10 };
        partition.log.prepare(load).await.expect("room");
        let (head, payload) = bytes.split_first_chunk().expect("a header");
        partition.log.append(head, payload);
        // Here a panic would be caught.
        let refused = partition.append_as_leader(batch(11, 1, 10), AppendOptions::default());
        let refused = refused.await.expect_err("the log's end is not known");
        assert!(matches!(refused, AppendError::Log(LogError::Failed { .. })), "{refused}");
    });
    world.crash(node, Crash::Kill);
    world.restart(node);
    on(&world, node, async |rt| {
        let partition = Kit::start(&rt).await.lead(TopicConfig::default(), 1).await;
        assert_eq!(read_all(&partition, 0).await.len(), 10);
    });
}
