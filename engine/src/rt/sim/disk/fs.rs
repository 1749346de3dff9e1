//! One node's file systems: names, files, room, faults and locks. Everything here happens at one
//! instant; `disk::mod` gives it duration.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use super::{
    Crash, DiskOp, DiskOptions,
    image::{BLOCK, Contents, Odds},
    names::{Ino, Names, ROOT},
};
use crate::rt::{DirEntry, OpenMode, Space, rng::Rng};

/// A node's disks. Outlives the node's crashes.
pub(super) struct Fs {
    names: Names,
    files: BTreeMap<Ino, FileNode>,
    mounts: Vec<Mount>,
    next_ino: Ino,
    locks: BTreeSet<PathBuf>,
    /// Writes that the device has begun: a crash decides what became of them.
    in_flight: BTreeMap<u64, (Ino, u64, Vec<u8>)>,
    next_write: u64,
}

struct FileNode {
    contents: Contents,
    mount: usize,
    /// Bytes charged to the mount, also for writes that are on their way.
    charged_bytes: u64,
    open: usize,
    /// A write that a planted bug holds back.
    late: Option<(u64, Vec<u8>)>,
    /// A name of this file was removed, so it may be garbage.
    unlinked: bool,
    /// When it last changed, in Unix milliseconds.
    modified_ms: i64,
}

/// A file system mounted somewhere in the node's tree: one disk that can be slow, full or broken.
struct Mount {
    path: PathBuf,
    options: DiskOptions,
    used_bytes: u64,
    faults: Vec<Fault>,
    /// All operations fail from now on.
    dead: bool,
}

struct Fault {
    prefix: PathBuf,
    op: DiskOp,
    errno: i32,
}

impl Fs {
    pub(super) fn new(options: DiskOptions) -> Self {
        let root = Mount::new(PathBuf::new(), options);
        Self {
            names: Names::new(),
            files: BTreeMap::new(),
            mounts: vec![root],
            next_ino: ROOT + 1,
            locks: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            next_write: 0,
        }
    }

    // Set-up and faults.

    pub(super) fn mount(&mut self, path: &Path, options: DiskOptions) {
        self.make_dirs(path).expect("a mount point is a directory");
        self.names.synced_all();
        self.mounts.push(Mount::new(normal(path), options));
    }

    pub(super) fn options_mut(&mut self, path: &Path) -> &mut DiskOptions {
        let mount = self.mount_of(path);
        &mut self.mounts[mount].options
    }

    pub(super) fn fail_next(&mut self, path: &Path, op: DiskOp, errno: i32) {
        let mount = self.mount_of(path);
        self.mounts[mount].faults.push(Fault { prefix: normal(path), op, errno });
    }

    pub(super) fn clear_faults(&mut self) {
        self.mounts.iter_mut().for_each(|mount| mount.faults.clear());
    }

    pub(super) fn set_dead(&mut self, path: &Path, dead: bool) {
        let mount = self.mount_of(path);
        self.mounts[mount].dead = dead;
    }

    pub(super) fn corrupt(
        &mut self,
        path: &Path,
        pos: u64,
        change: impl Fn(u8) -> u8,
    ) -> io::Result<()> {
        let ino = self.names.get(path)?;
        self.file_mut(ino)?.contents.corrupt(pos, change);
        Ok(())
    }

