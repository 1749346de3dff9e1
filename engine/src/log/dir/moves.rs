//! Partitions that move between log directories, as their directories see it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::rc::Rc;

use wire::primitives::Uuid;

use super::super::names::partition_dir;
use super::super::open::topic_id;
use super::super::relocate::Note;
use super::doomed::doomed_path;
use super::{DirContents, LogDir, TopicPartition};
use crate::error::{DirError, LogError};
use crate::ids::{PartitionId, TopicId};
use crate::log::Log;
use crate::rt::Rt;

impl DirContents {
    /// Finishes moves between `dirs` that a crash interrupted at their last step: of a partition
    /// that is in two of them, and in one with a note that it came from the other, one goes. To be
    /// called once journals are replayed.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn finish_moves(rt: &Rt, dirs: &mut [Self]) -> Result<(), DirError> {
        let mut holders: BTreeMap<TopicPartition, Vec<usize>> = BTreeMap::new();
        for (index, dir) in dirs.iter().enumerate() {
            for name in &dir.partitions {
                holders.entry(name.clone()).or_default().push(index);
            }
        }
        for (name, holders) in holders.into_iter().filter(|(_, holders)| holders.len() > 1) {
            let superseded = superseded(rt, dirs, &name, &holders).await?;
            if superseded.len() == holders.len() {
                continue;
            }
            for index in superseded {
                dirs[index].let_go(rt, &name).await?;
            }
        }
        Ok(())
    }

    /// Renames a partition's directory to be removed.
    async fn let_go(&mut self, rt: &Rt, name: &TopicPartition) -> Result<(), DirError> {
        let from = self.path.join(partition_dir(&name.0, name.1));
        let to = doomed_path(rt, &self.path, &name.0, name.1);
        let gone: io::Result<()> = async {
            rt.rename(&from, &to).await?;
            rt.sync_dir(&self.path).await
        }
        .await;
        gone.map_err(|error| DirError::io("rename", &from, &error))?;
        tracing::info!(path = %from.display(), "moved to another log directory, removed here");
        self.partitions.retain(|other| other != name);
        self.doomed.push(to);
        Ok(())
    }
}

/// Which of the `holders` of a partition others stand in for.
async fn superseded(
    rt: &Rt,
    dirs: &[DirContents],
    name: &TopicPartition,
    holders: &[usize],
) -> Result<BTreeSet<usize>, DirError> {
    let place = |index: usize| dirs[index].path.join(partition_dir(&name.0, name.1));
    let mut superseded = BTreeSet::new();
    for &copy in holders {
        let path = place(copy);
        let note = Note::read(rt, &path).await;
        let note = note.map_err(|error| DirError::unreadable(&path, error.to_string()))?;
        let Some(note) = note else { continue };
        let is_source = |index: &&usize| dirs[**index].meta.directory_id == Some(Uuid(note.from));
        let Some(&source) = holders.iter().find(is_source) else { continue };
        if topic_id(rt, &path).await != topic_id(rt, &place(source)).await {
            continue;
        }
        let stayed = place(source).join(Note::stayed(Uuid(note.id)));
        let stayed = rt.exists(&stayed).await;
        let stayed = stayed.map_err(|error| DirError::io("look at", &place(source), &error))?;
        superseded.insert(if stayed { copy } else { source });
    }
    Ok(superseded)
}

impl LogDir {
    /// Removes the directory of an unfinished copy, if it is there.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn discard_future(&self, path: &Path) -> Result<(), LogError> {
        match self.put_away(path, &self.doomed_path("moved", 0)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LogError::io("rename", path, &error))
            }
            _ => Ok(()),
        }
    }

    /// The topic that an unfinished copy belongs to, if it says so.
    pub async fn topic_of_future(&self, path: &Path) -> Option<TopicId> {
        topic_id(&self.rt, path).await
    }

    /// A log goes on in another directory. What was noted of it here stays until that is known
    /// everywhere ([`LogDir::forget`]): a start without the other directory then misses it.
    pub(crate) fn leave(&self, log: &Log) {
        self.ledger.leave(log.key());
    }

    /// Forgets a log that went to another directory, where whoever has to know looks for it now.
    pub fn forget(self: &Rc<Self>, topic_id: TopicId, partition: PartitionId) {
        if self.ledger.forget((topic_id.0, partition.0)) {
            self.checkpoint_soon();
        }
    }
}
