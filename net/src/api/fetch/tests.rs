//! Fetches against a whole node.

use std::time::Duration;

use engine::batch::{BatchBuilder, BatchOptions, NewRecord};
use engine::compress::Codecs;
use wire::api_key::ApiKey;
use wire::error_code::ErrorCode;
use wire::msg::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use wire::msg::metadata::MetadataRequest;
use wire::msg::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use wire::primitives::Records;

use super::plan::MAX_WAIT;
use crate::testing::{Client, Whole, frame};

async fn produce(client: &mut Client, partition: i32, value_len: usize) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = vec![b'x'; value_len];
    let (timestamp, value) = (1_700_000_000_000, Some(&value[..]));
    builder.push(&NewRecord { timestamp, value, ..NewRecord::default() });
    let bytes = builder.build(&mut Codecs::default());
    let data = PartitionProduceData { index: partition, records: Some(Records::Inline(&bytes)) };
    let partition_data = vec![data].into();
    let topic = TopicProduceData { name: "t", partition_data, ..TopicProduceData::default() };
    let (acks, timeout_ms, topic_data) = (-1, 30_000, vec![topic].into());
    let request = ProduceRequest { acks, timeout_ms, topic_data, ..ProduceRequest::default() };
    let code = client.ask(ApiKey::Produce, 9, &request, |cur| {
        let response = ProduceResponse::decode(cur, 9).expect("a response");
        let topic = response.responses.first().expect("one topic");
        topic.partition_responses.first().expect("one partition").error_code
    });
    assert_eq!(code.await, Some(0));
}

fn part(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    }
}

fn of<'a>(topic: &'a str, parts: Vec<FetchPartition>) -> FetchRequest<'a> {
    let topic = FetchTopic { topic, partitions: parts.into(), ..FetchTopic::default() };
    FetchRequest { min_bytes: 1, topics: vec![topic].into(), ..FetchRequest::default() }
}

/// Top-level error, session, and per partition: index, error, bytes.
type Told = (ErrorCode, i32, Vec<(i32, ErrorCode, usize)>);

async fn fetch(client: &mut Client, request: &FetchRequest<'_>) -> Told {
    let told = client.ask(ApiKey::Fetch, 12, request, |cur| {
        let response = FetchResponse::decode(cur, 12).expect("a response");
        let mut partitions = Vec::new();
        for topic in &response.responses {
            partitions.extend(topic.partitions.iter().map(|data| {
                let Some(Records::Inline(bytes)) = data.records else { panic!("inline") };
                (data.partition_index, ErrorCode(data.error_code), bytes.len())
            }));
        }
        (ErrorCode(response.error_code), response.session_id, partitions)
    });
    told.await.expect("answered")
}

#[test]
fn bytes_are_divided_in_the_order_of_the_request() {
    let node = Whole::start(1, 2, &[]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(client.create("t", 4, &[]).await, ErrorCode::NONE);
        for partition in 0..4 {
            produce(&mut client, partition, 1000).await;
            produce(&mut client, partition, 1000).await;
        }
        let all = |max_bytes| FetchRequest {
            max_bytes,
            ..of("t", [2, 0, 3, 1].map(|partition| part(partition, 0)).into())
        };
        let (.., told) = fetch(&mut client, &all(1 << 20)).await;
        let one = told[0].2 / 2;
        assert!(one > 1000);
        assert_eq!(
            told.iter().map(|told| (told.0, told.2)).collect::<Vec<_>>(),
            [(2, 2 * one), (0, 2 * one), (3, 2 * one), (1, 2 * one)]
        );
        let limit = i32::try_from(3 * one).expect("small");
        let (.., told) = fetch(&mut client, &all(limit)).await;
        assert_eq!(told.iter().map(|told| told.2).collect::<Vec<_>>(), [2 * one, one, 0, 0]);
        // The first batch comes whatever the limit.
        let (.., told) = fetch(&mut client, &all(1)).await;
        assert_eq!(told.iter().map(|told| told.2).collect::<Vec<_>>(), [one, 0, 0, 0]);
    });
}

#[test]
fn a_long_poll_ends_with_enough_data_wherever_it_comes() {
    let node = Whole::start(2, 3, &[]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        let mut producer = Client::connect(&rt, addr).await;
        assert_eq!(client.create("t", 6, &[]).await, ErrorCode::NONE);
        let request = FetchRequest {
            max_wait_ms: 60_000,
            min_bytes: 2_500,
            ..of("t", (0..6).map(|partition| part(partition, 0)).collect())
        };
        let started = rt.now();
        let late = rt.clone();
        let feeding = rt.spawn("feed", async move {
            for partition in [5, 0, 3] {
                late.sleep(Duration::from_secs(1)).await;
                produce(&mut producer, partition, 1000).await;
            }
        });
        let (.., told) = fetch(&mut client, &request).await;
        let waited = rt.now().since(started);
        assert!(waited >= Duration::from_secs(3) && waited < Duration::from_secs(5), "{waited:?}");
        let with_data: Vec<_> = told.iter().filter(|told| told.2 > 0).map(|told| told.0).collect();
        assert_eq!(with_data, [0, 3, 5]);
        feeding.await.expect("fed");
        // Without news the deadline ends it.
        let request = FetchRequest { max_wait_ms: 500, ..of("t", vec![part(0, 1)]) };
        let started = rt.now();
        let (.., told) = fetch(&mut client, &request).await;
        assert_eq!(told, [(0, ErrorCode::NONE, 0)]);
        assert!(rt.now().since(started) >= Duration::from_millis(500));
    });
}

