//! A partition's log, on the simulated runtime: what its owner core computes. The device is never
//! waited for, and nothing here steps the simulation while an operation runs.

use std::hint::black_box;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::TopicConfig;
use engine::buf::Slice;
use engine::cx::{EngineCx, EngineLimits};
use engine::ids::{LeaderEpoch, Offset, PartitionId, TopicId};
use engine::log::dir::{DirContents, LogDir, MetaProperties};
use engine::partition::{AppendOptions, LeaderSpec, Partition, PartitionSpec, ReadBound, ReadSpec};
use engine::rt::Rt;
use engine::rt::sim::{SimOptions, World};
use futures_util::FutureExt;
use wire::primitives::Uuid;

use super::Op;
use crate::input;

/// Appends a batch to the chunk in memory: validated, given its offset, copied, indexed.
#[must_use]
pub fn append(count: usize, value_bytes: usize) -> Op {
    let log = Simulated::with_batches(APPENDED, count, value_bytes);
    let batch = Slice::from_vec(input::batch(count, value_bytes));
    let len = batch.len();
    let run = move || {
        let appending =
            log.partition().append_as_leader(black_box(&batch).clone(), AppendOptions::default());
        let appended = appending.now_or_never().expect("there is room in the file");
        black_box(appended.expect("a good batch"));
    };
    Op::new(run).over(len)
}

/// Reads `max_bytes` of batches of 4 KiB from the log's memory, from an offset in the middle.
#[must_use]
pub fn read(max_bytes: usize) -> Op {
    let log = Simulated::with_batches(BATCHES, 1, BATCH_BYTES);
    let mut from = Scattered::default();
    let run = move || {
        let spec = ReadSpec {
            from: from.next(BATCHES / 2),
            max_bytes,
            at_least_one: true,
            up_to: ReadBound::HighWatermark,
        };
        let read = log.partition().read(spec).now_or_never().expect("all of it is in memory");
        black_box(read.expect("a good offset"));
    };
    Op::new(run).over(max_bytes)
}

/// Finds the position of an offset: by the sparse index, then by the headers behind that.
#[must_use]
pub fn look_up() -> Op {
    let log = Simulated::with_batches(BATCHES, 1, BATCH_BYTES);
    let mut from = Scattered::default();
    Op::new(move || {
        let available = log.partition().available(from.next(BATCHES), ReadBound::HighWatermark);
        black_box(available.expect("a good offset"));
    })
}

/// A partition of one node in a simulation of its own.
struct Simulated {
    partition: Rc<Partition>,
    /// Its tasks live as long as this.
    _world: World,
}

impl Simulated {
    /// A partition that holds `batches` batches, all on disk and in memory.
    fn with_batches(batches: i64, count: usize, value_bytes: usize) -> Self {
        let world = World::new(1, SimOptions::default());
        let rt = world.client_rt();
        let batch = Slice::from_vec(input::batch(count, value_bytes));
        let filled = async move {
            let partition = open(&rt).await;
            let leader =
                LeaderSpec { epoch: LeaderEpoch(1), replica_count: 1, isr_count: 1, min_isr: 1 };
            partition.become_leader(leader);
            let mut last = Offset::ZERO;
            for _ in 0..batches {
                let appended =
                    partition.append_as_leader(batch.clone(), AppendOptions::default()).await;
                last = appended.expect("a good batch").last;
            }
            partition.acked(last).await.expect("a good disk");
            partition
        };
        let partition = world.block_on(Duration::from_secs(60), filled).expect("a live disk");
        Self { partition, _world: world }
    }

    fn partition(&self) -> &Rc<Partition> {
        &self.partition
    }
}

/// Opens a partition in a directory that is new.
async fn open(rt: &Rt) -> Rc<Partition> {
    let root = Path::new("/data");
    let meta = MetaProperties {
        cluster_id: "benchmarks".to_owned(),
        node_id: 1,
        directory_id: Some(Uuid([9; 16])),
    };
    DirContents::format(rt, root, &meta).await.expect("formatted");
    let contents = DirContents::read(rt, root).await.expect("readable");
    contents.begin(rt).await.expect("begun");
    let spec = PartitionSpec {
        topic: "t".to_owned(),
        topic_id: TopicId(Uuid([7; 16])),
        partition: PartitionId(0),
        log_dir: LogDir::attach(rt, &Arc::new(contents)),
        config: Rc::new(TopicConfig::default()),
    };
    let cx = EngineCx::new(rt.clone(), EngineLimits::default());
    Partition::open(&cx, spec).await.expect("opened")
}

/// Offsets all over a log, the same in every run.
#[derive(Default)]
struct Scattered(i64);

impl Scattered {
    fn next(&mut self, below: i64) -> Offset {
        self.0 = (self.0 + 379) % below;
        Offset(self.0)
    }
}

/// Batches of a log to append to: its file has just grown then, and growing it waits for the device.
const APPENDED: i64 = 75;

/// Batches of a log to read from: about as many entries in its index.
const BATCHES: i64 = 2000;

/// Just above `index.interval.bytes`, so that each batch makes an entry.
const BATCH_BYTES: usize = 4096;
