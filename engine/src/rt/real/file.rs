//! Files and directories of the real form: contents through glommio's `DmaFile`, names through the
//! blocking pool.
//!
//! glommio writes whole buffers only. A buffer of a power of two that is full is written as it
//! is; of any other only a part is to be written, which is copied into glommio's registered memory:
//! a chunk is full under load, and small otherwise.

use std::{
    fmt, fs,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    rc::Rc,
};

use futures_util::FutureExt as _;
use glommio::{
    GlommioError,
    io::{DmaBuffer, DmaFile, OpenOptions},
};

use super::Core;
use crate::rt::{
    DMA_ALIGN, DirEntry, DmaBuf, OpenMode, Space, file::too_large, task::panic_message,
};

/// An open file.
pub(in crate::rt) struct OpenFile {
    core: Rc<Core>,
    dma: DmaFile,
    path: PathBuf,
}

impl Core {
    pub(in crate::rt) async fn open(
        self: &Rc<Self>,
        path: &Path,
        mode: OpenMode,
    ) -> io::Result<OpenFile> {
        let (core, path) = (Rc::clone(self), path.to_owned());
        self.finish(async move {
            core.disable_polling(&path).await;
            let options = options(mode);
            // glommio looks at the path again after it has opened it, and panics if it is gone.
            let dma = AssertUnwindSafe(options.dma_open(&path)).catch_unwind().await;
            let dma = dma.map_err(|panic| {
                let message = panic_message(panic.as_ref());
                io::Error::other(format!("opening {} panicked: {message}", path.display()))
            })?;
            Ok(OpenFile { core, dma: dma.map_err(cause)?, path })
        })
        .await
    }

    /// glommio finds out with the first file it opens of a device whether it can poll the device
    /// for completions, and is wrong when that file is empty. A core that has other things to do
    /// never wants to poll: the first file is one that can't be read, which ends the matter.
    async fn disable_polling(&self, path: &Path) {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let real = fs::canonicalize(path).ok();
        let dir = real.as_deref().and_then(Path::parent).unwrap_or(parent);
        let Ok(device) = fs::metadata(real.as_deref().unwrap_or(dir)).map(|m| m.dev()) else {
            return;
        };
        if self.probed().borrow().contains(&device) {
            return;
        }
        let mut write_only = OpenOptions::new();
        write_only.write(true);
        let nameless = write_only.clone().tmpfile(true).dma_open(dir).await;
        let probed = match nameless {
            Ok(file) => file.close().await.is_ok(),
            // Not every file system has files without names.
            Err(_) => {
                let name = dir.join(format!(".probe-{}-{}", std::process::id(), self.id()));
                let named = write_only.create_new(true).dma_open(&name).await;
                let removed = fs::remove_file(&name);
                named.is_ok() && removed.is_ok()
            }
        };
        // A directory that can't be written to is left to glommio's own probe.
        if probed {
            self.probed().borrow_mut().insert(device);
        }
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

    pub(in crate::rt) async fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        let dir = dir.to_owned();
        // A new descriptor reports what fails from now on.
        self.in_pool(move || Ok(rustix::fs::syncfs(fs::File::open(dir)?)?)).await
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
    // What Java takes is a record lock, which `flock` does not see; this kind it does see, and it
    // belongs to the open file, so a second node in one process is kept out, too.
    // SAFETY: all-zero is a valid `flock`: plain integers.
    let mut whole: libc::flock = unsafe { std::mem::zeroed() };
    whole.l_type = libc::F_WRLCK as libc::c_short;
    whole.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open, and the call reads a `flock`, which is what it gets.
    let taken = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const whole) };
    if taken == 0 {
        return Ok(file);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Err(io::Error::from(io::ErrorKind::WouldBlock)),
        _ => Err(error),
    }
}

impl OpenFile {
    pub(in crate::rt) async fn write_at(
        self: &Rc<Self>,
        buf: Rc<DmaBuf>,
        len: usize,
        pos: u64,
    ) -> io::Result<()> {
        let file = Rc::clone(self);
        self.core.finish(async move { file.write_whole(&buf, len, pos).await }).await
    }

