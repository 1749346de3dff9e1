//! The runtime seam: everything that touches a clock, randomness, a file, a socket or another core
//! goes through [`Rt`].
//!
//! ```text
//!                      Rt · File · Stream · Timer · JoinHandle · MeshPort
//!                         one branch per call, decided at run time
//!                 real::  ────────────┴────────────  sim::
//!        one glommio executor per core       many nodes × cores on one thread,
//!        io_uring files, TCP, blocking pool  virtual time, faulty disks and links
//! ```
//!
//! An `Rt` belongs to one core of one node and is passed explicitly; there is no ambient executor.
//! Nothing here is `Send` unless it says so: what crosses cores is a [`MeshPort`] message, a
//! [`StreamHandoff`] or an [`InboxSender`]. Same seed, same simulated history: see [`sim::World`].

use std::{future::Future, io, net::SocketAddr, path::Path, rc::Rc, time::Duration};

use crate::ids::CoreId;

mod dma;
mod file;
mod hash;
mod inbox;
mod instant;
mod mesh;
pub mod real;
mod rng;
pub mod sim;
mod stream;
mod task;
#[cfg(test)]
mod tests;
mod timer;

pub use dma::{DMA_ALIGN, DmaBuf};
pub use file::{DirEntry, File, FileLock, OpenMode, Space};
pub use hash::{HashState, Map, Set, WideHash};
pub use inbox::{Inbox, InboxClosed, InboxSender, inbox};
pub use instant::Instant;
pub use mesh::{MeshClosed, MeshPort, TrySendError, mesh};
#[cfg(test)]
pub(crate) use rng::split_mix;
pub use stream::{Listener, Stream, StreamHandoff};
pub use task::{BlockingPanicked, JoinHandle, TaskPanicked};
pub use timer::Timer;

/// One core's runtime. Cheap to clone; stays on its core.
#[derive(Clone)]
pub struct Rt(RtForm);

#[derive(Clone)]
enum RtForm {
    Real(Rc<real::Core>),
    Sim(Rc<sim::Core>),
}

/// Core, time and randomness.
impl Rt {
    /// The core this runtime belongs to.
    #[must_use]
    pub fn core(&self) -> CoreId {
        match &self.0 {
            RtForm::Real(core) => core.id(),
            RtForm::Sim(core) => core.id(),
        }
    }

    /// Monotonic time, common to all cores of the node.
    #[must_use]
    pub fn now(&self) -> Instant {
        match &self.0 {
            RtForm::Real(core) => core.now(),
            RtForm::Sim(core) => core.now(),
        }
    }

    /// Wall clock in milliseconds since the Unix epoch; it may jump either way.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        match &self.0 {
            RtForm::Real(core) => core.wall_ms(),
            RtForm::Sim(core) => core.wall_ms(),
        }
    }

    /// Processor time that the core's thread has used; nothing takes any in the simulator.
    #[must_use]
    pub fn busy(&self) -> Duration {
        match &self.0 {
            RtForm::Real(core) => core.busy(),
            RtForm::Sim(_) => Duration::ZERO,
        }
    }

    /// Unpredictable bits, good enough for ids and secrets on a real node.
    #[must_use]
    pub fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_random(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Fills `bytes` as [`Rt::random_u64`] does.
    pub fn fill_random(&self, bytes: &mut [u8]) {
        match &self.0 {
            RtForm::Real(core) => core.fill_random(bytes),
            RtForm::Sim(core) => core.fill_random(bytes),
        }
    }

    /// The node's hasher state, for [`Map`] and [`Set`]; the same on all of its cores.
    #[must_use]
    pub fn hash_state(&self) -> HashState {
        match &self.0 {
            RtForm::Real(core) => core.hash_state(),
            RtForm::Sim(core) => core.hash_state(),
        }
    }

    /// Resolves after `duration`. Dropping the timer cancels it.
    pub fn sleep(&self, duration: Duration) -> Timer {
        self.sleep_until(self.now() + duration)
    }

    /// Resolves at `deadline`, at once if it has passed.
    pub fn sleep_until(&self, deadline: Instant) -> Timer {
        match &self.0 {
            RtForm::Real(core) => Timer::real(core.timer(deadline)),
            RtForm::Sim(core) => Timer::sim(core.timer(deadline)),
        }
    }
}

