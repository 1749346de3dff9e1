//! What closed segments cost, and when they go.

use std::time::Duration;

use config::TopicConfig;

use super::kit::*;
use super::restart::{on, world};
use crate::cx::EngineLimits;
use crate::log::ShelfLimits;

#[test]
fn records_without_a_time_age_from_their_files_last_change() {
    let (world, node) = world(31);
    on(&world, node, async |rt| {
        let kit = Kit::start(&rt).await;
        let config = TopicConfig {
            segment_bytes: 20_000,
            retention_ms: Some(60_000),
            ..TopicConfig::default()
        };
        let partition = kit.lead(config, 0).await;
        for tag in 0..10 {
            produce(&partition, batch_at(tag, 1, 5_000, -1, None)).await;
        }
        partition.housekeep(rt.wall_ms()).await.expect("works");
        assert_eq!(partition.offsets().log_start.0, 0, "they are new");
        rt.sleep(Duration::from_secs(59)).await;
        partition.housekeep(rt.wall_ms()).await.expect("works");
        assert_eq!(partition.offsets().log_start.0, 0, "they are not old enough");
        // The last file changed once more then: it was cut to its data.
        rt.sleep(Duration::from_secs(61)).await;
        partition.housekeep(rt.wall_ms()).await.expect("works");
        assert_eq!(partition.offsets().log_start.0, 10);
    });
}

#[test]
fn closed_segments_hold_a_bounded_number_of_files_and_indexes() {
    let (world, node) = world(32);
    on(&world, node, async |rt| {
        let shelf = ShelfLimits { segments: 3, bytes: 1 << 20 };
        let limits = EngineLimits { tail_bytes: 4_096, cold_bytes: 1, shelf, ..Default::default() };
        let kit = Kit::start_with(&rt, limits).await;
        let config = TopicConfig {
            segment_bytes: 20_000,
            index_interval_bytes: 0,
            ..TopicConfig::default()
        };
        let partition = kit.lead(config.clone(), 0).await;
        for tag in 0..60 {
            produce(&partition, batch(tag, 1, 5_000)).await;
        }
        let bounded = || {
            let memory = kit.cx.memory();
            assert!((1..=3).contains(&memory.shelf_segments), "{}", memory.shelf_segments);
        };
        bounded();
        for _ in 0..2 {
            let tags: Vec<u64> = read_all(&partition, 0).await.iter().map(|b| b.2).collect();
            assert!(tags.into_iter().eq(0..60));
            bounded();
        }
        partition.close().await.expect("closes");
        kit.stop(1).await;
        let kit = Kit::start_with(&rt, limits).await;
        let partition = kit.lead(config, 1).await;
        assert_eq!(read_all(&partition, 0).await.len(), 60);
        assert!((1..=3).contains(&kit.cx.memory().shelf_segments));
    });
}
