//! Partitions that were deleted and whose bytes go later.
//!
//! A delete renames the directory, which is what makes it durable; readers that still hold files
//! of it finish. `file.delete.delay.ms` later the files go. A restart finds the names again.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use wire::primitives::Uuid;

use super::super::names::doomed_dir;
use super::super::open::topic_id;
use super::LogDir;
use crate::error::LogError;
use crate::ids::TopicId;
use crate::rt::{Instant, Rt};

/// A place in the log directory `root`, used by nobody yet, for a partition's directory that waits
/// for removal.
pub(super) fn doomed_path(rt: &Rt, root: &Path, topic: &str, partition: i32) -> PathBuf {
    let mut unique = [0; 16];
    rt.fill_random(&mut unique);
    root.join(doomed_dir(topic, partition, Uuid(unique)))
}

/// What waits for removal, in the order of its time.
#[derive(Default)]
pub(super) struct Doomed {
    queue: VecDeque<(Instant, Vec<PathBuf>)>,
}

impl LogDir {
    /// Removes `paths` (files, or one directory) once `delay` has passed and
    /// [`LogDir::remove_due`] is called.
    pub fn doom(&self, paths: Vec<PathBuf>, delay: Duration) {
        let due = self.rt.now() + delay;
        let mut doomed = self.doomed.borrow_mut();
        let at = doomed.queue.partition_point(|(other, _)| *other <= due);
        doomed.queue.insert(at, (due, paths));
    }

    /// Has what waited for removal when the last process ended removed. To be called on one core.
    pub fn doom_leftovers(&self) {
        let left = &self.contents.doomed;
        left.iter().for_each(|path| self.doom(vec![path.clone()], Duration::ZERO));
    }

    /// Deletes the directory of a partition that is not open, as deleting an open one does: it is
    /// renamed, and removed later.
    ///
    /// # Errors
    /// When it could not be renamed, or the name is not durable.
    pub async fn discard(&self, topic: &str, partition: i32) -> Result<(), LogError> {
        let from = self.partition_path(topic, partition);
        let renamed = self.put_away(&from, &self.doomed_path(topic, partition)).await;
        renamed.map_err(|error| LogError::io("rename", &from, &error))
    }

    /// Renames a directory and has it removed.
    pub(super) async fn put_away(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rt.rename(from, to).await?;
        self.rt.sync_dir(self.path()).await?;
        self.doom(vec![to.to_owned()], Duration::ZERO);
        Ok(())
    }

    /// As [`doomed_path`], in this directory.
    pub(crate) fn doomed_path(&self, topic: &str, partition: i32) -> PathBuf {
        doomed_path(&self.rt, self.path(), topic, partition)
    }

    /// The topic that a partition's directory belongs to, if there is one that says so.
    pub async fn topic_of(&self, topic: &str, partition: i32) -> Option<TopicId> {
        topic_id(&self.rt, &self.partition_path(topic, partition)).await
    }

    /// Whether the partition's directory is there with nothing in it, as a creation leaves it for
    /// which there was no room.
    pub async fn is_bare(&self, topic: &str, partition: i32) -> bool {
        let listed = self.rt.list_dir(&self.partition_path(topic, partition)).await;
        let is_unfinished = |name: &str| name.ends_with(".tmp");
        listed.is_ok_and(|listed| {
            listed.iter().all(|entry| is_unfinished(&entry.name.to_string_lossy()))
        })
    }

    /// Removes what is due. Called by the core's housekeeping.
    pub async fn remove_due(self: &Rc<Self>) {
        loop {
            let due = {
                let mut doomed = self.doomed.borrow_mut();
                match doomed.queue.front() {
                    Some((at, _)) if *at <= self.rt.now() => doomed.queue.pop_front(),
                    _ => None,
                }
            };
            let Some((_, paths)) = due else { return };
            for path in paths {
                if let Err(error) = self.remove(&path).await {
                    tracing::warn!(path = %path.display(), %error, "cannot remove deleted data");
                }
            }
            self.rt.turn().await;
        }
    }

    /// Number of removals that wait.
    #[must_use]
    pub fn doomed_count(&self) -> usize {
        self.doomed.borrow().queue.len()
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let result = match self.rt.list_dir(path).await {
            Ok(_) => self.rt.remove_dir_all(path).await,
            Err(_) => self.rt.remove_file(path).await,
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}
