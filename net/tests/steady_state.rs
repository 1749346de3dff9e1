//! What a request of the steady state asks of the allocator, on real cores.
//!
//! A broker that allocates per request pays for it on every core, in time and in fragmentation. The
//! bounds below are what is left, and why; a change that needs more must say what it is for.

// A panic is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use config::Config;
use engine::batch::{BatchBuilder, BatchOptions, NewRecord};
use engine::compress::Codecs;
use engine::rt::real::{self, CoreSpec};
use net::boot;
use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::header::{RequestHeader, ResponseHeader};
use wire::msg::create_topics::{CreatableTopic, CreateTopicsRequest};
use wire::msg::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use wire::msg::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use wire::primitives::Records;
use wire::schema::Message;

/// Counts what all threads but the client's ask of the allocator.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if !IS_CLIENT.get() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: all of it is the system allocator's; counting touches only an atomic and a
// constant-initialized thread local without a destructor, which allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The tests count one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// Runs a node on so many real cores while `client` talks to it.
fn with_node<T>(cores: usize, client: impl FnOnce(SocketAddr) -> T) -> T {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    IS_CLIENT.set(true);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let config = config(dir.path());
    let dma_idle_bytes_max = usize::try_from(config.core_memory(cores).io).unwrap();
    let (up, ups) = mpsc::channel();
    let ready = move |ready: boot::Ready| up.send(ready.listeners[0].1).unwrap();
    let (places, handle) = boot::places(config, cores, ready);
    let mains = places.into_iter().map(|place| {
        let main = move |rt| async move { boot::run(rt, place).await.unwrap() };
        (CoreSpec { cpu: None, dma_idle_bytes_max, spin: None }, main)
    });
    let running = real::start(mains.collect()).unwrap();
    let addr = ups.recv_timeout(Duration::from_secs(60)).unwrap();
    let outcome = client(addr);
    handle.stop();
    assert!(running.join().is_ok());
    outcome
}

fn config(dir: &Path) -> Config {
    let log_dirs = format!("log.dirs={}", dir.display());
    let builder = Config::builder().set(&log_dirs).set("listeners=PLAINTEXT://127.0.0.1:0");
    builder.set("cores.memory.bytes=67108864").build().unwrap()
}

struct Client {
    stream: TcpStream,
    buf: Vec<u8>,
}

impl Client {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream, buf: Vec::new() }
    }

    fn recv(&mut self) -> &[u8] {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix).unwrap();
        self.buf.resize(u32::from_be_bytes(prefix) as usize, 0);
        self.stream.read_exact(&mut self.buf).unwrap();
        &self.buf
    }

    fn ask(&mut self, frame: &[u8]) -> &[u8] {
        self.stream.write_all(frame).unwrap();
        self.recv()
    }
}

fn frame<'q>(api: ApiKey, version: i16, request: &impl Message<'q>) -> Vec<u8> {
    let header =
        RequestHeader { api, api_version: version, correlation_id: 7, client_id: Some("test") };
    header.frame(request).unwrap().into_bytes()
}

fn create(client: &mut Client, partitions: i32) {
    let topic = CreatableTopic {
        name: "t",
        num_partitions: partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic].into(), ..Default::default() };
    client.ask(&frame(ApiKey::CreateTopics, 5, &request));
}

fn produce_frame(partitions: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let (timestamp, value) = (1_700_000_000_000, Some(&[7; 100][..]));
    builder.push(&NewRecord { timestamp, value, ..NewRecord::default() });
    let bytes = builder.build(&mut Codecs::default());
    let records = Some(Records::Inline(&bytes));
    let data = (0..partitions).map(|index| PartitionProduceData { index, records });
    let partition_data: Vec<_> = data.collect();
    let topic = TopicProduceData {
        name: "t",
        partition_data: partition_data.into(),
        ..TopicProduceData::default()
    };
    let (acks, timeout_ms, topic_data) = (-1, 30_000, vec![topic].into());
    let request = ProduceRequest { acks, timeout_ms, topic_data, transactional_id: None };
    frame(ApiKey::Produce, 9, &request)
}

