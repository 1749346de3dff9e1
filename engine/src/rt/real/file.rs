//! Files and directories of the real form: contents through the ring, names through the blocking
//! pool.

use std::{
    fmt, fs,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    rc::Rc,
};

use io_uring::{opcode, types};

use super::{Core, ring::Keep};
use crate::rt::{DMA_ALIGN, DirEntry, DmaBuf, OpenMode, Space, file::too_large};

/// An open file.
pub(in crate::rt) struct OpenFile {
    core: Rc<Core>,
    fd: Rc<OwnedFd>,
    path: PathBuf,
}

impl Core {
    pub(in crate::rt) async fn open(
        self: &Rc<Self>,
        path: &Path,
        mode: OpenMode,
    ) -> io::Result<OpenFile> {
        let (own, path) = (path.to_owned(), path.to_owned());
        let file = self.in_pool(move || open_direct(&own, mode)).await?;
        Ok(OpenFile { core: Rc::clone(self), fd: Rc::new(file.into()), path })
    }

    pub(in crate::rt) async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        self.in_pool(move || fs::create_dir_all(path)).await
    }

    pub(in crate::rt) async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.in_pool(move || fs::rename(from, to)).await
    }

    pub(in crate::rt) async fn remove_file(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        self.in_pool(move || fs::remove_file(path)).await
    }

    pub(in crate::rt) async fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        self.in_pool(move || fs::remove_dir_all(path)).await
    }

    pub(in crate::rt) async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let path = path.to_owned();
        self.in_pool(move || list(&path)).await
    }

    pub(in crate::rt) async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        self.in_pool(move || fs::File::open(path)?.sync_all()).await
    }

    pub(in crate::rt) async fn exists(&self, path: &Path) -> io::Result<bool> {
        let path = path.to_owned();
        self.in_pool(move || path.try_exists()).await
    }

    pub(in crate::rt) async fn read_file(
        &self,
        path: &Path,
        len_max: usize,
    ) -> io::Result<Vec<u8>> {
        let path = path.to_owned();
        self.in_pool(move || read_whole(&path, len_max)).await
    }

    pub(in crate::rt) async fn write_file(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let (path, contents) = (path.to_owned(), contents.to_owned());
        self.in_pool(move || {
            let mut file = fs::File::create(path)?;
            file.write_all(&contents)?;
            file.sync_data()
        })
        .await
    }

    pub(in crate::rt) async fn space(&self, path: &Path) -> io::Result<Space> {
        let path = path.to_owned();
        self.in_pool(move || space(&path)).await
    }

    async fn in_pool<R: Send + 'static>(
        &self,
        f: impl FnOnce() -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        self.blocking(f).await.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
    }
}

/// A lock on a file, created if need be.
pub(in crate::rt) fn lock_file(path: &Path) -> io::Result<fs::File> {
    let file = fs::File::options().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(io::Error::from(io::ErrorKind::WouldBlock)),
        Err(fs::TryLockError::Error(e)) => Err(e),
    }
}

