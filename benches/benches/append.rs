//! Appends to a partition on a real core and a real disk, that of the build directory.
//!
//! `memory`: taken into the log's memory, while the device writes behind; `acked`: one after the
//! other, each waits for its sync, so this is the disk; `acked/32`: as many share a sync.

use std::time::Duration;

use config::TopicConfig;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use engine::buf::Slice;
use engine::cx::EngineLimits;
use engine::partition::AppendOptions;
use odradek_benches::real::Cores;
use odradek_benches::{input, partition};

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for (name, count, value_bytes) in [("1x100B", 1, 100), ("16KiB", 16, 1000), ("1MB", 16, 64_000)]
    {
        let batch = input::batch(count, value_bytes);
        bench(&mut group, &format!("memory/{name}"), batch.clone(), 1, false);
        bench(&mut group, &format!("acked/{name}"), batch, 1, true);
    }
    bench(&mut group, "acked/32/1x100B", input::batch(1, 100), 32, true);
    group.finish();
}

/// Times `together` appends, and their acknowledgement where it is waited for.
fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    batch: Vec<u8>,
    together: usize,
    acked: bool,
) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let root = dir.path().to_owned();
    group.throughput(Throughput::Bytes((batch.len() * together) as u64));
    let cores = Cores::one(move |rt, jobs| async move {
        let batch = Slice::from_vec(batch);
        let partition = partition::lead(&rt, &root, little_kept(), EngineLimits::default()).await;
        let append = async || {
            let mut last = None;
            for _ in 0..together {
                let options = AppendOptions::default();
                let appended = partition.append_as_leader(batch.clone(), options).await;
                last = Some(appended.expect("a good batch").last);
            }
            if let (true, Some(last)) = (acked, last) {
                partition.acked(last).await.expect("a good disk");
            }
        };
        let tidy = async || partition.housekeep(rt.wall_ms()).await.expect("a good disk");
        jobs.each(append, tidy).await;
        partition.close().await.expect("a good disk");
    });
    group.bench_function(name, |b| b.iter_custom(|repeats| cores.time(repeats)));
}

/// Whatever a benchmark appends, the disk holds little of it.
fn little_kept() -> TopicConfig {
    TopicConfig {
        segment_bytes: 64 << 20,
        retention_bytes: Some(64 << 20),
        ..TopicConfig::default()
    }
}

criterion_group!(benches, append);
criterion_main!(benches);
