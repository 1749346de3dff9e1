//! Partitions that are moved between the log directories of a node.

use std::path::Path;
use std::time::Duration;

use engine::ids::PartitionId;
use engine::rt::sim::{Crash, DiskOptions};
use wire::api_key::ApiKey;
use wire::error_code::ErrorCode;
use wire::msg::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};
use wire::msg::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use wire::msg::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::{fetch, produce};
use crate::testing::{Client, Whole};

/// Asks for partitions of one topic to be in `path`; their codes.
async fn alter(client: &mut Client, topic: &str, partitions: &[i32], path: &str) -> Vec<ErrorCode> {
    let topics =
        vec![AlterReplicaLogDirTopic { name: topic, partitions: partitions.to_vec().into() }];
    let dirs = vec![AlterReplicaLogDir { path, topics: topics.into() }];
    let request = AlterReplicaLogDirsRequest { dirs: dirs.into() };
    let asked = client.ask(ApiKey::AlterReplicaLogDirs, 2, &request, |cur| {
        let response = AlterReplicaLogDirsResponse::decode(cur, 2).expect("a response");
        let results = response.results.iter().flat_map(|topic| topic.partitions.to_vec());
        results.map(|result| ErrorCode(result.error_code)).collect()
    });
    asked.await.expect("answered")
}

/// Directory, topic, partition, lag and whether it is a copy, of every replica.
async fn replicas(client: &mut Client) -> Vec<(String, String, i32, i64, bool)> {
    let request = DescribeLogDirsRequest { topics: None };
    let asked = client.ask(ApiKey::DescribeLogDirs, 4, &request, |cur| {
        let response = DescribeLogDirsResponse::decode(cur, 4).expect("a response");
        let mut found = Vec::new();
        for dir in &response.results {
            for topic in &dir.topics {
                for it in topic.partitions.to_vec() {
                    let (dir, topic) = (dir.log_dir.to_owned(), topic.name.to_owned());
                    found.push((dir, topic, it.partition_index, it.offset_lag, it.is_future_key));
                }
            }
        }
        found
    });
    asked.await.expect("answered")
}

/// Where the partitions of `t` are; none is a copy.
async fn places(client: &mut Client) -> Vec<String> {
    let mut found = replicas(client).await;
    found.retain(|(_, topic, ..)| topic == "t");
    found.sort_by_key(|(_, _, partition, ..)| *partition);
    assert!(found.iter().all(|(.., is_future)| !is_future), "{found:?}");
    found.into_iter().map(|(dir, ..)| dir).collect()
}

async fn throttle(client: &mut Client, rate: &str) {
    let name = "replica.alter.log.dirs.io.max.bytes.per.second";
    let config = AlterableConfig { name, config_operation: 0, value: Some(rate) };
    let resource =
        AlterConfigsResource { resource_type: 4, resource_name: "1", configs: vec![config].into() };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource].into(), validate_only: false };
    let asked = client.ask(ApiKey::IncrementalAlterConfigs, 1, &request, |cur| {
        let response = IncrementalAlterConfigsResponse::decode(cur, 1).expect("a response");
        ErrorCode(response.responses.first().expect("one").error_code)
    });
    assert_eq!(asked.await.expect("answered"), ErrorCode::NONE);
}

/// A node with two log directories and records in the two partitions of `t`.
fn two(seed: u64) -> Whole {
    let mut node = Whole::new(seed, 2, &["log.dirs=/a,/b"]);
    node.world.add_disk(node.node, Path::new("/b"), DiskOptions::default());
    node.boot();
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(client.create("t", 2, &[]).await, ErrorCode::NONE);
        for partition in 0..2 {
            for value in ["a", "b", "c"] {
                let (code, _) = produce(&mut client, "t", partition, &[value]).await;
                assert_eq!(code, ErrorCode::NONE);
            }
        }
        throttle(&mut client, "1000000").await;
    });
    node
}

/// The log directory that the metadata says a partition of `t` is in.
fn assigned(node: &mut Whole, partition: i32) -> String {
    let found = node.probe(move |core| async move {
        let image = core.image();
        let topic = image.topics().named("t").expect("it is there");
        let replica = topic.partition(PartitionId(partition)).expect("it is there");
        let id = replica.directory_of(core.node.id);
        let dir = core.dirs.iter().find(|dir| dir.contents().meta.directory_id == id);
        dir.expect("one of ours").path().display().to_string()
    });
    node.boot();
    node.run(|rt, _| async move { rt.sleep(Duration::from_secs(1)).await });
    let found = found.lock().expect("one thread").take();
    found.expect("it ran")
}

#[test]
fn partitions_change_places_and_the_controller_knows() {
    let mut node = two(1);
    let moved = node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        let before = places(&mut client).await;
        let to: Vec<&str> =
            before.iter().map(|dir| if dir == "/a" { "/b" } else { "/a" }).collect();
        for (partition, to) in (0..).zip(&to) {
            assert_eq!(alter(&mut client, "t", &[partition], to).await, [ErrorCode::NONE]);
        }
        rt.sleep(Duration::from_secs(5)).await;
        assert_eq!(places(&mut client).await, to);
        for partition in 0..2 {
            assert_eq!(fetch(&mut client, "t", partition, 1, 0).await.1, 3);
            assert_eq!(produce(&mut client, "t", partition, &["d"]).await, (ErrorCode::NONE, 3));
        }
        to.into_iter().map(str::to_owned).collect::<Vec<_>>()
    });
    node.crash(Crash::PowerLoss);
    for partition in 0..2 {
        assert_eq!(assigned(&mut node, partition), moved[partition as usize]);
        node.stop();
    }
    node.boot();
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(places(&mut client).await, moved);
        for partition in 0..2 {
            assert_eq!(produce(&mut client, "t", partition, &["e"]).await, (ErrorCode::NONE, 4));
        }
    });
}

