//! The metadata directory that a Kafka 4.3.1 node left (one node, combined roles, two starts,
//! topics, configs, quotas, ACLs, SCRAM) replays to Kafka's own snapshot, and what we write is
//! what Kafka wrote.

use engine::batch::header::Batches;
use engine::ids::{BrokerId, LeaderEpoch, Offset, PartitionId, ProducerId};
use replication::features::{self, MetadataVersion};
use replication::image::{ConfigResource, Image, Loader, ResourceKind};
use replication::quorum::{DataVersion, ElectionState, SnapshotId, format, snapshot};
use replication::record::{self, BatchPlace, Content, ControlRecord, MetadataRecord};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("fixtures/kafka-4.3.1/", $name)).as_slice()
    };
}

const LOG: &[u8] = fixture!("00000000000000000000.log");
const SNAPSHOT: &[u8] = fixture!("00000000000000000072-0000000002.checkpoint");
const SNAPSHOT_ID: SnapshotId = SnapshotId { end: Offset(72), epoch: 2 };

/// The image of the log below `end`.
fn replay(end: i64) -> Image {
    let mut loader = Loader::default();
    for batch in Batches::new(LOG) {
        let batch = batch.expect("whole batches");
        if batch.base_offset.0 >= end {
            break;
        }
        let opened = record::open(&batch).expect("Kafka's records");
        match opened.content {
            Content::Metadata(records) => {
                loader.apply_records(opened.info, &records).expect("Kafka's log is consistent");
            }
            Content::Control(_) => loader.skip_control(opened.info, opened.end),
        }
    }
    loader.image().clone()
}

fn sorted(records: Vec<MetadataRecord>) -> Vec<Vec<u8>> {
    let mut values = record::encode(&records, MetadataVersion::LATEST).expect("valid records");
    values.sort();
    values
}

#[test]
fn every_batch_is_written_byte_for_byte_as_kafka_wrote_it() {
    let mut batches = 0;
    let empty_log = fixture!("00000000000000000000-0000000000.checkpoint");
    for bytes in [LOG, SNAPSHOT, empty_log, fixture!("bootstrap.checkpoint")] {
        for batch in Batches::new(bytes) {
            let batch = batch.expect("whole batches");
            let opened = record::open(&batch).expect("Kafka's records");
            let place = BatchPlace {
                base: batch.base_offset,
                epoch: batch.leader_epoch,
                timestamp_ms: batch.base_timestamp,
            };
            let ours = match opened.content {
                Content::Metadata(records) => {
                    let values = record::encode(&records, MetadataVersion::LATEST);
                    record::metadata_batch(place, &values.expect("valid records"))
                }
                Content::Control(records) => {
                    let records: Vec<_> = records.into_iter().map(|(_, record)| record).collect();
                    record::control_batch(place, &records).expect("valid records")
                }
            };
            assert_eq!(ours, batch.bytes(), "batch at offset {}", batch.base_offset);
            batches += 1;
        }
    }
    assert_eq!(batches, 40);
}