    /// The error that an operation on `path` meets now, if any.
    pub(super) fn fault(&mut self, path: &Path, op: DiskOp) -> io::Result<()> {
        let at = self.mount_of(path);
        let mount = &mut self.mounts[at];
        if mount.dead {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let path = normal(path);
        match mount.faults.iter().position(|f| f.op == op && path.starts_with(&f.prefix)) {
            Some(i) => Err(io::Error::from_raw_os_error(mount.faults.remove(i).errno)),
            None => Ok(()),
        }
    }

    pub(super) fn options(&self, path: &Path) -> &DiskOptions {
        &self.mounts[self.mount_of(path)].options
    }

    /// The node stopped: nothing is open or locked any more, and what was in flight or not synced
    /// is as the kind of crash leaves it.
    pub(super) fn crash(&mut self, kind: Crash, rng: &mut Rng) {
        let odds = Odds::draw(rng);
        for (ino, pos, bytes) in std::mem::take(&mut self.in_flight).into_values() {
            let Some(file) = self.files.get_mut(&ino) else { continue };
            match (kind, rng.index(3)) {
                (Crash::PowerLoss, _) | (Crash::Kill, 0) => file.contents.write(pos, &bytes),
                (Crash::Kill, 1) => file.contents.write_partly(pos, &bytes, rng),
                (Crash::Kill, _) => {}
            }
        }
        if kind == Crash::PowerLoss {
            self.names.lose_power(odds.keep, rng);
            for file in self.files.values_mut() {
                file.contents.lose_power(odds, rng);
            }
        }
        self.locks.clear();
        self.files.values_mut().for_each(|file| file.open = 0);
        self.collect();
        for (i, mount) in self.mounts.iter_mut().enumerate() {
            let files = self.files.values_mut().filter(|f| f.mount == i);
            mount.used_bytes = files.map(FileNode::recharge).sum();
        }
    }

    // Files.

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<Ino> {
        let ino = match (self.names.find(path)?, mode) {
            (Some(_), OpenMode::CreateNew) => {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists));
            }
            (Some(ino), _) if self.names.is_dir(ino) => {
                return Err(io::Error::from(io::ErrorKind::IsADirectory));
            }
            (Some(ino), _) => ino,
            (None, OpenMode::Read | OpenMode::ReadWrite | OpenMode::WriteThrough) => {
                return Err(io::Error::from(io::ErrorKind::NotFound));
            }
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                let (dir, name) = self.names.place(path)?;
                let ino = self.ino();
                let mount = self.mount_of(path);
                self.files.insert(ino, FileNode::new(mount));
                self.names.link(dir, name, ino, false);
                ino
            }
        };
        self.file_mut(ino)?.open += 1;
        Ok(ino)
    }

    pub(super) fn close(&mut self, ino: Ino) {
        if let Some(file) = self.files.get_mut(&ino) {
            file.open = file.open.saturating_sub(1);
            if file.open == 0 {
                self.collect_one(ino);
            }
        }
    }

    pub(super) fn read(&self, ino: Ino, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.file(ino)?.contents.read(pos, buf))
    }

    /// A planted bug's read.
    pub(super) fn read_stale(&self, ino: Ino, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.file(ino)?.contents.read_stale(pos, buf))
    }

    /// The device takes on a write. Room is claimed now.
    pub(super) fn begin_write(&mut self, ino: Ino, pos: u64, bytes: Vec<u8>) -> io::Result<u64> {
        self.claim(ino, pos + bytes.len() as u64)?;
        let id = self.next_write;
        self.next_write += 1;
        self.in_flight.insert(id, (ino, pos, bytes));
        Ok(id)
    }

    /// With `reorder`, a planted bug, some writes are done only after the file's next one.
    pub(super) fn end_write(&mut self, id: u64, failed: bool, reorder: bool, rng: &mut Rng) {
        let Some((ino, pos, bytes)) = self.in_flight.remove(&id) else { return };
        let Ok(file) = self.file_mut(ino) else { return };
        if failed {
            file.contents.write_partly(pos, &bytes, rng);
        } else if reorder && file.late.is_none() && rng.index(4) == 0 {
            file.late = Some((pos, bytes));
        } else {
            file.contents.write(pos, &bytes);
            if let Some((pos, bytes)) = file.late.take() {
                file.contents.write(pos, &bytes);
            }
        }
    }

    pub(super) fn set_len(&mut self, ino: Ino, len: u64) -> io::Result<()> {
        self.claim(ino, len)?;
        let file = self.file_mut(ino)?;
        let charged = file.charged_bytes;
        file.contents.set_len(len);
        let freed = charged - file.recharge();
        let mount = file.mount;
        self.mounts[mount].used_bytes -= freed;
        Ok(())
    }

    /// Notes that a file changed now.
    pub(super) fn modified(&mut self, ino: Ino, wall_ms: i64) {
        if let Ok(file) = self.file_mut(ino) {
            file.modified_ms = wall_ms;
        }
    }

    pub(super) fn modified_ms(&self, ino: Ino) -> io::Result<i64> {
        Ok(self.file(ino)?.modified_ms)
    }

    pub(super) fn len(&self, ino: Ino) -> io::Result<u64> {
        Ok(self.file(ino)?.contents.len())
    }

    pub(super) fn sync_mark(&self, ino: Ino) -> io::Result<u64> {
        Ok(self.file(ino)?.contents.sync_mark())
    }

    pub(super) fn synced(&mut self, ino: Ino, mark: u64) {
        if let Ok(file) = self.file_mut(ino) {
            file.contents.synced(mark);
        }
    }

    pub(super) fn sync_failed(&mut self, ino: Ino, mark: u64, rng: &mut Rng) {
        if let Ok(file) = self.file_mut(ino) {
            file.contents.sync_failed(mark, rng);
        }
    }

    /// Operations on all files that a power cut could undo now.
    pub(super) fn unsynced(&self) -> usize {
        self.files.values().map(|f| f.contents.unsynced()).sum()
    }

    // Names.

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.names.find(path).is_ok_and(|found| found.is_some())
    }

    pub(super) fn make_dirs(&mut self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        let mut ancestors: Vec<&Path> =
            path.ancestors().filter(|p| !p.as_os_str().is_empty()).collect();
        ancestors.reverse();
        for at in ancestors {
            match self.names.find(at)? {
                Some(ino) if self.names.is_dir(ino) => {}
                Some(_) => return Err(io::Error::from(io::ErrorKind::AlreadyExists)),
                None => {
                    let (dir, name) = self.names.place(at)?;
                    let ino = self.ino();
                    self.names.link(dir, name, ino, true);
                }
            }
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ino = self.names.get(from)?;
        let source = self.names.place(from)?;
        let target = self.names.place(to)?;
        if self.mount_of(from) != self.mount_of(to) {
            return Err(io::Error::from(io::ErrorKind::CrossesDevices));
        }
        let replaced = self.names.find(to)?;
        if replaced == Some(ino) {
            return Ok(());
        }
        if let Some(old) = replaced {
            match (self.names.is_dir(ino), self.names.is_dir(old)) {
                (false, false) => {}
                (true, true) if self.names.entries(old)?.is_empty() => {}
                (true, true) => return Err(io::Error::from(io::ErrorKind::DirectoryNotEmpty)),
                (true, false) => return Err(io::Error::from(io::ErrorKind::NotADirectory)),
                (false, true) => return Err(io::Error::from(io::ErrorKind::IsADirectory)),
            }
        }
        self.names.rename(source, target, ino);
        if let Some(old) = replaced {
            self.unlinked(old);
        }
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.names.get(path)?;
        if self.names.is_dir(ino) {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        let (dir, name) = self.names.place(path)?;
        self.names.unlink(dir, name);
        self.unlinked(ino);
        Ok(())
    }

    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.names.get(path)?;
        for (name, child) in self.names.entries(ino)?.clone() {
            let child_path = path.join(name);
            if self.names.is_dir(child) {
                self.remove_dir_all(&child_path)?;
            } else {
                self.remove_file(&child_path)?;
            }
        }
        let (dir, name) = self.names.place(path)?;
        self.names.unlink(dir, name);
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let dir = self.names.get(path)?;
        let entries = self.names.entries(dir)?.iter();
        Ok(entries
            .map(|(name, ino)| DirEntry {
                name: name.clone(),
                is_dir: self.names.is_dir(*ino),
                len: self.files.get(ino).map_or(0, |f| f.contents.len()),
            })
            .collect())
    }

    pub(super) fn dir_sync_mark(&self, path: &Path) -> io::Result<(Ino, u64)> {
        let dir = self.names.get(path)?;
        self.names.entries(dir)?;
        Ok((dir, self.names.sync_mark()))
    }

    pub(super) fn dir_synced(&mut self, dir: Ino, mark: u64) {
        self.names.synced(dir, mark);
        self.collect();
    }

    pub(super) fn space(&self, path: &Path) -> io::Result<Space> {
        self.names.get(path)?;
        let mount = &self.mounts[self.mount_of(path)];
        let total_bytes = mount.options.total_bytes;
        Ok(Space { free_bytes: total_bytes.saturating_sub(mount.used_bytes), total_bytes })
    }

    pub(super) fn lock(&mut self, path: &Path) -> io::Result<()> {
        let ino = self.open(path, OpenMode::Create)?;
        self.close(ino);
        match self.locks.insert(normal(path)) {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::WouldBlock)),
        }
    }

    pub(super) fn unlock(&mut self, path: &Path) {
        self.locks.remove(&normal(path));
    }

    // Inside.

    fn claim(&mut self, ino: Ino, end: u64) -> io::Result<()> {
        let file =
            self.files.get_mut(&ino).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
        let more = blocks(end).saturating_sub(file.charged_bytes);
        let mount = &mut self.mounts[file.mount];
        // What needs no more room works on a full disk, too.
        if more > 0 && mount.used_bytes + more > mount.options.total_bytes {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        mount.used_bytes += more;
        file.charged_bytes += more;
        Ok(())
    }

    fn file(&self, ino: Ino) -> io::Result<&FileNode> {
        self.files.get(&ino).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
    }

    fn file_mut(&mut self, ino: Ino) -> io::Result<&mut FileNode> {
        self.files.get_mut(&ino).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
    }

    fn ino(&mut self) -> Ino {
        let ino = self.next_ino;
        self.next_ino += 1;
        ino
    }

    /// The deepest mount above `path`.
    fn mount_of(&self, path: &Path) -> usize {
        let path = normal(path);
        let above = self.mounts.iter().enumerate().filter(|(_, m)| path.starts_with(&m.path));
        above.max_by_key(|(_, m)| m.path.components().count()).map_or(0, |(i, _)| i)
    }

    fn unlinked(&mut self, ino: Ino) {
        if let Some(file) = self.files.get_mut(&ino) {
            file.unlinked = true;
            self.collect_one(ino);
        }
    }

    /// Frees a file that nothing can reach any more.
    fn collect_one(&mut self, ino: Ino) {
        let unused = self.files.get(&ino).is_some_and(|f| f.open == 0 && f.unlinked);
        if unused && !self.names.reachable().contains(&ino) {
            self.free(ino);
        }
    }

    fn collect(&mut self) {
        let reachable = self.names.reachable();
        let garbage: Vec<Ino> = self
            .files
            .iter()
            .filter(|(ino, f)| f.open == 0 && !reachable.contains(ino))
            .map(|(ino, _)| *ino)
            .collect();
        garbage.into_iter().for_each(|ino| self.free(ino));
    }

    fn free(&mut self, ino: Ino) {
        if let Some(file) = self.files.remove(&ino) {
            let mount = &mut self.mounts[file.mount];
            mount.used_bytes = mount.used_bytes.saturating_sub(file.charged_bytes);
        }
    }
}

impl FileNode {
    fn new(mount: usize) -> Self {
        let contents = Contents::default();
        let (charged_bytes, open, late) = (0, 0, None);
        Self { contents, mount, charged_bytes, open, late, unlinked: false, modified_ms: 0 }
    }

    fn recharge(&mut self) -> u64 {
        self.charged_bytes = blocks(self.contents.len());
        self.charged_bytes
    }
}

impl Mount {
    fn new(path: PathBuf, options: DiskOptions) -> Self {
        Self { path, options, used_bytes: 0, faults: Vec::new(), dead: false }
    }
}

/// Bytes that a file of `len` bytes takes.
fn blocks(len: u64) -> u64 {
    len.div_ceil(BLOCK as u64) * BLOCK as u64
}

/// The path without root and dots, so that `data`, `/data` and `./data` are one.
fn normal(path: &Path) -> PathBuf {
    path.components().filter(|c| matches!(c, std::path::Component::Normal(_))).collect()
}
