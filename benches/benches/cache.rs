//! Reads of a partition on a real core, by where the bytes are: in the log's tail, in a window that
//! was read before, or on the disk of the build directory.
//!
//! Nothing is copied: what is in memory is handed out as slices, so its throughput is only what a
//! core could serve if it did nothing else with the bytes.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use config::TopicConfig;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::buf::Slice;
use engine::cx::EngineLimits;
use engine::ids::Offset;
use engine::partition::{AppendOptions, Partition};
use engine::rt::Rt;
use odradek_benches::ops::log::{Scattered, spec};
use odradek_benches::real::Cores;
use odradek_benches::{input, partition};

fn reads(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for (size, max_bytes) in [("16KiB", 17 << 10), ("1MiB", 1 << 20)] {
        group.throughput(Throughput::Bytes(max_bytes as u64));
        for (place, first, end) in PLACES {
            let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
            let root = dir.path().to_owned();
            let cores = Cores::one(move |rt, jobs| async move {
                let partition = filled(&rt, &root).await;
                let mut scattered = Scattered::default();
                let read = async || {
                    let from = Offset(first + scattered.next(end - first).0);
                    let read = partition.read(spec(from, max_bytes)).await.expect("readable");
                    assert!(read.bytes > max_bytes / 2, "{} bytes from {from}", read.bytes);
                };
                jobs.each(read, async || ()).await;
                partition.close().await.expect("a good disk");
            });
            let name = format!("{place}/{size}");
            group.bench_function(name, |b| b.iter_custom(|repeats| cores.time(repeats)));
        }
    }
    group.finish();
}

/// A partition of [`BATCHES`] batches of 16 KiB, a small part of them in memory.
async fn filled(rt: &Rt, root: &Path) -> Rc<Partition> {
    let limits =
        EngineLimits { tail_bytes: 8 << 20, cold_bytes: 8 << 20, ..EngineLimits::default() };
    let partition = partition::lead(rt, root, TopicConfig::default(), limits).await;
    let batch = Slice::from_vec(input::batch(1, 16_000));
    let mut last = Offset::ZERO;
    for _ in 0..BATCHES {
        let appended = partition.append_as_leader(batch.clone(), AppendOptions::default()).await;
        last = appended.expect("a good batch").last;
    }
    partition.acked(last).await.expect("a good disk");
    partition
}

const BATCHES: i64 = 8192;

/// Offsets to read from, by where their bytes are: the last 4 MiB, 4 MiB that windows can hold, and
/// so much that a window is gone before it is asked for again.
const PLACES: [(&str, i64, i64); 3] =
    [("tail", BATCHES - 256, BATCHES - 128), ("window", 0, 192), ("disk", 0, 6144)];

criterion_group!(benches, reads);
criterion_main!(benches);
