//! A whole node on one real core, asked over loopback by a client that waits for each answer: a
//! request's way from socket to socket, and the wake-ups on it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use config::Config;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::rt::real::{self, CoreSpec, RunningCores};
use net::boot;
use odradek_benches::input;
use wire::api_key::ApiKey;
use wire::header::RequestHeader;
use wire::msg::create_topics::{CreatableTopic, CreateTopicsRequest};
use wire::msg::fetch::{FetchPartition, FetchRequest, FetchTopic};
use wire::msg::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use wire::primitives::Records;
use wire::schema::{self, Message};
use wire::writer::Writer;

fn node(c: &mut Criterion) {
    let mut group = c.benchmark_group("node");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for partitions in [1, 10, 100] {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let (node, addr) = Node::start(dir.path());
        let mut client = Client::connect(addr);
        client.ask(&create(partitions));

        let produce = produce(partitions);
        client.ask(&produce);
        group.throughput(Throughput::Bytes(produce.len() as u64));
        let name = format!("produce/{partitions}x{RECORDS}x{VALUE_BYTES}B");
        group.bench_function(name, |b| b.iter(|| client.ask(&produce)));

        let fetch = fetch(partitions);
        let len = client.ask(&fetch);
        let records = partitions.unsigned_abs() as usize * RECORDS * VALUE_BYTES;
        assert!(len > records, "an answer of {len} bytes, with {records} of values in it");
        group.throughput(Throughput::Bytes(len as u64));
        let name = format!("fetch/{partitions}x{RECORDS}x{VALUE_BYTES}B");
        group.bench_function(name, |b| b.iter(|| client.ask(&fetch)));
        node.stop();
    }
    group.finish();
}

/// A node in this process.
struct Node {
    handle: boot::Handle,
    cores: RunningCores,
}

impl Node {
    fn start(dir: &Path) -> (Self, SocketAddr) {
        let log_dirs = format!("log.dirs={}", dir.display());
        let config = Config::builder().set(&log_dirs).set("listeners=PLAINTEXT://127.0.0.1:0");
        let config = config.build().expect("valid settings");
        let (up, ups) = mpsc::channel();
        let ready =
            move |ready: boot::Ready| up.send(ready.listeners[0].1).expect("it is waited for");
        let (places, handle) = boot::places(config, 1, ready);
        let mains = places.into_iter().map(|place| {
            let main = move |rt| async move { boot::run(rt, place).await.expect("a sound node") };
            (CoreSpec::default(), main)
        });
        let cores = real::start(mains.collect()).expect("a core starts");
        let addr = ups.recv_timeout(Duration::from_secs(60)).expect("the node starts");
        (Self { handle, cores }, addr)
    }

    fn stop(self) {
        self.handle.stop();
        self.cores.join().expect("no core panics");
    }
}

/// A client that knows no frame but by its length.
struct Client {
    stream: TcpStream,
    buf: Vec<u8>,
}

impl Client {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("connects");
        stream.set_nodelay(true).expect("sets an option");
        Self { stream, buf: Vec::new() }
    }

    /// Sends a frame; the answer's length.
    fn ask(&mut self, frame: &[u8]) -> usize {
        self.stream.write_all(frame).expect("sends");
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix).expect("receives");
        self.buf.resize(u32::from_be_bytes(prefix) as usize, 0);
        self.stream.read_exact(&mut self.buf).expect("receives");
        self.buf.len()
    }
}

fn create(partitions: i32) -> Vec<u8> {
    let topic = CreatableTopic {
        name: TOPIC,
        num_partitions: partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic].into(), ..Default::default() };
    frame(ApiKey::CreateTopics, 5, &request)
}

fn produce(partitions: i32) -> Vec<u8> {
    let bytes = input::batch(RECORDS, VALUE_BYTES);
    let records = Some(Records::Inline(&bytes));
    let data: Vec<_> =
        (0..partitions).map(|index| PartitionProduceData { index, records }).collect();
    let topic = TopicProduceData { name: TOPIC, partition_data: data.into(), ..Default::default() };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![topic].into(),
        transactional_id: None,
    };
    frame(ApiKey::Produce, 9, &request)
}

/// Asks for the first batch of each partition.
fn fetch(partitions: i32) -> Vec<u8> {
    let part = |partition| FetchPartition {
        partition,
        partition_max_bytes: input::batch(RECORDS, VALUE_BYTES).len() as i32,
        ..FetchPartition::default()
    };
    let parts: Vec<_> = (0..partitions).map(part).collect();
    let topic = FetchTopic { topic: TOPIC, partitions: parts.into(), ..FetchTopic::default() };
    let request =
        FetchRequest { min_bytes: 1, topics: vec![topic].into(), ..FetchRequest::default() };
    frame(ApiKey::Fetch, 12, &request)
}

fn frame<'q>(api: ApiKey, api_version: i16, request: &impl Message<'q>) -> Vec<u8> {
    let mut w = Writer::new();
    let mark = w.begin_frame();
    let header = RequestHeader { api, api_version, correlation_id: 7, client_id: Some("bench") };
    header.encode(&mut w).expect("a short client id");
    schema::encode(request, &mut w, api_version).expect("a request of this version");
    w.end_frame(mark).expect("a short frame");
    w.into_bytes()
}

const TOPIC: &str = "t";

/// Of each partition's batch.
const RECORDS: usize = 10;
const VALUE_BYTES: usize = 100;

criterion_group!(benches, node);
criterion_main!(benches);
