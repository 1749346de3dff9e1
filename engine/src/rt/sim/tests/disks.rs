use std::{collections::BTreeSet, io};

use super::*;
use crate::rt::File;

const SECTORS: usize = 32;

async fn write(rt: &Rt, file: &File, len: usize, pos: u64, byte: u8) -> io::Result<()> {
    let mut buf = rt.alloc(len);
    buf.fill(byte);
    file.write_at(Rc::new(buf), len, pos).await
}

/// A file of ones, durable; then overwritten with twos, unsynced; then a crash. What each sector
/// holds afterwards.
fn overwritten(seed: u64, kind: Crash) -> Vec<u8> {
    let world = world(seed);
    let node = world.add_node(1);
    on_node(&world, node, |rt| async move {
        let file = rt.open(path("/f"), OpenMode::Create).await.unwrap();
        write(&rt, &file, 512 * SECTORS, 0, 1).await.unwrap();
        file.sync().await.unwrap();
        rt.sync_dir(path("/")).await.unwrap();
        for block in 0..4 {
            write(&rt, &file, 4096, block * 4096, 2).await.unwrap();
        }
    });
    assert!(world.unsynced(node) > 0);
    world.crash(node, kind);
    world.restart(node);
    let read = on_node(&world, node, |rt| async move {
        let file = rt.open(path("/f"), OpenMode::Read).await.unwrap();
        file.read_at(0, 512 * SECTORS).await.unwrap().to_vec()
    });
    assert_eq!(read.len(), 512 * SECTORS);
    read.chunks(512)
        .map(|sector| {
            assert!(sector.iter().all(|b| *b == sector[0]), "torn inside a sector");
            sector[0]
        })
        .collect()
}

#[test]
fn a_power_cut_loses_keeps_tears_and_reorders_what_was_not_synced() {
    let outcomes: Vec<_> = (0..300).map(|seed| overwritten(seed, Crash::PowerLoss)).collect();
    assert!(outcomes.iter().flatten().all(|b| [1, 2].contains(b)));
    let count = |f: &dyn Fn(&Vec<u8>) -> bool| outcomes.iter().filter(|o| f(o)).count();
    let lost = count(&|o| o.iter().all(|b| *b == 1));
    let kept = count(&|o| o.iter().all(|b| *b == 2));
    let torn = count(&|o| o.chunks(8).any(|block| block.contains(&1) && block.contains(&2)));
    let reordered = count(&|o| o[..8].iter().all(|b| *b == 1) && o[24..].iter().all(|b| *b == 2));
    assert!(
        lost > 20 && kept > 20 && torn > 20 && reordered > 5,
        "{lost} {kept} {torn} {reordered}"
    );
}

#[test]
fn files_that_are_synced_together_are_durable_or_none_may_be_believed() {
    for fails in [false, true] {
        let mut kept = 0;
        for seed in 0..50 {
            let world = world(seed);
            let node = world.add_node(1);
            if fails {
                world.fail_next(node, path("/g"), DiskOp::Sync, libc::EIO);
            }
            let synced = on_node(&world, node, |rt| async move {
                let mut files = Vec::new();
                for name in ["/f", "/g"] {
                    let file = rt.open(path(name), OpenMode::Create).await.unwrap();
                    write(&rt, &file, 4096, 0, 1).await.unwrap();
                    files.push(file);
                }
                rt.sync_dir(path("/")).await.unwrap();
                rt.sync_files(path("/"), &files).await
            });
            assert_eq!(synced.is_err(), fails);
            world.crash(node, Crash::PowerLoss);
            world.restart(node);
            kept += on_node(&world, node, |rt| async move {
                let mut kept = 0;
                for name in ["/f", "/g"] {
                    let bytes = rt.read_file(path(name), 4096).await.unwrap();
                    kept += usize::from(bytes == [1; 4096]);
                }
                kept
            });
        }
        assert_eq!(kept == 100, !fails, "{kept} of 100");
    }
}

#[test]
fn a_killed_process_loses_nothing_that_completed() {
    for seed in 0..50 {
        assert!(overwritten(seed, Crash::Kill).iter().all(|b| *b == 2));
    }
}

#[test]
fn what_was_synced_is_never_lost() {
    for seed in 0..200 {
        let world = world(seed);
        let node = world.add_node(1);
        let synced = Rc::new(Cell::new(0_u64));
        let progress = Rc::clone(&synced);
        world.start_core(node, CORE, |rt| async move {
            let file = rt.open(path("/f"), OpenMode::Create).await.unwrap();
            rt.sync_dir(path("/")).await.unwrap();
            for i in 0..200 {
                write(&rt, &file, 4096, i * 4096, i as u8 + 1).await.unwrap();
                if i % 3 == 0 {
                    file.sync().await.unwrap();
                    progress.set(i + 1);
                }
            }
        });
        world.run_for(Duration::from_millis(1 + world.random_u64() % 20));
        world.crash(node, Crash::PowerLoss);
        world.restart(node);
        let blocks = synced.get();
        if blocks > 0 {
            on_node(&world, node, move |rt| async move {
                let file = rt.open(path("/f"), OpenMode::Read).await.unwrap();
                let read = file.read_at(0, blocks as usize * 4096).await.unwrap();
                assert_eq!(read.len() as u64, blocks * 4096, "seed {seed}");
                for (i, block) in read.chunks(4096).enumerate() {
                    assert!(block.iter().all(|b| *b == i as u8 + 1), "seed {seed} block {i}");
                }
            });
        }
    }
}

