//! The simulator's own promises: determinism, durability, crashes, links.

use std::{cell::Cell, net::SocketAddr, path::Path, rc::Rc, time::Duration};

use super::{Crash, DiskOp, NodeId, SimOptions, World};
use crate::{
    ids::CoreId,
    rt::{OpenMode, Rt, Stream, mesh},
};

mod disks;
mod links;
mod worlds;

const MINUTE: Duration = Duration::from_secs(60);
const CORE: CoreId = CoreId(0);

/// Runs `f` on the node until it ends.
fn on_node<T: 'static, Fut: Future<Output = T> + 'static>(
    world: &World,
    node: NodeId,
    f: impl FnOnce(Rt) -> Fut,
) -> T {
    let rt = world.rt(node, CORE);
    let result = Rc::new(Cell::new(None));
    let (sink, main) = (Rc::clone(&result), f(rt.clone()));
    rt.spawn("test", async move { sink.set(Some(main.await)) }).detach();
    let mut got = None;
    world.run_until(MINUTE * 10, || {
        got = result.take();
        got.is_some()
    });
    got.expect("the task ends")
}

fn world(seed: u64) -> World {
    World::new(seed, SimOptions::default())
}

fn path(path: &str) -> &Path {
    Path::new(path)
}
