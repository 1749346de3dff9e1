//! Batches validated, and producers' sequences checked.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::compress::Codec;
use odradek_benches::ops::{Op, batch, producer};

fn validation(c: &mut Criterion) {
    let mut group = c.benchmark_group("validate");
    let mut bench = |name: &str, mut op: Op| {
        group.throughput(Throughput::Bytes(op.bytes() as u64));
        group.bench_function(name, |b| b.iter(|| op.run()));
    };
    bench("plain/1x100B", batch::validate_plain(1, 100));
    bench("plain/100x100B", batch::validate_plain(100, 100));
    bench("plain/16x64KiB", batch::validate_plain(16, 64 << 10));
    for codec in Codec::ALL.into_iter().filter(|codec| *codec != Codec::None) {
        bench(
            &format!("closed/{}/100x1KiB", codec.name()),
            batch::validate_closed(codec, 100, 1024),
        );
        bench(
            &format!("opened/{}/100x1KiB", codec.name()),
            batch::validate_opened(codec, 100, 1024),
        );
    }
    group.finish();
}

fn sequence(c: &mut Criterion) {
    for producers in [1, 1000] {
        let mut op = producer::next_batch(producers);
        c.bench_function(&format!("sequence/{producers}_producers"), |b| b.iter(|| op.run()));
    }
}

criterion_group!(benches, validation, sequence);
criterion_main!(benches);