#[test]
fn a_sync_covers_only_what_completed_before_it_began() {
    let lost = (0..100).filter(|seed| {
        let world = world(*seed);
        let node = world.add_node(1);
        on_node(&world, node, |rt| async move {
            let file = rt.open(path("/f"), OpenMode::Create).await.unwrap();
            file.truncate(8192).await.unwrap();
            file.sync().await.unwrap();
            rt.sync_dir(path("/")).await.unwrap();
            let (own, clone) = (rt.clone(), file.clone());
            let sync = rt.spawn("syncs", async move { clone.sync().await });
            let late = rt.spawn("writes", async move { write(&own, &file, 4096, 0, 9).await });
            late.await.unwrap().unwrap();
            sync.await.unwrap().unwrap();
        });
        world.crash(node, Crash::PowerLoss);
        world.restart(node);
        on_node(&world, node, |rt| async move {
            let file = rt.open(path("/f"), OpenMode::Read).await.unwrap();
            file.read_at(0, 4096).await.unwrap()[0] != 9
        })
    });
    assert!(lost.count() > 10);
}

#[test]
fn a_lost_cut_does_not_expose_what_came_after_it() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let world = world(seed);
        let node = world.add_node(1);
        on_node(&world, node, |rt| async move {
            let file = rt.open(path("/f"), OpenMode::Create).await.unwrap();
            write(&rt, &file, 8192, 0, 1).await.unwrap();
            file.sync().await.unwrap();
            rt.sync_dir(path("/")).await.unwrap();
            file.truncate(4096).await.unwrap();
            write(&rt, &file, 4096, 4096, 2).await.unwrap();
        });
        world.crash(node, Crash::PowerLoss);
        world.restart(node);
        seen.insert(on_node(&world, node, |rt| async move {
            let file = rt.open(path("/f"), OpenMode::Read).await.unwrap();
            let read = file.read_at(0, 8192).await.unwrap();
            let whole = read.iter().skip(4096).all(|b| *b == read[read.len() - 1]);
            (read.len(), if whole { read[read.len() - 1] } else { 99 })
        }));
    }
    // Cut lost; cut kept; both kept; length kept and data lost or torn.
    assert!(seen.contains(&(8192, 1)) && seen.contains(&(4096, 1)), "{seen:?}");
    assert!(seen.contains(&(8192, 2)) && seen.contains(&(8192, 0)), "{seen:?}");
}

#[test]
fn names_need_their_directory_synced() {
    let (mut without, mut with) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..100 {
        for sync in [false, true] {
            let world = world(seed);
            let node = world.add_node(1);
            on_node(&world, node, |rt| async move {
                rt.write_file(path("/old"), b"x").await.unwrap();
                rt.sync_dir(path("/")).await.unwrap();
                rt.create_dir_all(path("/a")).await.unwrap();
                rt.rename(path("/old"), path("/a/new")).await.unwrap();
                if sync {
                    rt.sync_dir(path("/a")).await.unwrap();
                    rt.sync_dir(path("/")).await.unwrap();
                }
            });
            world.crash(node, Crash::PowerLoss);
            world.restart(node);
            let found = on_node(&world, node, |rt| async move {
                let old = rt.exists(path("/old")).await.unwrap();
                (old, rt.exists(path("/a/new")).await.unwrap())
            });
            assert!(found.0 != found.1, "a rename is atomic: {found:?}");
            if sync {
                with.insert(found)
            } else {
                without.insert(found)
            };
        }
    }
    assert_eq!(with, BTreeSet::from([(false, true)]));
    assert_eq!(without, BTreeSet::from([(false, true), (true, false)]));
}

#[test]
fn a_replaced_file_is_old_or_new() {
    let mut seen = BTreeSet::new();
    for seed in 0..300 {
        let world = world(seed);
        let node = world.add_node(1);
        on_node(&world, node, |rt| async move {
            rt.replace_file(path("/f"), b"old").await.unwrap();
        });
        world.start_core(node, CORE, |rt| async move {
            rt.replace_file(path("/f"), b"new").await.unwrap();
        });
        world.run_for(Duration::from_micros(world.random_u64() % 1500));
        world.crash(node, Crash::PowerLoss);
        world.restart(node);
        seen.insert(on_node(&world, node, |rt| async move {
            rt.read_file(path("/f"), 10).await.unwrap()
        }));
    }
    assert_eq!(seen, BTreeSet::from([b"old".to_vec(), b"new".to_vec()]));
}

