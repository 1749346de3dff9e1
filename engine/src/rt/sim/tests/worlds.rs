use super::*;

/// A bit of everything on two nodes of two cores.
fn history(seed: u64) -> (u64, u64) {
    let world = world(seed);
    let nodes = [world.add_node(2), world.add_node(2)];
    for node in nodes {
        let mut ports = mesh::<u64>(2, 2);
        let (second, first) = (ports.pop().unwrap(), ports.pop().unwrap());
        world.start_core(node, CoreId(0), move |rt| async move {
            for i in 0..50 {
                first.send(CoreId(1), rt.random_u64() ^ i).await.unwrap();
                rt.turn().await;
            }
        });
        world.start_core(node, CoreId(1), move |rt| async move {
            let file = rt.open(path("log"), OpenMode::Create).await.unwrap();
            let mut at = 0;
            while let Some((_, number)) = second.recv().await {
                let mut buf = rt.alloc(4096);
                buf[..8].copy_from_slice(&number.to_le_bytes());
                file.write_at(Rc::new(buf), 4096, at).await.unwrap();
                at += 4096;
            }
            file.sync().await.unwrap();
        });
    }
    world.run_for(Duration::from_millis(3));
    world.crash(nodes[0], Crash::PowerLoss);
    world.run_for(MINUTE);
    (world.trace_hash(), world.polls())
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let first: Vec<_> = (0..20).map(history).collect();
    let again: Vec<_> = (0..20).map(history).collect();
    assert_eq!(first, again);
    let distinct: std::collections::BTreeSet<_> = first.iter().map(|(hash, _)| hash).collect();
    assert_eq!(distinct.len(), 20, "seeds differ in more than the name");
}

#[test]
fn cores_interleave_by_seed() {
    let orders: std::collections::BTreeSet<Vec<u32>> = (0..50)
        .map(|seed| {
            let world = world(seed);
            let node = world.add_node(3);
            let order = Rc::new(std::cell::RefCell::new(Vec::new()));
            for core in 0..3 {
                let order = Rc::clone(&order);
                world.start_core(node, CoreId(core), move |_| async move {
                    order.borrow_mut().push(u32::from(core));
                });
            }
            world.run_for(MINUTE);
            order.take()
        })
        .collect();
    assert_eq!(orders.len(), 6, "all orders of three occur");
}

#[test]
fn a_crash_drops_every_task_and_restart_finds_the_disk() {
    let world = world(1);
    let node = world.add_node(2);
    let alive = Rc::new(());
    for core in 0..2 {
        let held = Rc::clone(&alive);
        world.start_core(node, CoreId(core), |rt| async move {
            let _held = held;
            if rt.core() == CORE {
                rt.replace_file(path("/d/kept"), b"yes").await.unwrap_err();
                rt.create_dir_all(path("/d")).await.unwrap();
                rt.sync_dir(path("/")).await.unwrap();
                rt.replace_file(path("/d/kept"), b"yes").await.unwrap();
            }
            let _lock = (rt.core() == CORE).then(|| rt.lock_file(path("/d/lock")).unwrap());
            let own = rt.clone();
            rt.spawn("waits", async move { own.sleep(MINUTE * 1000).await }).await.unwrap();
        });
    }
    world.run_for(MINUTE);
    assert_eq!(Rc::strong_count(&alive), 3);
    let stale = world.rt(node, CORE);
    world.crash(node, Crash::PowerLoss);
    assert_eq!((Rc::strong_count(&alive), world.tasks(), world.is_up(node)), (1, 0, false));
    stale.spawn("too late", async {}).detach();
    assert_eq!(world.tasks(), 0);
    world.restart(node);
    let kept = on_node(&world, node, |rt| async move {
        let _lock = rt.lock_file(path("/d/lock")).unwrap();
        rt.read_file(path("/d/kept"), 10).await.unwrap()
    });
    assert_eq!(kept, b"yes");
}

#[test]
fn dropping_a_world_frees_its_tasks() {
    let held = Rc::new(());
    let world = world(1);
    let node = world.add_node(1);
    let inner = Rc::clone(&held);
    world.start_core(node, CORE, |rt| async move {
        let _inner = inner;
        let file = rt.open(path("f"), OpenMode::Create).await.unwrap();
        rt.sleep(MINUTE * 60).await;
        drop(file);
    });
    world.run_for(MINUTE);
    drop(world);
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn the_wall_clock_jumps_and_the_monotonic_does_not() {
    let world = world(3);
    let node = world.add_node(1);
    let (before, start) = on_node(&world, node, |rt| async move { (rt.wall_ms(), rt.now()) });
    world.jump_wall_clock(node, -3_600_000);
    let (after, now) = on_node(&world, node, |rt| async move {
        rt.sleep(MINUTE).await;
        (rt.wall_ms(), rt.now())
    });
    assert_eq!(now.since(start).as_secs(), 60);
    assert!((-3_600_000..=-3_539_900).contains(&(after - before)), "{}", after - before);
}

#[test]
fn run_for_ends_on_time_with_work_left() {
    let world = world(4);
    let node = world.add_node(1);
    world.start_core(node, CORE, |rt| async move {
        loop {
            rt.sleep(Duration::from_millis(7)).await;
        }
    });
    let start = world.now();
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.now().since(start), Duration::from_millis(100));
    assert!(!world.run_until(Duration::from_millis(50), || false));
    assert_eq!(world.block_on(MINUTE, async { 5 }), Some(5));
    assert_eq!(world.block_on(MINUTE, std::future::pending::<()>()), None);
}

#[test]
#[should_panic(expected = "stands still")]
fn a_deadlock_is_reported() {
    super::super::run(1, |_| std::future::pending::<()>());
}

#[test]
fn a_paused_core_sees_later_what_came_meanwhile() {
    let counter = || {
        let count = Rc::new(Cell::new(0));
        (Rc::clone(&count), count)
    };
    let world = world(1);
    let node = world.add_node(2);
    let beats: Vec<_> = (0..2)
        .map(|core| {
            let (count, sink) = counter();
            world.start_core(node, CoreId(core), move |rt| async move {
                loop {
                    rt.sleep(Duration::from_secs(1)).await;
                    sink.set(sink.get() + 1);
                }
            });
            count
        })
        .collect();
    let seen = || [beats[0].get(), beats[1].get()];
    world.run_for(Duration::from_millis(10_500));
    assert_eq!(seen(), [10, 10]);
    world.pause(node, CoreId(0), Duration::from_secs(5));
    world.pause(node, CoreId(0), Duration::from_secs(2));
    world.run_for(Duration::from_millis(4_900));
    assert_eq!(seen(), [10, 15], "the other core goes on");
    world.run_for(Duration::from_millis(200));
    assert_eq!(seen(), [11, 15], "the timer rang meanwhile");
    world.pause(node, CoreId(0), MINUTE);
    world.crash(node, Crash::Kill);
    world.restart(node);
    let rt = world.rt(node, CoreId(0));
    let (count, sink) = counter();
    rt.spawn("again", async move { sink.set(1) }).detach();
    world.run_for(Duration::from_secs(1));
    assert_eq!(count.get(), 1, "a crash ends a pause");
}
