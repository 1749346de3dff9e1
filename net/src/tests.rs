//! A whole node, driven by its clients.

use engine::batch::{BatchBuilder, BatchOptions, NewRecord};
use engine::compress::Codecs;
use wire::api_key::ApiKey;
use wire::error_code::ErrorCode;
use wire::msg::create_topics::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse};
use wire::msg::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use wire::msg::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use wire::primitives::Records;

use crate::testing::{Client, Whole};

fn batch(values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for value in values {
        let value = Some(value.as_bytes());
        builder.push(&NewRecord { timestamp: 1_700_000_000_000, value, ..NewRecord::default() });
    }
    builder.build(&mut Codecs::default())
}

async fn create(client: &mut Client, name: &str, partitions: i32) -> ErrorCode {
    let topic = CreatableTopic {
        name,
        num_partitions: partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic].into(), ..Default::default() };
    let code = client.ask(ApiKey::CreateTopics, 5, &request, |cur| {
        let response = CreateTopicsResponse::decode(cur, 5).expect("a response");
        ErrorCode(response.topics.first().expect("one topic").error_code)
    });
    code.await.expect("answered")
}

async fn produce(
    client: &mut Client,
    topic: &str,
    partition: i32,
    values: &[&str],
) -> (ErrorCode, i64) {
    let bytes = batch(values);
    let data = PartitionProduceData { index: partition, records: Some(Records::Inline(&bytes)) };
    let topic = TopicProduceData {
        name: topic,
        partition_data: vec![data].into(),
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![topic].into(),
        ..ProduceRequest::default()
    };
    let answer = client.ask(ApiKey::Produce, 9, &request, |cur| {
        let response = ProduceResponse::decode(cur, 9).expect("a response");
        let topic = response.responses.first().expect("one topic");
        let partition = topic.partition_responses.first().expect("one partition");
        (ErrorCode(partition.error_code), partition.base_offset)
    });
    answer.await.expect("answered")
}

async fn fetch(
    client: &mut Client,
    topic: &str,
    partition: i32,
    from: i64,
    wait_ms: i32,
) -> (ErrorCode, i64, Vec<u8>) {
    let part = FetchPartition {
        partition,
        fetch_offset: from,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic = FetchTopic { topic, partitions: vec![part].into(), ..FetchTopic::default() };
    let request = FetchRequest {
        max_wait_ms: wait_ms,
        min_bytes: 1,
        topics: vec![topic].into(),
        ..FetchRequest::default()
    };
    let answer = client.ask(ApiKey::Fetch, 12, &request, |cur| {
        let response = FetchResponse::decode(cur, 12).expect("a response");
        let topic = response.responses.first().expect("one topic");
        let data = topic.partitions.first().expect("one partition");
        let Some(Records::Inline(bytes)) = data.records else { panic!("records come inline") };
        (ErrorCode(data.error_code), data.high_watermark, bytes.to_vec())
    });
    answer.await.expect("answered")
}

#[test]
fn what_was_produced_is_fetched_also_after_a_restart() {
    for seed in 0..5 {
        let mut node = Whole::start(seed, 2, &[]);
        node.run(|rt, addr| async move {
            let mut client = Client::connect(&rt, addr).await;
            assert_eq!(create(&mut client, "t", 4).await, ErrorCode::NONE);
            for partition in 0..4 {
                let (code, base) = produce(&mut client, "t", partition, &["a", "b"]).await;
                assert_eq!((code, base), (ErrorCode::NONE, 0));
                let (code, base) = produce(&mut client, "t", partition, &["c"]).await;
                assert_eq!((code, base), (ErrorCode::NONE, 2));
                let (code, high, bytes) = fetch(&mut client, "t", partition, 0, 0).await;
                assert_eq!((code, high), (ErrorCode::NONE, 3));
                assert!(!bytes.is_empty());
            }
        });
        for outcome in node.stop() {
            outcome.expect("stops in order");
        }
        node.boot();
        node.run(|rt, addr| async move {
            let mut client = Client::connect(&rt, addr).await;
            for partition in 0..4 {
                let (code, high, _) = fetch(&mut client, "t", partition, 1, 0).await;
                assert_eq!((code, high), (ErrorCode::NONE, 3));
            }
        });
    }
}
