//! The batches of a closed segment, one after the other, past the caches: what is cleaned is read
//! once, and what readers use stays in memory. Every block is checked as in any other read.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use super::super::segment::Segment;
use crate::batch::header::{BatchHeader, BatchView, HEADER_BYTES};
use crate::buf::Chunk;
use crate::cache::WINDOW;
use crate::cx::EngineCx;
use crate::error::LogError;

/// A reader of one segment.
pub(in crate::log) struct Source {
    cx: Rc<EngineCx>,
    segment: Rc<Segment>,
    /// Bytes of the segment: it is closed.
    size: u64,
    position: u64,
    read_at: u64,
    reads: FuturesOrdered<Read>,
    windows: VecDeque<Rc<Chunk>>,
}

type Read = Pin<Box<dyn Future<Output = Result<Rc<Chunk>, LogError>>>>;

impl Source {
    /// From the batch at byte `from` on.
    pub(in crate::log) fn new(cx: &Rc<EngineCx>, segment: &Rc<Segment>, from: u64) -> Self {
        Self {
            cx: Rc::clone(cx),
            segment: Rc::clone(segment),
            size: segment.size(),
            position: from,
            read_at: from / WINDOW * WINDOW,
            reads: FuturesOrdered::new(),
            windows: VecDeque::new(),
        }
    }

    /// Puts the next batch into `batch`; false behind the last one.
    pub(in crate::log) async fn next(&mut self, batch: &mut Vec<u8>) -> Result<bool, LogError> {
        batch.clear();
        let left = self.size - self.position;
        if left == 0 {
            return Ok(false);
        }
        self.copy((HEADER_BYTES as u64).min(left), batch).await?;
        let (segment, at) = (Rc::clone(&self.segment), self.position);
        let corrupt = |reason: &str| segment.corrupt(at, reason);
        let header = BatchHeader::decode(batch).map_err(|error| corrupt(&error.to_string()))?;
        if header.size() as u64 > left {
            return Err(corrupt("a batch ends behind its segment"));
        }
        self.copy(header.size() as u64, batch).await?;
        let view = BatchView::decode(batch).expect("as long as its header says");
        if !view.checksum_holds() {
            return Err(corrupt("checksum does not hold"));
        }
        self.position += header.size() as u64;
        let position = self.position;
        self.windows.retain(|window| window.end() > position);
        Ok(true)
    }

    /// Whether there is no further batch.
    pub(in crate::log) fn is_at_end(&self) -> bool {
        self.position == self.size
    }

    /// Fills `batch` up to `len` bytes from the position on.
    async fn copy(&mut self, len: u64, batch: &mut Vec<u8>) -> Result<(), LogError> {
        while (batch.len() as u64) < len {
            let at = self.position + batch.len() as u64;
            let found = self.windows.iter().find(|w| w.start() <= at && at < w.end());
            let Some(window) = found else {
                self.read().await?;
                continue;
            };
            let bytes = window.bytes_from(at);
            let count = bytes.len().min(usize::try_from(len).unwrap_or(usize::MAX) - batch.len());
            batch.extend_from_slice(&bytes[..count]);
        }
        Ok(())
    }

    /// Waits for the next window.
    async fn read(&mut self) -> Result<(), LogError> {
        while self.reads.len() < READS_MAX && self.read_at < self.size {
            let (segment, cx, start) =
                (Rc::clone(&self.segment), Rc::clone(&self.cx), self.read_at);
            self.reads.push_back(Box::pin(segment.read_window(cx, start)));
            self.read_at += WINDOW;
        }
        match self.reads.next().await {
            Some(window) => self.windows.push_back(window?),
            None => return Err(LogError::Retry),
        }
        Ok(())
    }
}

/// Windows that are read at the same time: enough to hide the disk behind the work on them.
const READS_MAX: usize = 2;
