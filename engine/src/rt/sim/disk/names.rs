//! Names: directories as the running system sees them and as they are certain to survive.
//!
//! A change of names is durable once a directory it touches was synced. What was not synced may
//! survive a power cut or not, but in an order that a journaling file system could leave: a change
//! never survives without the earlier ones in the same directories, and a rename is atomic.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    path::{Component, Path},
};

use crate::rt::rng::Rng;

/// Number of a file or directory; never reused.
pub(super) type Ino = u64;

pub(super) const ROOT: Ino = 0;

/// The live and the durable tree.
pub(super) struct Names {
    live: Tree,
    durable: Tree,
    /// Oldest first, numbered.
    unsynced: Vec<(u64, Change)>,
    next_seq: u64,
}

/// Entries by directory.
#[derive(Clone, Default)]
struct Tree(BTreeMap<Ino, BTreeMap<OsString, Ino>>);

#[derive(Clone, Debug)]
enum Change {
    Link { dir: Ino, name: OsString, ino: Ino, is_dir: bool },
    Unlink { dir: Ino, name: OsString },
    Rename { from: (Ino, OsString), to: (Ino, OsString), ino: Ino },
}

impl Names {
    pub(super) fn new() -> Self {
        let root = Tree(BTreeMap::from([(ROOT, BTreeMap::new())]));
        Self { live: root.clone(), durable: root, unsynced: Vec::new(), next_seq: 0 }
    }

    /// What is at `path`, if anything.
    pub(super) fn find(&self, path: &Path) -> io::Result<Option<Ino>> {
        let mut at = ROOT;
        for name in components(path) {
            let Some(entries) = self.live.0.get(&at) else {
                return Err(io::Error::from(io::ErrorKind::NotADirectory));
            };
            match entries.get(name) {
                Some(ino) => at = *ino,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    pub(super) fn get(&self, path: &Path) -> io::Result<Ino> {
        self.find(path)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// The directory that holds `path`, and the name in it.
    pub(super) fn place<'a>(&self, path: &'a Path) -> io::Result<(Ino, &'a OsStr)> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let dir = self.get(path.parent().unwrap_or(Path::new("")))?;
        if !self.is_dir(dir) {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        Ok((dir, name))
    }

    pub(super) fn is_dir(&self, ino: Ino) -> bool {
        self.live.0.contains_key(&ino)
    }

    pub(super) fn entries(&self, dir: Ino) -> io::Result<&BTreeMap<OsString, Ino>> {
        self.live.0.get(&dir).ok_or_else(|| io::Error::from(io::ErrorKind::NotADirectory))
    }

    pub(super) fn link(&mut self, dir: Ino, name: &OsStr, ino: Ino, is_dir: bool) {
        self.change(Change::Link { dir, name: name.to_owned(), ino, is_dir });
    }

    pub(super) fn unlink(&mut self, dir: Ino, name: &OsStr) {
        self.change(Change::Unlink { dir, name: name.to_owned() });
    }

    pub(super) fn rename(&mut self, from: (Ino, &OsStr), to: (Ino, &OsStr), ino: Ino) {
        let (from, to) = ((from.0, from.1.to_owned()), (to.0, to.1.to_owned()));
        self.change(Change::Rename { from, to, ino });
    }

    /// Where a sync of a directory begins: it covers the changes made before.
    pub(super) fn sync_mark(&self) -> u64 {
        self.next_seq
    }

    /// Makes durable the changes before `mark` that touch `dir`, and those they rest on.
    pub(super) fn synced(&mut self, dir: Ino, mark: u64) {
        let mut wanted = BTreeSet::new();
        let mut dirs = BTreeSet::from([dir]);
        // From the youngest back: a rename that is wanted makes the older changes in its other
        // directory wanted too.
        for (seq, change) in self.unsynced.iter().rev().filter(|(seq, _)| *seq < mark) {
            if change.dirs().any(|d| dirs.contains(&d)) {
                wanted.insert(*seq);
                dirs.extend(change.dirs());
            }
        }
        for (seq, change) in std::mem::take(&mut self.unsynced) {
            if wanted.contains(&seq) {
                self.durable.apply(&change);
            } else {
                self.unsynced.push((seq, change));
            }
        }
    }

    /// Makes all changes durable.
    pub(super) fn synced_all(&mut self) {
        for (_, change) in std::mem::take(&mut self.unsynced) {
            self.durable.apply(&change);
        }
    }

    /// The power went: each change that was not synced survives with probability `keep`, unless
    /// one that it rests on did not.
    pub(super) fn lose_power(&mut self, keep: f64, rng: &mut Rng) {
        let mut broken = BTreeSet::new();
        for (_, change) in std::mem::take(&mut self.unsynced) {
            if rng.chance(keep) && !change.dirs().any(|d| broken.contains(&d)) {
                self.durable.apply(&change);
            } else {
                broken.extend(change.dirs());
            }
        }
        self.durable.drop_unreachable();
        self.live = self.durable.clone();
    }

    /// Every file or directory that some outcome could still name.
    pub(super) fn reachable(&self) -> BTreeSet<Ino> {
        let mut all = BTreeSet::from([ROOT]);
        for tree in [&self.live, &self.durable] {
            all.extend(tree.0.values().flat_map(|entries| entries.values()));
        }
        all.extend(self.unsynced.iter().filter_map(|(_, change)| match change {
            Change::Link { ino, .. } | Change::Rename { ino, .. } => Some(*ino),
            Change::Unlink { .. } => None,
        }));
        all
    }

    fn change(&mut self, change: Change) {
        self.live.apply(&change);
        self.unsynced.push((self.next_seq, change));
        self.next_seq += 1;
    }
}

impl Tree {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Link { dir, name, ino, is_dir } => {
                self.dir(*dir).insert(name.clone(), *ino);
                if *is_dir {
                    self.dir(*ino);
                }
            }
            Change::Unlink { dir, name } => {
                if let Some(ino) = self.dir(*dir).remove(name) {
                    self.0.remove(&ino);
                }
            }
            Change::Rename { from, to, ino } => {
                self.dir(from.0).remove(&from.1);
                self.dir(to.0).insert(to.1.clone(), *ino);
            }
        }
    }

    /// The entries of a directory. One may gain durable entries before its own name is durable.
    fn dir(&mut self, ino: Ino) -> &mut BTreeMap<OsString, Ino> {
        self.0.entry(ino).or_default()
    }

    fn drop_unreachable(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut queue = vec![ROOT];
        while let Some(dir) = queue.pop() {
            for ino in self.0.get(&dir).into_iter().flat_map(BTreeMap::values) {
                if reached.insert(*ino) {
                    queue.push(*ino);
                }
            }
        }
        self.0.retain(|ino, _| reached.contains(ino));
    }
}

impl Change {
    fn dirs(&self) -> impl Iterator<Item = Ino> + use<> {
        let (a, b) = match self {
            Self::Link { dir, .. } | Self::Unlink { dir, .. } => (*dir, None),
            Self::Rename { from, to, .. } => (from.0, (from.0 != to.0).then_some(to.0)),
        };
        std::iter::once(a).chain(b)
    }
}

/// The path's names; a relative path starts at the root too.
fn components(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}
