//! The commit journal: what it acknowledged is there after any crash, and nothing else gets in.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use config::TopicConfig;
use wire::primitives::Uuid;

use super::kit::*;
use super::restart::{on, world};
use crate::error::DirError;
use crate::ids::{CoreId, LeaderEpoch, Offset, PartitionId};
use crate::log::dir::{CleanShutdown, DirContents};
use crate::partition::*;
use crate::rt::sim::{Crash, DiskOp, DiskOptions, NodeId, SimOptions, World};
use crate::rt::{OpenMode, Rt};

const FILE: &str = "odradek-core-0.journal";

/// A node whose appends go to the journal.
async fn journaled(rt: &Rt) -> Kit {
    let kit = Kit::start(rt).await;
    kit.dir.set_journal(JOURNAL);
    kit
}

async fn lead_journaled(rt: &Rt, epoch: i32) -> (Kit, Rc<Partition>) {
    let kit = journaled(rt).await;
    let partition = kit.lead(TopicConfig::default(), epoch).await;
    // The first append has the journal made.
    produce(&partition, batch(0, 1, 10)).await;
    rt.sleep(Duration::from_secs(1)).await;
    (kit, partition)
}

async fn lead_number(kit: &Kit, number: i32, epoch: i32) -> Rc<Partition> {
    let partition = PartitionId(number);
    let spec = PartitionSpec { partition, ..kit.spec(TopicConfig::default()) };
    let partition = Partition::open(&kit.cx, spec).await.expect("opens");
    partition.become_leader(alone(epoch));
    partition
}

fn crash(world: &World, node: NodeId, kind: Crash) {
    world.crash(node, kind);
    world.restart(node);
}

#[test]
fn one_sync_of_the_journal_acknowledges_many_logs() {
    let (world, node) = world(1);
    on(&world, node, async |rt| {
        let (kit, first) = lead_journaled(&rt, 0).await;
        let mut partitions = vec![first];
        for number in 1..20 {
            let partition = lead_number(&kit, number, 0).await;
            produce(&partition, batch(0, 1, 10)).await;
            partitions.push(partition);
        }
        rt.sleep(Duration::from_secs(30)).await;
        let metrics = &kit.cx.metrics;
        let before = (metrics.syncs.get(), metrics.journal_commits.get());
        for tag in 1..6 {
            let batches = partitions.iter().map(|partition| produce(partition, batch(tag, 1, 500)));
            futures_util::future::join_all(batches).await;
        }
        assert_eq!(metrics.journal_commits.get() - before.1, 100);
        assert!(metrics.syncs.get() - before.0 <= 20, "of the journal alone");
        rt.sleep(Duration::from_secs(30)).await;
        let files = metrics.syncs.get() - before.0;
        assert!(files <= 45, "each log's file is synced once when it grew old: {files}");
    });
    for kind in [Crash::PowerLoss, Crash::Kill] {
        crash(&world, node, kind);
        on(&world, node, async |rt| {
            let kit = journaled(&rt).await;
            for number in 0..20 {
                let partition = lead_number(&kit, number, 1).await;
                assert_eq!(read_all(&partition, 0).await.len(), 6, "partition {number}");
            }
        });
    }
}

/// Appends until the world stops; answers how many were acknowledged.
fn append_for(world: &Rc<World>, node: NodeId, epoch: i32, time: Duration) -> i64 {
    let acked = Rc::new(std::cell::Cell::new(0));
    let told = Rc::clone(&acked);
    world.start_core(node, CoreId(0), async move |rt: Rt| {
        let kit = journaled(&rt).await;
        let partition = kit.lead(TopicConfig::default(), epoch).await;
        told.set(partition.offsets().log_end.0);
        for tag in 0.. {
            let size = [40, 3_000, 50_000, 9_000][tag as usize % 4];
            let last = produce(&partition, batch(tag, 1, size)).await.last;
            told.set(last.0 + 1);
        }
    });
    world.run_for(time);
    acked.get()
}

