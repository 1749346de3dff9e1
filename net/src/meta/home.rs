//! Where partitions go on this node: which core owns them, and which log directory holds them.
//!
//! Cores come from [`CoreMap`], kept in a file of ours in the metadata directory and stable over
//! restarts. A damaged or newer file costs nothing but the old places: it is said, and a new map is
//! made. Directories come from what is on disk already, or was once, then from the controller's
//! assignment, then the one with the fewest partitions; the controller is told. So a directory that
//! is gone is missed, and what was in it is not made anew elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use engine::ids::{BrokerId, PartitionId, TopicId};
use engine::log::dir::DirContents;
use engine::rt::Rt;
use replication::cores::{CoreMap, PartitionKey};
use replication::image::{Delta, Topic, directory};
use wire::primitives::Uuid;

use crate::boot::{Dirs, METADATA_TOPIC};
use crate::partitions::{Holder, Home};

/// Decides homes, on core 0.
pub(super) struct Homes {
    broker: BrokerId,
    map: CoreMap,
    file: PathBuf,
    /// Directory id and number of partitions, by index.
    dirs: Vec<(Uuid, usize)>,
    /// Indices of directories that take no more.
    failed: BTreeSet<usize>,
    contents: Vec<Arc<DirContents>>,
    /// Partitions found on disk at start and not claimed yet, by name.
    found: BTreeMap<(String, i32), usize>,
    /// What holds every partition that has a home.
    settled: BTreeMap<PartitionKey, Holder>,
    /// Directories for partitions that this node does not have yet, as somebody asked for.
    preferred: BTreeMap<(String, i32), usize>,
    /// Partitions whose directory the controller does not know.
    unassigned: Vec<(TopicId, PartitionId, Uuid)>,
}

