//! Partitions on their way between log directories: one at a time on each core, in the order in
//! which that was asked for.
//!
//! The controller is told where a partition is once it is there. Until it knows, the old directory
//! does not forget: a start without the new one then misses the partition instead of making it anew.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;

use engine::ids::{CoreId, PartitionId};
use engine::log::Pace;
use engine::partition::{Move, MoveOutcome, Partition};
use futures_util::future::{Either, select};
use replication::cores::PartitionKey;

use crate::api::alter_replica_log_dirs::Work;
use crate::core::Core;
use crate::mesh;
use crate::meta::Settled;
use crate::partitions::{Holder, Home};

/// One core's moves.
#[derive(Default)]
pub(crate) struct Moves {
    /// One for each partition of the core at most, but for those that were cancelled.
    queue: RefCell<VecDeque<(PartitionKey, Move)>>,
    running: Cell<bool>,
}

/// Has a move run after those that were asked for before.
pub(crate) fn queue(core: &Rc<Core>, key: PartitionKey, it: Move) {
    core.moves.queue.borrow_mut().push_back((key, it));
    if !core.moves.running.replace(true) {
        core.rt.spawn("moves", run(Rc::clone(core))).detach();
    }
}

async fn run(core: Rc<Core>) {
    let guard = Running(Rc::clone(&core));
    let pace = Pace::new(&core.rt, rate(&core));
    loop {
        let next = core.moves.queue.borrow_mut().pop_front();
        let Some((key, it)) = next else { break };
        let partition = Rc::clone(it.partition());
        let name = partition.name();
        let from = partition.log_dir();
        tracing::info!(partition = &*name, from = %from.path().display(), "moves");
        // A throttle may change while a large partition moves.
        let watch = async {
            loop {
                core.rt.sleep(LOOK).await;
                pace.set_rate(rate(&core));
            }
        };
        pace.set_rate(rate(&core));
        let ended = match select(pin!(it.run(&pace)), pin!(watch)).await {
            Either::Left((ended, _)) => ended,
            Either::Right((never, _)) => never,
        };
        match ended {
            Ok(MoveOutcome::Moved { from }) => {
                let to = partition.log_dir();
                let (there, before) = (to.path().display(), from.path().display());
                tracing::info!(partition = &*name, from = %before, to = %there, "has moved");
                settle(&core, key, &partition).await;
            }
            Ok(MoveOutcome::Cancelled) => {
                tracing::info!(partition = &*name, "a move was given up");
            }
            Ok(MoveOutcome::Interrupted) => {}
            Err(error) => tracing::error!(
                partition = &*name,
                "a move failed, the partition stays where it is: {error}"
            ),
        }
    }
    drop(guard);
}

/// Notes where a partition is now, and has the controller know.
async fn settle(core: &Rc<Core>, key: PartitionKey, partition: &Partition) {
    let here = partition.log_dir();
    let Some(dir) = core.dirs.iter().position(|dir| Rc::ptr_eq(dir, &here)) else { return };
    if core.partitions.home(key).is_none() {
        // Deleted meanwhile.
        return;
    }
    core.partitions.settle(key, Home { core: core.id(), holder: Holder::Dir(dir) });
    if let Ok(true) = mesh::call(core, CoreId(0), Settled { key, dir }).await {
        for other in core.dirs.iter().filter(|dir| !Rc::ptr_eq(dir, &here)) {
            other.forget(key.topic, key.partition);
        }
    }
}

/// Goes on with the moves that the last process did not finish. On core 0, once every partition was
/// opened.
pub(crate) async fn resume(core: &Rc<Core>) {
    for (index, dir) in core.dirs.iter().enumerate() {
        for ((topic, partition), path) in &dir.contents().futures {
            let image = core.image();
            let named = image.topics().named(topic);
            let of = dir.topic_of_future(path).await;
            let Some(known) = named.filter(|known| Some(known.id) == of) else {
                tracing::warn!(path = %path.display(), "left alone: a copy of no topic's partition");
                continue;
            };
            let key = PartitionKey { topic: known.id, partition: PartitionId(*partition) };
            let Some(home) = core.partitions.home(key) else { continue };
            let served = match home.holder {
                Holder::Dir(holder) => core.dirs[holder].contents().holds(topic, *partition),
                Holder::Missing(_) => false,
            };
            if !served {
                tracing::warn!(path = %path.display(), "left alone: what it is a copy of is missing");
                continue;
            }
            // Begun anew: how much of it is durable, nobody knows.
            match mesh::call(core, home.core, Work(vec![(key, index)])).await.as_deref() {
                Ok([Ok(())]) => {}
                _ => {
                    tracing::error!(path = %path.display(), "left alone: it cannot be gone on with");
                    continue;
                }
            }
            if let Err(error) = dir.discard_future(path).await {
                tracing::warn!(path = %path.display(), "an unfinished copy stays: {error}");
            }
        }
    }
}

/// This core's share of what moves may take, bytes per second.
fn rate(core: &Core) -> f64 {
    let all = core.config().replica_alter_log_dirs_io_max_bytes_per_second;
    all as f64 / core.node.cores.max(1) as f64
}

/// Marks the task as running until it ends, also by a panic.
struct Running(Rc<Core>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.moves.running.set(false);
    }
}

/// How late a change of the throttle may be noticed.
const LOOK: std::time::Duration = std::time::Duration::from_millis(100);