    async fn write_whole(&self, buf: &DmaBuf, len: usize, pos: u64) -> io::Result<()> {
        let mut done = 0;
        // A device may take less than it was given; it says why on the next attempt.
        while done < len {
            let at = pos + done as u64;
            let written = match buf.device(len) {
                Some(whole) if done == 0 => self.dma.write_rc_at(Rc::clone(whole), at).await,
                _ => self.dma.write_at(self.copy(&buf[done..len]), at).await,
            };
            match written.map_err(cause) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                // What is behind a whole block is written again.
                Ok(n) => match n - n % DMA_ALIGN {
                    0 => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                    blocks => done += blocks,
                },
                Err(e) if is_transient(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    pub(in crate::rt) fn copied(&self, bytes: &[u8]) -> DmaBuf {
        self.core.write_once(self.copy(bytes))
    }

    /// A buffer of just these bytes, and zeros to whole blocks. glommio's allocator halves its
    /// memory, so it is asked for powers of two.
    fn copy(&self, bytes: &[u8]) -> DmaBuffer {
        let len = bytes.len().next_multiple_of(DMA_ALIGN);
        let mut copy = self.dma.alloc_dma_buffer(len.next_power_of_two());
        copy.trim_to_size(len);
        let (data, padding) = copy.as_bytes_mut().split_at_mut(bytes.len());
        data.copy_from_slice(bytes);
        padding.fill(0);
        copy
    }

    pub(in crate::rt) async fn read_at(
        self: &Rc<Self>,
        pos: u64,
        len: usize,
    ) -> io::Result<DmaBuf> {
        let file = Rc::clone(self);
        self.core.finish(async move { file.read_whole(pos, len).await }).await
    }

    async fn read_whole(&self, pos: u64, len: usize) -> io::Result<DmaBuf> {
        let mut buf = self.read_some(pos, len).await?;
        let mut done = buf.len();
        if self.is_complete(pos, done, len)? {
            return Ok(buf);
        }
        // The device returned less than there is, which hardly ever happens.
        let mut whole = self.core.alloc(len);
        loop {
            whole[done - buf.len()..done].copy_from_slice(&buf);
            if buf.is_empty() || self.is_complete(pos, done, len)? {
                whole.truncate(done);
                return Ok(whole);
            }
            buf = self.read_some(pos + done as u64, len - done).await?;
            done += buf.len();
        }
    }

    /// Only the end of the file leaves a read unaligned.
    fn is_complete(&self, pos: u64, done: usize, len: usize) -> io::Result<bool> {
        let all = done == len || !done.is_multiple_of(DMA_ALIGN);
        Ok(all || pos + done as u64 >= self.len()?)
    }

    async fn read_some(&self, pos: u64, len: usize) -> io::Result<DmaBuf> {
        loop {
            // Its sibling for unaligned reads returns garbage at the end of a file.
            match self.dma.read_at_aligned(pos, len).await.map_err(cause) {
                Ok(read) => return Ok(self.core.buffer_of(read, len)),
                Err(e) if is_transient(&e) => {}
                Err(e) => return Err(e),
            }
        }
    }

    pub(in crate::rt) async fn sync(self: &Rc<Self>) -> io::Result<()> {
        let file = Rc::clone(self);
        self.core.finish(async move { file.dma.fdatasync().await.map_err(cause) }).await
    }

    pub(in crate::rt) async fn allocate(self: &Rc<Self>, len: u64) -> io::Result<()> {
        if self.len()? >= len {
            return Ok(());
        }
        let file = Rc::clone(self);
        self.core
            .finish(async move { file.dma.pre_allocate(len, false).await.map_err(cause) })
            .await
    }

    /// By a descriptor of its own: glommio's pool would not notice that the file was closed.
    pub(in crate::rt) async fn truncate(&self, len: u64) -> io::Result<()> {
        let fd = self.duplicate()?;
        self.core.in_pool(move || fs::File::from(fd).set_len(len)).await
    }

    pub(in crate::rt) fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.stat()?.st_size).unwrap_or(0))
    }

    pub(in crate::rt) fn modified_ms(&self) -> io::Result<i64> {
        let stat = self.stat()?;
        Ok(stat.st_mtime * 1_000 + stat.st_mtime_nsec / 1_000_000)
    }

    /// Asks the inode, not the path: the file may have been renamed or removed.
    fn stat(&self) -> io::Result<libc::stat64> {
        // SAFETY: `stat` is plain data for the kernel to fill, for which all zeros is a value, and
        // the descriptor is open.
        let (result, stat) = unsafe {
            let mut stat = std::mem::zeroed::<libc::stat64>();
            (libc::fstat64(self.dma.as_raw_fd(), &raw mut stat), stat)
        };
        match result {
            0 => Ok(stat),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The last close of a removed file frees its blocks, which takes time: it happens in the pool.
    pub(in crate::rt) async fn close(self) -> io::Result<()> {
        let last = self.duplicate()?;
        let Self { core, dma, .. } = self;
        let pool = Rc::clone(&core);
        core.finish(async move {
            let closed = dma.close().await.map_err(cause);
            pool.in_pool(move || close(last)).await.and(closed)
        })
        .await
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        // SAFETY: the descriptor is open while `self.dma` lives, which outlives this borrow.
        unsafe { BorrowedFd::borrow_raw(self.dma.as_raw_fd()) }.try_clone_to_owned()
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// The system's error in what glommio makes of it.
pub(super) fn cause(e: GlommioError<()>) -> io::Error {
    match e {
        GlommioError::IoError(e) | GlommioError::EnhancedIoError { source: e, .. } => e,
        other => other.into(),
    }
}

fn is_transient(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

fn options(mode: OpenMode) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(mode != OpenMode::Read);
    options.create(mode == OpenMode::Create).create_new(mode == OpenMode::CreateNew);
    if mode == OpenMode::WriteThrough {
        options.custom_flags(libc::O_DSYNC);
    }
    options
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
