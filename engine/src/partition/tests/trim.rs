//! Files at rest end with their data: Kafka's tools stumble over zeros.

use std::time::Duration;

use config::TopicConfig;

use super::kit::*;
use super::restart::on;
use crate::partition::*;
use crate::rt::sim::{SimOptions, World};

#[test]
fn a_steady_stream_leaves_no_zeros_behind_its_segments() {
    for seed in 0..12 {
        let world = World::new(seed, SimOptions::default());
        let node = world.add_node(1);
        on(&world, node, async move |rt| {
            let kit = Kit::start(&rt).await;
            let config = TopicConfig { segment_bytes: 18 << 20, ..TopicConfig::default() };
            let partition = kit.lead(config, 0).await;
            for tag in 0..60 {
                let options = AppendOptions::default();
                let appended = partition.append_as_leader(batch(tag, 1, 1_000_000), options).await;
                appended.expect("taken");
            }
            // Whatever was under way when the last segment was begun has ended by now.
            rt.sleep(Duration::from_secs(1)).await;
            let bytes = async || {
                let files = rt.list_dir(&partition_dir()).await.expect("listable");
                let logs = files.into_iter().filter(|f| f.name.to_string_lossy().ends_with(".log"));
                logs.map(|file| file.len).collect::<Vec<_>>()
            };
            let lengths = bytes().await;
            assert!(lengths.len() > 2, "segments were rolled");
            partition.close().await.expect("closes");
            rt.sleep(Duration::from_secs(1)).await;
            let data: u64 = bytes().await.iter().sum();
            assert_eq!(data, partition.size_bytes(), "seed {seed}");
        });
    }
}

#[test]
fn a_delete_does_not_wait_for_an_append_that_waits_for_room() {
    for micros in 0..60 {
        let world = World::new(micros, SimOptions::default());
        let node = world.add_node(1);
        on(&world, node, async move |rt| {
            let kit = Kit::start(&rt).await;
            let partition = kit.lead(TopicConfig::default(), 0).await;
            let appending = std::rc::Rc::clone(&partition);
            let append = rt.spawn("append", async move {
                let options = AppendOptions::default();
                drop(appending.append_as_leader(batch(1, 1, 300_000), options).await);
            });
            rt.sleep(Duration::from_micros(micros)).await;
            partition.delete().await.expect("ends");
            append.await.expect("ends");
        });
    }
}
