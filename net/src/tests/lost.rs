//! Partitions that are not where they were, or there twice, and what a stop makes of them.

use std::path::Path;
use std::time::Duration;

use engine::ids::CoreId;
use engine::rt::Rt;
use engine::rt::sim::DiskOptions;
use wire::api_key::ApiKey;
use wire::error_code::ErrorCode;
use wire::msg::delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};
use wire::msg::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use wire::primitives::Uuid;

use super::produce;
use crate::testing::{Client, Whole};

/// Runs `change` on the disk of a node that stopped.
fn on_disk<T: 'static, F: Future<Output = std::io::Result<T>> + 'static>(
    node: &Whole,
    change: impl FnOnce(Rt) -> F,
) -> T {
    let task = change(node.world.rt(node.node, CoreId(0)));
    let changed = node.world.block_on(Duration::from_secs(60), task);
    changed.expect("in time").expect("the disk is well")
}

/// Which partitions of `t` take records; none of them comes back empty.
fn producible(node: &Whole, partitions: i32) -> Vec<bool> {
    node.run(move |rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        let mut taken = Vec::new();
        for partition in 0..partitions {
            let (code, base) = produce(&mut client, "t", partition, &["x"]).await;
            assert!([ErrorCode::NONE, ErrorCode::KAFKA_STORAGE_ERROR].contains(&code), "{code}");
            assert!(code != ErrorCode::NONE || base > 0, "it came back empty");
            taken.push(code == ErrorCode::NONE);
        }
        taken
    })
}

/// A node that has records in every partition of `t` and stopped.
fn filled(partitions: i32, settings: &[&str]) -> Whole {
    let mut node = Whole::start(7, 2, settings);
    node.run(move |rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        assert_eq!(client.create("t", partitions, &[]).await, ErrorCode::NONE);
        for partition in 0..partitions {
            assert_eq!(produce(&mut client, "t", partition, &["a"]).await.0, ErrorCode::NONE);
        }
    });
    node.stop();
    node
}

#[test]
fn a_partition_whose_directory_is_gone_stays_offline_and_returns_with_it() {
    let mut node = filled(3, &[]);
    let (there, away) = (Path::new("/data/t-1"), Path::new("/away"));
    on_disk(&node, async move |rt| rt.rename(there, away).await);
    for _ in 0..2 {
        node.boot();
        assert_eq!(producible(&node, 3), [true, false, true]);
        node.stop();
        let sealed = Path::new("/data/.kafka_cleanshutdown");
        assert!(!on_disk(&node, async move |rt| rt.exists(sealed).await), "t-1 was not closed");
    }
    on_disk(&node, async move |rt| rt.rename(away, there).await);
    node.boot();
    assert_eq!(producible(&node, 3), [true, true, true]);
}

#[test]
fn a_partition_of_several_directories_is_not_made_anew_in_another() {
    let mut node = filled(4, &["log.dirs=/a,/b"]);
    let lost = on_disk(&node, async |rt| {
        for partition in 0..4 {
            let path = format!("/b/t-{partition}");
            if rt.exists(Path::new(&path)).await? {
                rt.remove_dir_all(Path::new(&path)).await?;
                return Ok(partition);
            }
        }
        panic!("some are there");
    });
    node.boot();
    let taken: Vec<bool> = (0..4).map(|partition| partition != lost).collect();
    assert_eq!(producible(&node, 4), taken);
}

#[test]
fn partitions_of_a_log_directory_that_is_gone_wait_for_it() {
    let mut node = filled(6, &["log.dirs=/a,/b"]);
    let held = on_disk(&node, async |rt| {
        let mut held = Vec::new();
        for partition in 0..6 {
            held.push(rt.exists(Path::new(&format!("/a/t-{partition}"))).await?);
        }
        rt.rename(Path::new("/b"), Path::new("/away")).await?;
        Ok(held)
    });
    assert!(held.contains(&true) && held.contains(&false), "{held:?}");
    for _ in 0..2 {
        // An empty disk is mounted there now, or none; it is taken for a new one.
        node.boot();
        assert_eq!(producible(&node, 6), held);
        node.stop();
    }
    on_disk(&node, async |rt| {
        rt.remove_dir_all(Path::new("/b")).await?;
        rt.rename(Path::new("/away"), Path::new("/b")).await
    });
    node.boot();
    assert_eq!(producible(&node, 6), [true; 6]);
}

#[test]
fn a_partition_that_is_there_twice_is_refused() {
    let mut node = filled(2, &["log.dirs=/a,/b"]);
    on_disk(&node, async |rt| {
        for root in ["/a", "/b"] {
            rt.create_dir_all(&Path::new(root).join("t-0")).await?;
        }
        Ok(())
    });
    node.boot();
    assert_eq!(producible(&node, 2), [false, true]);
}

