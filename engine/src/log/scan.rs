//! Reads a segment file from front to back, batch by batch, for recovery and verification.
//!
//! Several large reads are in flight; a batch may lie across their borders and is checked in
//! pieces, so nothing is copied but headers and the rare control batch.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;

use crate::batch::header::{BatchError, BatchHeader, HEADER_BYTES, is_zero_header};
use crate::buf::BLOCK;
use crate::checksum::crc32c_append;
use crate::rt::{DmaBuf, File, Rt};

/// A batch of the file.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Byte of the file at which it starts.
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
    /// All of it, for a control batch.
    pub(crate) control: Option<Vec<u8>>,
}

/// Why there is no further batch at a position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum End {
    /// The file ends here.
    #[error("end of file")]
    OfFile,
    /// Nothing was written from here on, at least for a header's length.
    #[error("zeros")]
    Zeros,
    /// The bytes are no batch.
    #[error(transparent)]
    Bad(BatchError),
    /// The batch's checksum does not hold.
    #[error("checksum does not hold")]
    Checksum,
}

/// A sequential reader of one file.
pub(crate) struct Scanner {
    rt: Rt,
    file: File,
    len: u64,
    /// Next byte to look at.
    position: u64,
    /// Buffers that cover `position` and on.
    pieces: VecDeque<Piece>,
    reads: FuturesOrdered<ReadFuture>,
    /// Where the next read starts.
    read_at: u64,
}

struct Piece {
    start: u64,
    bytes: Rc<DmaBuf>,
}

type ReadFuture = std::pin::Pin<Box<dyn Future<Output = (u64, io::Result<DmaBuf>)>>>;

impl Scanner {
    /// From byte `from` to byte `len` of `file`.
    pub(crate) fn new(rt: &Rt, file: File, from: u64, len: u64) -> Self {
        Self {
            rt: rt.clone(),
            file,
            len,
            position: from,
            pieces: VecDeque::new(),
            reads: FuturesOrdered::new(),
            read_at: from - from % BLOCK as u64,
        }
    }

    /// The next batch, or why there is none. `payload` sees the bytes of each batch in order, also
    /// those of one whose checksum then fails.
    pub(crate) async fn next(
        &mut self,
        mut payload: impl FnMut(&[u8]),
    ) -> io::Result<Result<Found, End>> {
        self.rt.turn().await;
        let position = self.position;
        self.fill(position + HEADER_BYTES as u64).await?;
        let mut head = [0; HEADER_BYTES];
        let have = self.copy(position, &mut head);
        if have == 0 {
            return Ok(Err(End::OfFile));
        }
        if is_zero_header(&head[..have]) {
            return Ok(Err(End::Zeros));
        }
        let header = match BatchHeader::decode(&head[..have]) {
            Ok(header) => header,
            Err(error) => return Ok(Err(End::Bad(error))),
        };
        let (size, left) = (header.size() as u64, self.len - position);
        if size > left {
            let have = usize::try_from(left).unwrap_or(usize::MAX);
            let cut = BatchError::Truncated { have, need: header.size() };
            return Ok(Err(End::Bad(cut)));
        }
        let keep = header.attributes.is_control() && header.size() <= CONTROL_MAX;
        let mut control = keep.then(Vec::new);
        let crc = self.sum(size, &mut control, &mut payload).await?;
        if crc != header.crc {
            return Ok(Err(End::Checksum));
        }
        self.position = position + size;
        self.drop_before(self.position);
        Ok(Ok(Found { position, header, control }))
    }

    /// CRC-32C of the batch of `size` bytes at the position, without what it does not cover.
    async fn sum(
        &mut self,
        size: u64,
        control: &mut Option<Vec<u8>>,
        payload: &mut impl FnMut(&[u8]),
    ) -> io::Result<u32> {
        let (start, end) = (self.position, self.position + size);
        let (mut at, mut crc) = (start, 0);
        while at < end {
            self.fill(at + 1).await?;
            let Some(piece) = self.piece_at(at) else {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file became shorter",
                ));
            };
            let from = usize::try_from(at - piece.start).expect("inside a buffer");
            let count =
                piece.bytes.len().min(usize::try_from(end - piece.start).unwrap_or(usize::MAX));
            let bytes = &piece.bytes[from..count];
            let covered = usize::try_from((start + CRC_FROM).saturating_sub(at)).expect("small");
            crc = crc32c_append(crc, bytes.get(covered..).unwrap_or_default());
            payload(bytes);
            if let Some(control) = control {
                control.extend_from_slice(bytes);
            }
            at += bytes.len() as u64;
            let seen = at;
            if control.is_none() && seen < end {
                self.drop_before(seen);
            }
        }
        Ok(crc)
    }

    /// Waits until the bytes up to `to`, or up to the end of the file, are in memory.
    async fn fill(&mut self, to: u64) -> io::Result<()> {
        loop {
            while self.reads.len() < READS_MAX && self.read_at < self.len {
                let (file, start) = (self.file.clone(), self.read_at);
                self.reads.push_back(Box::pin(async move {
                    (start, file.read_at(start, READ_BYTES).await)
                }));
                self.read_at += READ_BYTES as u64;
            }
            let have = self.pieces.back().map_or(0, |p| p.start + p.bytes.len() as u64);
            if have >= to.min(self.len) {
                return Ok(());
            }
            let Some((start, read)) = self.reads.next().await else { return Ok(()) };
            let mut read = read?;
            let want = usize::try_from(self.len - start).unwrap_or(usize::MAX).min(READ_BYTES);
            if read.len() < want {
                let short = format!("{} bytes at {start} where the file has {want}", read.len());
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, short));
            }
            read.truncate(want);
            self.pieces.push_back(Piece { start, bytes: Rc::new(read) });
        }
    }

    fn piece_at(&self, at: u64) -> Option<&Piece> {
        self.pieces.iter().find(|p| at >= p.start && at < p.start + p.bytes.len() as u64)
    }

    fn copy(&self, from: u64, out: &mut [u8]) -> usize {
        let mut done = 0;
        while done < out.len() {
            let at = from + done as u64;
            let Some(piece) = self.piece_at(at) else { break };
            let start = usize::try_from(at - piece.start).expect("inside a buffer");
            let count = (piece.bytes.len() - start).min(out.len() - done);
            out[done..done + count].copy_from_slice(&piece.bytes[start..start + count]);
            done += count;
        }
        done
    }

    fn drop_before(&mut self, position: u64) {
        while let Some(first) = self.pieces.front() {
            if first.start + first.bytes.len() as u64 > position {
                return;
            }
            self.pieces.pop_front();
        }
    }
}

/// Where a batch's checksum starts to cover it.
const CRC_FROM: u64 = 21;
/// Bytes of one read, and reads in flight: what fills the disks this was measured on.
const READ_BYTES: usize = 512 * 1024;
const READS_MAX: usize = 4;
/// Control batches are small; a larger one is not kept in memory on the word of its header.
const CONTROL_MAX: usize = 1 << 20;
