//! Look-ups: an offset's position by the sparse index, a topic in the metadata image.

use criterion::{Criterion, criterion_group, criterion_main};
use odradek_benches::ops::{image, log};

fn index(c: &mut Criterion) {
    let mut op = log::look_up();
    c.bench_function("lookup/offset", |b| b.iter(|| op.run()));
}

fn metadata(c: &mut Criterion) {
    for topics in [10, 10_000] {
        let mut op = image::by_name(topics);
        c.bench_function(&format!("lookup/name/{topics}_topics"), |b| b.iter(|| op.run()));
        let mut op = image::by_id(topics);
        c.bench_function(&format!("lookup/id/{topics}_topics"), |b| b.iter(|| op.run()));
    }
}

criterion_group!(benches, index, metadata);
criterion_main!(benches);
