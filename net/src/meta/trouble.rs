//! Changes of the metadata that meet trouble: too large, a defect, a slow disk, a partition that
//! cannot be opened, a node that goes down half-way.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::ids::CoreId;
use engine::rt::sim::{Crash, DiskOptions};
use engine::rt::{Instant, Rt};
use futures_util::FutureExt;
use futures_util::future::{Either, join, join_all, select};
use replication::controller::create::{CreateTopics, NewTopic};
use wire::api_key::ApiKey;
use wire::error_code::ErrorCode;
use wire::msg::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use wire::msg::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use wire::msg::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use wire::msg::metadata::{MetadataRequest, MetadataResponse};

use super::ProposeError;
use crate::testing::{Client, Whole};

fn taken<T>(node: &Whole, found: &Arc<Mutex<Option<T>>>) -> T {
    let is_there = || found.lock().expect("one thread").is_some();
    assert!(node.world.run_until(Duration::from_secs(60), is_there), "it ends");
    found.lock().expect("one thread").take().expect("it is there")
}

/// Topics with so many settings that each takes some 2.5 KB of metadata.
fn topics(count: usize) -> CreateTopics {
    let keys = [
        "retention.ms",
        "retention.bytes",
        "segment.ms",
        "segment.bytes",
        "max.message.bytes",
        "delete.retention.ms",
        "file.delete.delay.ms",
        "index.interval.bytes",
    ];
    let configs = keys.map(|key| (key.to_owned(), Some("10000000".to_owned())));
    let topic = |index: usize| NewTopic {
        name: format!("{index:0>240}"),
        partitions: 1,
        replication_factor: 1,
        configs: configs.to_vec(),
        ..NewTopic::default()
    };
    CreateTopics { topics: (0..count).map(topic).collect(), validate_only: false }
}

#[test]
fn what_no_batch_holds_is_refused_alone() {
    let mut node = Whole::new(1, 1, &[]);
    let found = node.probe(|core| async move {
        let meta = core.meta().expect("core 0");
        let large = topics(5_000);
        let large = meta.propose(move |desk, turn| desk.create_topics(turn, &large));
        // In the same round, and of a name that the other has, too.
        let small = topics(1);
        let small = meta.propose(move |desk, turn| desk.create_topics(turn, &small));
        let (large, small) = join(large, small).await;
        let created = small.map(|outcomes| outcomes[0].result.is_ok());
        (large.err(), created, core.image().topics().iter().count())
    });
    node.boot();
    let (large, created, topics) = taken(&node, &found);
    assert!(matches!(large, Some(ProposeError::TooLarge(_))), "{large:?}");
    assert_eq!((created, topics), (Ok(true), 1));
    assert!(node.stop().iter().all(Result::is_ok));
    node.boot();
}

#[test]
fn a_panic_of_the_controller_costs_its_request() {
    let mut node = Whole::new(2, 2, &[]);
    let found = node.probe(|core| async move {
        let meta = core.meta().expect("core 0");
        let before = topics(1);
        let before = meta.propose(move |desk, turn| desk.create_topics(turn, &before));
        let panics = meta.propose_only(|desk, _| -> replication::controller::Decision<()> {
            drop(desk.no_op());
            panic!("planted")
        });
        let (before, panicked) = join(before, panics).await;
        let after = topics(2);
        let after = meta.propose(move |desk, turn| desk.create_topics(turn, &after)).await;
        let told = |outcomes: Vec<replication::controller::create::TopicOutcome>| {
            outcomes.iter().map(|outcome| outcome.result.is_ok()).collect::<Vec<_>>()
        };
        (before.map(told), panicked, after.map(told))
    });
    node.boot();
    let (before, panicked, after) = taken(&node, &found);
    assert_eq!(before, Ok(vec![true]));
    assert_eq!(panicked, Err(ProposeError::Defect));
    assert_eq!(after, Ok(vec![false, true]), "one is there already");
    assert!(node.stop().iter().all(Result::is_ok));
    node.boot();
}

/// Panics where nothing is caught: when the proposer drops what nobody waits for.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("planted");
    }
}

#[test]
fn a_proposer_that_is_no_more_stops_the_node() {
    let mut node = Whole::new(3, 2, &[]);
    let found = node.probe(|core| async move {
        let meta = core.meta().expect("core 0");
        let bomb = meta.propose_only(|desk, _| desk.no_op().map(|()| Bomb));
        assert!(bomb.now_or_never().is_none(), "queued, and given up");
        // Nobody may wait for ever.
        meta.propose(|desk, _| desk.no_op()).await
    });
    node.boot();
    assert_eq!(taken(&node, &found), Err(ProposeError::NotController));
    assert!(node.world.run_until(Duration::from_secs(60), || node.has_ended()), "it ends");
    assert!(node.why().contains("the metadata role failed"), "{}", node.why());
    node.crash(Crash::Kill);
    node.boot();
}

async fn create(rt: &Rt, addr: SocketAddr, name: &str, partitions: i32) -> ErrorCode {
    Client::connect(rt, addr).await.create(name, partitions, &[]).await
}

