//! A broker for tests: keeps batches in memory, answers after known delays, and lies on request.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::header::RequestHeader;
use wire::msg::api_versions::{ApiVersion, ApiVersionsResponse};
use wire::msg::create_topics::{CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse};
use wire::msg::delete_topics::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use wire::msg::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use wire::msg::init_producer_id::InitProducerIdResponse;
use wire::msg::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use wire::msg::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use wire::msg::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use wire::primitives::{Records, Uuid};
use wire::schema::{self, Message};
use wire::writer::Writer;

/// What the broker does to the batches it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Keeps them.
    None,
    /// Acknowledges every 10th and forgets it.
    Lose,
    /// Keeps every 10th twice.
    Repeat,
    /// Keeps every 10th behind the one that follows.
    Reorder,
    /// Flips a bit in every 10th.
    Corrupt,
    /// Flips a bit in every 10th and computes the checksum anew.
    CorruptAndReseal,
    /// Refuses every 10th.
    Refuse,
}

/// How long the n-th Produce request of the broker's life takes.
pub(crate) type Delay = fn(u64) -> Duration;

/// A running broker; it lives as long as the test process.
pub(crate) struct FakeBroker {
    pub(crate) address: String,
}

struct State {
    port: u16,
    lie: Lie,
    delay: Delay,
    produced: u64,
    topic: String,
    /// By partition.
    logs: Vec<Log>,
}

#[derive(Default)]
struct Log {
    batches: Vec<(i64, Vec<u8>)>,
    next: i64,
    taken: u64,
    held: Option<Vec<u8>>,
}

impl FakeBroker {
    pub(crate) fn start(lie: Lie, delay: Delay) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let state = State { port, lie, delay, produced: 0, topic: String::new(), logs: vec![] };
        let state = Arc::new(Mutex::new(state));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = state.clone();
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address: format!("127.0.0.1:{port}") }
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    stream.set_nodelay(true).expect("a socket");
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body).expect("a whole frame");
        let mut cursor = Cursor::new(&body);
        let header = RequestHeader::decode(&mut cursor).expect("a sound request");
        let mut w = Writer::new();
        let frame = w.begin_frame();
        header.response().encode(&mut w, header.api, header.api_version);
        answer(state, header.api, header.api_version, &mut cursor, &mut w);
        w.end_frame(frame).expect("a small answer");
        if stream.write_all(&w.into_bytes()).is_err() {
            return;
        }
    }
}

fn answer(
    state: &Mutex<State>,
    api: ApiKey,
    version: i16,
    cursor: &mut Cursor<'_>,
    w: &mut Writer,
) {
    if api == ApiKey::Fetch {
        return fetch(state, read(cursor, version), version, w);
    }
    let mut state = state.lock().expect("no panic holds it");
    match api {
        ApiKey::ApiVersions => put(&versions(), w, version),
        ApiKey::Metadata => metadata(&state, w, version),
        ApiKey::InitProducerId => {
            let answer = InitProducerIdResponse { producer_id: 9, ..Default::default() };
            put(&answer, w, version);
        }
        ApiKey::CreateTopics => {
            let request: CreateTopicsRequest<'_> = read(cursor, version);
            let topic = request.topics.first().expect("one topic");
            state.topic = topic.name.to_owned();
            state.logs = (0..topic.num_partitions).map(|_| Log::default()).collect();
            let made = [CreatableTopicResult { name: topic.name, ..Default::default() }];
            let answer = CreateTopicsResponse { topics: (&made).into(), ..Default::default() };
            put(&answer, w, version);
        }
        ApiKey::DeleteTopics => {
            let _: DeleteTopicsRequest<'_> = read(cursor, version);
            let gone = [DeletableTopicResult { name: Some("gone"), ..Default::default() }];
            let answer = DeleteTopicsResponse { responses: (&gone).into(), ..Default::default() };
            put(&answer, w, version);
        }
        ApiKey::ListOffsets => list_offsets(&state, &read(cursor, version), w, version),
        ApiKey::Produce => produce(&mut state, &read(cursor, version), w, version),
        other => panic!("{other:?} is not served"),
    }
}

fn versions() -> ApiVersionsResponse<'static> {
    let key =
        |api: ApiKey, max_version| ApiVersion { api_key: api.key(), min_version: 0, max_version };
    let keys = vec![
        key(ApiKey::ApiVersions, 3),
        key(ApiKey::Metadata, 12),
        key(ApiKey::CreateTopics, 7),
        key(ApiKey::DeleteTopics, 6),
        key(ApiKey::InitProducerId, 4),
        key(ApiKey::ListOffsets, 9),
        key(ApiKey::Produce, 13),
        key(ApiKey::Fetch, 16),
    ];
    ApiVersionsResponse { api_keys: keys.into(), ..Default::default() }
}

fn metadata(state: &State, w: &mut Writer, version: i16) {
    let brokers = [MetadataResponseBroker {
        node_id: 1,
        host: "127.0.0.1",
        port: i32::from(state.port),
        rack: None,
    }];
    let partitions: Vec<_> = (0..state.logs.len())
        .map(|partition| MetadataResponsePartition {
            partition_index: partition as i32,
            leader_id: 1,
            ..Default::default()
        })
        .collect();
    let topics = [MetadataResponseTopic {
        name: Some(&state.topic),
        topic_id: Uuid([7; 16]),
        partitions: (&partitions).into(),
        ..Default::default()
    }];
    let answer = MetadataResponse {
        brokers: (&brokers).into(),
        topics: (&topics).into(),
        ..Default::default()
    };
    put(&answer, w, version);
}

