//! What one produced batch costs the broker's CPU, step by step: decode, validate, copy.
//!
//! `cargo bench -p odradek-benches`. These run without the runtime, so that a change of one step
//! shows as a change of one number.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::batch::Scratch;
use engine::batch::validate::{ValidateOptions, validate};
use engine::checksum::{copy_crc32c, crc32c};
use odradek_benches::batch;
use wire::cursor::Cursor;
use wire::msg::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use wire::primitives::{Records, Uuid};
use wire::writer::Writer;

/// A Produce request for `partitions` partitions, one batch each, without its header.
fn request(partitions: i32, records: &[u8]) -> Vec<u8> {
    let data: Vec<_> = (0..partitions)
        .map(|index| PartitionProduceData { index, records: Some(Records::Inline(records)) })
        .collect();
    let topics = [TopicProduceData {
        topic_id: Uuid::ONE,
        partition_data: (&data).into(),
        ..Default::default()
    }];
    let request = ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 30_000,
        topic_data: (&topics).into(),
    };
    let mut w = Writer::new();
    request.encode(&mut w, VERSION).expect("a request of this version");
    w.into_bytes()
}

fn decode(c: &mut Criterion) {
    let small = batch(1, 100);
    for partitions in [1, 100] {
        let bytes = request(partitions, &small);
        c.bench_function(&format!("decode_produce/{partitions}_partitions"), |b| {
            b.iter(|| {
                let mut cur = Cursor::new(black_box(&bytes));
                let request = ProduceRequest::decode(&mut cur, VERSION).expect("just encoded");
                let mut total = 0;
                for topic in &request.topic_data {
                    for partition in &topic.partition_data {
                        total += partition.records.map_or(0, |records| records.len());
                    }
                }
                total
            });
        });
    }
}

fn validation(c: &mut Criterion) {
    let mut group = c.benchmark_group("validate");
    let mut scratch = Scratch::default();
    for (count, value_bytes) in [(1, 100), (40, 100), (1000, 1000)] {
        let bytes = batch(count, value_bytes);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("{count}x{value_bytes}"), |b| {
            let options = ValidateOptions::default();
            b.iter(|| validate(black_box(&bytes), &options, &mut scratch).expect("a good batch"));
        });
    }
    group.finish();
}

fn checksum(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum");
    let source = batch(1000, 1000);
    let mut target = vec![0; source.len()];
    group.throughput(Throughput::Bytes(source.len() as u64));
    group.bench_function("crc32c/1MB", |b| b.iter(|| crc32c(black_box(&source))));
    group.bench_function("copy_crc32c/1MB", |b| {
        b.iter(|| copy_crc32c(&mut target, black_box(&source), 0));
    });
    group.finish();
}

/// Topics by id.
const VERSION: i16 = 13;

criterion_group!(produce_path, decode, validation, checksum);
criterion_main!(produce_path);
