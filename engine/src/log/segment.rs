//! One segment: its files, and what is known about them without reading.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use super::checkpoint::LastBatch;
use super::index::{OffsetIndex, TimeIndex};
use super::names::FileKind;
use super::sidecar::Sidecar;
use crate::batch::header::BatchHeader;
use crate::buf::{BLOCK, Chunk};
use crate::cache::{SegmentUid, WINDOW};
use crate::cx::EngineCx;
use crate::error::LogError;
use crate::ids::Offset;
use crate::producer::txn_index::{AbortedTxn, TxnIndex};
use crate::rt::{File, Instant, OpenMode};

/// Where a log's directory is now; a delete renames it under everyone's feet.
pub(crate) struct Place {
    path: RefCell<PathBuf>,
    /// It is being renamed: what is not found at its path may be at the next one.
    moving: Cell<bool>,
}

impl Place {
    pub(crate) fn new(path: PathBuf) -> Rc<Self> {
        Rc::new(Self { path: RefCell::new(path), moving: Cell::new(false) })
    }

    pub(crate) fn get(&self) -> PathBuf {
        self.path.borrow().clone()
    }

    pub(crate) fn moved_to(&self, path: PathBuf) {
        *self.path.borrow_mut() = path;
    }

    pub(crate) fn set_moving(&self, moving: bool) {
        self.moving.set(moving);
    }
}

/// A stretch of the log from `base` on, in a file of its own.
pub(crate) struct Segment {
    pub(crate) base: i64,
    pub(crate) uid: SegmentUid,
    log: Arc<str>,
    place: Rc<Place>,
    file: RefCell<Option<File>>,
    /// Bytes of whole, appended batches.
    size: Cell<u64>,
    /// Bytes of those that the device has been given.
    on_disk: Cell<u64>,
    newest: Cell<Newest>,
    /// Timestamp of the first batch: what `segment.ms` counts from.
    first_timestamp_ms: Cell<Option<i64>>,
    created_ms: Cell<i64>,
    /// Spreads the rolls of segments that were begun together.
    jitter: u64,
    indexes: RefCell<Option<Indexes>>,
    bytes_since_index: Cell<u64>,
    last_batch: Cell<Option<LastBatch>>,
    /// Entries of the two index files that are on disk.
    saved: Cell<(usize, usize)>,
    txns: RefCell<Option<Rc<RefCell<TxnIndex>>>>,
    txns_changed: Cell<bool>,
    /// The log directory's generation, which a sidecar must share.
    pub(super) generation: u64,
    /// Checksums of the blocks; `None` while their file was not read.
    pub(super) sidecar: RefCell<Option<Sidecar>>,
    /// Where the last reads of older data ended, to tell readers that go on from others.
    read_ends: Cell<[u64; READERS]>,
    /// When anything of the segment was last used.
    used: Cell<Instant>,
    /// Appended to, or worked on: it keeps what it has in memory.
    pinned: Cell<bool>,
    /// Closed, and the files beside it are still being written: the same.
    unsaved: Cell<bool>,
    /// Its place in the core's [`Shelf`](super::shelf::Shelf).
    pub(super) shelved: Cell<u64>,
    me: Weak<Self>,
}

/// Both indexes of a segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Indexes {
    pub(crate) offsets: OffsetIndex,
    pub(crate) times: TimeIndex,
}

/// The largest timestamp in a segment, and the last offset of the batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) timestamp_ms: i64,
    pub(crate) offset: i64,
}

impl Newest {
    pub(crate) const NONE: Self = Self { timestamp_ms: -1, offset: -1 };
}