impl Homes {
    /// Reads the map, and what the directories hold.
    pub(super) async fn load(rt: &Rt, broker: BrokerId, cores: usize, dirs: &Dirs) -> Self {
        let cores = u16::try_from(cores).expect("cores are numbered by a u16");
        let file = dirs.metadata_dir().path.join(FILE);
        let mut map = match rt.read_file(&file, FILE_MAX).await {
            Ok(bytes) => CoreMap::decode(&bytes).unwrap_or_else(|error| {
                let file = file.display();
                tracing::warn!(%file, "partitions are spread over the cores anew: {error}");
                CoreMap::new(cores)
            }),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    let file = file.display();
                    tracing::warn!(%file, "partitions are spread over the cores anew: {error}");
                }
                CoreMap::new(cores)
            }
        };
        let moved = map.resize(cores).len();
        if moved > 0 {
            tracing::info!(partitions = moved, cores, "moved to other cores: their number changed");
        }
        let mut found = BTreeMap::new();
        for (index, dir) in dirs.contents.iter().enumerate() {
            for place in &dir.partitions {
                // One that is there twice is refused when it is to be opened.
                found.entry(place.clone()).or_insert(index);
            }
        }
        let contents = dirs.contents.clone();
        let ids = dirs.contents.iter().map(|dir| dir.meta.directory_id.unwrap_or(Uuid::ZERO));
        let dirs = ids.map(|id| (id, 0)).collect();
        let (settled, unassigned) = (BTreeMap::new(), Vec::new());
        let (failed, preferred) = (BTreeSet::new(), BTreeMap::new());
        Self { broker, map, file, dirs, failed, contents, found, settled, preferred, unassigned }
    }

    /// Homes for every partition of this node that `delta` brings; frees those it takes away.
    pub(super) fn settle(&mut self, delta: &Delta) -> Vec<(PartitionKey, Home)> {
        for topic in &delta.topics_deleted {
            for (partition, _) in topic.partitions() {
                let key = PartitionKey { topic: topic.id, partition };
                self.map.remove(key);
                if let Some(Holder::Dir(dir)) = self.settled.remove(&key) {
                    self.dirs[dir].1 -= 1;
                }
            }
        }
        let mut fresh = Vec::new();
        for topic in &delta.topics_created {
            fresh.extend(topic.partitions().map(|(partition, _)| (topic, partition)));
        }
        let grown = delta.partitions_changed.iter().filter(|change| change.old.is_none());
        fresh.extend(grown.map(|change| (&change.topic, change.partition)));
        fresh.retain(|(topic, partition)| {
            topic.partition(*partition).is_some_and(|p| p.replicas.contains(&self.broker))
        });
        let key = |topic: &Topic, partition| PartitionKey { topic: topic.id, partition };
        let keys: Vec<_> = fresh.iter().map(|(topic, partition)| key(topic, *partition)).collect();
        let cores = self.map.place(keys.iter().copied());
        let homes = fresh.iter().zip(keys).zip(cores).map(|((place, key), core)| {
            let holder = self.holder(place.0, place.1);
            self.settled.insert(key, holder);
            (key, Home { core, holder })
        });
        homes.collect()
    }

    /// Partitions on disk that nothing has claimed yet, of the topics that `of` takes:
    /// `(index in log.dirs, topic, partition)`.
    pub(super) fn found(&self, of: impl Fn(&str) -> bool) -> Vec<(usize, String, i32)> {
        let found = self.found.iter().filter(|((topic, _), _)| of(topic));
        found.map(|((topic, partition), dir)| (*dir, topic.clone(), *partition)).collect()
    }

    /// A partition has moved to another directory, whose id is returned.
    pub(super) fn moved(&mut self, key: PartitionKey, dir: usize) -> Option<Uuid> {
        let before = self.settled.get_mut(&key)?;
        if let Holder::Dir(before) = std::mem::replace(before, Holder::Dir(dir)) {
            self.dirs[before].1 -= 1;
        }
        let (id, count) = &mut self.dirs[dir];
        *count += 1;
        Some(*id)
    }

    /// A partition that is to go to `dir`, should it come.
    pub(super) fn prefer(&mut self, topic: String, partition: i32, dir: usize) {
        if self.preferred.len() < PREFERRED_MAX {
            self.preferred.insert((topic, partition), dir);
        }
    }

    /// A directory has failed: nothing new goes there.
    pub(super) fn fail(&mut self, dir: usize) {
        self.failed.insert(dir);
    }

    /// A partition is not on disk any more.
    pub(super) fn lose(&mut self, topic: &str, partition: i32) {
        self.found.remove(&(topic.to_owned(), partition));
    }

    /// Forgets what was deleted while this node was down, and returns the directories that
    /// nothing has claimed: `(index in log.dirs, topic, partition)`.
    pub(super) fn forget(&mut self) -> Vec<(usize, String, i32)> {
        let settled = &self.settled;
        self.map.retain(|key| settled.contains_key(&key));
        let found = std::mem::take(&mut self.found);
        let unclaimed = found.into_iter().filter(|((topic, _), _)| topic != METADATA_TOPIC);
        unclaimed.map(|((topic, partition), dir)| (dir, topic, partition)).collect()
    }

    /// The map as a file, and where it goes.
    pub(super) fn file(&self) -> (PathBuf, Vec<u8>) {
        (self.file.clone(), self.map.encode())
    }

    /// Partitions whose directory the controller does not know yet, and the ids of those.
    pub(super) fn take_unassigned(&mut self) -> Vec<(TopicId, PartitionId, Uuid)> {
        std::mem::take(&mut self.unassigned)
    }

    fn holder(&mut self, topic: &Topic, partition: PartitionId) -> Holder {
        let assigned = topic.partition(partition).and_then(|p| p.directory_of(self.broker));
        let assigned = assigned.filter(|id| !directory::is_reserved(*id));
        let preferred = self.preferred.remove(&(topic.name.to_string(), partition.0));
        let preferred = preferred.filter(|dir| !self.failed.contains(dir));
        let dir = match (self.known(topic, partition), assigned) {
            (Some(dir), _) => dir,
            (None, Some(id)) => match self.dirs.iter().position(|(known, _)| *known == id) {
                Some(dir) => dir,
                None => return Holder::Missing(id),
            },
            (None, None) => preferred.unwrap_or_else(|| self.emptiest()),
        };
        let (id, count) = &mut self.dirs[dir];
        *count += 1;
        if assigned != Some(*id) && !directory::is_reserved(*id) {
            self.unassigned.push((topic.id, partition, *id));
        }
        Holder::Dir(dir)
    }

    /// The directory that has the partition, or had it: one that is gone from there must not be
    /// made anew elsewhere.
    fn known(&mut self, topic: &Topic, partition: PartitionId) -> Option<usize> {
        let found = self.found.remove(&(topic.name.to_string(), partition.0));
        let knows = |dir: &Arc<DirContents>| dir.knows(topic.id, partition.0);
        found.or_else(|| self.contents.iter().position(knows))
    }

    fn emptiest(&self) -> usize {
        let well = self.dirs.iter().enumerate().filter(|(index, _)| !self.failed.contains(index));
        let emptiest = well.min_by_key(|(_, (_, count))| *count);
        emptiest.map(|(index, _)| index).expect("the one of the metadata log is never given up")
    }
}

/// A plain file of ours: Kafka passes over it.
const FILE: &str = "odradek-cores";
/// Wishes that are kept in mind: far more than a tool has for one reassignment.
const PREFERRED_MAX: usize = 100_000;
/// A map of two million partitions.
const FILE_MAX: usize = 64 << 20;
