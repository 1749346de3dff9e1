//! Stopping in order: nothing new, finish what was begun, leave the cluster, close every file.

use std::rc::Rc;

use engine::ids::CoreId;
use engine::rt::Listener;
use futures_util::future::join_all;

use super::BootError;
use crate::core::Core;
use crate::mesh::{self, CallError};
use crate::meta::Meta;
use crate::positions;

/// Finish what connections have begun, within the time that is configured.
pub(crate) struct Drain;

/// Close every partition.
pub(crate) struct Close;

/// Takes the node down.
pub(super) async fn in_order(
    core: &Rc<Core>,
    meta: &Rc<Meta>,
    listeners: &[Listener],
) -> Result<(), BootError> {
    core.start_draining();
    listeners.iter().for_each(Listener::shutdown);
    let left: usize = ask_all(core, || Drain).await.into_iter().map(|left| left.unwrap_or(0)).sum();
    if left > 0 {
        tracing::warn!(connections = left, "stopped before these were done");
    }
    meta.leave().await;
    let mut unclean = Vec::new();
    for (core, closed) in ask_all(core, || Close).await.into_iter().enumerate() {
        match closed {
            Ok(failures) => unclean.extend(failures),
            Err(error) => unclean.push(format!("core {core}: {error}")),
        }
    }
    if let Err(error) = meta.close().await {
        unclean.push(error.to_string());
    }
    if unclean.is_empty()
        && let Err(reason) = positions::seal(core, meta.broker_epoch()).await
    {
        unclean.push(reason);
    }
    match unclean.is_empty() {
        true => Ok(()),
        false => Err(BootError::Unclean(unclean.join("; "))),
    }
}

async fn ask_all<W: mesh::Work>(
    core: &Rc<Core>,
    work: impl Fn() -> W,
) -> Vec<Result<W::Outcome, CallError>> {
    let ids: Vec<CoreId> = core.mesh.cores().collect();
    join_all(ids.into_iter().map(|id| mesh::call(core, id, work()))).await
}

/// Drains this core; returns the connections that were still there when time was up.
pub(crate) async fn drain(core: Rc<Core>, Drain: Drain) -> usize {
    core.start_draining();
    let patience = core.node.config.odradek_drain_timeout_ms;
    let patience = std::time::Duration::from_millis(u64::try_from(patience).unwrap_or(0));
    let deadline = core.rt.now() + patience;
    loop {
        let left = core.conns.borrow().len();
        if left == 0 || core.rt.now() >= deadline {
            return left;
        }
        core.rt.sleep(LOOK_AGAIN).await;
    }
}

/// Closes this core's partitions; returns what could not be.
pub(crate) async fn close(core: Rc<Core>, Close: Close) -> Vec<String> {
    let _turn = core.partitions.turn.lock().await;
    core.groups.close();
    let closing = core.partitions.all_open().into_iter().map(|(_, partition)| async move {
        let closed = partition.close().await;
        closed.err().map(|error| format!("{}: {error}", partition.name()))
    });
    join_all(closing).await.into_iter().flatten().collect()
}

const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(5);
