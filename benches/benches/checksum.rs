//! Checksums of batches and blocks, and the copy that sums.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use odradek_benches::ops::{Op, checksum};

fn checksums(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum");
    let mut bench = |name: &str, mut op: Op| {
        group.throughput(Throughput::Bytes(op.bytes() as u64));
        group.bench_function(name, |b| b.iter(|| op.run()));
    };
    for (name, len) in [("1KiB", 1 << 10), ("64KiB", 64 << 10), ("1MiB", 1 << 20)] {
        bench(&format!("sum/{name}"), checksum::sum(len));
        bench(&format!("sum_and_copy/{name}"), checksum::sum_and_copy(len));
    }
    bench("block/4KiB", checksum::sum_of_block(4 << 10));
    group.finish();
}

criterion_group!(benches, checksums);
criterion_main!(benches);
