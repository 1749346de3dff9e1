//! Given the requests that a Kafka 4.3.1 controller got, ours writes the records that it wrote,
//! batch by batch: bootstrap, registration, topics, configs, clean stop, next start.

use std::collections::VecDeque;
use std::time::Duration;

use config::Config;
use engine::batch::header::Batches;
use engine::ids::{BrokerId, Offset};
use replication::controller::activate::RegisterController;
use replication::controller::brokers::RegisterBroker;
use replication::controller::configs::{AlterConfigs, AlterResource, ConfigsChange};
use replication::controller::create::{CreateTopics, NewTopic};
use replication::controller::delete::TopicRef;
use replication::controller::grow::{CreatePartitions, GrowTopic};
use replication::controller::heartbeat::Heartbeat;
use replication::controller::{
    Controller, ControllerOptions, Decision, Random, SESSION_TIMEOUT, Turn,
};
use replication::image::{ConfigResource, Endpoint, Image, LevelRange, Loader};
use replication::quorum::format;
use replication::record::{self, Content, MetadataRecord};
use wire::primitives::Uuid;
use wire::record::metadata::{RegisterBrokerRecord, RegisterControllerRecord};

const LOG: &[u8] = include_bytes!("fixtures/kafka-4.3.1/00000000000000000000.log");
const CLUSTER: &str = "AAECAwQFRgeICQoLDA0ODw";

/// The data batches of Kafka's log, one by one.
struct Kafka {
    batches: VecDeque<(Offset, Vec<MetadataRecord>)>,
    committed: Loader,
    controls: Vec<Offset>,
}

impl Kafka {
    fn new() -> Self {
        let mut batches = VecDeque::new();
        let mut controls = Vec::new();
        for batch in Batches::new(LOG) {
            let opened = record::open(&batch.expect("whole")).expect("Kafka's records");
            match opened.content {
                Content::Metadata(records) => batches.push_back((opened.info.base, records)),
                Content::Control(_) => controls.push(opened.end),
            }
        }
        Self { batches, committed: Loader::default(), controls }
    }

    fn peek(&self) -> &[MetadataRecord] {
        &self.batches.front().expect("more batches").1
    }

    /// Skips batches about what our controller does not do yet: quotas, ACLs, SCRAM, groups.
    fn pass(&mut self, count: usize) -> Offset {
        let mut end = Offset(0);
        for _ in 0..count {
            let (base, records) = self.batches.pop_front().expect("more batches");
            self.commit(base, &records);
            end = base.plus(records.len() as i64);
        }
        end
    }

    fn expect<T: std::fmt::Debug>(&mut self, decision: Decision<T>) -> T {
        let (base, records) = self.batches.pop_front().expect("more batches");
        assert_eq!(normal(&decision.records), normal(&records), "at offset {base}");
        self.commit(base, &decision.records);
        decision.outcome
    }

    fn commit(&mut self, base: Offset, records: &[MetadataRecord]) {
        let info = replication::image::BatchInfo { base, epoch: 1, timestamp_ms: 0 };
        self.committed.apply_records(info, records).expect("consistent");
    }

    fn registered_controller(&self) -> RegisterController {
        let [MetadataRecord::RegisterController(record)] = self.peek() else {
            panic!("{:?}", self.peek())
        };
        let RegisterControllerRecord { controller_id, incarnation_id, end_points, .. } = record;
        RegisterController {
            id: BrokerId(*controller_id),
            incarnation: *incarnation_id,
            endpoints: end_points.iter().map(Endpoint::from).collect(),
        }
    }

    fn registered_broker(&self, previous_epoch: i64) -> RegisterBroker {
        let [MetadataRecord::RegisterBroker(record)] = self.peek() else {
            panic!("{:?}", self.peek())
        };
        let RegisterBrokerRecord { incarnation_id, end_points, features, log_dirs, .. } = record;
        RegisterBroker {
            id: BrokerId(record.broker_id),
            cluster_id: CLUSTER.to_owned(),
            incarnation: *incarnation_id,
            endpoints: end_points.iter().map(Endpoint::from).collect(),
            features: features
                .iter()
                .map(|feature| {
                    let (min, max) = (feature.min_supported_version, feature.max_supported_version);
                    (feature.name.clone(), LevelRange { min, max })
                })
                .collect(),
            rack: None,
            directories: log_dirs.clone(),
            previous_epoch,
        }
    }