#[test]
fn errors_of_owners_do_not_wait() {
    let node = Whole::start(3, 2, &[]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(client.create("t", 2, &[]).await, ErrorCode::NONE);
        let known = FetchPartition { current_leader_epoch: 99, ..part(0, 0) };
        let (replica, behind) = (part(0, 0), part(0, 77));
        let last = FetchPartition { last_fetched_epoch: 99, ..part(0, 0) };
        let cases = [
            (behind, -1, ErrorCode::OFFSET_OUT_OF_RANGE),
            (known, -1, ErrorCode::UNKNOWN_LEADER_EPOCH),
            (last, -1, ErrorCode::OFFSET_OUT_OF_RANGE),
            (part(9, 0), -1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            (replica, 1, ErrorCode::NOT_LEADER_OR_FOLLOWER),
        ];
        for (asked, replica_id, code) in cases {
            let index = asked.partition;
            let (max_wait_ms, started) = (60_000, rt.now());
            let request = FetchRequest { max_wait_ms, replica_id, ..of("t", vec![asked]) };
            let (.., told) = fetch(&mut client, &request).await;
            assert_eq!(told, [(index, code, 0)]);
            assert!(rt.now().since(started) < Duration::from_secs(1));
        }
        let (.., told) = fetch(&mut client, &of("nope", vec![part(0, 0)])).await;
        assert_eq!(told, [(0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, 0)]);
    });
}

#[test]
fn a_session_goes_on_over_connections() {
    let node = Whole::start(4, 3, &[]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(client.create("t", 3, &[]).await, ErrorCode::NONE);
        let parts = (0..3).map(|partition| part(partition, 0)).collect();
        let opening = FetchRequest { session_epoch: 0, ..of("t", parts) };
        let (_, session_id, told) = fetch(&mut client, &opening).await;
        assert!(session_id > 0);
        assert_eq!(told.len(), 3);
        let within = |session_epoch| FetchRequest {
            session_id,
            session_epoch,
            topics: Vec::new().into(),
            ..of("t", Vec::new())
        };
        for epoch in 1..4 {
            // Each from another connection, and so from another core.
            let mut client = Client::connect(&rt, addr).await;
            let told = fetch(&mut client, &within(epoch)).await;
            assert_eq!(told, (ErrorCode::NONE, session_id, Vec::new()), "nothing is new");
        }
        produce(&mut client, 1, 10).await;
        let (_, id, told) = fetch(&mut client, &within(4)).await;
        assert_eq!((id, told.len(), told[0].0), (session_id, 1, 1));
        let (code, ..) = fetch(&mut client, &within(4)).await;
        assert_eq!(code, ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        // A full request ends it.
        let ending = FetchRequest { session_id, session_epoch: -1, ..of("t", vec![part(0, 0)]) };
        let (_, id, told) = fetch(&mut client, &ending).await;
        assert_eq!((id, told.len()), (0, 1));
        let (code, id, _) = fetch(&mut client, &within(5)).await;
        assert_eq!((code, id), (ErrorCode::FETCH_SESSION_ID_NOT_FOUND, 0));
    });
}

#[test]
fn who_does_not_read_starves_nobody() {
    let node = Whole::start(6, 1, &["odradek.fetch.pinned.bytes=4194304"]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(client.create("t", 2, &[]).await, ErrorCode::NONE);
        for _ in 0..8 {
            produce(&mut client, 0, 900_000).await;
        }
        let want = FetchPartition { partition_max_bytes: i32::MAX, ..part(0, 0) };
        let all = FetchRequest { max_bytes: i32::MAX, ..of("t", vec![want]) };
        let mut readers = Vec::new();
        for _ in 0..10 {
            let reader = Client::connect(&rt, addr).await;
            reader.send(&frame(ApiKey::Fetch, 12, 1, &all).repeat(3)).await.expect("sent");
            readers.push(reader);
        }
        // A consumer of small records waits for none of them, and one who reads is served in turn.
        for turn in 0..10 {
            let started = rt.now();
            produce(&mut client, 1, 100).await;
            let (.., told) = fetch(&mut client, &of("t", vec![part(1, turn)])).await;
            assert!(told[0].2 > 0 && rt.now().since(started) < Duration::from_secs(1));
            rt.sleep(Duration::from_millis(100)).await;
        }
        let mut reader = Client::connect(&rt, addr).await;
        let started = rt.now();
        let (.., told) = fetch(&mut reader, &all).await;
        assert!(told[0].2 > 900_000 && rt.now().since(started) < Duration::from_secs(25));
    });
}

