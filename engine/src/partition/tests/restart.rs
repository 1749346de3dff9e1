//! Stops of every kind, and what a start makes of them.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use config::TopicConfig;

use super::kit::*;
use crate::ids::{CoreId, Offset};
use crate::log::dir::{CleanShutdown, OwnState};
use crate::partition::*;
use crate::rt::sim::{Crash, NodeId, SimOptions, World};
use crate::rt::{OpenMode, Rt};
use crate::testing::Choices;

/// Runs `f` on a node's core 0 until it ends.
pub(super) fn on<T: 'static, Fut: Future<Output = T> + 'static>(
    world: &World,
    node: NodeId,
    f: impl FnOnce(Rt) -> Fut,
) -> T {
    let rt = world.rt(node, CoreId(0));
    let task = rt.spawn("test", f(rt.clone()));
    let result = Rc::new(std::cell::RefCell::new(None));
    let sink = Rc::clone(&result);
    rt.spawn("result", async move { *sink.borrow_mut() = Some(task.await) }).detach();
    let done = world.run_until(Duration::from_secs(100_000), || result.borrow().is_some());
    assert!(done, "stands still");
    let result = result.borrow_mut().take();
    result.expect("just seen").expect("no panic")
}

/// A node's life that ends by itself, or that a crash is to end at a random moment: often within
/// `micros`.
pub(super) fn live_a_while<Fut: Future<Output = ()> + 'static>(
    world: &World,
    node: NodeId,
    random: &mut Choices,
    micros: u64,
    life: impl FnOnce(Rt, u64) -> Fut,
) {
    let rt = world.rt(node, CoreId(0));
    let seed = random.below(u64::MAX);
    let task = rt.spawn("life", life(rt.clone(), seed));
    let done = Rc::new(std::cell::RefCell::new(None));
    let sink = Rc::clone(&done);
    rt.spawn("end", async move { *sink.borrow_mut() = Some(task.await) }).detach();
    drop(rt);
    let limit = match random.below(3) {
        0 => Duration::from_secs(100_000),
        1 => Duration::from_micros(random.below(micros)),
        _ => Duration::from_millis(random.below(20_000)),
    };
    world.run_until(limit, || done.borrow().is_some());
    if let Some(Err(panicked)) = done.borrow_mut().take() {
        panic!("{panicked}");
    }
}

pub(super) fn world(seed: u64) -> (World, NodeId) {
    let world = World::new(seed, SimOptions::default());
    let node = world.add_node(1);
    (world, node)
}

#[test]
fn a_clean_stop_leaves_nothing_to_read() {
    let (world, node) = world(1);
    let size = on(&world, node, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        for tag in 0..50 {
            produce(&partition, batch_at(tag, 2, 9_000, 5, Some((7, 0, tag as i32 * 2)))).await;
        }
        let size = partition.size_bytes();
        partition.close().await.expect("closes");
        kit.stop(17).await;
        size
    });
    world.crash(node, Crash::PowerLoss);
    world.restart(node);
    on(&world, node, async move |rt| {
        let len = rt.list_dir(&partition_dir()).await.expect("listable");
        let log = len.iter().find(|f| f.name.to_string_lossy().ends_with(".log"));
        assert_eq!(log.expect("there").len, size, "no zero tail at rest");
        let kit = Kit::start(&rt).await;
        assert_eq!(kit.dir.contents().clean, Some(CleanShutdown { broker_epoch: 17 }));
        let partition = kit.lead(TopicConfig::default(), 1).await;
        assert_eq!(partition.recovery().rescanned_bytes, 0);
        assert_eq!(partition.offsets().high_watermark, Offset(100));
        assert_eq!(partition.size_bytes(), size);
        // The producer is still known: its last five batches are duplicates, the next is not.
        for tag in 45..50 {
            let again =
                produce(&partition, batch_at(tag, 2, 9_000, 5, Some((7, 0, tag as i32 * 2))));
            let again = again.await;
            assert!(again.duplicate);
            assert_eq!(again.first.0, tag as i64 * 2);
        }
        let next = produce(&partition, batch_at(50, 1, 10, 5, Some((7, 0, 100)))).await;
        assert_eq!((next.first, next.duplicate), (Offset(100), false));
    });
}

