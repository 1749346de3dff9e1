//! A partition's log, on the simulated runtime: what its owner core computes. The device is never
//! waited for, and nothing here steps the simulation while an operation runs.

use std::hint::black_box;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use config::TopicConfig;
use engine::buf::Slice;
use engine::cx::EngineLimits;
use engine::ids::Offset;
use engine::partition::{AppendOptions, Partition, ReadBound, ReadSpec};
use engine::rt::sim::{SimOptions, World};
use futures_util::FutureExt;

use super::Op;
use crate::{input, partition};

/// Appends a batch to the chunk in memory: validated, given its offset, copied, indexed. Room in
/// the file lasts for some dozen repetitions; growing it would wait for the device.
#[must_use]
pub fn append(count: usize, value_bytes: usize) -> Op {
    let log = Simulated::with_batches(APPENDED, count, value_bytes);
    let batch = Slice::from_vec(input::batch(count, value_bytes));
    let len = batch.len();
    let run = move || {
        let appending = log.partition().append_now(black_box(&batch), AppendOptions::default());
        let appended = appending.expect("there is room in the file");
        black_box(appended.expect("a good batch"));
    };
    Op::new(run).over(len)
}

/// Reads `max_bytes` of batches of 4 KiB from the log's memory, from anywhere.
#[must_use]
pub fn read(max_bytes: usize) -> Op {
    let log = Simulated::with_batches(BATCHES, 1, BATCH_BYTES);
    let mut from = Scattered::default();
    let run = move || {
        let spec = spec(from.next(BATCHES / 2), max_bytes);
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

/// A consumer's read.
#[must_use]
pub fn spec(from: Offset, max_bytes: usize) -> ReadSpec {
    ReadSpec { from, max_bytes, at_least_one: true, up_to: ReadBound::HighWatermark }
}

/// Offsets all over a log, the same in every run.
#[derive(Debug, Default)]
pub struct Scattered(i64);

impl Scattered {
    /// The next one, below `end`: neither a neighbour of the last nor soon again.
    pub fn next(&mut self, end: i64) -> Offset {
        self.0 = (self.0 + 379) % end;
        Offset(self.0)
    }
}

/// A partition of one node in a simulation of its own.
pub(super) struct Simulated {
    partition: Rc<Partition>,
    /// Its tasks live as long as this.
    _world: World,
}

impl Simulated {
    /// A partition that holds `batches` batches, all on disk and in memory.
    pub(super) fn with_batches(batches: i64, count: usize, value_bytes: usize) -> Self {
        let world = World::new(1, SimOptions::default());
        let rt = world.client_rt();
        let batch = Slice::from_vec(input::batch(count, value_bytes));
        let filled = async move {
            let (root, config) = (Path::new("/data"), TopicConfig::default());
            let partition = partition::lead(&rt, root, config, EngineLimits::default()).await;
            let mut last = Offset::ZERO;
            for _ in 0..batches {
                let appending = partition.append_as_leader(batch.clone(), AppendOptions::default());
                last = appending.await.expect("a good batch").last;
            }
            partition.acked(last).await.expect("a good disk");
            partition
        };
        let partition = world.block_on(Duration::from_secs(60), filled).expect("a live disk");
        Self { partition, _world: world }
    }

    pub(super) fn partition(&self) -> &Rc<Partition> {
        &self.partition
    }
}

/// Batches of a log to append to: its file has just grown then.
const APPENDED: i64 = 75;

/// Batches of a log to read from: about as many entries in its index.
const BATCHES: i64 = 2000;

/// Just above `index.interval.bytes`, so that each batch makes an entry.
const BATCH_BYTES: usize = 4096;
