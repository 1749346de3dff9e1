//! The simulated disks: what the real file system does, with durations, faults and power cuts.
//!
//! Three layers: `image` (a file's bytes), `names` (directories), `fs` (a node's whole tree, at one
//! instant); this one adds time and hands out open files.
//!
//! What is certain to survive a power cut is what [`crate::rt::File::sync`] and
//! [`crate::rt::Rt::sync_dir`] covered. Of the rest, a seeded part survives: each write is lost,
//! kept, or torn by 512-byte sectors, independently of the others; lengths and names are journaled,
//! so a prefix of their changes survives. A killed process loses only what was in flight.

use std::{
    cell::RefCell,
    fmt, io,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use super::{Core, Later, Plant};
use crate::rt::file::FileForm;
use crate::rt::{DMA_ALIGN, DirEntry, DmaBuf, File, OpenMode, Space, rng::Rng};

mod fs;
mod image;
mod names;

/// How a node stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies. What the kernel accepted stays; peers see their connections reset.
    Kill,
    /// The machine dies. What was not synced is lost, kept or torn by seed; peers see silence.
    PowerLoss,
}

/// A kind of disk operation, as the target of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Reads of file contents, also of small files.
    Read,
    /// Writes of file contents, also of small files.
    Write,
    /// Syncs of files and directories.
    Sync,
    /// Opening, creating, renaming, removing, listing, truncating, allocating.
    Meta,
}

/// A disk's size and speed.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Capacity; writes beyond it fail with `StorageFull`.
    pub total_bytes: u64,
    /// Shortest duration of an operation.
    pub latency_min: Duration,
    /// Longest duration of an ordinary operation, before its transfer time.
    pub latency_max: Duration,
    /// Transfer rate.
    pub bytes_per_sec: u64,
    /// One operation in so many takes fifty times as long; 0 for none.
    pub hiccup_one_in: u64,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            total_bytes: 1 << 40,
            latency_min: Duration::from_micros(20),
            latency_max: Duration::from_micros(200),
            bytes_per_sec: 2_000_000_000,
            hiccup_one_in: 200,
        }
    }
}

/// A node's disks, shared by its cores and the world.
#[derive(Clone)]
pub(super) struct Disks(Rc<RefCell<fs::Fs>>);

/// An open simulated file.
pub(in crate::rt) struct OpenFile {
    core: Rc<Core>,
    ino: names::Ino,
    path: PathBuf,
    mode: OpenMode,
}

/// A held simulated lock.
pub(in crate::rt) struct HeldLock {
    core: Rc<Core>,
    path: PathBuf,
}

impl Disks {
    pub(super) fn new(options: DiskOptions) -> Self {
        Self(Rc::new(RefCell::new(fs::Fs::new(options))))
    }

    pub(super) fn mount(&self, path: &Path, options: DiskOptions) {
        self.0.borrow_mut().mount(path, options);
    }

    pub(super) fn set_options(&self, path: &Path, change: impl FnOnce(&mut DiskOptions)) {
        change(self.0.borrow_mut().options_mut(path));
    }

    pub(super) fn fail_next(&self, path: &Path, op: DiskOp, errno: i32) {
        self.0.borrow_mut().fail_next(path, op, errno);
    }

    pub(super) fn clear_faults(&self) {
        self.0.borrow_mut().clear_faults();
    }

    pub(super) fn set_dead(&self, path: &Path, dead: bool) {
        self.0.borrow_mut().set_dead(path, dead);
    }

    pub(super) fn corrupt(
        &self,
        path: &Path,
        pos: u64,
        change: impl Fn(u8) -> u8,
    ) -> io::Result<()> {
        self.0.borrow_mut().corrupt(path, pos, change)
    }

    pub(super) fn crash(&self, kind: Crash, rng: &mut Rng) {
        self.0.borrow_mut().crash(kind, rng);
    }

    pub(super) fn unsynced(&self) -> usize {
        self.0.borrow().unsynced()
    }

    /// How long an operation that moves `len` bytes takes.
    fn duration(&self, path: &Path, len: usize, rng: &mut Rng) -> Duration {
        let fs = self.0.borrow();
        let options = fs.options(path);
        let spread = options.latency_max.saturating_sub(options.latency_min).as_nanos() as u64;
        let mut latency = options.latency_min + Duration::from_nanos(rng.below(spread + 1));
        if options.hiccup_one_in > 0 && rng.below(options.hiccup_one_in) == 0 {
            latency *= 50;
        }
        let transfer = len as u128 * 1_000_000_000 / u128::from(options.bytes_per_sec.max(1));
        latency + Duration::from_nanos(u64::try_from(transfer).unwrap_or(u64::MAX))
    }
}

/// What [`crate::rt::Rt`] offers on paths.
impl Core {
    pub(in crate::rt) async fn open(
        self: &Rc<Self>,
        path: &Path,
        mode: OpenMode,
    ) -> io::Result<OpenFile> {
        let ino = self.disk_op(path, DiskOp::Meta, 0, move |fs, p| fs.open(p, mode)).await?;
        Ok(OpenFile { core: Rc::clone(self), ino, path: path.to_owned(), mode })
    }