fn list_offsets(state: &State, request: &ListOffsetsRequest<'_>, w: &mut Writer, version: i16) {
    let topic = request.topics.first().expect("one topic");
    let parts: Vec<_> = topic
        .partitions
        .iter()
        .map(|part| ListOffsetsPartitionResponse {
            partition_index: part.partition_index,
            offset: match part.timestamp {
                -2 => 0,
                _ => state.logs[part.partition_index as usize].next,
            },
            ..Default::default()
        })
        .collect();
    let topics = [ListOffsetsTopicResponse { name: topic.name, partitions: (&parts).into() }];
    put(&ListOffsetsResponse { topics: (&topics).into(), ..Default::default() }, w, version);
}

fn produce(state: &mut State, request: &ProduceRequest<'_>, w: &mut Writer, version: i16) {
    state.produced += 1;
    // Holding the lock: the whole broker stands still.
    thread::sleep((state.delay)(state.produced));
    let topic = request.topic_data.first().expect("one topic");
    assert_eq!(topic.topic_id, Uuid([7; 16]));
    let lie = state.lie;
    let parts: Vec<_> = topic
        .partition_data
        .iter()
        .map(|part| {
            let records = part.records.and_then(|records| records.inline()).expect("records");
            let log = &mut state.logs[part.index as usize];
            let error_code = log.take(records, lie);
            PartitionProduceResponse { index: part.index, error_code, ..Default::default() }
        })
        .collect();
    let topics = [TopicProduceResponse {
        topic_id: topic.topic_id,
        partition_responses: (&parts).into(),
        ..Default::default()
    }];
    put(&ProduceResponse { responses: (&topics).into(), ..Default::default() }, w, version);
}

impl Log {
    fn take(&mut self, records: &[u8], lie: Lie) -> i16 {
        let crc = u32::from_be_bytes(*records[17..].first_chunk().expect("a batch"));
        assert_eq!(crc32c::crc32c(&records[21..]), crc, "the harness sends unsound batches");
        let mut bytes = records.to_vec();
        self.taken += 1;
        if self.taken.is_multiple_of(10) {
            let middle = bytes.len() - 20;
            match lie {
                Lie::None => {}
                Lie::Lose => return 0,
                Lie::Repeat => self.keep(bytes.clone()),
                Lie::Reorder => {
                    self.held = Some(bytes);
                    return 0;
                }
                Lie::Corrupt => bytes[middle] ^= 4,
                Lie::CorruptAndReseal => {
                    bytes[middle] ^= 4;
                    let crc = crc32c::crc32c(&bytes[21..]);
                    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
                }
                Lie::Refuse => return 7,
            }
        }
        self.keep(bytes);
        if let Some(held) = self.held.take() {
            self.keep(held);
        }
        0
    }

    fn keep(&mut self, mut bytes: Vec<u8>) {
        let count = i32::from_be_bytes(*bytes[57..].first_chunk().expect("a batch"));
        bytes[..8].copy_from_slice(&self.next.to_be_bytes());
        self.next += i64::from(count);
        self.batches.push((self.next, bytes));
    }
}

fn fetch(state: &Mutex<State>, request: FetchRequest<'_>, version: i16, w: &mut Writer) {
    let topic = request.topics.first().expect("one topic");
    let mut parts: Vec<(i32, Vec<u8>)> = Vec::new();
    for _ in 0..20 {
        let state = state.lock().expect("no panic holds it");
        parts.clear();
        for part in &topic.partitions {
            let log = &state.logs[part.partition as usize];
            let first = log.batches.partition_point(|(next, _)| *next <= part.fetch_offset);
            let mut bytes = Vec::new();
            for (_, batch) in &log.batches[first..] {
                if !bytes.is_empty()
                    && bytes.len() + batch.len() > part.partition_max_bytes as usize
                {
                    break;
                }
                bytes.extend_from_slice(batch);
            }
            parts.push((part.partition, bytes));
        }
        drop(state);
        if parts.iter().any(|(_, bytes)| !bytes.is_empty()) {
            break;
        }
        thread::sleep(Duration::from_millis(2));
    }
    let data: Vec<_> = parts
        .iter()
        .map(|(partition, bytes)| PartitionData {
            partition_index: *partition,
            records: Some(Records::Inline(bytes)),
            ..Default::default()
        })
        .collect();
    let topics = [FetchableTopicResponse {
        topic_id: topic.topic_id,
        partitions: (&data).into(),
        ..Default::default()
    }];
    put(&FetchResponse { responses: (&topics).into(), ..Default::default() }, w, version);
}

fn read<'a, M: Message<'a>>(cursor: &mut Cursor<'a>, version: i16) -> M {
    schema::decode(cursor, version).expect("a sound request")
}

fn put<'a, M: Message<'a>>(message: &M, w: &mut Writer, version: i16) {
    schema::encode(message, w, version).expect("a sound answer");
}