impl OpenFile {
    pub(in crate::rt) async fn write_at(
        &self,
        buf: Rc<DmaBuf>,
        len: usize,
        pos: u64,
    ) -> io::Result<()> {
        let mut done = 0;
        // A device may take less than it was given; it says why on the next attempt.
        while done < len {
            let (from, rest) =
                (buf[done..len].as_ptr(), u32::try_from(len - done).unwrap_or(CHUNK_MAX));
            let entry = opcode::Write::new(self.target(), from, rest).offset(pos + done as u64);
            let keep = Keep::Write(Rc::clone(&self.fd), Rc::clone(&buf));
            // SAFETY: the entry points into `buf`'s allocation, which does not move with the `Rc`,
            // is at least `done + rest` bytes long and can't be written by others while shared; and
            // to the descriptor. `keep` owns both.
            let (result, _) = unsafe { self.core.ring().start(entry.build(), keep) }.await;
            match outcome(result) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(n) => done += n,
                Err(e) if is_transient(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    pub(in crate::rt) async fn read_at(&self, pos: u64, len: usize) -> io::Result<DmaBuf> {
        let mut buf = self.core.alloc(len);
        let mut done = 0;
        while done < len {
            let (to, rest) =
                (buf[done..].as_mut_ptr(), u32::try_from(len - done).unwrap_or(CHUNK_MAX));
            let entry = opcode::Read::new(self.target(), to, rest).offset(pos + done as u64);
            let keep = Keep::Read(Rc::clone(&self.fd), buf);
            // SAFETY: the entry points into `buf`'s allocation, which does not move with the
            // handle and is at least `done + rest` bytes long, and to the descriptor. `keep` owns
            // both, the buffer exclusively.
            let (result, kept) = unsafe { self.core.ring().start(entry.build(), keep) }.await;
            let Keep::Read(_, returned) = kept else {
                unreachable!("an operation keeps what it was given")
            };
            buf = returned;
            match outcome(result) {
                Ok(n) => {
                    done += n;
                    // Only the end of the file leaves a read unaligned.
                    if n == 0 || !n.is_multiple_of(DMA_ALIGN) {
                        break;
                    }
                }
                Err(e) if is_transient(&e) => {}
                Err(e) => return Err(e),
            }
        }
        buf.truncate(done);
        Ok(buf)
    }

    pub(in crate::rt) async fn sync(&self) -> io::Result<()> {
        let entry = opcode::Fsync::new(self.target()).flags(types::FsyncFlags::DATASYNC).build();
        self.simple(entry).await
    }

    pub(in crate::rt) async fn allocate(&self, len: u64) -> io::Result<()> {
        if self.len()? >= len {
            return Ok(());
        }
        self.simple(opcode::Fallocate::new(self.target(), len).build()).await
    }

    pub(in crate::rt) async fn truncate(&self, len: u64) -> io::Result<()> {
        let fd = self.fd.try_clone()?;
        self.core.in_pool(move || fs::File::from(fd).set_len(len)).await
    }

    /// Asks the inode, not the path: the file may have been renamed or removed.
    pub(in crate::rt) fn len(&self) -> io::Result<u64> {
        // SAFETY: `stat` is plain data for the kernel to fill, for which all zeros is a value, and
        // the descriptor is open.
        let (result, stat) = unsafe {
            let mut stat = std::mem::zeroed::<libc::stat64>();
            (libc::fstat64(self.fd.as_raw_fd(), &raw mut stat), stat)
        };
        match result {
            0 => Ok(u64::try_from(stat.st_size).unwrap_or(0)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The last close of a removed file frees its blocks, which takes time: not on the core.
    pub(in crate::rt) async fn close(self) -> io::Result<()> {
        let Self { core, fd, .. } = self;
        match Rc::try_unwrap(fd) {
            Ok(fd) => core.in_pool(move || close(fd)).await,
            // An abandoned operation holds it, and closes it when it completes.
            Err(_) => Ok(()),
        }
    }

    async fn simple(&self, entry: io_uring::squeue::Entry) -> io::Result<()> {
        // SAFETY: the entry refers to the descriptor only, and `keep` owns it.
        let completion = unsafe { self.core.ring().start(entry, Keep::File(Rc::clone(&self.fd))) };
        outcome(completion.await.0).map(drop)
    }

    fn target(&self) -> types::Fd {
        types::Fd(self.fd.as_raw_fd())
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// A completion's result as a call would have returned it.
pub(super) fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

fn is_transient(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

fn open_direct(path: &Path, mode: OpenMode) -> io::Result<fs::File> {
    let mut options = fs::File::options();
    options.read(true).write(mode != OpenMode::Read);
    options.create(mode == OpenMode::Create).create_new(mode == OpenMode::CreateNew);
    match options.clone().custom_flags(libc::O_DIRECT).open(path) {
        // A file system in memory may have no direct I/O, and needs none.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => options.open(path),
        opened => opened,
    }
}

fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Removed meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        let is_dir = metadata.is_dir();
        let len = if is_dir { 0 } else { metadata.len() };
        entries.push(DirEntry { name: entry.file_name(), is_dir, len });
    }
    entries.sort_unstable();
    Ok(entries)
}

fn read_whole(path: &Path, len_max: usize) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    let mut contents = Vec::new();
    file.take(len_max as u64 + 1).read_to_end(&mut contents)?;
    if contents.len() > len_max {
        let len = fs::metadata(path).map_or(contents.len() as u64, |m| m.len());
        return Err(too_large(path, len, len_max));
    }
    Ok(contents)
}

fn space(path: &Path) -> io::Result<Space> {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `path` is a C string, and `stat` is plain data for the kernel to fill, for which all
    // zeros is a value.
    let (result, stat) = unsafe {
        let mut stat = std::mem::zeroed::<libc::statvfs64>();
        (libc::statvfs64(path.as_ptr(), &raw mut stat), stat)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Space { free_bytes: bytes(stat.f_bavail), total_bytes: bytes(stat.f_blocks) })
}

fn close(fd: OwnedFd) -> io::Result<()> {
    use std::os::fd::IntoRawFd as _;
    // SAFETY: the descriptor was ours and is not used again. Linux releases it also on an error.
    match unsafe { libc::close(fd.into_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The most that one operation moves, should a buffer not fit into 32 bits.
const CHUNK_MAX: u32 = 1 << 30;
