//! Files opened for direct I/O, and what is said about files.

use std::{ffi::OsString, fmt, io, path::Path, rc::Rc};

use super::{DMA_ALIGN, DmaBuf, real, sim};

/// How [`super::Rt::open`] treats an existing or a missing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Existing file, reads only.
    Read,
    /// Existing file, reads and writes.
    ReadWrite,
    /// Existing or new file, reads and writes; an existing one keeps its contents.
    Create,
    /// New file, reads and writes; `AlreadyExists` if the name is taken.
    CreateNew,
    /// Existing file, reads and writes; what a write wrote is durable when it completes (`O_DSYNC`).
    /// One request does what a write and a [`File::sync`] would take two for, and no kernel thread
    /// waits for it. After an error it is like after a failed sync.
    WriteThrough,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Last component of the path.
    pub name: OsString,
    /// True for a directory.
    pub is_dir: bool,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
}

/// Room on the file system that holds a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that an unprivileged process may still write.
    pub free_bytes: u64,
    /// Bytes of the whole file system.
    pub total_bytes: u64,
}

/// An open file. Reads and writes bypass the page cache: positions, lengths and buffers are
/// multiples of 4096. Clones share the file; it is closed with the last of them.
///
/// A write that was begun may reach the disk although its future was dropped. Nothing is durable
/// before a [`File::sync`] that started after the write completed, unless the file is opened with
/// [`OpenMode::WriteThrough`]; the file's name is durable only after [`super::Rt::sync_dir`].
#[derive(Clone)]
pub struct File(pub(super) FileForm);

#[derive(Clone)]
pub(super) enum FileForm {
    Real(Rc<real::file::OpenFile>),
    Sim(Rc<sim::disk::OpenFile>),
}

/// A lock on a file, held by this process until dropped.
pub struct FileLock(#[expect(dead_code, reason = "held for its drop")] pub(super) FileLockForm);

impl FileLock {
    /// Locks a real file, created if need be, from outside of any core. Brokers lock their
    /// directories so, Apache Kafka's among them.
    ///
    /// # Errors
    /// `WouldBlock` when another process, or another holder in this one, has it.
    pub fn take(path: &Path) -> io::Result<Self> {
        real::file::lock_file(path).map(|file| Self(FileLockForm::Real(file)))
    }
}

pub(super) enum FileLockForm {
    Real(#[expect(dead_code, reason = "held for its drop")] std::fs::File),
    Sim(#[expect(dead_code, reason = "held for its drop")] sim::disk::HeldLock),
}

impl File {
    /// Writes the first `len` bytes of `buf` at `pos`: all of them, or an error after which the
    /// range's contents are unknown. Extends the file if need be.
    ///
    /// # Errors
    /// What the device or file system reports; `StorageFull` when there is no room.
    ///
    /// # Panics
    /// When `len` or `pos` is not a multiple of 4096 or `len` exceeds the buffer.
    pub async fn write_at(&self, buf: Rc<DmaBuf>, len: usize, pos: u64) -> io::Result<()> {
        assert!(len <= buf.len(), "write {len} bytes of a buffer of {}", buf.len());
        assert_aligned(pos, len);
        match &self.0 {
            FileForm::Real(file) => file.write_at(buf, len, pos).await,
            FileForm::Sim(file) => file.write_at(buf, len, pos).await,
        }
    }

    /// A buffer for one [`File::write_at`]: these bytes, and zeros to whole blocks; with its length.
    #[must_use]
    pub fn copied(&self, bytes: &[u8]) -> (Rc<DmaBuf>, usize) {
        let copy = match &self.0 {
            FileForm::Real(file) => file.copied(bytes),
            FileForm::Sim(file) => file.copied(bytes),
        };
        let len = copy.len();
        (Rc::new(copy), len)
    }

    /// Reads up to `len` bytes at `pos`; the buffer's length tells how many there were before the
    /// end of the file.
    ///
    /// # Errors
    /// What the device or file system reports.
    ///
    /// # Panics
    /// When `len` or `pos` is not a multiple of 4096 or `len` is 0.
    pub async fn read_at(&self, pos: u64, len: usize) -> io::Result<DmaBuf> {
        assert_aligned(pos, len);
        match &self.0 {
            FileForm::Real(file) => file.read_at(pos, len).await,
            FileForm::Sim(file) => file.read_at(pos, len).await,
        }
    }

    /// Makes durable every write and length change that completed before this call (fdatasync).
    ///
    /// # Errors
    /// What the device reports. The kernel forgets what it could not write: after an error never
    /// sync again and believe it.
    pub async fn sync(&self) -> io::Result<()> {
        match &self.0 {
            FileForm::Real(file) => file.sync().await,
            FileForm::Sim(file) => file.sync().await,
        }
    }

    /// Cuts the file to `len` bytes, or extends it with zeros. Durable after [`File::sync`].
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn truncate(&self, len: u64) -> io::Result<()> {
        match &self.0 {
            FileForm::Real(file) => file.truncate(len).await,
            FileForm::Sim(file) => file.truncate(len).await,
        }
    }

    /// Reserves space so that the file is at least `len` bytes long; what is new reads as zeros.
    /// A shorter `len` changes nothing.
    ///
    /// # Errors
    /// `StorageFull` when there is no room; what the file system reports.
    pub async fn allocate(&self, len: u64) -> io::Result<()> {
        match &self.0 {
            FileForm::Real(file) => file.allocate(len).await,
            FileForm::Sim(file) => file.allocate(len).await,
        }
    }

    /// The file's length in bytes.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn len(&self) -> io::Result<u64> {
        match &self.0 {
            FileForm::Real(file) => file.len(),
            FileForm::Sim(file) => file.len().await,
        }
    }

    /// When the file last changed, in Unix milliseconds.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn modified_ms(&self) -> io::Result<i64> {
        match &self.0 {
            FileForm::Real(file) => file.modified_ms(),
            FileForm::Sim(file) => file.modified_ms().await,
        }
    }

    /// Closes the file if this is its last clone, and waits for that; otherwise only lets go of
    /// this clone.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn close(self) -> io::Result<()> {
        match self.0 {
            FileForm::Real(file) => match Rc::try_unwrap(file) {
                Ok(file) => file.close().await,
                Err(_) => Ok(()),
            },
            FileForm::Sim(file) => {
                drop(file);
                Ok(())
            }
        }
    }
}

fn assert_aligned(pos: u64, len: usize) {
    assert!(
        pos.is_multiple_of(DMA_ALIGN as u64) && len.is_multiple_of(DMA_ALIGN) && len > 0,
        "direct I/O of {len} bytes at {pos} is not aligned to {DMA_ALIGN}"
    );
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            FileForm::Real(file) => write!(f, "File({file:?})"),
            FileForm::Sim(file) => write!(f, "File(simulated {file:?})"),
        }
    }
}

impl fmt::Debug for FileLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileLock")
    }
}

/// The refusal to read a "small" file that is not small.
pub(super) fn too_large(path: &Path, len: u64, len_max: usize) -> io::Error {
    let path = path.display();
    let text = format!("{path} has {len} bytes, at most {len_max} are expected");
    io::Error::new(io::ErrorKind::FileTooLarge, text)
}
