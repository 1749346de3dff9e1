//! The metadata log of a whole node over time.

use std::path::Path;
use std::time::Duration;

use engine::ids::CoreId;
use engine::rt::sim::Crash;
use wire::api_key::ApiKey;
use wire::error_code::ErrorCode;
use wire::msg::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, PartitionData, PartitionRequest, TopicRequest,
};
use wire::msg::metadata::{MetadataRequest, MetadataResponse};

use super::join::whole_epoch;
use crate::testing::{Client, Whole};

impl Whole {
    fn create(&self, name: String, configs: &'static [(&'static str, &'static str)]) {
        let code = self.run(move |rt, addr| async move {
            Client::connect(&rt, addr).await.create(&name, 1, configs).await
        });
        assert_eq!(code, ErrorCode::NONE);
    }

    fn metadata_files(&self, suffix: &'static str) -> Vec<String> {
        let rt = self.world.rt(self.node, CoreId(0));
        self.run(move |_, _| async move {
            let listed = rt.list_dir(Path::new("/data/__cluster_metadata-0")).await;
            let names = listed.expect("listable").into_iter();
            let names = names.map(|entry| entry.name.to_string_lossy().into_owned());
            names.filter(|name| name.ends_with(suffix)).collect()
        })
    }

    /// Where the metadata log is committed to.
    fn committed(&self) -> i64 {
        self.run(|rt, addr| async move {
            let mut client = Client::connect(&rt, addr).await;
            let part = PartitionRequest { partition_index: 0 };
            let topic =
                TopicRequest { topic_name: "__cluster_metadata", partitions: vec![part].into() };
            let request = DescribeQuorumRequest { topics: vec![topic].into() };
            let end = client.ask(ApiKey::DescribeQuorum, 2, &request, |cur| {
                let response = DescribeQuorumResponse::decode(cur, 2).expect("a response");
                let topic = response.topics.first().expect("one topic");
                let part: PartitionData<'_> = topic.partitions.first().expect("one partition");
                part.high_watermark
            });
            end.await.expect("answered")
        })
    }

    /// The leader of a topic's first partition; −1 without one.
    fn leader(&self) -> i32 {
        self.run(|rt, addr| async move {
            let mut client = Client::connect(&rt, addr).await;
            let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
            let leader = client.ask(ApiKey::Metadata, 12, &request, |cur| {
                let response = MetadataResponse::decode(cur, 12).expect("a response");
                let topic = response.topics.first().expect("one topic");
                topic.partitions.first().expect("one partition").leader_id
            });
            leader.await.expect("answered")
        })
    }
}

#[test]
fn old_snapshots_go_and_the_log_that_only_they_need() {
    let settings = [
        "metadata.log.max.record.bytes.between.snapshots=2000",
        "metadata.max.retention.bytes=1",
        "metadata.max.idle.interval.ms=0",
    ];
    let mut node = Whole::start(1, 2, &settings);
    for index in 0..60 {
        node.create(format!("topic{index}"), &[]);
    }
    let snapshots = node.metadata_files(".checkpoint");
    assert_eq!(snapshots.len(), 1, "the newest alone: {snapshots:?}");
    assert!(!snapshots[0].starts_with("00000000000000000000-"), "{snapshots:?}");
    for _ in 0..2 {
        assert!(node.stop().into_iter().all(|outcome| outcome.is_ok()));
        node.boot();
    }
    node.world.crash(node.node, Crash::PowerLoss);
    node.world.restart(node.node);
    node.boot();
    node.create("topic60".to_owned(), &[]);
}

#[test]
fn an_idle_log_moves_on_and_no_faster() {
    let node = Whole::start(2, 1, &["metadata.max.idle.interval.ms=500"]);
    let before = node.committed();
    node.world.run_for(Duration::from_secs(60));
    let moved = node.committed() - before;
    assert!((100..=125).contains(&moved), "{moved} records in a minute");

    let node = Whole::start(2, 1, &["metadata.max.idle.interval.ms=0"]);
    let before = node.committed();
    node.world.run_for(Duration::from_secs(60));
    assert_eq!(node.committed(), before);
}

#[test]
fn who_may_have_lost_records_does_not_call_its_stop_clean() {
    let epoch = |stops: &[Option<i64>], synced| whole_epoch(stops.iter().copied(), synced);
    assert_eq!(epoch(&[Some(7), Some(7)], None), 7, "stopped in order");
    assert_eq!(epoch(&[Some(7), None], None), -1, "one directory was not closed");
    assert_eq!(epoch(&[Some(7), Some(5)], None), -1);
    assert_eq!(epoch(&[None], Some(9)), 9, "killed, but everything was synced");
    assert_eq!(epoch(&[None], None), -1);
}

#[test]
fn a_killed_node_leads_again() {
    let synced: &[_] = &[("odradek.durability", "sync")];
    let cached: &[_] = &[("odradek.durability", "write-cache")];
    for (durability, configs) in [("sync", synced), ("write-cache", cached)] {
        let mut node = Whole::start(3, 1, &[]);
        node.create("t".to_owned(), configs);
        node.world.crash(node.node, Crash::PowerLoss);
        node.world.restart(node.node);
        node.boot();
        assert_eq!(node.leader(), 1, "{durability}: it serves again");
    }
}
