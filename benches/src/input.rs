//! Inputs of the benchmarks: made once, the same in every run.

use engine::batch::{BatchBuilder, BatchOptions, NewRecord};
use engine::compress::Codecs;
use wire::api_key::ApiKey;
use wire::header::RequestHeader;
use wire::msg::fetch::{FetchPartition, FetchRequest, FetchTopic};
use wire::msg::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use wire::primitives::{Records, Uuid};
use wire::writer::Writer;

/// Version of the Produce requests: topics by id.
pub const PRODUCE_VERSION: i16 = 13;

/// Version of the Fetch requests: what Kafka 4's consumers send.
pub const FETCH_VERSION: i16 = 17;

/// A batch of `count` records of `value_bytes` each, as a producer sends it.
#[must_use]
pub fn batch(count: usize, value_bytes: usize) -> Vec<u8> {
    batch_with(BatchOptions::default(), count, value_bytes)
}

/// As [`batch`], with these options.
#[must_use]
pub fn batch_with(options: BatchOptions, count: usize, value_bytes: usize) -> Vec<u8> {
    // A quarter is noise, so that a codec has something to do and something to find.
    let mut noise = 1_u64;
    let mut value = vec![0; value_bytes];
    let mut builder = BatchBuilder::new(options);
    for _ in 0..count {
        for (at, byte) in value.iter_mut().enumerate() {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(at as u64);
            *byte = if at % 4 == 0 { (noise >> 56) as u8 } else { (at % 16) as u8 };
        }
        builder.push(&NewRecord { timestamp: 1, value: Some(&value), ..NewRecord::default() });
    }
    builder.build(&mut Codecs::default())
}

/// A Produce request with its header: `records` for each of `partitions` partitions.
#[must_use]
pub fn produce_request(partitions: i32, records: &[u8]) -> Vec<u8> {
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
    header(ApiKey::Produce, PRODUCE_VERSION).encode(&mut w).expect("a short client id");
    request.encode(&mut w, PRODUCE_VERSION).expect("a request of this version");
    w.into_bytes()
}

/// A Fetch request with its header, for `partitions` partitions.
#[must_use]
pub fn fetch_request(partitions: i32) -> Vec<u8> {
    let partitions: Vec<_> = (0..partitions)
        .map(|partition| FetchPartition {
            partition,
            current_leader_epoch: 4,
            fetch_offset: 1_000_000,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        })
        .collect();
    let topics = [FetchTopic {
        topic_id: Uuid::ONE,
        partitions: (&partitions).into(),
        ..FetchTopic::default()
    }];
    let request = FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        topics: (&topics).into(),
        ..FetchRequest::default()
    };
    let mut w = Writer::new();
    header(ApiKey::Fetch, FETCH_VERSION).encode(&mut w).expect("a short client id");
    request.encode(&mut w, FETCH_VERSION).expect("a request of this version");
    w.into_bytes()
}

fn header(api: ApiKey, api_version: i16) -> RequestHeader<'static> {
    RequestHeader { api, api_version, correlation_id: 7, client_id: Some("a-client") }
}