#[test]
fn a_topic_that_is_deleted_while_it_is_offline_is_not_in_the_way_of_the_next() {
    let mut node = filled(1, &[]);
    let log = Path::new("/data/t-0/00000000000000000000.log");
    on_disk(&node, async move |rt| rt.remove_file(log).await);
    node.boot();
    assert_eq!(producible(&node, 1), [false]);
    node.run(move |rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        let topic = DeleteTopicState { name: Some("t"), topic_id: Uuid::ZERO };
        let request = DeleteTopicsRequest {
            topics: vec![topic].into(),
            timeout_ms: 5_000,
            ..DeleteTopicsRequest::default()
        };
        let deleted = client.ask(ApiKey::DeleteTopics, 6, &request, |cur| {
            let response = DeleteTopicsResponse::decode(cur, 6).expect("a response");
            ErrorCode(response.responses.first().expect("one topic").error_code)
        });
        assert_eq!(deleted.await.expect("answered"), ErrorCode::NONE);
        assert_eq!(client.create("t", 1, &[]).await, ErrorCode::NONE);
        assert_eq!(produce(&mut client, "t", 0, &["x"]).await, (ErrorCode::NONE, 0));
    });
}

/// What became of a record for each partition of `t`.
async fn outcomes(client: &mut Client, partitions: i32) -> Vec<ErrorCode> {
    let mut told = Vec::new();
    for partition in 0..partitions {
        told.push(produce(client, "t", partition, &["x"]).await.0);
    }
    told
}

/// Error code and number of partitions of every log directory.
async fn directories(client: &mut Client) -> Vec<(String, ErrorCode, usize)> {
    let request = DescribeLogDirsRequest { topics: None };
    let asked = client.ask(ApiKey::DescribeLogDirs, 4, &request, |cur| {
        let response = DescribeLogDirsResponse::decode(cur, 4).expect("a response");
        let told = response.results.iter().map(|dir| {
            let partitions = dir.topics.iter().map(|topic| topic.partitions.iter().count()).sum();
            (dir.log_dir.to_owned(), ErrorCode(dir.error_code), partitions)
        });
        told.collect()
    });
    asked.await.expect("answered")
}

#[test]
fn a_log_directory_that_fails_takes_nothing_with_it() {
    for seed in 0..4 {
        let mut node = Whole::new(seed, 2, &["log.dirs=/a,/b"]);
        node.world.add_disk(node.node, Path::new("/b"), DiskOptions::default());
        node.boot();
        node.run(|rt, addr| async move {
            let mut client = Client::connect(&rt, addr).await;
            assert_eq!(client.create("t", 6, &[]).await, ErrorCode::NONE);
            assert_eq!(outcomes(&mut client, 6).await, [ErrorCode::NONE; 6]);
        });
        let there = |root: &'static str| {
            on_disk(&node, async move |rt| {
                let mut there = Vec::new();
                for partition in 0..6 {
                    there.push(rt.exists(Path::new(&format!("{root}/t-{partition}"))).await?);
                }
                Ok(there)
            })
        };
        let on_b = there("/b");
        assert!(on_b.contains(&true) && on_b.contains(&false), "{on_b:?}");

        node.world.kill_disk(node.node, Path::new("/b"));
        let expected: Vec<ErrorCode> = on_b
            .iter()
            .map(|on_b| if *on_b { ErrorCode::KAFKA_STORAGE_ERROR } else { ErrorCode::NONE })
            .collect();
        let told = expected.clone();
        node.run(|rt, addr| async move {
            let mut client = Client::connect(&rt, addr).await;
            assert_eq!(outcomes(&mut client, 6).await, told, "the logs have failed");
            rt.sleep(Duration::from_secs(5)).await;
            assert_eq!(outcomes(&mut client, 6).await, told, "the directory has failed");
            let kept = told.iter().filter(|code| **code == ErrorCode::NONE).count();
            let described = directories(&mut client).await;
            assert_eq!(described[0], ("/a".to_owned(), ErrorCode::NONE, kept));
            assert_eq!(described[1], ("/b".to_owned(), ErrorCode::KAFKA_STORAGE_ERROR, 0));
            // What is new goes where there is a disk.
            assert_eq!(client.create("u", 4, &[]).await, ErrorCode::NONE);
            for partition in 0..4 {
                assert_eq!(produce(&mut client, "u", partition, &["x"]).await.0, ErrorCode::NONE);
            }
        });
        for outcome in node.stop() {
            outcome.expect("stops in order");
        }
        node.world.revive_disk(node.node, Path::new("/b"));
        node.boot();
        assert_eq!(producible(&node, 6), [true; 6], "seed {seed}");
    }
}
