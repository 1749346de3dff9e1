//! A log directory that has failed goes offline with all its partitions; the others serve on.
//!
//! A log that could not be written fails by itself. Whether the directory has, its core finds out by
//! writing a file of ours there: a disk that is gone or has become read-only takes none. Then every
//! core is told, and gives up what it has there; the next heartbeat tells the controller, which
//! finds no leader for these partitions until the node is started with a directory that works. The
//! directory of the metadata log is not given up: a node cannot go on without it.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use engine::error::LogError;
use engine::ids::CoreId;
use futures_util::future::join_all;

use crate::core::Core;
use crate::mesh;
use crate::partitions::Owned;

/// A log directory, by its index in `log.dirs`, to give up, and why.
#[derive(Clone, Debug)]
pub(crate) struct Isolate {
    dir: usize,
    reason: Arc<str>,
}

/// Looks whether the directories of logs that failed since have failed too. `seen` is how many had
/// failed the last time.
pub(crate) async fn look(core: &Rc<Core>, seen: &mut u64) {
    let failed = core.engine.metrics.logs_failed.get();
    if failed == *seen {
        return;
    }
    *seen = failed;
    let mut suspects = vec![false; core.dirs.len()];
    for (_, partition) in core.partitions.all_open() {
        if let Some(LogError::Failed { .. }) = partition.failure() {
            let here = partition.log_dir();
            core.dirs.iter().zip(&mut suspects).for_each(|(dir, suspect)| {
                *suspect |= Rc::ptr_eq(dir, &here);
            });
        }
    }
    for (dir, log_dir) in core.dirs.iter().enumerate() {
        let known = log_dir.failure().is_some() || dir == core.node.metadata_dir;
        if !suspects[dir] || known {
            continue;
        }
        if let Err(error) = probe(core, dir).await {
            let reason = format!("{} has failed: {error}", log_dir.path().display()).into();
            let cores: Vec<CoreId> = core.mesh.cores().collect();
            let work = Isolate { dir, reason };
            let told = cores.into_iter().map(|id| mesh::call(core, id, work.clone()));
            // A core that does not answer has ended.
            drop(join_all(told).await);
        }
    }
}

/// Whether the directory takes a file. Room alone is no reason to give it up.
async fn probe(core: &Rc<Core>, dir: usize) -> io::Result<()> {
    let file = core.dirs[dir].path().join(format!("odradek-probe-{}", core.id().0));
    match core.rt.replace_file(&file, b"").await {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
        Err(error) => Err(error),
        Ok(()) => core.rt.remove_file(&file).await,
    }
}

/// Gives up what this core has in the directory.
pub(crate) async fn serve(core: Rc<Core>, Isolate { dir, reason }: Isolate) {
    let _turn = core.partitions.turn.lock().await;
    if core.dirs[dir].failure().is_some() {
        return;
    }
    core.dirs[dir].fail(&reason);
    if let Some(meta) = core.meta() {
        meta.directory_failed(dir);
    }
    for (key, partition) in core.partitions.all_open() {
        if partition.future().is_some_and(|future| Rc::ptr_eq(&future.log_dir, &core.dirs[dir])) {
            partition.interrupt_move();
        }
        if !Rc::ptr_eq(&partition.log_dir(), &core.dirs[dir]) {
            continue;
        }
        partition.fail(&reason);
        core.groups.follow(&core, &partition);
        let reason = Arc::clone(&reason);
        core.partitions.insert(key, Owned::Offline { reason, lacks_room: false });
    }
}