async fn delete(rt: &Rt, addr: SocketAddr, name: &str) -> ErrorCode {
    let mut client = Client::connect(rt, addr).await;
    let request = DeleteTopicsRequest {
        topic_names: vec![name].into(),
        timeout_ms: 5_000,
        ..DeleteTopicsRequest::default()
    };
    let code = client.ask(ApiKey::DeleteTopics, 5, &request, |cur| {
        let response = DeleteTopicsResponse::decode(cur, 5).expect("a response");
        ErrorCode(response.responses.first().expect("one topic").error_code)
    });
    code.await.expect("answered")
}

async fn producer_id(rt: &Rt, addr: SocketAddr) -> ErrorCode {
    let mut client = Client::connect(rt, addr).await;
    let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let code = client.ask(ApiKey::InitProducerId, 4, &request, |cur| {
        ErrorCode(InitProducerIdResponse::decode(cur, 4).expect("a response").error_code)
    });
    code.await.expect("answered")
}

fn since(rt: &Rt, start: Instant) -> Duration {
    rt.now().since(start)
}

/// A node whose metadata is on one disk, and whose data on another, which can become slow.
fn on_two_disks(seed: u64) -> Whole {
    let node = Whole::new(seed, 1, &["log.dirs=/meta,/data"]);
    node.world.add_disk(node.node, Path::new("/data"), DiskOptions::default());
    node
}

fn slow_down(node: &Whole) {
    node.world.set_disk(node.node, Path::new("/data"), |disk| {
        (disk.latency_min, disk.latency_max) = (SLOW, SLOW);
    });
}

fn speed_up(node: &Whole) {
    node.world.set_disk(node.node, Path::new("/data"), |disk| *disk = DiskOptions::default());
}

/// Directories of partitions on the data disk, however they are named.
fn partitions(node: &Whole) -> Vec<String> {
    node.on_node(|rt| async move {
        let listed = rt.list_dir(Path::new("/data")).await.expect("listable").into_iter();
        let dirs = listed.filter(|entry| entry.is_dir);
        dirs.map(|entry| entry.name.to_string_lossy().into_owned()).collect()
    })
}

#[test]
fn a_slow_data_disk_delays_who_needs_it_alone() {
    let mut node = on_two_disks(4);
    node.boot();
    slow_down(&node);
    let (created, took, id, id_took) = node.run(|rt, addr| async move {
        let start = rt.now();
        let (creating, asking) = (rt.clone(), rt.clone());
        let creating = async move {
            let code = create(&creating, addr, "t", 2).await;
            (code, since(&creating, start))
        };
        let asking = async move {
            asking.sleep(SLOW / 2).await;
            let code = producer_id(&asking, addr).await;
            (code, since(&asking, start))
        };
        let ((created, took), (id, id_took)) = join(creating, asking).await;
        (created, took, id, id_took)
    });
    assert_eq!((created, id), (ErrorCode::NONE, ErrorCode::NONE));
    assert!(took > SLOW * 2, "{took:?}");
    assert!(id_took < SLOW, "{id_took:?}");
}

#[test]
fn a_deletion_is_answered_before_the_disk_is_done() {
    for crash in [None, Some(Crash::Kill), Some(Crash::PowerLoss)] {
        let mut node = on_two_disks(5);
        node.boot();
        let code = node.run(|rt, addr| async move { create(&rt, addr, "t", 4).await });
        assert_eq!(code, ErrorCode::NONE);
        assert_eq!(partitions(&node).len(), 2);
        slow_down(&node);
        let took = node.run(|rt, addr| async move {
            let start = rt.now();
            assert_eq!(delete(&rt, addr, "t").await, ErrorCode::NONE);
            since(&rt, start)
        });
        assert!(took < SLOW / 2, "{took:?}");
        if let Some(kind) = crash {
            node.crash(kind);
        }
        speed_up(&node);
        if crash.is_some() {
            node.boot();
        }
        let code = node.run(|rt, addr| async move { create(&rt, addr, "t", 4).await });
        assert_eq!(code, ErrorCode::NONE, "{crash:?}");
        let offline = node.ready().expect("it serves").partitions.1;
        assert_eq!(offline, 0, "{crash:?}");
        node.world.run_for(Duration::from_secs(120));
        assert_eq!(partitions(&node), ["t-1", "t-3"], "{crash:?}: the deleted ones are gone");
    }
}

#[test]
fn what_waits_for_removal_goes_after_a_restart() {
    let mut node = Whole::start(6, 2, &[]);
    node.run(|rt, addr| async move {
        assert_eq!(create(&rt, addr, "t", 3).await, ErrorCode::NONE);
        assert_eq!(delete(&rt, addr, "t").await, ErrorCode::NONE);
    });
    node.crash(Crash::Kill);
    assert!(partitions(&node).iter().any(|name| name.ends_with("-delete")));
    node.boot();
    node.world.run_for(Duration::from_secs(5));
    assert_eq!(partitions(&node), ["__cluster_metadata-0"]);
}