/// Tasks.
impl Rt {
    /// Runs `f` as a task of this core. Dropping the handle detaches it. A panic is caught, logged
    /// with `name` and given to who awaits the handle; it never reaches the executor.
    ///
    /// The task starts when the present one waits or ends, not before.
    pub fn spawn<T: 'static>(
        &self,
        name: &'static str,
        f: impl Future<Output = T> + 'static,
    ) -> JoinHandle<T> {
        match &self.0 {
            RtForm::Real(core) => {
                let (handle, task) = JoinHandle::pair(name, f, |_| {});
                core.spawn(task);
                handle
            }
            RtForm::Sim(core) => {
                let (handle, task) = JoinHandle::pair(name, f, core.witness());
                core.spawn(task);
                handle
            }
        }
    }

    /// Whether a simulation has planted this bug; never on a real node.
    #[inline]
    #[must_use]
    pub fn planted(&self, plant: sim::Plant) -> bool {
        match &self.0 {
            RtForm::Real(_) => false,
            RtForm::Sim(core) => core.planted(plant),
        }
    }

    /// Lets others run if this core has gone without looking at its sockets and disks for more
    /// than 500 µs, returns at once otherwise. Every loop that can stay ready calls it per request
    /// or per 64 KiB of work. In the simulator every call is a scheduling point.
    pub async fn turn(&self) {
        match &self.0 {
            RtForm::Real(core) => core.turn().await,
            RtForm::Sim(_) => sim::yield_once().await,
        }
    }

    /// Runs `f` on a thread where blocking is allowed. For system calls, not for computing: there
    /// are two such threads per core.
    ///
    /// # Errors
    /// When `f` panicked.
    pub async fn blocking<R: Send + 'static>(
        &self,
        f: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, BlockingPanicked> {
        match &self.0 {
            RtForm::Real(core) => core.blocking(f).await,
            RtForm::Sim(core) => core.blocking(f).await,
        }
    }
}

/// Files and directories. Names become durable with [`Rt::sync_dir`], contents with
/// [`File::sync`].
impl Rt {
    /// A buffer of `len` bytes for direct I/O, with unspecified contents (zero or recycled).
    ///
    /// # Panics
    /// When `len` is not a positive multiple of 4096.
    #[must_use]
    pub fn alloc(&self, len: usize) -> DmaBuf {
        match &self.0 {
            RtForm::Real(core) => core.alloc(len),
            RtForm::Sim(core) => core.alloc(len),
        }
    }

