//! A process that is killed at any moment of creating a partition, and a power cut later.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use config::TopicConfig;

use super::kit::*;
use crate::ids::CoreId;
use crate::rt::Rt;
use crate::rt::sim::{Crash, NodeId, SimOptions, World};

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

/// Runs `f` on the node until it ends.
fn on<F: Future<Output = ()> + 'static>(world: &World, node: NodeId, f: impl FnOnce(Rt) -> F) {
    let rt = world.rt(node, CoreId(0));
    let task = rt.spawn("test", f(rt.clone()));
    let done = Rc::new(Cell::new(false));
    let is_done = Rc::clone(&done);
    rt.spawn("test end", async move {
        task.await.expect("no panic");
        is_done.set(true);
    })
    .detach();
    assert!(world.run_until(Duration::from_secs(60), || done.get()), "it ends");
}