#[test]
fn the_log_replays_to_what_the_operator_did() {
    let image = replay(i64::MAX);
    let topics: Vec<_> = image
        .topics()
        .iter()
        .map(|topic| (topic.name.to_string(), topic.partition_count()))
        .collect();
    assert_eq!(topics, [("plain".to_owned(), 4), ("tuned".to_owned(), 3)]);
    features::check(image.features()).expect("levels of a default 4.3 cluster are known");
    assert_eq!(image.features().metadata_version(), Some(MetadataVersion(30)));
    let configs = |resource: &ConfigResource| {
        let set = image.configs().get(resource).expect("set");
        set.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(
        configs(&ConfigResource::topic("tuned")),
        ["cleanup.policy=compact,delete", "retention.ms=1000"]
    );
    assert_eq!(configs(&ConfigResource::topic("plain")), ["max.message.bytes=2000000"]);
    assert_eq!(image.configs().get(&ConfigResource::topic("doomed")), None);
    assert_eq!(
        configs(&ConfigResource::cluster_default()),
        ["log.retention.ms=7777777", "min.insync.replicas=1"]
    );
    assert_eq!(configs(&ConfigResource::broker(BrokerId(1))), ["message.max.bytes=3000000"]);
    let group = ConfigResource::new(ResourceKind::Group, "g1");
    assert_eq!(configs(&group), ["consumer.session.timeout.ms=50000"]);
    assert_eq!(image.next_producer_id(), Some(ProducerId(1000)));
    assert_eq!((image.acls().iter().count(), image.quotas().iter().count()), (2, 2));
    assert_eq!(image.scram().get(1, "alice").map(|credential| credential.iterations), Some(4096));

    let broker = image.brokers().get(BrokerId(1)).expect("registered");
    assert_eq!((broker.epoch, broker.fenced), (50, true), "stopped cleanly");
    assert_eq!(broker.cordoned, Some(vec![]));
    let tuned = image.topics().named("tuned").expect("created");
    let partition = tuned.partition(PartitionId(2)).expect("of three");
    assert_eq!((partition.leader, partition.leader_epoch), (None, LeaderEpoch(3)));
    assert_eq!((partition.elr.as_slice(), partition.isr.as_slice()), (&[BrokerId(1)][..], &[][..]));
    assert_eq!(image.provenance().end, Offset(73));
}

#[test]
fn replay_and_kafkas_snapshot_agree() {
    let snapshot = snapshot::decode(SNAPSHOT_ID, SNAPSHOT).expect("Kafka's snapshot");
    assert_eq!(snapshot.voters.len(), 2);
    let (ours, theirs) = (replay(72), snapshot.image);
    assert_eq!(ours.provenance(), theirs.provenance());
    // Kafka 4.3.1 keeps the configs of a topic that was created and deleted between two snapshots
    // (a fault of its image; its controller has dropped them). Everything else is the same.
    let stale = ConfigResource::topic("doomed");
    assert!(theirs.configs().get(&stale).is_some());
    let kept = |record: &MetadataRecord| !matches!(record, MetadataRecord::Config(config) if config.resource_name == "doomed");
    let theirs = theirs.snapshot_records().into_iter().filter(kept).collect();
    assert_eq!(sorted(ours.snapshot_records()), sorted(theirs));
}

#[test]
fn snapshot_records_are_in_kafkas_order() {
    let of = |bytes: &[u8]| -> Vec<i16> {
        let mut keys = Vec::new();
        for batch in Batches::new(bytes) {
            let opened = record::open(&batch.expect("whole")).expect("known records");
            if let Content::Metadata(records) = opened.content {
                keys.extend(records.iter().map(MetadataRecord::key));
            }
        }
        keys.dedup();
        keys
    };
    let snapshot = snapshot::decode(SNAPSHOT_ID, SNAPSHOT).expect("Kafka's snapshot");
    let ours = snapshot::encode(&snapshot.image, None, 0).expect("a valid image");
    assert_eq!(of(&ours), of(SNAPSHOT));
    let again = snapshot::decode(SNAPSHOT_ID, &ours).expect("our snapshot");
    assert_eq!(again.image, snapshot.image);
}

#[test]
fn formatting_writes_kafkas_bytes() {
    same_but_for_the_time(fixture!("bootstrap.checkpoint"), |now_ms| {
        format::bootstrap_checkpoint(now_ms).expect("valid records")
    });

    let empty = fixture!("00000000000000000000-0000000000.checkpoint");
    let snapshot = snapshot::decode(SnapshotId::EMPTY_LOG, empty).expect("Kafka's 0-0");
    let [ControlRecord::KRaftVersion(_), ControlRecord::KRaftVoters(voters)] = &*snapshot.voters
    else {
        panic!("level and voters: {:?}", snapshot.voters);
    };
    let voter = &voters.voters[0];
    let config = replication::quorum::QuorumConfig {
        node: BrokerId(voter.voter_id),
        directory: voter.voter_directory_id,
        endpoints: voter
            .endpoints
            .iter()
            .map(|endpoint| replication::quorum::VoterEndpoint {
                name: endpoint.name.as_str().into(),
                host: endpoint.host.as_str().into(),
                port: endpoint.port,
            })
            .collect(),
    };
    // Kafka notes a time in the header that is not the batch's, so not byte for byte.
    let ours = format::empty_log_checkpoint(&config, 0).expect("valid records");
    assert_eq!(batches(&ours).len(), batches(empty).len());
    let ours = snapshot::decode(SnapshotId::EMPTY_LOG, &ours).expect("our 0-0");
    assert_eq!(ours.voters, snapshot.voters);
}

fn batches(bytes: &[u8]) -> Vec<Vec<u8>> {
    Batches::new(bytes).map(|batch| batch.expect("whole").bytes().to_vec()).collect()
}

/// Kafka dates every batch of a file anew, we the whole file: so batch by batch.
fn same_but_for_the_time(kafkas: &[u8], write: impl Fn(i64) -> Vec<u8>) {
    for (index, batch) in Batches::new(kafkas).enumerate() {
        let batch = batch.expect("whole batches");
        assert_eq!(batches(&write(batch.base_timestamp))[index], batch.bytes());
    }
    assert_eq!(batches(&write(0)).len(), batches(kafkas).len());
}

#[test]
fn quorum_state_round_trips() {
    let text = std::str::from_utf8(fixture!("quorum-state")).expect("JSON");
    let state = ElectionState::decode(text).expect("Kafka's");
    assert_eq!((state.epoch, state.leader), (2, Some(BrokerId(1))));
    assert_eq!(state.encode(DataVersion::V1), text);
}
