//! Requests decoded, responses encoded.

use criterion::{Criterion, criterion_group, criterion_main};
use odradek_benches::ops::codec;

fn produce(c: &mut Criterion) {
    for partitions in [1, 100] {
        let mut op = codec::decode_produce(partitions);
        c.bench_function(&format!("decode/produce/{partitions}"), |b| b.iter(|| op.run()));
        let mut op = codec::encode_produce_answer(partitions);
        c.bench_function(&format!("encode/produce/{partitions}"), |b| b.iter(|| op.run()));
    }
}

fn fetch(c: &mut Criterion) {
    for partitions in [1, 10, 100] {
        let mut op = codec::decode_fetch(partitions);
        c.bench_function(&format!("decode/fetch/{partitions}"), |b| b.iter(|| op.run()));
        let mut op = codec::encode_fetch_answer(partitions.unsigned_abs());
        c.bench_function(&format!("encode/fetch/{partitions}"), |b| b.iter(|| op.run()));
    }
}

criterion_group!(benches, produce, fetch);
criterion_main!(benches);