#[test]
fn a_crash_at_any_step_loses_nothing() {
    for seed in 0..16 {
        // Small halves: they are cleaned and used again many times.
        let world = Rc::new(World::new(seed, SimOptions::default()));
        let node = world.add_node(1);
        let mut end = 0;
        for (epoch, kind) in (0..).zip([Crash::PowerLoss, Crash::Kill, Crash::PowerLoss]) {
            let acked =
                append_for(&world, node, epoch, Duration::from_micros(100_000 + seed * 7_919));
            assert!(acked >= end, "seed {seed}: {acked} of {end}");
            end = acked;
            crash(&world, node, kind);
        }
        let found = on(&world, node, async |rt| {
            let partition = journaled(&rt).await.lead(TopicConfig::default(), 9).await;
            read_all(&partition, 0).await;
            partition.offsets().log_end.0
        });
        assert!(found >= end && end > 0, "seed {seed}: {found} of {end}");
    }
}

#[test]
fn a_log_that_never_rests_turns_to_the_journal() {
    for (seed, kind) in (0..16).zip([Crash::PowerLoss, Crash::Kill].into_iter().cycle()) {
        let world = Rc::new(World::new(seed, SimOptions::default()));
        let node = world.add_node(1);
        let told = Rc::new(std::cell::Cell::new((0, 0)));
        let tell = Rc::clone(&told);
        world.start_core(node, CoreId(0), async move |rt: Rt| {
            let kit = journaled(&rt).await;
            let partition = &kit.lead(TopicConfig::default(), 0).await;
            // What one of them waits for is never all there is: the journal is made meanwhile.
            let producers = (0..6_usize).map(|number| {
                let (kit, tell) = (&kit, &tell);
                async move {
                    for tag in 0.. {
                        let size = [40, 3_000, 9_000][(number + tag as usize) % 3];
                        let last = produce(partition, batch(tag, 1, size)).await.last;
                        let commits = kit.cx.metrics.journal_commits.get();
                        tell.set((tell.get().0.max(last.0 + 1), commits));
                    }
                }
            });
            futures_util::future::join_all(producers).await;
        });
        world.run_for(Duration::from_micros(60_000 + seed * 3_001));
        let (acked, commits) = told.get();
        assert!(commits > 0, "seed {seed}: all of {acked} went straight");
        crash(&world, node, kind);
        let found = on(&world, node, async |rt| {
            let partition = journaled(&rt).await.lead(TopicConfig::default(), 1).await;
            read_all(&partition, 0).await;
            partition.offsets().log_end.0
        });
        assert!(found >= acked, "seed {seed}: {found} of {acked}");
    }
}

#[test]
fn a_journal_whose_maker_was_killed_survives_a_power_cut() {
    for seed in 0..40 {
        let world = Rc::new(World::new(seed, SimOptions::default()));
        let node = world.add_node(1);
        on(&world, node, async |rt| drop(Kit::start(&rt).await));
        // Killed while the file is made, or soon after.
        append_for(&world, node, 0, Duration::from_micros(1_000 + seed * 150));
        crash(&world, node, Crash::Kill);
        let acked = append_for(&world, node, 1, Duration::from_millis(40));
        crash(&world, node, Crash::PowerLoss);
        let found = on(&world, node, async |rt| {
            let partition = journaled(&rt).await.lead(TopicConfig::default(), 2).await;
            partition.offsets().log_end.0
        });
        assert!(found >= acked && acked > 0, "seed {seed}: {found} of {acked}");
    }
}