#[test]
fn planned_failures_happen_once_and_a_dead_disk_stays_dead() {
    let world = world(1);
    let node = world.add_node(1);
    world.add_disk(node, path("/two"), super::super::DiskOptions::default());
    let file = on_node(&world, node, |rt| async move {
        let file = rt.open(path("/two/f"), OpenMode::Create).await.unwrap();
        write(&rt, &file, 4096, 0, 1).await.unwrap();
        file
    });
    for op in [DiskOp::Write, DiskOp::Read, DiskOp::Sync] {
        world.fail_next(node, path("/two/f"), op, libc::EIO);
    }
    world.fail_next(node, path("/two"), DiskOp::Meta, libc::EIO);
    let own = file.clone();
    on_node(&world, node, |rt| async move {
        let errno = |r: io::Result<()>| r.unwrap_err().raw_os_error();
        assert_eq!(errno(write(&rt, &own, 4096, 0, 2).await), Some(libc::EIO));
        write(&rt, &own, 4096, 0, 3).await.unwrap();
        assert_eq!(errno(own.read_at(0, 4096).await.map(drop)), Some(libc::EIO));
        assert_eq!(own.read_at(0, 4096).await.unwrap()[0], 3);
        assert_eq!(errno(own.sync().await), Some(libc::EIO));
        own.sync().await.unwrap();
        assert_eq!(errno(own.truncate(0).await), Some(libc::EIO));
        rt.write_file(path("/one"), b"").await.unwrap();
    });
    world.kill_disk(node, path("/two"));
    on_node(&world, node, |rt| async move {
        assert!(file.read_at(0, 4096).await.is_err() && file.sync().await.is_err());
        assert!(rt.open(path("/two/f"), OpenMode::Read).await.is_err());
        rt.write_file(path("/one"), b"other disks work").await.unwrap();
    });
    world.revive_disk(node, path("/two"));
    on_node(&world, node, |rt| async move {
        rt.open(path("/two/f"), OpenMode::Read).await.unwrap();
    });
}

#[test]
fn a_sync_after_a_failed_sync_lies() {
    let lost = (0..100).filter(|seed| {
        let world = world(*seed);
        let node = world.add_node(1);
        world.fail_next(node, path("/f"), DiskOp::Sync, libc::EIO);
        on_node(&world, node, |rt| async move {
            let file = rt.open(path("/f"), OpenMode::Create).await.unwrap();
            write(&rt, &file, 4096, 0, 1).await.unwrap();
            rt.sync_dir(path("/")).await.unwrap();
            file.sync().await.unwrap_err();
            file.sync().await.unwrap();
        });
        world.crash(node, Crash::PowerLoss);
        world.restart(node);
        on_node(&world, node, |rt| async move {
            let file = rt.open(path("/f"), OpenMode::Read).await.unwrap();
            file.read_at(0, 4096).await.unwrap().first() != Some(&1)
        })
    });
    assert!(lost.count() > 20);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let world = world(1);
    let node = world.add_node(1);
    world.set_disk(node, path("/"), |disk| disk.total_bytes = 64 << 10);
    on_node(&world, node, |rt| async move {
        let file = rt.open(path("/f"), OpenMode::Create).await.unwrap();
        write(&rt, &file, 32 << 10, 0, 1).await.unwrap();
        let full = write(&rt, &file, 64 << 10, 32 << 10, 2).await.unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        file.allocate(128 << 10).await.unwrap_err();
        assert_eq!(rt.space(path("/")).await.unwrap().free_bytes, 32 << 10);
        assert_eq!(file.read_at(0, 4096).await.unwrap()[0], 1);
        file.truncate(4096).await.unwrap();
        assert_eq!(rt.space(path("/")).await.unwrap().free_bytes, 60 << 10);
        rt.remove_file(path("/f")).await.unwrap();
        drop(file);
        rt.sync_dir(path("/")).await.unwrap();
        assert_eq!(rt.space(path("/")).await.unwrap().free_bytes, 64 << 10);
    });
}

#[test]
fn a_bit_flips_in_place() {
    let world = world(1);
    let node = world.add_node(1);
    on_node(&world, node, |rt| async move {
        rt.write_file(path("/f"), &[0; 5000]).await.unwrap();
    });
    world.flip_bit(node, path("/f"), 4999, 3).unwrap();
    world.flip_bit(node, path("/none"), 0, 0).unwrap_err();
    let read = on_node(&world, node, |rt| async move { rt.read_file(path("/f"), 9999).await });
    let read = read.unwrap();
    assert_eq!((read[4999], read.iter().filter(|b| **b != 0).count()), (8, 1));
}

#[test]
fn a_slow_disk_is_slow() {
    let world = world(1);
    let node = world.add_node(1);
    world.set_disk(node, path("/"), |disk| disk.bytes_per_sec = 1 << 20);
    let took = on_node(&world, node, |rt| async move {
        let file = rt.open(path("/f"), OpenMode::Create).await.unwrap();
        let start = rt.now();
        write(&rt, &file, 1 << 20, 0, 1).await.unwrap();
        rt.now().since(start)
    });
    assert!(took >= Duration::from_secs(1), "{took:?}");
}