#[test]
fn a_partition_that_cannot_be_opened_can_be_deleted() {
    let mut node = Whole::start(7, 2, &[]);
    node.run(|rt, addr| async move {
        assert_eq!(create(&rt, addr, "t", 1).await, ErrorCode::NONE);
    });
    assert!(node.stop().iter().all(Result::is_ok));
    node.on_node(|rt| async move {
        let epochs = Path::new("/data/t-0/leader-epoch-checkpoint");
        rt.write_file(epochs, b"junk").await.expect("written");
    });
    node.boot();
    assert_eq!(node.ready().expect("it serves").partitions, (0, 1));
    node.run(|rt, addr| async move {
        assert_eq!(delete(&rt, addr, "t").await, ErrorCode::NONE);
        assert_eq!(create(&rt, addr, "t", 1).await, ErrorCode::NONE);
        rt.sleep(Duration::from_secs(5)).await;
    });
    assert_eq!(partitions(&node), ["__cluster_metadata-0", "t-0"]);
    assert!(node.stop().iter().all(Result::is_ok));
    node.boot();
    assert_eq!(node.ready().expect("it serves").partitions, (1, 0));
}

#[test]
fn a_topic_made_on_a_full_disk_is_served_once_there_is_room() {
    let mut node = on_two_disks(9);
    node.boot();
    node.world.set_disk(node.node, Path::new("/data"), |disk| disk.total_bytes = 0);
    let on_full = node.run(|rt, addr| async move {
        for name in ["t", "u"] {
            assert_eq!(create(&rt, addr, name, 4).await, ErrorCode::NONE);
        }
        rt.sleep(Duration::from_secs(20)).await;
        assert_eq!(delete(&rt, addr, "u").await, ErrorCode::NONE);
        latest(&mut Client::connect(&rt, addr).await, 4).await
    });
    let is_offline = |code: &&ErrorCode| **code == ErrorCode::KAFKA_STORAGE_ERROR;
    assert_eq!(on_full.iter().filter(is_offline).count(), 2, "{on_full:?}");
    speed_up(&node);
    let with_room = node.run(|rt, addr| async move {
        rt.sleep(Duration::from_secs(10)).await;
        latest(&mut Client::connect(&rt, addr).await, 4).await
    });
    assert_eq!(with_room, [ErrorCode::NONE; 4]);
    assert!(node.stop().iter().all(Result::is_ok));
    node.boot();
    assert_eq!(node.ready().expect("it serves").partitions, (4, 0));
    assert_eq!(partitions(&node), ["t-1", "t-3"]);
}

#[test]
fn a_topic_that_is_shown_is_there_on_every_core() {
    let node = Whole::start(8, 2, &[]);
    let mut clients = node.run(|rt, addr| async move {
        let clients = (0..4).map(|_| Client::connect(&rt, addr));
        join_all(clients.collect::<Vec<_>>()).await
    });
    let paused = Duration::from_secs(3);
    node.world.pause(node.node, CoreId(1), paused);
    let (code, offsets) = node.run(|rt, _| async move {
        // Those of the core that goes on.
        let mut quick = Vec::new();
        for mut client in clients.drain(..) {
            let in_time = rt.sleep(Duration::from_millis(100));
            let answers = {
                let asked = pin!(shows(&mut client));
                matches!(select(asked, in_time).await, Either::Left(_))
            };
            if answers {
                quick.push(client);
            }
        }
        let [mut one, mut other] = quick.try_into().ok().expect("two of four");
        let seen = async {
            while !shows(&mut other).await {
                rt.sleep(Duration::from_millis(20)).await;
            }
            latest(&mut other, 4).await
        };
        join(one.create("t", 4, &[]), seen).await
    });
    assert_eq!(code, ErrorCode::NONE);
    assert_eq!(offsets, [ErrorCode::NONE; 4]);
}

/// Whether Metadata has any topic.
async fn shows(client: &mut Client) -> bool {
    let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let asked = client.ask(ApiKey::Metadata, 12, &request, |cur| {
        !MetadataResponse::decode(cur, 12).expect("a response").topics.is_empty()
    });
    asked.await.expect("answered")
}

/// What ListOffsets says of each of the topic's partitions.
async fn latest(client: &mut Client, partitions: i32) -> Vec<ErrorCode> {
    let part = |partition_index| ListOffsetsPartition {
        partition_index,
        timestamp: -1,
        ..ListOffsetsPartition::default()
    };
    let partitions = (0..partitions).map(part).collect();
    let topic = ListOffsetsTopic { name: "t", partitions };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![topic].into(),
        ..ListOffsetsRequest::default()
    };
    let asked = client.ask(ApiKey::ListOffsets, 7, &request, |cur| {
        let response = ListOffsetsResponse::decode(cur, 7).expect("a response");
        let topic = response.topics.first().expect("the topic");
        topic.partitions.iter().map(|part| ErrorCode(part.error_code)).collect()
    });
    asked.await.expect("answered")
}

/// Of every operation on a slow disk.
const SLOW: Duration = Duration::from_secs(4);