#[test]
fn another_number_of_cores_replays_all_journals() {
    let world = World::new(3, SimOptions::default());
    let node = world.add_node(2);
    let rt = world.rt(node, CoreId(1));
    let done = Rc::new(std::cell::Cell::new(false));
    let told = Rc::clone(&done);
    rt.spawn("life", {
        let rt = rt.clone();
        async move {
            let (kit, partition) = lead_journaled(&rt, 0).await;
            for tag in 1..10 {
                produce(&partition, batch(tag, 1, 700)).await;
            }
            assert!(kit.cx.metrics.journal_commits.get() >= 9);
            told.set(true);
        }
    })
    .detach();
    drop(rt);
    assert!(world.run_until(Duration::from_secs(60), || done.get()));
    crash(&world, node, Crash::PowerLoss);
    on(&world, node, async |rt| {
        let partition = journaled(&rt).await.lead(TopicConfig::default(), 1).await;
        assert_eq!(read_all(&partition, 0).await.len(), 10);
    });
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let (world, node) = world(4);
    on(&world, node, async |rt| {
        let (_kit, partition) = lead_journaled(&rt, 0).await;
        for tag in 1..10 {
            produce(&partition, batch(tag, 1, 700)).await;
        }
        partition.become_follower(FollowerSpec { epoch: LeaderEpoch(1) });
        partition.truncate_to(Offset(4)).await.expect("cut");
        partition.become_leader(alone(2));
        // Too large for the journal: it knows of other bytes in their place.
        produce(&partition, batch(77, 1, 90_000)).await;
    });
    crash(&world, node, Crash::PowerLoss);
    on(&world, node, async |rt| {
        let partition = journaled(&rt).await.lead(TopicConfig::default(), 3).await;
        let found: Vec<u64> =
            read_all(&partition, 0).await.iter().map(|(_, _, tag)| *tag).collect();
        assert_eq!(found, [0, 1, 2, 3, 77]);
    });
}

#[test]
fn a_stop_in_order_leaves_nothing_in_it() {
    let (world, node) = world(5);
    on(&world, node, async |rt| {
        let (kit, partition) = lead_journaled(&rt, 0).await;
        produce(&partition, batch(1, 1, 700)).await;
        partition.close().await.expect("closes");
        kit.stop(1).await;
        let contents = DirContents::read(&rt, Path::new(ROOT)).await.expect("readable");
        contents.check_journals(&rt).await.expect("nothing in it");
    });
}

/// Crashes a node with records in its journal, has `change` done, and replays.
fn replay_after(seed: u64, change: impl AsyncFnOnce(&Rt) + 'static) -> Result<(), DirError> {
    let (world, node) = world(seed);
    on(&world, node, async |rt| {
        let (_kit, partition) = lead_journaled(&rt, 0).await;
        for tag in 1..10 {
            produce(&partition, batch(tag, 1, 700)).await;
        }
    });
    crash(&world, node, Crash::PowerLoss);
    on(&world, node, async move |rt| {
        change(&rt).await;
        let contents = DirContents::read(&rt, Path::new(ROOT)).await.expect("readable");
        contents.check_journals(&rt).await?;
        contents.replay_journals(&rt).await
    })
}

async fn overwrite(rt: &Rt, path: &Path, at: u64, bytes: &[u8]) {
    let file = rt.open(path, OpenMode::ReadWrite).await.expect("there");
    let start = at - at % 4096;
    let read = file.read_at(start, 8192).await.expect("readable");
    let mut buf = rt.alloc(8192);
    buf.fill(0);
    buf[..read.len()].copy_from_slice(&read);
    let inside = usize::try_from(at - start).expect("small");
    buf[inside..inside + bytes.len()].copy_from_slice(bytes);
    file.write_at(Rc::new(buf), 8192, start).await.expect("written");
    file.sync().await.expect("synced");
}

#[test]
fn a_directory_that_somebody_else_used_is_refused() {
    let refused = replay_after(6, async |rt: &Rt| {
        let clean = CleanShutdown { broker_epoch: 3 };
        clean.write(rt, Path::new(ROOT)).await.expect("written");
    });
    let told = refused.expect_err("refused").to_string();
    assert!(told.contains(FILE) && told.contains("another program"), "{told}");

    let refused = replay_after(7, async |rt: &Rt| {
        let log = partition_dir().join("00000000000000000000.log");
        let file = rt.open(&log, OpenMode::Read).await.expect("there");
        let first = file.read_at(0, 4096).await.expect("readable");
        let size = 12 + u64::from(u32::from_be_bytes(first[8..12].try_into().expect("4 bytes")));
        overwrite(rt, &log, size, &batch_of_others()).await;
    });
    let told = refused.expect_err("refused").to_string();
    assert!(told.contains("has others in their place"), "{told}");
}