#[test]
fn what_a_connection_keeps_of_the_caches_is_one_answer() {
    let node = Whole::start(7, 1, &[]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(client.create("t", 2, &[]).await, ErrorCode::NONE);
        produce(&mut client, 0, 1000).await;
        let waits = FetchRequest { max_wait_ms: 5000, ..of("t", vec![part(0, 1)]) };
        let goes = of("t", vec![part(0, 0)]);
        let started = rt.now();
        let both = [frame(ApiKey::Fetch, 12, 1, &waits), frame(ApiKey::Fetch, 12, 2, &goes)];
        client.send(&both.concat()).await.expect("sent");
        // Side by side they would both hold records once the first one's come.
        let mut producer = Client::connect(&rt, addr).await;
        rt.sleep(Duration::from_secs(1)).await;
        produce(&mut producer, 0, 1000).await;
        for id in [1, 2] {
            let answer = client.recv_frame().await.expect("answered");
            assert_eq!(answer[..4], i32::to_be_bytes(id));
        }
        assert!(rt.now().since(started) < Duration::from_secs(3));
    });
}

/// A Fetch that nothing but the clock ends: the partition is empty.
fn endless() -> FetchRequest<'static> {
    FetchRequest { max_wait_ms: i32::MAX, ..of("t", vec![part(0, 0)]) }
}

/// A Metadata request of `len` bytes: what follows its fields is ignored.
fn padded_metadata(id: i32, len: usize) -> Vec<u8> {
    let mut bytes = frame(ApiKey::Metadata, 9, id, &MetadataRequest::default());
    bytes.resize(4 + len, 0);
    bytes[..4].copy_from_slice(&i32::try_from(len).expect("a frame").to_be_bytes());
    bytes
}

#[test]
fn a_long_poll_ends_for_the_request_behind_it() {
    let node = Whole::start(8, 1, &[]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(client.create("t", 1, &[]).await, ErrorCode::NONE);
        for len in [200, 30_000, 65_000, 100_000, 1 << 20] {
            let started = rt.now();
            client.send(&frame(ApiKey::Fetch, 12, 1, &endless())).await.expect("sent");
            rt.sleep(Duration::from_secs(1)).await;
            client.send(&padded_metadata(2, len)).await.expect("sent");
            for id in [1, 2] {
                let answer = client.recv_frame().await.expect("answered");
                assert_eq!(answer[..4], i32::to_be_bytes(id), "behind {len} bytes");
            }
            let waited = rt.now().since(started);
            assert!(waited >= Duration::from_secs(1), "it waits while nothing is behind it");
            assert!(waited < Duration::from_secs(3), "{waited:?} behind {len} bytes");
        }
    });
}

#[test]
fn a_long_poll_does_not_last_for_ever() {
    let node = Whole::start(9, 1, &[]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(client.create("t", 1, &[]).await, ErrorCode::NONE);
        let started = rt.now();
        let (.., told) = fetch(&mut client, &endless()).await;
        assert_eq!(told, [(0, ErrorCode::NONE, 0)]);
        let waited = rt.now().since(started);
        assert!(waited >= MAX_WAIT && waited < MAX_WAIT * 2, "{waited:?}");
    });
}

#[test]
fn long_polls_give_their_memory_up_to_others() {
    let node = Whole::start(10, 1, &[]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(client.create("t", 1, &[]).await, ErrorCode::NONE);
        // Each plan takes what there is for large ones; all but one partition are not there.
        let many = |max_wait_ms| FetchRequest {
            max_wait_ms,
            ..of("t", (0..30_000).map(|index| part(index, 0)).collect())
        };
        let mut greedy = Vec::new();
        for _ in 0..10 {
            let client = Client::connect(&rt, addr).await;
            client.send(&frame(ApiKey::Fetch, 12, 1, &many(i32::MAX))).await.expect("sent");
            greedy.push(client);
        }
        rt.sleep(Duration::from_secs(1)).await;
        // A small one waits for none of them.
        let started = rt.now();
        fetch(&mut client, &of("t", vec![part(0, 0)])).await;
        assert!(rt.now().since(started) < Duration::from_millis(100));
        // A large one waits its turn, and no poll lasts while it does.
        let (.., told) = fetch(&mut client, &many(0)).await;
        assert_eq!(told.len(), 30_000);
        assert!(rt.now().since(started) < Duration::from_secs(30));
        drop(greedy);
    });
}

#[test]
fn more_partitions_than_can_be_are_not_fetched() {
    let node = Whole::start(11, 1, &[]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(client.create("t", 1, &[]).await, ErrorCode::NONE);
        let many = |count| of("t", (0..count).map(|index| part(index, 0)).collect());
        let (.., told) = fetch(&mut client, &many(40_000)).await;
        assert_eq!(told.len(), 40_000);
        client.send(&frame(ApiKey::Fetch, 12, 1, &many(60_000))).await.expect("sent");
        assert!(client.is_closed().await);
    });
}