#[test]
fn after_a_crash_only_what_lies_behind_the_checkpoint_is_read() {
    let (world, node) = world(2);
    on(&world, node, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        for tag in 0..100 {
            produce(&partition, batch_at(tag, 1, 50_000, 5, Some((7, 0, tag as i32)))).await;
        }
        kit.dir.checkpoint().await.expect("written");
        for tag in 100..110 {
            produce(&partition, batch_at(tag, 1, 50_000, 5, Some((7, 0, tag as i32)))).await;
        }
    });
    world.crash(node, Crash::PowerLoss);
    world.restart(node);
    on(&world, node, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 1).await;
        let read = partition.recovery().rescanned_bytes;
        assert!((500_000..520_000).contains(&read), "{read}");
        assert_eq!(read_all(&partition, 0).await.len(), 110);
        let again = produce(&partition, batch_at(106, 1, 50_000, 5, Some((7, 0, 106)))).await;
        assert!(again.duplicate);
        let found = partition
            .list_offset(OffsetQuery::MaxTimestamp, ReadBound::LogEnd)
            .await
            .expect("readable");
        assert_eq!(found.expect("there").timestamp_ms, 5);
    });
}

#[test]
fn without_a_checkpoint_everything_is_read() {
    let (world, node) = world(3);
    on(&world, node, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        for tag in 0..20 {
            produce(&partition, batch(tag, 1, 50_000)).await;
        }
    });
    world.crash(node, Crash::Kill);
    world.restart(node);
    on(&world, node, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 1).await;
        assert!(partition.recovery().rescanned_bytes > 1_000_000);
        assert_eq!(read_all(&partition, 0).await.len(), 20);
    });
}

#[test]
fn bad_bytes_are_set_aside_not_deleted() {
    let (world, node) = world(4);
    on(&world, node, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        for tag in 0..10 {
            produce(&partition, batch(tag, 1, 5_000)).await;
        }
    });
    world.crash(node, Crash::Kill);
    let size = batch(0, 1, 5_000).len() as u64;
    let log = partition_dir().join("00000000000000000000.log");
    world.flip_bit(node, &log, 7 * size + 900, 3).expect("there");
    world.restart(node);
    on(&world, node, async move |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 1).await;
        assert_eq!(read_all(&partition, 0).await.len(), 7);
        let report = partition.recovery().clone();
        assert!((3 * size..3 * size + 4096).contains(&report.cut_bytes));
        let kept = rt.open(&report.aside[0], OpenMode::Read).await.expect("kept");
        let len = usize::try_from(kept.len().await.expect("known")).expect("small");
        assert!(len as u64 >= 3 * size);
        let name = report.aside[0].file_name().expect("a name").to_string_lossy().into_owned();
        assert!(name.ends_with(".odradek"), "{name}");
        // Nothing of the old tail can be found again after an append and another crash.
        produce(&partition, batch(77, 1, 10)).await;
        assert_eq!(read_all(&partition, 0).await.len(), 8);
    });
    world.crash(node, Crash::PowerLoss);
    world.restart(node);
    on(&world, node, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 2).await;
        let tags: Vec<u64> = read_all(&partition, 0).await.iter().map(|b| b.2).collect();
        assert_eq!(tags, [0, 1, 2, 3, 4, 5, 6, 77]);
    });
}

#[test]
fn a_directory_that_somebody_else_used_is_read_anew() {
    let (world, node) = world(5);
    on(&world, node, async |rt| {
        let kit = Kit::start(&rt).await;
        let partition = kit.lead(TopicConfig::default(), 0).await;
        produce(&partition, batch(1, 1, 50_000)).await;
        partition.close().await.expect("closes");
        kit.stop(3).await;
        // As Kafka leaves it after a run of its own.
        let root = Path::new(ROOT);
        CleanShutdown { broker_epoch: 9 }.write(&rt, root).await.expect("written");
    });
    on(&world, node, async |rt| {
        let state = rt.read_file(&Path::new(ROOT).join(OwnState::FILE), 100).await.expect("there");
        let kit = Kit::start(&rt).await;
        assert!(!kit.dir.is_ours());
        let partition = kit.lead(TopicConfig::default(), 1).await;
        assert!(partition.recovery().rescanned_bytes > 0);
        assert_eq!(read_all(&partition, 0).await.len(), 1);
        let now = rt.read_file(&Path::new(ROOT).join(OwnState::FILE), 100).await.expect("there");
        assert_ne!(state, now, "another generation");
    });
}

#[test]
fn a_newer_checkpoint_is_refused_by_name() {
    let (world, node) = world(6);
    on(&world, node, async |rt| {
        let kit = Kit::start(&rt).await;
        kit.dir.checkpoint().await.expect("written");
        kit.stop(3).await;
        let path = Path::new(ROOT).join("odradek-core-0.checkpoint");
        let kind = crate::log::own::Kind { name: *b"CKPT", version: 2 };
        rt.write_file(&path, &crate::log::own::encode(kind, b"?")).await.expect("written");
        let refused = crate::log::dir::DirContents::read(&rt, Path::new(ROOT)).await;
        let told = refused.expect_err("newer").to_string();
        assert!(told.contains("odradek-core-0.checkpoint") && told.contains("version 2"), "{told}");
    });
}
