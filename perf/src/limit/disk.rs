//! The disk through io_uring and O_DIRECT, as a broker at its best would use it.
//!
//! The file is written once before anything is measured, so that no block is allocated and no
//! size changes: a broker that appends pays for these on top.

// io_uring takes pointers; each is to memory that outlives the operation.
#![allow(unsafe_code)]

use std::fmt;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use io_uring::squeue::Flags;
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, opcode};

use super::Limit;
use crate::measure::{Percentiles, histogram};
use crate::units::Bytes;

/// One way of using the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    block: usize,
    depth: usize,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Read,
    Write,
    /// A write, and then a sync of the file.
    WriteAndSync,
}

/// What is measured, in order.
pub(super) const CASES: &[Case] = &[
    case(1 << 20, 8, Action::Write),
    case(64 << 10, 8, Action::Write),
    case(4 << 10, 8, Action::Write),
    case(1 << 20, 4, Action::WriteAndSync),
    case(64 << 10, 4, Action::WriteAndSync),
    LONE_SYNC,
    case(4 << 10, 8, Action::WriteAndSync),
    case(1 << 20, 8, Action::Read),
    case(64 << 10, 8, Action::Read),
];

/// What a single small record waits for.
pub(super) const LONE_SYNC: Case = case(4 << 10, 1, Action::WriteAndSync);

const fn case(block: usize, depth: usize, action: Action) -> Case {
    Case { block, depth, action }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.action {
            Action::Read => "read",
            Action::Write => "write",
            Action::WriteAndSync => "write + fdatasync",
        };
        write!(f, "disk {name}, {} × {} deep", Bytes(self.block as u64), self.depth)
    }
}

/// A file full of something; removed when dropped.
#[derive(Debug)]
pub(super) struct TestFile {
    path: PathBuf,
    file: File,
}

impl TestFile {
    /// Creates it and writes all of it.
    pub(super) fn create(path: &Path) -> Result<Self> {
        fs::write(path, vec![0x5a; FILE_BYTES])?;
        let test = |file| Self { path: path.to_owned(), file };
        let opened = File::options()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::DIRECT.bits().cast_signed())
            .open(path);
        let opened = match opened {
            Ok(file) => test(file),
            Err(e) => {
                let _ = fs::remove_file(path);
                return Err(e).context("the file system does not take O_DIRECT");
            }
        };
        opened.file.sync_all()?;
        Ok(opened)
    }

    /// Uses the file in one way for `span`.
    pub(super) fn measure(&self, case: &Case, span: Duration) -> Result<Limit> {
        let mut ring = IoUring::new(64).context("io_uring")?;
        let mut buffers: Vec<Aligned> = (0..case.depth).map(|_| Aligned::new(case.block)).collect();
        let mut begun = vec![Instant::now(); case.depth];
        let mut latency = histogram();
        let (mut next, mut in_flight) = (0, 0);
        let started = Instant::now();
        let mut free: Vec<usize> = (0..case.depth).collect();
        loop {
            let goes_on = started.elapsed() < span;
            while let Some(slot) = if goes_on { free.pop() } else { None } {
                begun[slot] = Instant::now();
                self.submit(&mut ring, case, slot, &mut buffers[slot], next)?;
                next = (next + case.block) % (FILE_BYTES - FILE_BYTES % case.block);
                in_flight += 1;
            }
            if in_flight == 0 {
                break;
            }
            ring.submit_and_wait(1)?;
            let done: Vec<_> = ring.completion().map(|c| (c.user_data(), c.result())).collect();
            for (data, result) in done {
                ensure!(result >= 0, "{case:?}: {}", std::io::Error::from_raw_os_error(-result));
                // The write in front of a sync is not an end.
                if data != PART {
                    let slot = data as usize;
                    latency.record(begun[slot].elapsed().as_nanos() as u64)?;
                    free.push(slot);
                    in_flight -= 1;
                }
            }
        }
        let per_s = latency.len() as f64 / started.elapsed().as_secs_f64();
        Ok(Limit {
            what: case.to_string(),
            per_s,
            mb_s: per_s * case.block as f64 / 1e6,
            latency: Percentiles::of(&latency),
        })
    }

    fn submit(
        &self,
        ring: &mut IoUring,
        case: &Case,
        slot: usize,
        buffer: &mut Aligned,
        at: usize,
    ) -> Result<()> {
        let fd = Fd(self.file.as_raw_fd());
        let (pointer, len) = (buffer.as_mut_ptr(), case.block as u32);
        let slot = slot as u64;
        let entries = match case.action {
            Action::Read => {
                vec![opcode::Read::new(fd, pointer, len).offset(at as u64).build().user_data(slot)]
            }
            Action::Write => {
                vec![opcode::Write::new(fd, pointer, len).offset(at as u64).build().user_data(slot)]
            }
            Action::WriteAndSync => {
                let write = opcode::Write::new(fd, pointer, len).offset(at as u64).build();
                let sync = opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build();
                vec![write.user_data(PART).flags(Flags::IO_LINK), sync.user_data(slot)]
            }
        };
        // SAFETY: the buffer and the file live until `measure` returns, which is after every
        // operation has completed or the ring, dropped first on an error, has been torn down.
        unsafe { ring.submission().push_multiple(&entries) }.context("a ring with room")?;
        Ok(())
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Memory that begins at a multiple of the block size of any disk.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new(len: usize) -> Self {
        let bytes = vec![0xa5; len + ALIGNMENT];
        let start = bytes.as_ptr().align_offset(ALIGNMENT);
        Self { bytes, start }
    }

    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.bytes[self.start..].as_mut_ptr()
    }
}

const ALIGNMENT: usize = 4096;
const FILE_BYTES: usize = 256 << 20;
/// In place of a slot: an operation that another one follows.
const PART: u64 = u64::MAX;