#[test]
fn a_move_is_told_gone_on_with_after_a_restart_and_called_off() {
    let mut node = two(2);
    let slow = |node: &Whole| {
        node.run(|rt, addr| async move {
            let mut client = Client::connect(&rt, addr).await;
            throttle(&mut client, "10").await;
            rt.sleep(Duration::from_millis(300)).await;
            let here = places(&mut client).await.remove(0);
            let there = if here == "/a" { "/b" } else { "/a" };
            assert_eq!(alter(&mut client, "t", &[0], there).await, [ErrorCode::NONE]);
            assert_eq!(alter(&mut client, "t", &[0], there).await, [ErrorCode::NONE]);
            (here, there.to_owned())
        })
    };
    let (here, there) = slow(&node);
    let copies = |node: &Whole| {
        node.run(|rt, addr| async move {
            let mut client = Client::connect(&rt, addr).await;
            let found = replicas(&mut client).await.into_iter();
            found.filter(|(.., is_future)| *is_future).collect::<Vec<_>>()
        })
    };
    let told = copies(&node);
    assert_eq!(told.len(), 1, "{told:?}");
    let (dir, _, partition, lag, _) = &told[0];
    assert_eq!((dir, *partition), (&there, 0));
    assert!((1..=3).contains(lag), "{told:?}");

    node.crash(Crash::PowerLoss);
    node.boot();
    assert_eq!(copies(&node).len(), 1, "it is gone on with");
    let back = here.clone();
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(alter(&mut client, "t", &[0], &back).await, [ErrorCode::NONE]);
        assert_eq!(produce(&mut client, "t", 0, &["d"]).await, (ErrorCode::NONE, 3));
    });
    assert_eq!(copies(&node), []);
    node.stop();
    node.boot();
    assert_eq!(copies(&node), []);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(places(&mut client).await[0], here);
        assert_eq!(fetch(&mut client, "t", 0, 0, 0).await.1, 4);
    });
}

#[test]
fn what_cannot_be_moved_is_refused_in_kafkas_words() {
    let node = two(3);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        let gone = alter(&mut client, "t", &[0], "/c").await;
        assert_eq!(gone, [ErrorCode::LOG_DIR_NOT_FOUND]);
        let absent = alter(&mut client, "t", &[7], "/b").await;
        assert_eq!(absent, [ErrorCode::REPLICA_NOT_AVAILABLE]);
        let long = "x".repeat(240);
        let named = alter(&mut client, &long, &[0], "/b").await;
        assert_eq!(named, [ErrorCode::INVALID_TOPIC_EXCEPTION]);
        // What does not exist yet goes where somebody wanted it.
        for _ in 0..2 {
            let unknown = alter(&mut client, "u", &[0, 1, 2], "/b").await;
            assert_eq!(unknown, [ErrorCode::REPLICA_NOT_AVAILABLE; 3]);
        }
        assert_eq!(client.create("u", 4, &[]).await, ErrorCode::NONE);
        let there: Vec<_> =
            replicas(&mut client).await.into_iter().filter(|r| r.1 == "u").collect();
        let on_b =
            there.iter().filter(|(dir, ..)| dir == "/b").map(|(_, _, partition, ..)| *partition);
        assert_eq!(on_b.collect::<Vec<_>>(), [0, 1, 2], "{there:?}");
    });
    node.world.kill_disk(node.node, Path::new("/b"));
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        for partition in 0..3 {
            produce(&mut client, "u", partition, &["x"]).await;
        }
        rt.sleep(Duration::from_secs(5)).await;
        let lost = alter(&mut client, "t", &[0, 1], "/b").await;
        assert_eq!(lost, [ErrorCode::KAFKA_STORAGE_ERROR; 2]);
        let offline = alter(&mut client, "u", &[0], "/a").await;
        assert_eq!(offline, [ErrorCode::KAFKA_STORAGE_ERROR]);
    });
}

#[test]
fn a_moved_partition_fails_with_its_new_directory_alone() {
    let node = two(4);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(alter(&mut client, "t", &[0, 1], "/b").await, [ErrorCode::NONE; 2]);
        rt.sleep(Duration::from_secs(5)).await;
        assert_eq!(places(&mut client).await, ["/b", "/b"]);
        assert_eq!(alter(&mut client, "t", &[0], "/a").await, [ErrorCode::NONE]);
        rt.sleep(Duration::from_secs(5)).await;
        assert_eq!(places(&mut client).await, ["/a", "/b"]);
    });
    node.world.kill_disk(node.node, Path::new("/b"));
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        let lost = produce(&mut client, "t", 1, &["x"]).await;
        assert_eq!(lost.0, ErrorCode::KAFKA_STORAGE_ERROR);
        rt.sleep(Duration::from_secs(5)).await;
        assert_eq!(produce(&mut client, "t", 0, &["x"]).await.0, ErrorCode::NONE);
        assert_eq!(produce(&mut client, "t", 1, &["x"]).await.0, ErrorCode::KAFKA_STORAGE_ERROR);
    });
}
