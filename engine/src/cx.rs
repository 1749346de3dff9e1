//! What all logs of one core share. Passed explicitly; there is one per core and node.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::batch::Scratch;
use crate::buf::{ChunkPool, PoolUsage};
use crate::cache::{Cold, SegmentUid, TailBudget};
use crate::log::ShelfLimits;
use crate::log::shelf::Shelf;
use crate::metrics;
use crate::producer::ProducerLimits;
use crate::rt::Rt;
use crate::waiters::Waiters;

/// Memory that one core's logs may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// Newest chunks of all logs.
    pub tail_bytes: usize,
    /// Windows of older data.
    pub cold_bytes: usize,
    /// Appended bytes that the device has not taken yet; more make appends wait.
    pub dirty_bytes: usize,
    /// What closed segments hold.
    pub shelf: ShelfLimits,
}

/// Memory that one core's logs use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineMemory {
    /// Newest chunks of all logs, bounded by [`EngineLimits::tail_bytes`] but for what the device
    /// has not taken.
    pub tail_bytes: usize,
    /// Windows of older data.
    pub cold_bytes: usize,
    /// Appended bytes that the device has not taken yet.
    pub dirty_bytes: usize,
    /// Closed segments that have something in memory.
    pub shelf_segments: usize,
    /// Indexes and checksums of those.
    pub shelf_bytes: usize,
    /// All chunks, by whether the engine holds them or only slices elsewhere do.
    pub chunks: PoolUsage,
}

/// One core's engine.
pub struct EngineCx {
    /// The core's clock, disk and tasks.
    pub rt: Rt,
    /// What its logs do.
    pub metrics: Rc<LogMetrics>,
    pub(crate) chunks: ChunkPool,
    pub(crate) tails: Rc<TailBudget>,
    pub(crate) cold: Rc<Cold>,
    pub(crate) dirty: Dirty,
    pub(crate) shelf: Shelf,
    /// For opening compressed batches, one at a time.
    pub(crate) scratch: RefCell<Scratch>,
    producer_limits: Cell<ProducerLimits>,
    next_uid: Cell<u64>,
}

metrics! {
    /// What the logs of this core do.
    LogMetrics {
        appended_bytes: Counter "Bytes of batches appended",
        device_writes: Counter "Writes given to the device",
        device_bytes: Counter "Bytes given to the device, padding included",
        syncs: Counter "Syncs of segment files",
        sync_time: Histogram "From the start of a sync of a segment file to its end",
        journal_commits: Counter "Appends that the commit journal made durable",
        reads: Counter "Reads of batches",
        read_bytes: Counter "Bytes of batches read",
        reads_from_disk: Counter "Reads of batches that waited for the disk; the others were served from memory",
        cold_reads: Counter "Windows of older data read from disk",
        segments_rolled: Counter "Segments begun",
        roll_time: Histogram "For which a log takes no appends while its next segment is begun",
        segments_deleted: Counter "Segments that retention let go",
        cleanings: Counter "Passes of compaction over a log",
        cleaner_read_bytes: Counter "Bytes that compaction read",
        cleaner_written_bytes: Counter "Bytes that compaction wrote",
        recovered_bytes: Counter "Bytes read to recover logs",
        set_aside_bytes: Counter "Bytes that belonged to no whole batch and were set aside",
        damage_found: Counter "Blocks and batches on disk that were not what was written",
        disk_full: Counter "Appends refused because the disk was full",
        logs_failed: Counter "Logs that stopped after a failed write or sync",
    }
}

/// Appended bytes of all logs that only memory holds.
pub(crate) struct Dirty {
    bytes: Cell<u64>,
    bytes_max: u64,
    waiters: Waiters,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            tail_bytes: 64 << 20,
            cold_bytes: 32 << 20,
            dirty_bytes: 32 << 20,
            shelf: ShelfLimits::default(),
        }
    }
}

impl EngineCx {
    /// The engine of `rt`'s core.
    #[must_use]
    pub fn new(rt: Rt, limits: EngineLimits) -> Rc<Self> {
        Rc::new(Self {
            metrics: Rc::default(),
            chunks: ChunkPool::new(rt.clone()),
            tails: TailBudget::new(limits.tail_bytes),
            cold: Cold::new(rt.clone(), limits.cold_bytes),
            dirty: Dirty {
                bytes: Cell::new(0),
                bytes_max: limits.dirty_bytes as u64,
                waiters: Waiters::default(),
            },
            shelf: Shelf::new(limits.shelf),
            scratch: RefCell::default(),
            producer_limits: Cell::default(),
            next_uid: Cell::new(0),
            rt,
        })
    }

    /// Memory in use.
    #[must_use]
    pub fn memory(&self) -> EngineMemory {
        let (shelf_segments, shelf_bytes) = self.shelf.usage();
        EngineMemory {
            shelf_segments,
            shelf_bytes,
            tail_bytes: self.tails.bytes(),
            cold_bytes: self.cold.bytes(),
            dirty_bytes: usize::try_from(self.dirty.bytes.get()).unwrap_or(usize::MAX),
            chunks: self.chunks.usage(),
        }
    }

    /// How much and how long partitions remember producers.
    #[must_use]
    pub fn producer_limits(&self) -> ProducerLimits {
        self.producer_limits.get()
    }

    /// Changes how much and how long partitions remember producers, from their next look on.
    pub fn set_producer_limits(&self, limits: ProducerLimits) {
        self.producer_limits.set(limits);
    }

    pub(crate) fn segment_uid(&self) -> SegmentUid {
        self.next_uid.set(self.next_uid.get() + 1);
        SegmentUid(self.next_uid.get())
    }
}

impl Dirty {
    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    /// Whether half of the limit is taken.
    pub(crate) fn is_half_full(&self) -> bool {
        self.bytes.get() >= self.bytes_max / 2
    }

    pub(crate) fn remove(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() - bytes);
        if self.has_room() {
            self.waiters.wake_all();
        }
    }

    /// Whether less than the limit is dirty.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes.get() < self.bytes_max
    }

    /// Waits until less than the limit is dirty.
    pub(crate) async fn room(&self) {
        if !self.has_room() {
            self.waiters.until(0, || self.has_room().then_some(())).await;
        }
    }
}