/// A batch that a broker appended as the second one.
fn batch_of_others() -> Vec<u8> {
    let mut bytes = batch(99, 1, 300).to_vec();
    bytes[..8].copy_from_slice(&1_i64.to_be_bytes());
    bytes
}

#[test]
fn a_journal_of_another_directory_is_refused() {
    let refused = replay_after(8, async |rt: &Rt| {
        let meta = Path::new(ROOT).join("meta.properties");
        let text = rt.read_file(&meta, 4096).await.expect("readable");
        let text = String::from_utf8(text).expect("text");
        let other = text.replace(&Uuid([9; 16]).to_string(), &Uuid([8; 16]).to_string());
        assert_ne!(other, text);
        rt.replace_file(&meta, other.as_bytes()).await.expect("written");
    });
    let told = refused.expect_err("refused").to_string();
    assert!(told.contains("another log directory"), "{told}");
}

#[test]
fn damage_in_front_of_whole_frames_is_refused() {
    let path = Path::new(ROOT).join(FILE);
    let half = 4096 + 4 * (256 << 10);
    // The unused half's head, that of the other, its first frame.
    for at in [0, half, half + 4096 + 100] {
        let path = path.clone();
        let replayed = replay_after(9, async move |rt: &Rt| {
            overwrite(rt, &path, at, b"????").await;
        });
        let told = replayed.expect_err("refused").to_string();
        assert!(told.contains(FILE) && told.contains("damaged"), "byte {at}: {told}");
    }
}

#[test]
fn what_could_not_be_synced_in_its_log_stays_in_the_journal() {
    // Few logs, which are synced one by one, and many, which are synced together.
    for last in [6, 60] {
        let world = Rc::new(World::new(11, SimOptions::default()));
        let node = world.add_node(1);
        let disk = Rc::clone(&world);
        let broken = Path::new(ROOT).join(format!("t-{last}"));
        let slow = Duration::from_millis(50);
        let slow = DiskOptions { latency_min: slow, latency_max: slow, ..DiskOptions::default() };
        on(&world, node, async move |rt| {
            let (kit, first) = lead_journaled(&rt, 0).await;
            disk.add_disk(node, &broken, slow);
            for number in 1..=last {
                let partition = lead_number(&kit, number, 0).await;
                produce(&partition, batch(1, 1, 100)).await;
            }
            disk.fail_next(node, &broken, DiskOp::Sync, libc::EIO);
            // Fills one half after the other, faster than that log can be synced.
            for _ in 0..20 {
                let batches = (0..8).map(|tag| {
                    let options = AppendOptions::default();
                    first.append_as_leader(batch(tag, 1, 60_000), options)
                });
                for appended in futures_util::future::join_all(batches).await {
                    let Ok(appended) = appended else { continue };
                    let _ = first.acked(appended.last).await;
                }
            }
        });
        crash(&world, node, Crash::PowerLoss);
        on(&world, node, async move |rt| {
            let kit = journaled(&rt).await;
            let partition = lead_number(&kit, last, 1).await;
            assert_eq!(read_all(&partition, 0).await.len(), 1, "{last} logs");
        });
    }
}

#[test]
fn a_journal_that_fails_is_done_without() {
    let world = Rc::new(World::new(10, SimOptions::default()));
    let node = world.add_node(1);
    let disk = Rc::clone(&world);
    on(&world, node, async move |rt| {
        let (kit, partition) = lead_journaled(&rt, 0).await;
        produce(&partition, batch(1, 1, 700)).await;
        let commits = kit.cx.metrics.journal_commits.get();
        for (tag, op) in [(2, DiskOp::Sync), (3, DiskOp::Write)] {
            disk.fail_next(node, &Path::new(ROOT).join(FILE), op, libc::EIO);
            produce(&partition, batch(tag, 1, 700)).await;
        }
        assert_eq!(kit.cx.metrics.journal_commits.get(), commits);
        disk.clear_faults(node);
    });
    crash(&world, node, Crash::PowerLoss);
    on(&world, node, async |rt| {
        let partition = journaled(&rt).await.lead(TopicConfig::default(), 1).await;
        assert_eq!(read_all(&partition, 0).await.len(), 4);
    });
}
