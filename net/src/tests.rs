//! A whole node, driven by its clients.

mod configs;
mod lost;
mod moved;

use std::net::SocketAddr;
use std::time::Duration;

use engine::batch::{BatchBuilder, BatchHeader, BatchOptions, NewRecord};
use engine::compress::{Codec, Codecs, Compression};
use engine::rt::Rt;
use futures_util::future::join_all;
use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::error_code::ErrorCode;
use wire::header::ResponseHeader;
use wire::msg::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use wire::msg::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use wire::primitives::Records;

use crate::testing::{Client, Lines, Whole, frame};

fn batch(values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for value in values {
        let value = Some(value.as_bytes());
        builder.push(&NewRecord { timestamp: 1_700_000_000_000, value, ..NewRecord::default() });
    }
    builder.build(&mut Codecs::default())
}

pub(crate) async fn produce(
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
    fetch_in(client, 12, topic, partition, from, wait_ms).await
}

async fn fetch_in(
    client: &mut Client,
    version: i16,
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
    let answer = client.ask(ApiKey::Fetch, version, &request, |cur| {
        let response = FetchResponse::decode(cur, version).expect("a response");
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
            assert_eq!(client.create("t", 4, &[]).await, ErrorCode::NONE);
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

#[test]
fn zstd_needs_a_produce_that_knows_it() {
    let compression = Compression::new(Codec::Zstd);
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    let value = Some(&b"zstd zstd zstd zstd"[..]);
    builder.push(&NewRecord { timestamp: 1_700_000_000_000, value, ..NewRecord::default() });
    let batch = builder.build(&mut Codecs::default());
    let node = Whole::start(8, 2, &[]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(client.create("t", 1, &[]).await, ErrorCode::NONE);
        for (topic, version, code) in [
            ("t", 3, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
            ("t", 6, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
            ("nowhere", 6, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            ("t", 7, ErrorCode::NONE),
        ] {
            let data = PartitionProduceData { index: 0, records: Some(Records::Inline(&batch)) };
            let partition_data = vec![data].into();
            let topic =
                TopicProduceData { name: topic, partition_data, ..TopicProduceData::default() };
            let (acks, timeout_ms, topic_data) = (-1, 30_000, vec![topic].into());
            let request = ProduceRequest { acks, timeout_ms, topic_data, transactional_id: None };
            let told = client.ask(ApiKey::Produce, version, &request, |cur| {
                let response = ProduceResponse::decode(cur, version).expect("a response");
                let topic = response.responses.first().expect("one topic");
                let told = topic.partition_responses.first().expect("one partition").error_code;
                ErrorCode(told)
            });
            assert_eq!(told.await, Some(code), "version {version}");
        }
        // Whoever cannot read it gets it all the same: there is no conversion any more.
        let (code, high, bytes) = fetch_in(&mut client, 4, "t", 0, 0, 0).await;
        assert_eq!((code, high), (ErrorCode::NONE, 1));
        assert_eq!(bytes[16..], batch[16..]);
    });
}

/// Produces to one partition and reads back what comes, request by request; the session goes on
/// whichever core serves the connection.
async fn stays_in_step(rt: Rt, addr: SocketAddr, partition: i32) {
    let mut client = Client::connect(&rt, addr).await;
    let (mut session_id, mut session_epoch) = (0, 0);
    for turn in 0..600 {
        let (code, base) = produce(&mut client, "t", partition, &["a", "b"]).await;
        assert_eq!((code, base), (ErrorCode::NONE, 2 * turn));
        let part = FetchPartition {
            partition,
            fetch_offset: 2 * turn,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        };
        let partitions = vec![part].into();
        let topic = FetchTopic { topic: "t", partitions, ..FetchTopic::default() };
        let request = FetchRequest {
            max_wait_ms: 1000,
            min_bytes: 1,
            session_id,
            session_epoch,
            topics: vec![topic].into(),
            ..FetchRequest::default()
        };
        let told = client.ask(ApiKey::Fetch, 12, &request, |cur| {
            let response = FetchResponse::decode(cur, 12).expect("a response");
            let topic = response.responses.first().expect("news of the partition");
            let data = topic.partitions.first().expect("one partition");
            let Some(Records::Inline(bytes)) = data.records else { panic!("inline") };
            let first = BatchHeader::decode(bytes).expect("a batch").base_offset.0;
            (ErrorCode(response.error_code), response.session_id, first)
        });
        let (code, id, first) = told.await.expect("answered");
        assert_eq!((code, first), (ErrorCode::NONE, 2 * turn));
        assert!(id != 0 && (session_id == 0 || session_id == id));
        (session_id, session_epoch) = (id, session_epoch + 1);
    }
}

#[test]
fn connections_follow_their_traffic_and_keep_their_sessions() {
    let lines = Lines::of("connection moved");
    tracing::subscriber::with_default(lines.clone(), || {
        let node = Whole::start(9, 4, &[]);
        node.run(|rt, addr| async move {
            let mut client = Client::connect(&rt, addr).await;
            assert_eq!(client.create("t", 8, &[]).await, ErrorCode::NONE);
            join_all((0..8).map(|partition| stays_in_step(rt.clone(), addr, partition))).await;
        });
    });
    let moved = lines.take().len();
    assert!((1..=8).contains(&moved), "{moved} moves: each connection has one best core");
}

/// Requests in flight while the connection looks for a moment to move in.
#[test]
fn a_connection_that_moves_loses_and_reorders_nothing() {
    let lines = Lines::of("connection moved");
    tracing::subscriber::with_default(lines.clone(), || {
        for seed in 0..4 {
            let node = Whole::start(100 + seed, 3, &[]);
            node.run(|rt, addr| async move {
                let mut client = Client::connect(&rt, addr).await;
                assert_eq!(client.create("t", 6, &[]).await, ErrorCode::NONE);
                join_all((0..6).map(|partition| {
                    let rt = rt.clone();
                    async move {
                        let client = Client::connect(&rt, addr).await;
                        pipelined(&rt, &client, partition).await;
                    }
                }))
                .await;
            });
        }
    });
    assert!(!lines.take().is_empty(), "nobody moved");
}

/// Bursts of requests on one connection, each burst cut at a random place.
async fn pipelined(rt: &Rt, client: &Client, partition: i32) {
    let bytes = batch(&["x"]);
    let (mut asked, mut answered) = (0, 0);
    while answered < 1000 {
        let burst = i32::try_from(rt.random_u64() % 12 + 1).expect("small");
        let frames = (asked..asked + burst).map(|id| {
            let records = Some(Records::Inline(&bytes));
            let data = PartitionProduceData { index: partition, records };
            let partition_data = vec![data].into();
            let topic =
                TopicProduceData { name: "t", partition_data, ..TopicProduceData::default() };
            let (acks, timeout_ms, topic_data) = (-1, 30_000, vec![topic].into());
            let request = ProduceRequest { acks, timeout_ms, topic_data, transactional_id: None };
            frame(ApiKey::Produce, 9, id, &request)
        });
        let frames = frames.collect::<Vec<_>>().concat();
        asked += burst;
        let (head, tail) = frames.split_at((rt.random_u64() % frames.len() as u64) as usize);
        client.send(head).await.expect("sent");
        rt.sleep(Duration::from_micros(rt.random_u64() % 1500)).await;
        client.send(tail).await.expect("sent");
        // Some of the answers stay under way into the next burst.
        let left = i32::try_from(rt.random_u64() % 3).expect("small");
        while answered < asked - left {
            let answer = client.recv_frame().await.expect("answered");
            let mut cur = Cursor::new(&answer);
            let header = ResponseHeader::decode(&mut cur, ApiKey::Produce, 9).expect("a header");
            assert_eq!(header.correlation_id, answered);
            let response = ProduceResponse::decode(&mut cur, 9).expect("a response");
            let topic = response.responses.first().expect("one topic");
            let told = topic.partition_responses.first().expect("one partition");
            assert_eq!((told.error_code, told.base_offset), (0, i64::from(answered)));
            answered += 1;
        }
    }
}