    /// Opens a file for direct I/O.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<File> {
        match &self.0 {
            RtForm::Real(core) => {
                core.open(path, mode).await.map(|f| File(file::FileForm::Real(Rc::new(f))))
            }
            RtForm::Sim(core) => {
                core.open(path, mode).await.map(|f| File(file::FileForm::Sim(Rc::new(f))))
            }
        }
    }

    /// Creates a directory and its missing parents.
    ///
    /// # Errors
    /// What the file system reports; an existing directory is none.
    pub async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        match &self.0 {
            RtForm::Real(core) => core.create_dir_all(path).await,
            RtForm::Sim(core) => core.create_dir_all(path).await,
        }
    }

    /// Renames a file or directory; an existing file at `to` is replaced atomically.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match &self.0 {
            RtForm::Real(core) => core.rename(from, to).await,
            RtForm::Sim(core) => core.rename(from, to).await,
        }
    }

    /// Removes a file's name; open files stay readable.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn remove_file(&self, path: &Path) -> io::Result<()> {
        match &self.0 {
            RtForm::Real(core) => core.remove_file(path).await,
            RtForm::Sim(core) => core.remove_file(path).await,
        }
    }

    /// Removes a directory with all it holds. Not atomic: a crash may leave part of it.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        match &self.0 {
            RtForm::Real(core) => core.remove_dir_all(path).await,
            RtForm::Sim(core) => core.remove_dir_all(path).await,
        }
    }

    /// The directory's entries, ordered by name.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        match &self.0 {
            RtForm::Real(core) => core.list_dir(path).await,
            RtForm::Sim(core) => core.list_dir(path).await,
        }
    }

    /// Makes the names in a directory durable: creations, renames and removals that completed
    /// before this call. Says nothing about the name of the directory itself in its parent.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        match &self.0 {
            RtForm::Real(core) => core.sync_dir(path).await,
            RtForm::Sim(core) => core.sync_dir(path).await,
        }
    }

    /// Makes durable every write to `files` that completed before this call, as a [`File::sync`] of
    /// each does, by one sync of the file system that they and `dir` are on (syncfs). That takes
    /// along whatever else waits there, of other programs too.
    ///
    /// # Errors
    /// As for [`File::sync`]: none of the files may then be believed.
    pub async fn sync_files(&self, dir: &Path, files: &[File]) -> io::Result<()> {
        match &self.0 {
            RtForm::Real(core) => core.sync_file_system(dir).await,
            RtForm::Sim(core) => core.sync_files(dir, files).await,
        }
    }

    /// True if there is a file or directory at `path`.
    ///
    /// # Errors
    /// When that can't be told; "not found" is `Ok(false)`.
    pub async fn exists(&self, path: &Path) -> io::Result<bool> {
        match &self.0 {
            RtForm::Real(core) => core.exists(path).await,
            RtForm::Sim(core) => core.exists(path).await,
        }
    }

    /// Reads a small file whole.
    ///
    /// # Errors
    /// `FileTooLarge` when it is longer than `max_len` bytes; what the file system reports.
    pub async fn read_file(&self, path: &Path, max_len: usize) -> io::Result<Vec<u8>> {
        match &self.0 {
            RtForm::Real(core) => core.read_file(path, max_len).await,
            RtForm::Sim(core) => core.read_file(path, max_len).await,
        }
    }

    /// Writes a small file in place, creating or truncating it, and syncs its contents. A crash
    /// may leave any mixture; see [`Rt::replace_file`].
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn write_file(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        match &self.0 {
            RtForm::Real(core) => core.write_file(path, contents).await,
            RtForm::Sim(core) => core.write_file(path, contents).await,
        }
    }

    /// Replaces a small file atomically and durably: after a crash it has the old or the new
    /// contents, and the new ones once this returned. Uses the name `<path>.tmp` meanwhile.
    ///
    /// # Errors
    /// What the file system reports; the old file is untouched then, unless only the sync of the
    /// directory failed.
    pub async fn replace_file(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = Path::new(&temporary);
        self.write_file(temporary, contents).await?;
        self.rename(temporary, path).await?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        self.sync_dir(parent.unwrap_or(Path::new("."))).await
    }

    /// Room on the file system that holds `path`.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn space(&self, path: &Path) -> io::Result<Space> {
        match &self.0 {
            RtForm::Real(core) => core.space(path).await,
            RtForm::Sim(core) => core.space(path).await,
        }
    }

    /// Locks a file, creating it if need be, against other processes and other callers. Blocks the
    /// core for two system calls: for start-up.
    ///
    /// # Errors
    /// `WouldBlock` when it is held by another; what the file system reports.
    pub fn lock_file(&self, path: &Path) -> io::Result<FileLock> {
        match &self.0 {
            RtForm::Real(_) => FileLock::take(path),
            RtForm::Sim(core) => core.lock_file(path).map(|l| FileLock(file::FileLockForm::Sim(l))),
        }
    }
}

/// Sockets.
impl Rt {
    /// Listens on `addr`; port 0 chooses a free one.
    ///
    /// # Errors
    /// `AddrInUse` when the port is taken, also by another process; what the system reports.
    pub async fn listen(&self, addr: SocketAddr, backlog: u32) -> io::Result<Listener> {
        match &self.0 {
            RtForm::Real(core) => {
                core.listen(addr, backlog).map(|l| Listener(stream::ListenerForm::Real(Rc::new(l))))
            }
            RtForm::Sim(core) => {
                core.listen(addr, backlog).map(|l| Listener(stream::ListenerForm::Sim(Rc::new(l))))
            }
        }
    }

    /// Connects to `addr`.
    ///
    /// # Errors
    /// `ConnectionRefused`, `TimedOut` and what else the system reports.
    pub async fn connect(&self, addr: SocketAddr) -> io::Result<Stream> {
        match &self.0 {
            RtForm::Real(core) => {
                core.connect(addr).await.map(|s| Stream(stream::StreamForm::Real(Rc::new(s))))
            }
            RtForm::Sim(core) => {
                core.connect(addr).await.map(|s| Stream(stream::StreamForm::Sim(Rc::new(s))))
            }
        }
    }
}

impl std::fmt::Debug for Rt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            RtForm::Real(core) => write!(f, "Rt(core {})", core.id()),
            RtForm::Sim(core) => write!(f, "Rt(simulated {}, core {})", core.node(), core.id()),
        }
    }
}
