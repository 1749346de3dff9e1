//! What the logs of all cores leave in their directories for who comes next: the offset files that
//! Kafka reads, and at the end the mark of a stop in order.
//!
//! A directory's files have one writer, core 0; every core tells it what its logs say.

use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use engine::log::dir::{Positions, TopicPartition};
use futures_util::future::{Either, join_all, select};

use crate::core::Core;
use crate::mesh;

/// Asks a core for the positions of its logs.
pub(crate) struct Gather {
    /// Every log is closed: the core also writes its last checkpoint.
    pub(crate) last: bool,
}

/// For each log directory what the core's logs say, or why its last checkpoint could not be written.
pub(crate) type Outcome = Vec<Result<Found, String>>;

/// What is known of the logs of one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    positions: BTreeMap<TopicPartition, Positions>,
    /// Some log there could not be opened: what it holds is not known to be whole.
    unopened: bool,
    /// The directory has failed: it stays as it is.
    failed: bool,
}

/// Answers for this core.
pub(crate) async fn gather(core: Rc<Core>, work: Gather) -> Outcome {
    let dirs = core.dirs.iter().map(async |dir| {
        // Nothing is to be had from a directory that has failed.
        if dir.failure().is_some() {
            return Ok(Found { failed: true, ..Found::default() });
        }
        if work.last {
            dir.close_journal().await.map_err(|error| error.to_string())?;
            dir.checkpoint_last().await.map_err(|error| error.to_string())?;
        }
        Ok(Found { positions: dir.positions(), unopened: !dir.opened_all(), failed: false })
    });
    join_all(dirs).await
}

/// Writes the offset files now and then, where something moved, until the other end of `stopped` is
/// dropped: whoever seals the directories waits for this to end.
pub(crate) async fn keep(core: Rc<Core>, stopped: flume::Receiver<()>) {
    let mut written = Vec::new();
    loop {
        let stopped = pin!(stopped.recv_async());
        if let Either::Right(_) = select(core.rt.sleep(INTERVAL), stopped).await {
            return;
        }
        write(&core, &mut written).await;
    }
}

/// Has the offset files forget logs that were deleted: they know a topic by its name only, and the
/// next one of the name starts anew.
pub(crate) async fn forget_deleted(core: &Rc<Core>) {
    write(core, &mut Vec::new()).await;
}

/// Writes the offset files unless they say what was `written`.
async fn write(core: &Rc<Core>, written: &mut Vec<Found>) {
    let _turn = core.offset_files.lock().await;
    let Ok(found) = collect(core, false).await else { return };
    if found == *written {
        return;
    }
    for (contents, found) in core.node.dirs.iter().zip(&found).filter(|(_, dir)| !dir.failed) {
        if let Err(error) = contents.write_positions(&core.rt, &found.positions).await
            && let Some(unsaid) = core.quiet.storage.pass(core.rt.now())
        {
            let path = contents.path.display();
            tracing::error!(unsaid, "cannot write the offset files of {path}: {error}");
        }
    }
    *written = found;
}

/// Leaves every directory as one that was stopped in order, by the registration of this epoch; but
/// one with a log that could not be opened as after a crash, so that the next start looks at it.
pub(crate) async fn seal(core: &Rc<Core>, broker_epoch: i64) -> Result<(), String> {
    let _turn = core.offset_files.lock().await;
    let found = collect(core, true).await?;
    let found = core.node.dirs.iter().zip(&found).filter(|(_, found)| !found.failed);
    for (contents, Found { positions, unopened, .. }) in found {
        let ended = match unopened {
            true => contents.write_positions(&core.rt, positions).await,
            false => contents.end(&core.rt, positions, broker_epoch).await,
        };
        ended.map_err(|error| format!("{}: {error}", contents.path.display()))?;
    }
    Ok(())
}

/// The logs of all cores, by directory.
async fn collect(core: &Rc<Core>, last: bool) -> Result<Vec<Found>, String> {
    let mut merged = vec![Found::default(); core.dirs.len()];
    let calls = core.mesh.cores().map(|id| mesh::call(core, id, Gather { last }));
    for answer in join_all(calls).await {
        let answer = answer.map_err(|error| error.to_string())?;
        for (all, found) in merged.iter_mut().zip(answer) {
            let found = found?;
            all.positions.extend(found.positions);
            all.unopened |= found.unopened;
            all.failed |= found.failed;
        }
    }
    Ok(merged)
}

/// As often as Kafka writes its recovery points.
const INTERVAL: Duration = Duration::from_secs(60);
