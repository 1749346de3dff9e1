//! First starts that are cut short, directories of others, and refusals.

use std::path::Path;

use engine::batch::header::Batches;
use engine::ids::Offset;
use engine::rt::Rt;
use engine::rt::sim::Crash;
use replication::image::{BatchInfo, Loader};
use replication::quorum::snapshot;
use replication::record::{self, Content, MetadataRecord};
use wire::record::metadata::FeatureLevelRecord;

use crate::testing::Whole;

/// The cluster that the directory belongs to, if it was formatted.
fn cluster_id(node: &Whole) -> Option<String> {
    let text = node.on_node(|rt| async move {
        rt.read_file(Path::new("/data/meta.properties"), 4096).await.ok()
    })?;
    let text = String::from_utf8(text).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("cluster.id="));
    Some(line.expect("a cluster id").to_owned())
}

/// Starts the node, which must serve, as the cluster that it belonged to if it did.
fn boot_again(node: &mut Whole, when: &str) {
    let before = cluster_id(node);
    assert!(node.try_boot(), "{when}: the node does not start");
    let now = node.ready().expect("it serves").cluster_id;
    assert!(before.is_none_or(|before| before == now), "{when}: another cluster");
}

#[test]
fn a_first_start_may_be_cut_short_anywhere() {
    for (kind, dirs) in [
        (Crash::Kill, "log.dirs=/data"),
        (Crash::PowerLoss, "log.dirs=/data"),
        (Crash::PowerLoss, "log.dirs=/more,/data"),
    ] {
        let mut served = false;
        let mut polls = 0;
        while !served {
            polls += 1;
            let mut node = Whole::new(polls, 2, &[dirs]);
            served = node.boot_for(polls);
            node.crash(kind);
            let again = polls / 2;
            let when = format!("{kind:?} after {polls} steps, {dirs}");
            if polls % 3 == 0 {
                node.boot_for(again);
                node.crash(kind);
            }
            boot_again(&mut node, &when);
        }
    }
}

#[test]
fn a_first_start_may_run_out_of_room_anywhere() {
    let mut served = false;
    let mut blocks = 0;
    while !served {
        blocks += 1;
        let mut node = Whole::new(blocks, 1, &[]);
        let data = Path::new("/data");
        node.world.set_disk(node.node, data, |disk| disk.total_bytes = blocks * 4096);
        served = node.try_boot();
        node.crash(Crash::Kill);
        node.world.set_disk(node.node, data, |disk| disk.total_bytes = 1 << 40);
        boot_again(&mut node, &format!("with room for {blocks} blocks"));
    }
}

async fn put(rt: &Rt, path: &str, bytes: &[u8]) {
    let path = Path::new(path);
    rt.create_dir_all(path.parent().expect("below the root")).await.expect("made");
    rt.replace_file(path, bytes).await.expect("written");
}

/// What `kafka-storage format --release-version 4.1` leaves, as far as it matters.
fn bootstrap_of_an_older_cluster() -> Vec<u8> {
    let level =
        FeatureLevelRecord { name: "metadata.version".to_owned(), feature_level: OLDER_LEVEL };
    let mut loader = Loader::default();
    let info = BatchInfo { base: Offset(0), epoch: 0, timestamp_ms: 0 };
    loader.apply_records(info, &[level.into()]).expect("a level");
    snapshot::encode(loader.image(), None, 0).expect("encoded")
}

/// The feature levels that the metadata log sets.
fn levels(node: &Whole) -> Vec<(String, i16)> {
    let log = node.on_node(|rt| async move {
        let file = Path::new("/data/__cluster_metadata-0/00000000000000000000.log");
        rt.read_file(file, 64 << 20).await.expect("a log")
    });
    let mut levels = Vec::new();
    for batch in Batches::new(&log) {
        let opened = record::open(&batch.expect("whole")).expect("known");
        let Content::Metadata(records) = opened.content else { continue };
        levels.extend(records.into_iter().filter_map(|record| match record {
            MetadataRecord::FeatureLevel(level) => Some((level.name, level.feature_level)),
            _ => None,
        }));
    }
    levels
}

#[test]
fn what_kafka_formatted_stays_as_it_is_and_is_read() {
    let mut node = Whole::new(7, 1, &[]);
    let bootstrap = bootstrap_of_an_older_cluster();
    let theirs = bootstrap.clone();
    node.on_node(|rt| async move {
        put(&rt, "/data/meta.properties", META.as_bytes()).await;
        put(&rt, "/data/bootstrap.checkpoint", &theirs).await;
    });
    node.boot();
    let now = node.on_node(|rt| async move {
        rt.read_file(Path::new("/data/bootstrap.checkpoint"), 1 << 20).await.expect("there")
    });
    assert_eq!(now, bootstrap);
    assert_eq!(levels(&node), [("metadata.version".to_owned(), OLDER_LEVEL)]);
}

/// `meta.properties` of node 1 of some cluster.
const META: &str = "#\ncluster.id=MkU3OEVBNTcwNTJENDM2Qk\ndirectory.id=6Jm3tDxNRq-K8c7G0V2lzw\n\
                    node.id=1\nversion=1\n";
/// 4.1-IV0.
const OLDER_LEVEL: i16 = 26;
