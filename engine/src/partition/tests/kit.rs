//! What the partition's tests share: a node with a disk, and batches to append.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use config::TopicConfig;
use wire::primitives::Uuid;

use crate::batch::header::{BatchView, Batches};
use crate::batch::{BatchBuilder, BatchOptions, NewRecord};
use crate::buf::Slice;
use crate::compress::Codecs;
use crate::cx::{EngineCx, EngineLimits};
use crate::error::OpenError;
use crate::ids::{LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, TopicId};
use crate::log::dir::{DirContents, DirState, LogDir, MetaProperties};
use crate::log::journal::JournalLimits;
use crate::partition::*;
use crate::rt::Rt;

pub(super) const ROOT: &str = "/data";
pub(super) const TOPIC: TopicId = TopicId(Uuid([7; 16]));

/// A journal of the smallest size that every small append goes to.
pub(super) const JOURNAL: JournalLimits =
    JournalLimits { bytes: 1, append_bytes_max: 64 << 10, logs_min: 1 };

/// One core's engine with one log directory.
pub(super) struct Kit {
    pub(super) cx: Rc<EngineCx>,
    pub(super) dir: Rc<LogDir>,
}

impl Kit {
    /// Formats or reads the directory, as a node's start does.
    pub(super) async fn start(rt: &Rt) -> Self {
        Self::start_with(rt, EngineLimits::default()).await
    }

    pub(super) async fn start_with(rt: &Rt, limits: EngineLimits) -> Self {
        let root = Path::new(ROOT);
        if DirContents::inspect(rt, root).await.expect("readable") == DirState::Empty {
            let directory_id = Some(Uuid([9; 16]));
            let meta = MetaProperties { cluster_id: "c".to_owned(), node_id: 1, directory_id };
            DirContents::format(rt, root, &meta).await.expect("formatted");
        }
        let contents = DirContents::read(rt, root).await.expect("readable");
        contents.check_journals(rt).await.expect("understood");
        contents.replay_journals(rt).await.expect("replayed");
        contents.begin(rt).await.expect("begun");
        let dir = LogDir::attach(rt, &Arc::new(contents));
        Self { cx: EngineCx::new(rt.clone(), limits), dir }
    }

    /// Ends the run in order, once every partition is closed.
    pub(super) async fn stop(&self, broker_epoch: i64) {
        self.dir.close_journal().await.expect("empty");
        self.dir.checkpoint_last().await.expect("written");
        let (contents, positions) = (self.dir.contents(), self.dir.positions());
        contents.end(&self.cx.rt, &positions, broker_epoch).await.expect("ended");
    }

    pub(super) fn spec(&self, config: TopicConfig) -> PartitionSpec {
        PartitionSpec {
            topic: "t".to_owned(),
            topic_id: TOPIC,
            partition: PartitionId(0),
            log_dir: Rc::clone(&self.dir),
            config: Rc::new(config),
        }
    }

    pub(super) async fn open(&self, config: TopicConfig) -> Result<Rc<Partition>, OpenError> {
        Partition::open(&self.cx, self.spec(config)).await
    }

    /// Opens the partition and leads it, alone, in `epoch`.
    pub(super) async fn lead(&self, config: TopicConfig, epoch: i32) -> Rc<Partition> {
        let partition = self.open(config).await.expect("opens");
        partition.become_leader(alone(epoch));
        partition
    }
}

pub(super) fn alone(epoch: i32) -> LeaderSpec {
    LeaderSpec { epoch: LeaderEpoch(epoch), replica_count: 1, isr_count: 1, min_isr: 1 }
}

pub(super) fn partition_dir() -> PathBuf {
    Path::new(ROOT).join("t-0")
}

/// A client's batch of `count` records whose values say `tag` and have `size` bytes.
pub(super) fn batch(tag: u64, count: usize, size: usize) -> Slice {
    batch_at(tag, count, size, 1_000 + i64::try_from(tag).expect("small"), None)
}

/// As [`batch`], at a time, and numbered by a producer (id, epoch, first sequence).
pub(super) fn batch_at(
    tag: u64,
    count: usize,
    size: usize,
    timestamp: i64,
    producer: Option<(i64, i16, i32)>,
) -> Slice {
    let mut options = BatchOptions::default();
    if let Some((id, epoch, sequence)) = producer {
        options.producer_id = ProducerId(id);
        options.producer_epoch = ProducerEpoch(epoch);
        options.base_sequence = sequence;
    }
    let mut builder = BatchBuilder::new(options);
    let mut value = tag.to_be_bytes().to_vec();
    value.resize(size.max(8), tag as u8);
    for _ in 0..count {
        builder.push(&NewRecord { timestamp, value: Some(&value), ..NewRecord::default() });
    }
    Slice::from_vec(builder.build(&mut Codecs::default()))
}

/// Appends as a client with `acks=all`, and waits for the acknowledgement.
pub(super) async fn produce(partition: &Rc<Partition>, records: Slice) -> Appended {
    let appended = partition
        .append_as_leader(records, AppendOptions::default())
        .await
        .expect("the log takes it");
    partition.acked(appended.last).await.expect("acknowledged");
    appended
}

/// A read as consumers do it.
pub(super) fn from(offset: i64, max_bytes: usize) -> ReadSpec {
    ReadSpec {
        from: Offset(offset),
        max_bytes,
        at_least_one: true,
        up_to: ReadBound::HighWatermark,
    }
}

/// All bytes of a read.
pub(super) fn joined(read: &ReadResult) -> Vec<u8> {
    read.slices.iter().flat_map(|slice| slice.iter().copied()).collect()
}

/// Base offset, last offset and tag of each batch.
pub(super) fn tags(bytes: &[u8]) -> Vec<(i64, i64, u64)> {
    let batches = Batches::new(bytes).map(|batch| batch.expect("whole batches"));
    batches.map(|batch| (batch.base_offset.0, batch.last_offset().0, tag_of(&batch))).collect()
}

fn tag_of(batch: &BatchView<'_>) -> u64 {
    assert!(batch.checksum_holds(), "batch at {}", batch.base_offset);
    let records = crate::batch::Records::new(batch.payload(), batch.records_count);
    let mut records = records.expect("a count");
    let first = records.next().expect("a record").expect("whole");
    let value = first.value.expect("a value");
    u64::from_be_bytes(value[..8].try_into().expect("8 bytes"))
}

/// Everything from `offset` to the high watermark.
pub(super) async fn read_all(partition: &Rc<Partition>, mut offset: i64) -> Vec<(i64, i64, u64)> {
    let mut found = Vec::new();
    loop {
        let read = partition.read(from(offset, 300_000)).await.expect("readable");
        if read.bytes == 0 {
            return found;
        }
        let part = tags(&joined(&read));
        assert!(!part.is_empty());
        offset = part[part.len() - 1].1 + 1;
        found.extend(part);
    }
}
