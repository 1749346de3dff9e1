//! A segment's sidecar: kept up while the segment grows, saved behind it, asked on every read.

use std::io;
use std::rc::Rc;

use super::FileKind;
use super::segment::Segment;
use super::sidecar::{BLOCK_BYTES, FILE_MAX, PageOwner, Sidecar};
use crate::buf::BLOCK;
use crate::cx::EngineCx;
use crate::error::LogError;
use crate::rt::OpenMode;

/// Pages on their way to a sidecar's file.
pub(super) struct Pages {
    position: u64,
    bytes: Vec<u8>,
    /// Checksums in the file once these are written.
    count: usize,
}

impl Segment {
    fn page_owner(&self) -> PageOwner {
        PageOwner { generation: self.generation, base: self.base }
    }

    /// Begins the sidecar of an empty segment.
    pub(crate) fn start_sidecar(&self) {
        *self.sidecar.borrow_mut() = Some(Sidecar::empty());
    }

    /// Takes in bytes that were appended, or found by recovery, at `position`.
    pub(crate) fn note_bytes(&self, position: u64, bytes: &[u8]) {
        if let Some(sidecar) = &mut *self.sidecar.borrow_mut() {
            sidecar.extend(position, bytes);
        }
    }

    /// Covers the segment's end too: nothing is appended to it any more.
    pub(crate) fn close_sidecar(&self) {
        if let Some(sidecar) = &mut *self.sidecar.borrow_mut() {
            sidecar.close();
        }
    }

    /// Bytes whose checksums are known; `None` while the file was not read.
    pub(crate) fn covered(&self) -> Option<u64> {
        self.sidecar.borrow().as_ref().map(Sidecar::covered)
    }

    pub(crate) fn set_sidecar(&self, sidecar: Sidecar) {
        *self.sidecar.borrow_mut() = Some(sidecar);
    }

    /// Reads the sidecar's file unless it is in memory.
    pub(crate) async fn load_sidecar(&self, cx: &EngineCx) -> Result<(), LogError> {
        if self.sidecar.borrow().is_some() {
            return Ok(());
        }
        let path = self.path(FileKind::Sidecar);
        let bytes = match cx.rt.read_file(&path, FILE_MAX).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(LogError::io("read", &path, &error)),
        };
        let sidecar = Sidecar::decode(&bytes, self.page_owner()).unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error, "a sidecar is not used");
            Sidecar::default()
        });
        self.sidecar.borrow_mut().get_or_insert(sidecar);
        Ok(())
    }

    /// Makes the sidecar ready for bytes that are appended at `end`, if it covers what is before:
    /// forgets what it has behind, and takes in the unfinished block again.
    pub(crate) async fn resume_sidecar(&self, cx: &EngineCx, end: u64) -> Result<(), LogError> {
        self.load_sidecar(cx).await?;
        let start = {
            let mut sidecar = self.sidecar.borrow_mut();
            let Some(sidecar) = sidecar.as_mut() else { return Ok(()) };
            if sidecar.covered() / BLOCK_BYTES < end / BLOCK_BYTES {
                return Ok(());
            }
            sidecar.cut(end)
        };
        if start < end {
            let file = self.file(cx).await?;
            let len = usize::try_from(end - start).expect("less than a block of checksums");
            let read = file.read_at(start, len.next_multiple_of(BLOCK)).await;
            let path = self.path(FileKind::Log);
            let read = read.map_err(|error| LogError::io("read", &path, &error))?;
            self.note_bytes(start, &read[..len.min(read.len())]);
        }
        Ok(())
    }

    /// Cuts the sidecar's file to what speaks of bytes below `end`. To be durable before those
    /// behind it change.
    pub(crate) async fn cut_sidecar_file(&self, cx: &EngineCx, end: u64) -> Result<(), LogError> {
        self.load_sidecar(cx).await?;
        let keep = {
            let mut sidecar = self.sidecar.borrow_mut();
            let Some(sidecar) = sidecar.as_mut().filter(|s| s.covered() > end) else {
                return Ok(());
            };
            sidecar.cut(end);
            sidecar.cut_to_page()
        };
        let path = self.path(FileKind::Sidecar);
        let failed = |error: io::Error| LogError::io("truncate", &path, &error);
        let file = match cx.rt.open(&path, OpenMode::ReadWrite).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        file.truncate(keep).await.map_err(failed)?;
        file.sync().await.map_err(failed)
    }

    /// Pages that the file lacks.
    pub(super) fn pages_to_save(&self) -> Option<Pages> {
        let sidecar = self.sidecar.borrow();
        let sidecar = sidecar.as_ref()?;
        let (position, bytes) = sidecar.pages_to_save(self.page_owner())?;
        Some(Pages { position, bytes, count: sidecar.count() })
    }

    /// Writes pages, durably but for the file's name when it is new, which is told.
    pub(super) async fn save_pages(&self, cx: &EngineCx, pages: Pages) -> io::Result<bool> {
        let file = cx.rt.open(&self.path(FileKind::Sidecar), OpenMode::Create).await?;
        let mut buf = cx.rt.alloc(pages.bytes.len());
        buf.copy_from_slice(&pages.bytes);
        file.write_at(Rc::new(buf), pages.bytes.len(), pages.position).await?;
        file.sync().await?;
        if let Some(sidecar) = &mut *self.sidecar.borrow_mut() {
            sidecar.set_saved(pages.count);
        }
        Ok(pages.position == 0)
    }

    /// Compares bytes that were read from the disk at `start`, a block's border, with what was
    /// written there.
    pub(crate) fn check_blocks(&self, start: u64, bytes: &[u8]) -> Result<(), LogError> {
        let bad = self.sidecar.borrow().as_ref().and_then(|s| s.first_bad(start, bytes));
        match bad {
            None => Ok(()),
            Some(position) => Err(self.corrupt(position, "a block's checksum does not hold")),
        }
    }
}
