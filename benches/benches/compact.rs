//! Compaction of a partition on a real core and a real disk, that of the build directory.
//!
//! Each pass finds 64 MiB of new records of 100 bytes with one of 100 000 keys, beside what the pass
//! before left. `alone` has the core to itself but for what compaction leaves others:
//! half of it at least.

use std::time::{Duration, Instant};

use config::{CleanupPolicy, TopicConfig};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::batch::{BatchBuilder, BatchOptions, NewRecord};
use engine::buf::Slice;
use engine::compress::{Codec, Codecs, Compression};
use engine::cx::EngineLimits;
use engine::log::{Cleaner, CleanerLimits};
use engine::partition::AppendOptions;
use odradek_benches::partition;
use odradek_benches::real::Cores;

fn compact(c: &mut Criterion) {
    let mut group = c.benchmark_group("compact");
    group.sample_size(10).warm_up_time(Duration::from_millis(1));
    group.throughput(Throughput::Bytes(DIRTY_BYTES));
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let root = dir.path().to_owned();
        let cores = Cores::one(move |rt, jobs| async move {
            let partition = partition::lead(&rt, &root, config(), EngineLimits::default()).await;
            let limits = CleanerLimits { map_bytes: 64 << 20, bytes_per_second: f64::MAX };
            let cleaner = Cleaner::new(&rt, limits);
            let mut keys = 1;
            let pass = async || {
                let mut appended = 0;
                while appended < DIRTY_BYTES {
                    let batch = batch(codec, &mut keys);
                    appended += RECORDS as u64 * VALUE_BYTES as u64;
                    let options = AppendOptions::default();
                    let appended = partition.append_as_leader(Slice::from_vec(batch), options);
                    let last = appended.await.expect("a good batch").last;
                    partition.acked(last).await.expect("a good disk");
                }
                let began = Instant::now();
                let filth = partition.filth(rt.wall_ms()).await.expect("a good disk");
                let filth = filth.expect("much is dirty");
                partition.clean(&cleaner, filth, rt.wall_ms()).await.expect("a good disk");
                began.elapsed()
            };
            jobs.parts(pass).await;
            partition.close().await.expect("a good disk");
        });
        group.bench_function(format!("alone/{codec}"), |b| {
            b.iter_custom(|repeats| cores.time(repeats));
        });
    }
    group.finish();
}

/// A batch of records whose keys follow a fixed pseudo-random order. Half of each value is random
/// too, so that a codec halves the records at best.
fn batch(codec: Codec, keys: &mut u64) -> Vec<u8> {
    let compression = Compression::new(codec);
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    let mut value = [7; VALUE_BYTES];
    for _ in 0..RECORDS {
        for part in value[..VALUE_BYTES / 2].chunks_mut(4) {
            part.copy_from_slice(&random(keys).to_be_bytes()[..part.len()]);
        }
        let key = format!("user-{:08}", random(keys) % KEYS);
        let key = Some(key.as_bytes());
        let value = Some(&value[..]);
        builder.push(&NewRecord { timestamp: 1, key, value, ..NewRecord::default() });
    }
    builder.build(&mut Codecs::default())
}

/// The next number of a fixed order.
fn random(state: &mut u64) -> u32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (*state >> 32) as u32
}

fn config() -> TopicConfig {
    TopicConfig {
        cleanup_policy: CleanupPolicy { compact: true, delete: false },
        segment_bytes: 16 << 20,
        min_cleanable_dirty_ratio: 0.0,
        file_delete_delay_ms: 0,
        ..TopicConfig::default()
    }
}

const DIRTY_BYTES: u64 = 64 << 20;
const RECORDS: usize = 150;
const VALUE_BYTES: usize = 100;
const KEYS: u32 = 100_000;

criterion_group!(benches, compact);
criterion_main!(benches);