    pub(in crate::rt) async fn create_dir_all(self: &Rc<Self>, path: &Path) -> io::Result<()> {
        self.disk_op(path, DiskOp::Meta, 0, |fs, p| fs.make_dirs(p)).await
    }

    pub(in crate::rt) async fn rename(self: &Rc<Self>, from: &Path, to: &Path) -> io::Result<()> {
        let to = to.to_owned();
        self.disk_op(from, DiskOp::Meta, 0, move |fs, p| fs.rename(p, &to)).await
    }

    pub(in crate::rt) async fn remove_file(self: &Rc<Self>, path: &Path) -> io::Result<()> {
        self.disk_op(path, DiskOp::Meta, 0, |fs, p| fs.remove_file(p)).await
    }

    pub(in crate::rt) async fn remove_dir_all(self: &Rc<Self>, path: &Path) -> io::Result<()> {
        self.disk_op(path, DiskOp::Meta, 0, |fs, p| fs.remove_dir_all(p)).await
    }

    pub(in crate::rt) async fn list_dir(self: &Rc<Self>, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk_op(path, DiskOp::Meta, 0, |fs, p| fs.list(p)).await
    }

    pub(in crate::rt) async fn exists(self: &Rc<Self>, path: &Path) -> io::Result<bool> {
        self.disk_op(path, DiskOp::Meta, 0, |fs, p| Ok(fs.exists(p))).await
    }

    pub(in crate::rt) async fn space(self: &Rc<Self>, path: &Path) -> io::Result<Space> {
        self.disk_op(path, DiskOp::Meta, 0, |fs, p| fs.space(p)).await
    }

    pub(in crate::rt) async fn sync_dir(self: &Rc<Self>, path: &Path) -> io::Result<()> {
        let (dir, mark) = self.disks().0.borrow().dir_sync_mark(path)?;
        let skipped = self.planted(Plant::SkippedDirSync);
        self.disk_op(path, DiskOp::Sync, 0, move |fs, _| {
            if !skipped {
                fs.dir_synced(dir, mark);
            }
            Ok(())
        })
        .await
    }

    pub(in crate::rt) async fn sync_files(
        self: &Rc<Self>,
        dir: &Path,
        files: &[File],
    ) -> io::Result<()> {
        let disks = self.disks().clone();
        disks.0.borrow().dir_sync_mark(dir)?;
        let marked = files.iter().filter_map(|file| {
            let FileForm::Sim(file) = &file.0 else { return None };
            let mark = disks.0.borrow().sync_mark(file.ino).ok()?;
            Some((file.ino, mark, file.path.clone()))
        });
        let marked: Vec<_> = marked.collect();
        if self.planted(Plant::SkippedSync) {
            return Ok(());
        }
        let (later, deliver) = Later::new();
        let takes = self.random(|rng| disks.duration(dir, 0, rng));
        self.call_after(takes, move |core| {
            let mut fs = disks.0.borrow_mut();
            let mut faults = marked.iter().map(|(.., path)| fs.fault(path, DiskOp::Sync));
            let result = faults.find(Result::is_err).unwrap_or(Ok(()));
            for (ino, mark, _) in &marked {
                match &result {
                    Ok(()) => fs.synced(*ino, *mark),
                    Err(_) => core.random(|rng| fs.sync_failed(*ino, *mark, rng)),
                }
            }
            drop(fs);
            deliver(result);
        });
        match self.planted(Plant::EarlySync) {
            true => Ok(()),
            false => later.await,
        }
    }

    pub(in crate::rt) async fn read_file(
        self: &Rc<Self>,
        path: &Path,
        len_max: usize,
    ) -> io::Result<Vec<u8>> {
        self.disk_op(path, DiskOp::Read, 4096, move |fs, p| {
            let ino = fs.open(p, OpenMode::Read)?;
            let read = fs.len(ino).and_then(|len| {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                if len > len_max {
                    return Err(crate::rt::file::too_large(p, len as u64, len_max));
                }
                let mut bytes = vec![0; len];
                fs.read(ino, 0, &mut bytes).map(|_| bytes)
            });
            fs.close(ino);
            read
        })
        .await
    }

    pub(in crate::rt) async fn write_file(
        self: &Rc<Self>,
        path: &Path,
        contents: &[u8],
    ) -> io::Result<()> {
        let file = self.open(path, OpenMode::Create).await?;
        file.truncate(0).await?;
        if !contents.is_empty() {
            file.write(contents.to_vec(), 0).await?;
        }
        file.sync().await
    }

    pub(in crate::rt) fn lock_file(self: &Rc<Self>, path: &Path) -> io::Result<HeldLock> {
        self.disks().0.borrow_mut().lock(path)?;
        Ok(HeldLock { core: Rc::clone(self), path: path.to_owned() })
    }