impl Segment {
    /// A segment as a directory listing shows it: nothing known but its size.
    pub(crate) fn listed(
        cx: &EngineCx,
        log: &Arc<str>,
        place: &Rc<Place>,
        base: i64,
        size: u64,
        generation: u64,
    ) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            base,
            uid: cx.segment_uid(),
            log: Arc::clone(log),
            place: Rc::clone(place),
            file: RefCell::new(None),
            size: Cell::new(size),
            on_disk: Cell::new(size),
            newest: Cell::new(Newest::NONE),
            first_timestamp_ms: Cell::new(None),
            created_ms: Cell::new(cx.rt.wall_ms()),
            jitter: cx.rt.random_u64(),
            indexes: RefCell::new(None),
            bytes_since_index: Cell::new(0),
            last_batch: Cell::new(None),
            saved: Cell::new((0, 0)),
            txns: RefCell::new(None),
            txns_changed: Cell::new(false),
            generation,
            sidecar: RefCell::new(None),
            read_ends: Cell::new([u64::MAX; READERS]),
            used: Cell::new(cx.rt.now()),
            pinned: Cell::new(true),
            unsaved: Cell::new(false),
            shelved: Cell::new(0),
            me: Weak::clone(me),
        })
    }

    pub(crate) fn path(&self, kind: FileKind) -> PathBuf {
        kind.path(&self.place.get(), self.base)
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.get()
    }

    pub(crate) fn set_size(&self, bytes: u64) {
        self.size.set(bytes);
        self.on_disk.set(self.on_disk.get().min(bytes));
    }

    /// Tells that the device has the first `bytes`.
    pub(crate) fn set_on_disk(&self, bytes: u64) {
        self.on_disk.set(bytes);
    }

    pub(crate) fn newest(&self) -> Newest {
        self.newest.get()
    }

    pub(crate) fn set_newest(&self, newest: Newest) {
        self.newest.set(newest);
    }

    pub(crate) fn first_timestamp_ms(&self) -> Option<i64> {
        self.first_timestamp_ms.get()
    }

    pub(crate) fn set_first_timestamp_ms(&self, at: Option<i64>) {
        self.first_timestamp_ms.set(at);
    }

    /// The batch that ends at the segment's size, as far as it is known.
    pub(crate) fn last_batch(&self) -> Option<LastBatch> {
        self.last_batch.get()
    }

    pub(crate) fn set_last_batch(&self, last: Option<LastBatch>) {
        self.last_batch.set(last);
    }

    /// Entries of the two index files that are on disk.
    pub(crate) fn saved(&self) -> (usize, usize) {
        self.saved.get()
    }

    pub(crate) fn set_saved(&self, entries: (usize, usize)) {
        self.saved.set(entries);
    }

    pub(crate) fn created_ms(&self) -> i64 {
        self.created_ms.get()
    }

    pub(crate) fn set_created_ms(&self, at: i64) {
        self.created_ms.set(at);
    }

    /// This segment's share of `segment.jitter.ms`.
    pub(crate) fn jitter_ms(&self, jitter_ms_max: i64) -> i64 {
        let range = u64::try_from(jitter_ms_max).unwrap_or(0);
        i64::try_from(self.jitter.checked_rem(range).unwrap_or(0)).unwrap_or(0)
    }

    /// The offset as the indexes hold it.
    pub(crate) fn relative(&self, offset: i64) -> Option<u32> {
        u32::try_from(offset - self.base).ok().filter(|&relative| relative <= i32::MAX as u32)
    }

    /// The open file, opening it if need be.
    pub(crate) async fn file(&self, cx: &EngineCx) -> Result<File, LogError> {
        let open = self.file.borrow().clone();
        if let Some(file) = open {
            cx.shelf.touch(self);
            return Ok(file);
        }
        let file = loop {
            let path = self.path(FileKind::Log);
            match cx.rt.open(&path, OpenMode::ReadWrite).await {
                Ok(file) => break file,
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && self.has_moved(cx, FileKind::Log, &path).await => {}
                Err(error) => return Err(LogError::io("open", &path, &error)),
            }
        };
        *self.file.borrow_mut() = Some(file.clone());
        cx.shelf.touch(self);
        Ok(file)
    }

    /// Whether a file that was not found at `path` may be elsewhere now: its directory was renamed
    /// since, or is just being.
    async fn has_moved(&self, cx: &EngineCx, kind: FileKind, path: &Path) -> bool {
        while self.place.moving.get() {
            cx.rt.sleep(RENAME_LOOK).await;
        }
        self.path(kind) != path
    }

    /// Keeps everything in memory from now on: the segment is appended to, or its files go.
    pub(crate) fn pin(&self, cx: &EngineCx) {
        self.pinned.set(true);
        cx.shelf.remove(self);
    }

    /// From now on the segment is closed, and lets go of what was unused for long.
    pub(crate) fn unpin(&self, cx: &EngineCx) {
        self.pinned.set(false);
        if self.file.borrow().is_some() || self.memory_bytes() > 0 {
            cx.shelf.touch(self);
        }
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.pinned.get() || self.unsaved.get()
    }

    /// Notes whether the files beside the segment, which is closed, are still to be written.
    pub(super) fn set_unsaved(&self, cx: &EngineCx, unsaved: bool) {
        self.unsaved.set(unsaved);
        if !self.is_pinned() {
            self.unpin(cx);
        }
    }

    pub(crate) fn is_unsaved(&self) -> bool {
        self.unsaved.get()
    }

    pub(super) fn weak(&self) -> Weak<Self> {
        Weak::clone(&self.me)
    }

    /// Bytes of what can be read again.
    pub(super) fn memory_bytes(&self) -> usize {
        let indexes = self.with_indexes(|indexes| {
            indexes.offsets.len() * OffsetIndex::ENTRY + indexes.times.len() * TimeIndex::ENTRY
        });
        let checksums = self.sidecar.borrow().as_ref().map_or(0, |sidecar| sidecar.count() * 4);
        let txns = self.txn_count() * size_of::<AbortedTxn>();
        indexes.unwrap_or(0) + checksums + txns
    }

    pub(crate) fn set_file(&self, file: File) {
        *self.file.borrow_mut() = Some(file);
    }

    /// Lets go of the file; a later read opens it again.
    pub(crate) fn close_file(&self) {
        let file = self.file.borrow_mut().take();
        drop(file);
    }

    /// Takes in a batch that was appended, or found by recovery, at `position`.
    pub(crate) fn note_batch(&self, header: &BatchHeader, position: u64, interval: u64) {
        let last = header.last_offset().0;
        if header.max_timestamp > self.newest.get().timestamp_ms {
            self.newest.set(Newest { timestamp_ms: header.max_timestamp, offset: last });
        }
        if self.first_timestamp_ms.get().is_none() {
            self.first_timestamp_ms.set(Some(header.max_timestamp));
        }
        if self.bytes_since_index.get() > interval {
            self.add_index_entry(last, position);
            self.bytes_since_index.set(0);
        }
        self.last_batch.set(Some(LastBatch::of(header, position)));
        let size = header.size() as u64;
        self.bytes_since_index.set(self.bytes_since_index.get() + size);
        self.size.set(position + size);
    }

    fn add_index_entry(&self, last: i64, position: u64) {
        let (Some(relative), Ok(at)) = (self.relative(last), u32::try_from(position)) else {
            return;
        };
        let newest = self.newest.get();
        let newest_relative = self.relative(newest.offset).unwrap_or(relative);
        let mut indexes = self.indexes.borrow_mut();
        let indexes = indexes.get_or_insert_default();
        indexes.offsets.push(relative, at);
        indexes.times.push(newest.timestamp_ms, newest_relative);
    }

    /// Adds the entry that ends the time index of a segment that is appended to no more.
    pub(crate) fn finish_time_index(&self) {
        let newest = self.newest.get();
        if let Some(relative) = self.relative(newest.offset).filter(|_| newest.timestamp_ms >= 0) {
            let mut indexes = self.indexes.borrow_mut();
            indexes.get_or_insert_default().times.push(newest.timestamp_ms, relative);
        }
    }

    /// Drops index entries at or behind `position`, where offset `end` would be.
    pub(crate) fn cut_indexes(&self, position: u64, end: i64) {
        let relative = u32::try_from((end - self.base).max(0)).unwrap_or(u32::MAX);
        let left = self.with_indexes_mut(|indexes| {
            indexes.offsets.truncate(position);
            indexes.times.truncate(relative);
            (indexes.offsets.len(), indexes.times.len())
        });
        let (offsets, times) = self.saved.get();
        self.saved.set((offsets.min(left.0), times.min(left.1)));
    }

    /// Runs `look` over the indexes, if they are in memory.
    pub(crate) fn with_indexes<T>(&self, look: impl FnOnce(&Indexes) -> T) -> Option<T> {
        self.indexes.borrow().as_ref().map(look)
    }

    pub(crate) fn with_indexes_mut<T>(&self, change: impl FnOnce(&mut Indexes) -> T) -> T {
        change(self.indexes.borrow_mut().get_or_insert_default())
    }

    pub(crate) fn set_indexes(&self, indexes: Option<Indexes>) {
        *self.indexes.borrow_mut() = indexes;
    }

    /// Starts an index of aborted transactions, for a segment without any.
    pub(crate) fn start_txns(&self) {
        *self.txns.borrow_mut() = Some(Rc::default());
    }

    /// Takes in transactions whose abort was appended to this segment.
    pub(crate) fn note_aborted(&self, aborted: &[AbortedTxn]) {
        if aborted.is_empty() {
            return;
        }
        let txns = Rc::clone(self.txns.borrow_mut().get_or_insert_default());
        for txn in aborted {
            txns.borrow_mut().push(*txn);
        }
        self.txns_changed.set(true);
    }

    /// Aborted transactions that end in this segment, as far as they are in memory.
    pub(crate) fn txn_count(&self) -> usize {
        self.txns.borrow().as_ref().map_or(0, |txns| txns.borrow().entries().len())
    }

    /// Whether the aborted transactions are in memory.
    pub(crate) fn has_txns(&self) -> bool {
        self.txns.borrow().is_some()
    }

    /// The file of aborted transactions, if it is behind.
    pub(crate) fn txns_to_save(&self) -> Option<Vec<u8>> {
        let txns = self.txns.borrow().clone()?;
        self.txns_changed.replace(false).then(|| txns.borrow().encode())
    }

    /// Forgets aborted transactions that end at `end` or later.
    pub(crate) fn truncate_txns(&self, end: i64) {
        if let Some(txns) = &*self.txns.borrow() {
            txns.borrow_mut().truncate(Offset(end));
            self.txns_changed.set(true);
        }
    }

    /// The aborted transactions that end in this segment, reading their file if need be.
    pub(crate) async fn txns(&self, cx: &EngineCx) -> Result<Rc<RefCell<TxnIndex>>, LogError> {
        let known = self.txns.borrow().clone();
        if let Some(txns) = known {
            return Ok(txns);
        }
        let (path, bytes) = loop {
            let path = self.path(FileKind::TxnIndex);
            match read_index_file(cx, &path).await? {
                Some(bytes) => break (path, bytes),
                // Not found where it is not any more does not mean that there is none.
                None if self.has_moved(cx, FileKind::TxnIndex, &path).await => {}
                None => break (path, Vec::new()),
            }
        };
        let decoded = TxnIndex::decode(&bytes, Offset(self.base));
        let decoded =
            decoded.map_err(|error| self.corrupt(0, &format!("{}: {error}", path.display())))?;
        let txns = Rc::new(RefCell::new(decoded));
        Ok(Rc::clone(self.txns.borrow_mut().get_or_insert(txns)))
    }

    /// Whether an index can take no more than `bytes` and is full.
    pub(crate) fn index_full(&self, bytes: u64) -> bool {
        self.with_indexes(|indexes| {
            let offsets = bytes / OffsetIndex::ENTRY as u64;
            let times = (bytes / TimeIndex::ENTRY as u64).saturating_sub(1);
            indexes.offsets.len() as u64 >= offsets || indexes.times.len() as u64 >= times
        })
        .unwrap_or(false)
    }

    /// Notes a read of `from..to`; true when it goes on where one of the last ended, or starts at
    /// the front.
    pub(crate) fn goes_on(&self, from: u64, to: u64) -> bool {
        let mut ends = self.read_ends.get();
        let slot = ends.iter().position(|&end| end == from);
        ends[..=slot.unwrap_or(READERS - 1)].rotate_right(1);
        ends[0] = to;
        self.read_ends.set(ends);
        slot.is_some() || from == 0
    }

    /// Lets go of what can be read again, if nobody used it for `time`. For closed segments.
    pub(crate) fn rest_unless_used(&self, cx: &EngineCx, time: Duration) {
        if !self.is_pinned() && cx.rt.now() - self.used.get() >= time {
            cx.shelf.remove(self);
            self.rest();
        }
    }

    /// Lets go of what can be read again: the open file, the indexes, the checksums.
    pub(super) fn rest(&self) {
        self.close_file();
        let entries = self.with_indexes(|i| (i.offsets.len(), i.times.len()));
        // What could not be written is only here.
        if entries == Some(self.saved.get()) {
            self.set_indexes(None);
        }
        *self.sidecar.borrow_mut() = None;
        if !self.txns_changed.get() {
            *self.txns.borrow_mut() = None;
        }
    }

    /// Notes that the file of aborted transactions is behind.
    pub(super) fn set_txns_changed(&self) {
        self.txns_changed.set(true);
    }

    /// Reads the cold window at `start`, as far as the device has it.
    pub(crate) async fn read_window(
        self: Rc<Self>,
        cx: Rc<EngineCx>,
        start: u64,
    ) -> Result<Rc<Chunk>, LogError> {
        self.used.set(cx.rt.now());
        cx.metrics.cold_reads.inc();
        let valid = self.on_disk.get().min(start + WINDOW);
        if valid <= start {
            return Err(LogError::Retry);
        }
        let file = self.file(&cx).await?;
        let want = usize::try_from(valid - start).expect("a window").next_multiple_of(BLOCK);
        let path = self.path(FileKind::Log);
        let read = file.read_at(start, want).await;
        let mut read = read.map_err(|error| LogError::io("read", &path, &error))?;
        let valid_len = usize::try_from(valid - start).expect("a window");
        if read.len() < valid_len {
            return Err(self.corrupt(start + read.len() as u64, "the file is shorter than its log"));
        }
        read.truncate(valid_len);
        self.load_sidecar(&cx).await?;
        if let Err(error) = self.check_blocks(start, &read) {
            cx.metrics.damage_found.inc();
            return Err(error);
        }
        Ok(cx.chunks.adopt(read, start))
    }

    pub(crate) fn corrupt(&self, position: u64, reason: &str) -> LogError {
        LogError::Corrupt {
            log: Arc::clone(&self.log),
            segment: self.base,
            position,
            reason: reason.into(),
        }
    }

    /// Every file that a segment may have, in the order in which they are removed: the log last,
    /// so that a crash in between leaves no orphans that a restart would trust.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let kinds = [
            FileKind::Index,
            FileKind::TimeIndex,
            FileKind::TxnIndex,
            FileKind::Sidecar,
            FileKind::Log,
        ];
        kinds.into_iter().map(|kind| self.path(kind)).collect()
    }
}

/// Reads an index file, at most as long as an index of a whole segment can be.
pub(crate) async fn read_index_file(
    cx: &EngineCx,
    path: &Path,
) -> Result<Option<Vec<u8>>, LogError> {
    match cx.rt.read_file(path, INDEX_FILE_MAX).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io("read", path, &error)),
    }
}

/// How often a reader looks whether a directory has been renamed.
const RENAME_LOOK: Duration = Duration::from_millis(1);
/// Sequential readers of one segment that are told apart.
const READERS: usize = 4;
/// Kafka preallocates `segment.index.bytes`, which is an i32.
const INDEX_FILE_MAX: usize = 1 << 31;
