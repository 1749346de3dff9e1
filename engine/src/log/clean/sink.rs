//! The segment that takes the place of others, while it is written.
//!
//! Its files end in `.cleaned` until all of it is durable; whoever finds such files removes them.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use super::super::FileKind;
use super::super::names::Stage;
use super::super::segment::Segment;
use super::super::site::Site;
use crate::batch::header::BatchHeader;
use crate::buf::BLOCK;
use crate::error::LogError;
use crate::producer::txn_index::AbortedTxn;
use crate::rt::{File, OpenMode};

/// A segment in the making.
pub(in crate::log) struct Sink<'a> {
    site: &'a Site,
    pub(in crate::log) segment: Rc<Segment>,
    /// The log's directory as it was when this began.
    dir: PathBuf,
    path: PathBuf,
    file: File,
    /// Bytes behind what the device was given.
    pending: Vec<u8>,
    written: u64,
    interval: u64,
}

impl<'a> Sink<'a> {
    /// A segment at `base`, with an index entry every `interval` bytes.
    pub(in crate::log) async fn begin(
        site: &'a Site,
        base: i64,
        interval: u64,
    ) -> Result<Self, LogError> {
        let segment = site.segment(base, 0);
        segment.start_sidecar();
        segment.start_txns();
        segment.with_indexes_mut(|_| ());
        let dir = site.path();
        let path = FileKind::Log.path_at(&dir, base, Stage::Cleaned);
        let opened: io::Result<File> = async {
            let file = site.cx.rt.open(&path, OpenMode::Create).await?;
            // Left by an attempt that broke off.
            if file.len().await? > 0 {
                file.truncate(0).await?;
            }
            Ok(file)
        }
        .await;
        let file = opened.map_err(|error| LogError::io("create", &path, &error))?;
        Ok(Self { site, segment, dir, path, file, pending: Vec::new(), written: 0, interval })
    }

    /// Adds a batch.
    pub(in crate::log) async fn push(&mut self, batch: &[u8]) -> Result<(), LogError> {
        let header = BatchHeader::decode(batch).expect("a batch");
        let position = self.segment.size();
        self.segment.note_bytes(position, batch);
        self.segment.note_batch(&header, position, self.interval);
        self.pending.extend_from_slice(batch);
        while self.pending.len() >= WRITE_BYTES {
            self.write(WRITE_BYTES).await?;
        }
        Ok(())
    }

    /// Keeps an aborted transaction whose marker was added last.
    pub(in crate::log) fn note_aborted(&self, txn: AbortedTxn) {
        self.segment.note_aborted(&[txn]);
    }

    /// Makes all of it durable under its `.cleaned` names.
    pub(in crate::log) async fn finish(self) -> Result<Rc<Segment>, LogError> {
        self.segment.finish_time_index();
        self.segment.close_sidecar();
        self.finish_open().await
    }

    /// The same for a segment that is appended to further on.
    pub(in crate::log) async fn finish_open(mut self) -> Result<Rc<Segment>, LogError> {
        let size = self.segment.size();
        if !self.pending.is_empty() {
            self.write(self.pending.len()).await?;
        }
        let failed = |error: io::Error| LogError::io("write", &self.path, &error);
        self.file.truncate(size).await.map_err(failed)?;
        self.file.sync().await.map_err(failed)?;
        let segment = self.segment;
        segment.set_on_disk(size);
        let encoded = segment.with_indexes(|indexes| {
            let entries = (indexes.offsets.len(), indexes.times.len());
            (indexes.offsets.encode(0), indexes.times.encode(0), entries)
        });
        let (offsets, times, entries) = encoded.unwrap_or_default();
        let mut files = vec![(FileKind::Index, offsets), (FileKind::TimeIndex, times)];
        files.extend(segment.txns_to_save().map(|txns| (FileKind::TxnIndex, txns)));
        let (rt, dir) = (&self.site.cx.rt, self.dir);
        for (kind, bytes) in files {
            let path = kind.path_at(&dir, segment.base, Stage::Cleaned);
            let written = rt.write_file(&path, &bytes).await;
            written.map_err(|error| LogError::io("write", &path, &error))?;
        }
        rt.sync_dir(&dir).await.map_err(|error| LogError::io("sync", &dir, &error))?;
        segment.set_saved(entries);
        segment.set_file(self.file);
        Ok(segment)
    }

    /// Gives the device the first `count` pending bytes; only the last write ends inside a block.
    async fn write(&mut self, count: usize) -> Result<(), LogError> {
        let len = count.next_multiple_of(BLOCK);
        let mut buf = self.site.cx.rt.alloc(len);
        buf[..count].copy_from_slice(&self.pending[..count]);
        buf[count..].fill(0);
        let written = self.file.write_at(Rc::new(buf), len, self.written).await;
        written.map_err(|error| LogError::io("write", &self.path, &error))?;
        self.written += count as u64;
        self.pending.drain(..count);
        Ok(())
    }
}

/// Bytes of one write.
const WRITE_BYTES: usize = 256 * 1024;
