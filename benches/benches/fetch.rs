//! Answers to Fetch requests, put together from memory.

use criterion::{Criterion, criterion_group, criterion_main};
use odradek_benches::ops;

fn assembly(c: &mut Criterion) {
    for partitions in [1, 10, 100] {
        let mut op = ops::fetch::assemble(partitions);
        c.bench_function(&format!("fetch/assemble/{partitions}"), |b| b.iter(|| op.run()));
    }
}

criterion_group!(benches, assembly);
criterion_main!(benches);