    fn topic_id(&self) -> Uuid {
        let Some(MetadataRecord::Topic(record)) = self.peek().first() else {
            panic!("{:?}", self.peek())
        };
        record.topic_id
    }
}

/// Kafka lists a node's features, and the partitions that one event changes, in the order of its
/// hash maps.
fn normal(records: &[MetadataRecord]) -> Vec<MetadataRecord> {
    let mut records = records.to_vec();
    for record in &mut records {
        match record {
            MetadataRecord::RegisterBroker(record) => {
                record.features.sort_by(|a, b| a.name.cmp(&b.name));
            }
            MetadataRecord::RegisterController(record) => {
                record.features.sort_by(|a, b| a.name.cmp(&b.name));
            }
            _ => {}
        }
    }
    records.sort_by_key(|record| match record {
        MetadataRecord::PartitionChange(change) => Some((change.topic_id, change.partition_id)),
        _ => None,
    });
    records
}

/// Runs with randomness that yields `id` after the draws of a placement on one broker.
fn with_topic_id<T>(id: Uuid, run: impl FnOnce(&mut Turn<'_>) -> T) -> T {
    let half = |at: usize| u64::from_be_bytes(id.0[at..at + 8].try_into().expect("8 bytes"));
    let mut draws = VecDeque::from([0, 0, half(0), half(8)]);
    let mut next = || draws.pop_front().expect("no more draws");
    let mut turn = Turn { now: Duration::ZERO, random: Random::new(&mut next) };
    run(&mut turn)
}

fn quietly<T>(run: impl FnOnce(&mut Turn<'_>) -> T) -> T {
    let mut next = || 0;
    let mut turn = Turn { now: Duration::ZERO, random: Random::new(&mut next) };
    run(&mut turn)
}

fn options() -> ControllerOptions {
    ControllerOptions {
        node: BrokerId(1),
        cluster_id: CLUSTER.to_owned(),
        kraft_version: 1,
        session_timeout: SESSION_TIMEOUT,
        config: Config::builder().build().expect("defaults"),
    }
}

fn activate(kafka: &Kafka, next: Offset) -> (Controller, Decision<()>) {
    let bootstrap = format::bootstrap_levels();
    Controller::activate(Duration::ZERO, options(), &kafka.committed, next, &bootstrap)
        .expect("known features")
}

fn beat(controller: &Controller, epoch: i64) -> Heartbeat {
    Heartbeat {
        broker: BrokerId(1),
        epoch,
        metadata_offset: controller.next_offset().0 - 1,
        want_fence: false,
        want_shutdown: false,
        offline_directories: vec![],
        cordoned_directories: None,
    }
}

fn new_topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreateTopics {
    let set = |&(key, value): &(&str, &str)| (key.to_owned(), Some(value.to_owned()));
    let topic = NewTopic {
        name: name.to_owned(),
        partitions,
        replication_factor: -1,
        assignments: vec![],
        configs: configs.iter().map(set).collect(),
        internal: false,
    };
    CreateTopics { topics: vec![topic], validate_only: false }
}

fn alter(resource: ConfigResource, key: &str, op: i8, value: Option<&str>) -> AlterConfigs {
    let operation = (key.to_owned(), op, value.map(str::to_owned));
    let change = ConfigsChange::Incremental(vec![operation]);
    AlterConfigs { resources: vec![AlterResource { resource, change }], validate_only: false }
}

#[test]
fn the_records_are_kafkas() {
    let mut kafka = Kafka::new();
    assert_eq!(kafka.controls, [Offset(3), Offset(49)]);

    // First start.
    let (mut controller, born) = activate(&kafka, Offset(3));
    kafka.expect(born);
    let request = kafka.registered_controller();
    kafka.expect(controller.register_controller(&request)).expect("registered");
    let request = kafka.registered_broker(-1);
    let epoch = kafka.expect(quietly(|turn| controller.register_broker(turn, &request)));
    assert_eq!(epoch, Ok(13));
    // A heartbeat that still wants to be fenced tells of cordoned directories, the next unfences.
    let fenced =
        Heartbeat { want_fence: true, cordoned_directories: Some(vec![]), ..beat(&controller, 13) };
    let reply = kafka.expect(quietly(|turn| controller.heartbeat(turn, &fenced))).expect("known");
    assert!(reply.is_caught_up && reply.is_fenced && !reply.should_shut_down);
    let serving = beat(&controller, 13);
    let reply = kafka.expect(quietly(|turn| controller.heartbeat(turn, &serving))).expect("known");
    assert!(!reply.is_fenced);

    // Topics.
    for request in [
        new_topic("plain", 2, &[]),
        new_topic("tuned", 3, &[("retention.ms", "1000"), ("cleanup.policy", "compact,delete")]),
        new_topic("doomed", 1, &[("retention.ms", "5")]),
    ] {
        let id = kafka.topic_id();
        let outcomes =
            kafka.expect(with_topic_id(id, |turn| controller.create_topics(turn, &request)));
        assert_eq!(outcomes[0].result.as_ref().map(|topic| topic.id.0), Ok(id));
    }
    let grow = GrowTopic { name: "plain".to_owned(), count: 4, assignments: None };
    let grow = CreatePartitions { topics: vec![grow], validate_only: false };
    kafka.expect(quietly(|turn| controller.create_partitions(turn, &grow)));
    let doomed = TopicRef { name: Some("doomed".to_owned()), id: None };
    kafka.expect(controller.delete_topics(&[doomed]));

    // Configs.
    let set = |resource, key, value| alter(resource, key, 0, Some(value));
    let (plain, all) = (ConfigResource::topic("plain"), ConfigResource::cluster_default());
    for request in [
        set(plain, "max.message.bytes", "2000000"),
        set(all, "log.retention.ms", "7777777"),
        set(ConfigResource::broker(BrokerId(1)), "message.max.bytes", "3000000"),
    ] {
        let outcomes = kafka.expect(controller.alter_configs(&request));
        assert_eq!(outcomes[0].result, Ok(()), "{request:?}");
    }
    // SCRAM, a quota, a group's config, two ACLs.
    let next = kafka.pass(5);
    (controller, _) = activate(&kafka, next);

    // A clean stop: leave all ISRs, then be fenced.
    let stop = Heartbeat { want_shutdown: true, ..beat(&controller, 13) };
    let reply = kafka.expect(quietly(|turn| controller.heartbeat(turn, &stop))).expect("known");
    assert!(!reply.should_shut_down && !reply.is_fenced);
    let stop = Heartbeat { want_shutdown: true, ..beat(&controller, 13) };
    let reply = kafka.expect(quietly(|turn| controller.heartbeat(turn, &stop))).expect("known");
    assert!(reply.should_shut_down);

    second_start(kafka, Offset(49));
}

fn second_start(mut kafka: Kafka, next: Offset) {
    let (mut controller, nothing) = activate(&kafka, next);
    assert_eq!(nothing.records, []);
    let request = kafka.registered_controller();
    kafka.expect(controller.register_controller(&request)).expect("registered");
    let request = kafka.registered_broker(13);
    let epoch = kafka.expect(quietly(|turn| controller.register_broker(turn, &request)));
    assert_eq!(epoch, Ok(50));
    let fenced =
        Heartbeat { want_fence: true, cordoned_directories: Some(vec![]), ..beat(&controller, 50) };
    let _ = kafka.expect(quietly(|turn| controller.heartbeat(turn, &fenced))).expect("known");
    // Every partition gets its leader back, in a new leader epoch.
    let serving = beat(&controller, 50);
    let _ = kafka.expect(quietly(|turn| controller.heartbeat(turn, &serving))).expect("known");

    let next = kafka.pass(1);
    (controller, _) = activate(&kafka, next);
    let plain = ConfigResource::topic("plain");
    kafka.expect(controller.alter_configs(&alter(
        plain.clone(),
        "retention.bytes",
        0,
        Some("12345"),
    )));
    let block =
        kafka.expect(controller.allocate_producer_ids(BrokerId(1), 50)).expect("registered");
    assert_eq!((block.first.0, block.len), (0, 1000));
    kafka.expect(controller.alter_configs(&alter(plain, "retention.bytes", 1, None)));
    for should_shut_down in [false, true] {
        let stop = Heartbeat { want_shutdown: true, ..beat(&controller, 50) };
        let reply = kafka.expect(quietly(|turn| controller.heartbeat(turn, &stop))).expect("known");
        assert_eq!(reply.should_shut_down, should_shut_down);
    }
    assert!(kafka.batches.is_empty());
    let mut pending: Image = controller.image().clone();
    let mut committed = kafka.committed.image().clone();
    for image in [&mut pending, &mut committed] {
        *image = rebuilt(image);
    }
    assert_eq!(pending, committed);
}

fn rebuilt(image: &Image) -> Image {
    let mut rebuilt = Image::default();
    for record in image.snapshot_records() {
        rebuilt.replay(&record).expect("a snapshot is consistent");
    }
    rebuilt
}