fn check_produced(answer: &[u8]) {
    let mut cur = Cursor::new(answer);
    ResponseHeader::decode(&mut cur, ApiKey::Produce, 9).unwrap();
    let response = ProduceResponse::decode(&mut cur, 9).unwrap();
    for topic in &response.responses {
        assert!(topic.partition_responses.iter().all(|told| told.error_code == 0));
    }
}

fn fetch_frame(partitions: i32) -> Vec<u8> {
    let part = |partition| FetchPartition {
        partition,
        partition_max_bytes: 1000,
        ..FetchPartition::default()
    };
    let partitions: Vec<_> = (0..partitions).map(part).collect();
    let topic = FetchTopic { topic: "t", partitions: partitions.into(), ..FetchTopic::default() };
    let topics = vec![topic].into();
    let max_bytes = 1 << 20;
    // Without a session: the request says everything.
    let session_epoch = -1;
    let request =
        FetchRequest { min_bytes: 1, max_bytes, session_epoch, topics, ..Default::default() };
    frame(ApiKey::Fetch, 12, &request)
}

fn check_fetched(answer: &[u8]) {
    let mut cur = Cursor::new(answer);
    ResponseHeader::decode(&mut cur, ApiKey::Fetch, 12).unwrap();
    let response = FetchResponse::decode(&mut cur, 12).unwrap();
    for topic in &response.responses {
        for data in &topic.partitions {
            let Some(Records::Inline(bytes)) = data.records else { panic!("inline") };
            assert!(data.error_code == 0 && !bytes.is_empty());
        }
    }
}

/// Allocations per request once everything has its size: `window` requests under way at a time.
fn per_request(client: &mut Client, frame: &[u8], window: usize, check: fn(&[u8])) -> f64 {
    let burst = frame.repeat(window);
    let mut rounds = |count: usize| {
        for _ in 0..count {
            client.stream.write_all(&burst).unwrap();
            (0..window).for_each(|_| check(client.recv()));
        }
    };
    rounds(WARM_UP / window);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    rounds(REQUESTS / window);
    let counted = ALLOCATIONS.load(Ordering::Relaxed) - before;
    counted as f64 / REQUESTS as f64
}

const WARM_UP: usize = 2_000;
const REQUESTS: usize = 4_000;

/// What is left of a Produce: not ours, but the runtime's and the log's for each device write, sync
/// and look at the rings, shared by the requests that came together.
const PRODUCE_MAX: f64 = 16.0;
/// What is left of a Fetch: the topic's name, where it goes by name; and the runtime's share.
const FETCH_MAX: f64 = 8.0;

// A request that comes alone is printed and not bound: it also pays for the rounds the runtime makes
// before it goes to sleep, and how many those are (3 to 13 allocations per Fetch, some 38 per
// Produce, which waits for a write and a sync by itself) is the machine's timing and not our doing.

#[test]
fn requests_of_the_steady_state_hardly_allocate() {
    for (cores, partitions, is_bound) in [(1, 1, true), (1, 10, false), (2, 2, false)] {
        with_node(cores, |addr| {
            let mut client = Client::connect(addr);
            create(&mut client, partitions);
            let produce = produce_frame(partitions);
            let fetch = fetch_frame(partitions);
            for window in [1, 8] {
                let produced = per_request(&mut client, &produce, window, check_produced);
                let fetched = per_request(&mut client, &fetch, window, check_fetched);
                println!(
                    "{cores} cores, {partitions} partitions, {window} in flight: \
                     {produced:.2} per Produce, {fetched:.2} per Fetch"
                );
                if is_bound && window > 1 {
                    assert!(fetched <= FETCH_MAX, "{fetched} per Fetch");
                    assert!(produced <= PRODUCE_MAX, "{produced} per Produce");
                }
            }
        });
    }
}