    /// Does `f` after a while, unless a fault is due or the node has crashed by then.
    async fn disk_op<R: 'static>(
        self: &Rc<Self>,
        path: &Path,
        op: DiskOp,
        len: usize,
        f: impl FnOnce(&mut fs::Fs, &Path) -> io::Result<R> + 'static,
    ) -> io::Result<R> {
        let (later, deliver) = Later::new();
        let (disks, path) = (self.disks().clone(), path.to_owned());
        let takes = self.random(|rng| disks.duration(&path, len, rng));
        self.call_after(takes, move |_| {
            let mut fs = disks.0.borrow_mut();
            let result = fs.fault(&path, op).and_then(|()| f(&mut fs, &path));
            drop(fs);
            deliver(result);
        });
        later.await
    }
}

impl OpenFile {
    pub(in crate::rt) fn copied(&self, bytes: &[u8]) -> DmaBuf {
        let mut copy = self.core.alloc(bytes.len().next_multiple_of(DMA_ALIGN));
        let (data, padding) = copy.split_at_mut(bytes.len());
        data.copy_from_slice(bytes);
        padding.fill(0);
        copy
    }

    pub(in crate::rt) async fn write_at(
        &self,
        buf: Rc<DmaBuf>,
        len: usize,
        pos: u64,
    ) -> io::Result<()> {
        self.write(buf[..len].to_vec(), pos).await?;
        match self.mode == OpenMode::WriteThrough && !self.core.planted(Plant::JournalNotSynced) {
            true => self.sync().await,
            false => Ok(()),
        }
    }

    async fn write(&self, bytes: Vec<u8>, pos: u64) -> io::Result<()> {
        if self.mode == OpenMode::Read {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        let (later, deliver) = Later::new();
        let (disks, path) = (self.core.disks().clone(), self.path.clone());
        let takes = self.core.random(|rng| disks.duration(&path, bytes.len(), rng));
        let id = disks.0.borrow_mut().begin_write(self.ino, pos, bytes)?;
        disks.0.borrow_mut().modified(self.ino, self.core.wall_ms());
        self.core.call_after(takes, move |core| {
            let mut fs = disks.0.borrow_mut();
            let fault = fs.fault(&path, DiskOp::Write);
            let reorder = core.planted(Plant::ReorderedWrites);
            core.random(|rng| fs.end_write(id, fault.is_err(), reorder, rng));
            drop(fs);
            deliver(fault);
        });
        later.await
    }

    pub(in crate::rt) async fn read_at(&self, pos: u64, len: usize) -> io::Result<DmaBuf> {
        let (ino, mut buf) = (self.ino, self.core.alloc(len));
        let stale = self.core.planted(Plant::StaleReads);
        self.op(DiskOp::Read, len, move |fs, _| {
            let n = match stale {
                true => fs.read_stale(ino, pos, &mut buf)?,
                false => fs.read(ino, pos, &mut buf)?,
            };
            buf.truncate(n);
            Ok(buf)
        })
        .await
    }

    pub(in crate::rt) async fn sync(&self) -> io::Result<()> {
        let ino = self.ino;
        let (later, deliver) = Later::new();
        let (disks, path) = (self.core.disks().clone(), self.path.clone());
        let mark = disks.0.borrow().sync_mark(ino)?;
        if self.core.planted(Plant::SkippedSync) {
            return Ok(());
        }
        let takes = self.core.random(|rng| disks.duration(&path, 0, rng));
        let early = self.core.planted(Plant::EarlySync);
        self.core.call_after(takes, move |core| {
            let mut fs = disks.0.borrow_mut();
            let fault = fs.fault(&path, DiskOp::Sync);
            match fault {
                Ok(()) => fs.synced(ino, mark),
                Err(_) => core.random(|rng| fs.sync_failed(ino, mark, rng)),
            }
            drop(fs);
            deliver(fault);
        });
        if early {
            return Ok(());
        }
        later.await
    }

    pub(in crate::rt) async fn truncate(&self, len: u64) -> io::Result<()> {
        let ino = self.ino;
        self.core.disks().0.borrow_mut().modified(ino, self.core.wall_ms());
        self.op(DiskOp::Meta, 0, move |fs, _| fs.set_len(ino, len)).await
    }

    pub(in crate::rt) async fn allocate(&self, len: u64) -> io::Result<()> {
        let ino = self.ino;
        self.op(
            DiskOp::Meta,
            0,
            move |fs, _| {
                if fs.len(ino)? < len { fs.set_len(ino, len) } else { Ok(()) }
            },
        )
        .await
    }

    pub(in crate::rt) async fn len(&self) -> io::Result<u64> {
        let ino = self.ino;
        self.op(DiskOp::Meta, 0, move |fs, _| fs.len(ino)).await
    }

    pub(in crate::rt) async fn modified_ms(&self) -> io::Result<i64> {
        let ino = self.ino;
        self.op(DiskOp::Meta, 0, move |fs, _| fs.modified_ms(ino)).await
    }

    async fn op<R: 'static>(
        &self,
        op: DiskOp,
        len: usize,
        f: impl FnOnce(&mut fs::Fs, &Path) -> io::Result<R> + 'static,
    ) -> io::Result<R> {
        self.core.disk_op(&self.path, op, len, f).await
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if self.core.is_alive() {
            self.core.disks().0.borrow_mut().close(self.ino);
        }
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        if self.core.is_alive() {
            self.core.disks().0.borrow_mut().unlock(&self.path);
        }
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}
