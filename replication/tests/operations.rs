//! Random sequences of what operators, brokers and leaders ask of the controller.
//!
//! Every decision goes through bytes, as through the log. After each one: the committed image is
//! the pending one; epochs and ids only go up; topics never shrink; who leads is alive and in
//! sync; and a snapshot gives the image back. The same sequence gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use config::Config;
use engine::batch::header::BatchView;
use engine::ids::{BrokerId, LeaderEpoch, Offset, PartitionId, ProducerId, TopicId};
use proptest::prelude::*;
use replication::controller::brokers::RegisterBroker;
use replication::controller::configs::{AlterConfigs, AlterResource, ConfigsChange};
use replication::controller::create::{CreateTopics, NewTopic};
use replication::controller::delete::TopicRef;
use replication::controller::elect::ElectionKind;
use replication::controller::grow::{CreatePartitions, GrowTopic};
use replication::controller::heartbeat::Heartbeat;
use replication::controller::isr::{AlterIsr, AlterPartition};
use replication::controller::reassign::{AlterReassignments, Reassign};
use replication::controller::{
    Controller, ControllerOptions, DecidedBatch, Decision, Random, SESSION_TIMEOUT, Turn,
};
use replication::features::SUPPORTED;
use replication::image::{ConfigResource, Image, LeaderRecovery, LevelRange, Loader, delta};
use replication::quorum::{SnapshotId, format, snapshot};
use replication::record::{self, BatchPlace, Content};
use wire::primitives::Uuid;

/// What may be asked for; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Op {
    Create { name: u8, partitions: i32, factor: i16 },
    Delete { name: u8 },
    Grow { name: u8, by: i32 },
    TopicConfig { name: u8, key: u8, value: Option<u8> },
    ClusterConfig { value: u8 },
    Start { broker: u8, clean: bool },
    Beat { broker: u8, want_fence: bool, want_shutdown: bool },
    Silence { seconds: u8 },
    Elect { name: u8, unclean: bool },
    ElectAll,
    Reassign { name: u8, target: Vec<u8> },
    Cancel { name: u8 },
    Isr { name: u8, members: Vec<u8>, recovered: bool },
    ProducerIds { broker: u8 },
    Unregister { broker: u8 },
    NewController,
    LoadSnapshot,
}

fn op() -> impl Strategy<Value = Op> {
    let (name, broker) = (|| 0u8..4, || 0u8..4);
    let few = || prop::collection::vec(0u8..4, 1..4);
    prop_oneof![
        3 => (name(), 1..5, 1i16..4).prop_map(|(name, partitions, factor)| {
            Op::Create { name, partitions, factor }
        }),
        1 => name().prop_map(|name| Op::Delete { name }),
        1 => (name(), -1..4).prop_map(|(name, by)| Op::Grow { name, by }),
        2 => (name(), 0u8..3, prop::option::of(1u8..4)).prop_map(|(name, key, value)| {
            Op::TopicConfig { name, key, value }
        }),
        1 => (1u8..4).prop_map(|value| Op::ClusterConfig { value }),
        3 => (broker(), any::<bool>()).prop_map(|(broker, clean)| Op::Start { broker, clean }),
        6 => (broker(), prop::bool::weighted(0.2), prop::bool::weighted(0.2)).prop_map(
            |(broker, want_fence, want_shutdown)| Op::Beat { broker, want_fence, want_shutdown }
        ),
        2 => (1u8..12).prop_map(|seconds| Op::Silence { seconds }),
        2 => (name(), any::<bool>()).prop_map(|(name, unclean)| Op::Elect { name, unclean }),
        1 => Just(Op::ElectAll),
        2 => (name(), few()).prop_map(|(name, target)| Op::Reassign { name, target }),
        1 => name().prop_map(|name| Op::Cancel { name }),
        5 => (name(), few(), any::<bool>()).prop_map(|(name, members, recovered)| {
            Op::Isr { name, members, recovered }
        }),
        1 => broker().prop_map(|broker| Op::ProducerIds { broker }),
        1 => broker().prop_map(|broker| Op::Unregister { broker }),
        1 => Just(Op::NewController),
        1 => Just(Op::LoadSnapshot),
    ]
}

struct World {
    controller: Controller,
    committed: Loader,
    log: Vec<u8>,
    now: Duration,
    seed: u64,
    incarnations: u8,
}

fn options() -> ControllerOptions {
    ControllerOptions {
        node: BrokerId(0),
        cluster_id: "AAECAwQFRgeICQoLDA0ODw".to_owned(),
        kraft_version: 1,
        session_timeout: SESSION_TIMEOUT,
        config: Config::builder().build().expect("defaults"),
    }
}

impl World {
    fn new() -> Self {
        let (committed, now) = (Loader::default(), Duration::ZERO);
        let levels = format::bootstrap_levels();
        let (controller, born) =
            Controller::activate(now, options(), &committed, Offset(0), &levels).expect("known");
        let mut world =
            Self { controller, committed, log: Vec::new(), now, seed: 1, incarnations: 0 };
        world.commit(&born);
        for broker in 0..3 {
            world.step(&Op::Start { broker, clean: true });
            world.step(&Op::Beat { broker, want_fence: false, want_shutdown: false });
        }
        world
    }

    /// Through bytes and back, as a follower of the log sees it.
    fn commit<T>(&mut self, decision: &Decision<T>) {
        let base = self.controller.next_offset().0 - decision.records.len() as i64;
        let place = BatchPlace { base: Offset(base), epoch: LeaderEpoch(1), timestamp_ms: 7 };
        let mut written = Vec::new();
        for DecidedBatch { bytes, .. } in decision.batches(place).expect("small") {
            let batch = BatchView::decode(&bytes).expect("a batch");
            let opened = record::open(&batch).expect("our records");
            let Content::Metadata(records) = opened.content else { panic!("metadata") };
            self.committed.apply_records(opened.info, &records).expect("follows from the log");
            written.extend(records);
            self.log.extend(bytes);
        }
        assert_eq!(written, decision.records);
        let end = base + i64::try_from(written.len()).expect("few");
        assert_eq!(Offset(end), self.controller.next_offset());
    }

    fn run<T>(&mut self, decide: impl FnOnce(&mut Controller, &mut Turn<'_>) -> Decision<T>) -> T {
        let seed = &mut self.seed;
        let mut next = || {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *seed ^ *seed >> 29
        };
        let mut turn = Turn { now: self.now, random: Random::new(&mut next) };
        let decision = decide(&mut self.controller, &mut turn);
        self.commit(&decision);
        decision.outcome
    }

    fn image(&self) -> &Image {
        self.controller.image()
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Create { name, partitions, factor } => {
                let (name, partitions, replication_factor) = (named(*name), *partitions, *factor);
                let topic =
                    NewTopic { name, partitions, replication_factor, ..NewTopic::default() };
                let request = CreateTopics { topics: vec![topic], validate_only: false };
                self.run(|desk, turn| desk.create_topics(turn, &request));
            }
            Op::Delete { name } => {
                let topic = TopicRef { name: Some(named(*name)), id: None };
                self.run(|desk, _| desk.delete_topics(&[topic]));
            }
            Op::Grow { name, by } => {
                let name = named(*name);
                let count = self.image().topics().named(&name).map_or(0, |t| t.partition_count());
                let count = i32::try_from(count).expect("few") + by;
                let topic = GrowTopic { name, count, assignments: None };
                let request = CreatePartitions { topics: vec![topic], validate_only: false };
                self.run(|desk, turn| desk.create_partitions(turn, &request));
            }
            Op::TopicConfig { name, key, value } => {
                let keys =
                    ["retention.ms", "min.insync.replicas", "unclean.leader.election.enable"];
                let key = keys[usize::from(*key)];
                let value = value.map(|value| match key {
                    "unclean.leader.election.enable" => (value == 1).to_string(),
                    _ => value.to_string(),
                });
                self.configure(ConfigResource::topic(&named(*name)), key, value);
            }
            Op::ClusterConfig { value } => {
                let resource = ConfigResource::cluster_default();
                self.configure(resource, "min.insync.replicas", Some(value.to_string()));
            }
            Op::Start { .. } | Op::Beat { .. } | Op::ProducerIds { .. } | Op::Unregister { .. } => {
                self.broker_step(op);
            }
            Op::Silence { seconds } => {
                self.now += Duration::from_secs(u64::from(*seconds));
                let now = self.now;
                while self.run(|desk, _| desk.fence_stale_broker(now)).is_some() {}
            }
            Op::Elect { name, unclean } => {
                let kind = if *unclean { ElectionKind::Unclean } else { ElectionKind::Preferred };
                let chosen = [(named(*name), PartitionId(0))];
                self.run(|desk, _| desk.elect_leaders(kind, Some(&chosen)));
            }
            Op::ElectAll => {
                self.run(|desk, _| desk.balance_leaders(2));
                self.run(|desk, _| desk.elect_leaderless(2));
            }
            Op::Reassign { name, target } => self.reassign(*name, Some(ids(target))),
            Op::Cancel { name } => self.reassign(*name, None),
            Op::Isr { name, members, recovered } => self.alter_isr(*name, members, *recovered),
            Op::NewController => {
                let (committed, next) = (self.committed.clone(), self.controller.next_offset());
                let (controller, first) =
                    Controller::activate(self.now, options(), &committed, next, &[])
                        .expect("known features");
                self.controller = controller;
                self.commit(&first);
            }
            Op::LoadSnapshot => {
                let loaded = reload(self.committed.image());
                self.committed = Loader::new(loaded);
            }
        }
    }

    fn broker_step(&mut self, op: &Op) {
        match *op {
            Op::Start { broker, clean } => {
                self.incarnations = self.incarnations.wrapping_add(1);
                let id = BrokerId(broker.into());
                let known = self.image().brokers().get(id).map_or(-1, |known| known.epoch);
                let range = |f: &replication::features::Feature| {
                    (f.name.to_owned(), LevelRange { min: f.min, max: f.max })
                };
                let request = RegisterBroker {
                    id,
                    cluster_id: options().cluster_id,
                    incarnation: Uuid([self.incarnations; 16]),
                    endpoints: vec![],
                    features: SUPPORTED.iter().map(range).collect(),
                    rack: Some(format!("rack-{}", broker % 2)),
                    directories: vec![Uuid([200 + broker; 16])],
                    previous_epoch: if clean { known } else { -1 },
                };
                // Refused while the incarnation before is alive.
                let _ = self.run(|desk, turn| desk.register_broker(turn, &request));
            }
            Op::Beat { broker, want_fence, want_shutdown } => {
                let Some(known) = self.image().brokers().get(BrokerId(broker.into())) else {
                    return;
                };
                let beat = Heartbeat {
                    broker: known.id,
                    epoch: known.epoch,
                    metadata_offset: self.controller.next_offset().0 - 1,
                    want_fence,
                    want_shutdown,
                    offline_directories: vec![],
                    cordoned_directories: None,
                };
                self.run(|desk, turn| desk.heartbeat(turn, &beat)).expect("its own epoch");
            }
            Op::ProducerIds { broker } => {
                let Some(known) = self.image().brokers().get(BrokerId(broker.into())) else {
                    return;
                };
                let (id, epoch) = (known.id, known.epoch);
                self.run(|desk, _| desk.allocate_producer_ids(id, epoch)).expect("its own epoch");
            }
            Op::Unregister { broker } => {
                let id = BrokerId(broker.into());
                // Refused for a broker that is not registered.
                let _ = self.run(|desk, _| desk.unregister_broker(id));
            }
            _ => unreachable!("not about brokers"),
        }
    }

    fn configure(&mut self, resource: ConfigResource, key: &str, value: Option<String>) {
        let operation = (key.to_owned(), i8::from(value.is_none()), value);
        let change = ConfigsChange::Incremental(vec![operation]);
        let resources = vec![AlterResource { resource, change }];
        let request = AlterConfigs { resources, validate_only: false };
        self.run(|desk, _| desk.alter_configs(&request));
    }

    fn reassign(&mut self, name: u8, replicas: Option<Vec<BrokerId>>) {
        let partition = Reassign { topic: named(name), partition: PartitionId(0), replicas };
        let request = AlterReassignments {
            partitions: vec![partition],
            allow_replication_factor_change: true,
        };
        self.run(|desk, _| desk.alter_reassignments(&request));
    }

    /// The leader of the first partition asks for an ISR of its own choice.
    fn alter_isr(&mut self, name: u8, members: &[u8], recovered: bool) {
        let Some(topic) = self.image().topics().named(&named(name)) else { return };
        let id = PartitionId(0);
        let partition = topic.partition(id).expect("topics have a first partition");
        let Some(leader) = partition.leader else { return };
        let others = ids(members);
        let isr = std::iter::once(leader).chain(others.into_iter().filter(|id| *id != leader));
        let recovery = if recovered { LeaderRecovery::Recovered } else { partition.recovery };
        let asked = AlterIsr {
            topic: topic.id,
            partition: id,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            isr: isr.map(|id| (id, -1)).collect(),
            recovery,
        };
        let epoch = self.image().brokers().get(leader).expect("leaders are registered").epoch;
        let request = AlterPartition { broker: leader, epoch, partitions: vec![asked] };
        self.run(|desk, _| desk.alter_partition(&request)).expect("its own epoch");
    }
}

fn named(name: u8) -> String {
    format!("topic-{name}")
}

fn ids(chosen: &[u8]) -> Vec<BrokerId> {
    chosen
        .iter()
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|id| BrokerId(id.into()))
        .collect()
}

fn reload(image: &Image) -> Image {
    let provenance = image.provenance();
    let id = SnapshotId { end: provenance.end, epoch: provenance.epoch };
    let bytes = snapshot::encode(image, None, 99).expect("valid");
    snapshot::decode(id, &bytes).expect("our own snapshot").image
}

/// What must never go back.
#[derive(Default)]
struct Past {
    partitions: BTreeMap<(TopicId, PartitionId), (LeaderEpoch, i32)>,
    counts: BTreeMap<TopicId, usize>,
    deleted: BTreeSet<TopicId>,
    broker_epochs: BTreeMap<BrokerId, i64>,
    producer_id: Option<ProducerId>,
}

impl Past {
    fn check(&mut self, image: &Image) {
        for topic in image.topics().iter() {
            assert!(!self.deleted.contains(&topic.id), "{} was deleted", topic.id);
            let count = self.counts.entry(topic.id).or_default();
            assert!(topic.partition_count() >= *count, "{} shrank", topic.name);
            *count = topic.partition_count();
        }
        let gone: Vec<_> =
            self.counts.keys().copied().filter(|&id| image.topics().get(id).is_none()).collect();
        for id in gone {
            self.counts.remove(&id);
            self.deleted.insert(id);
        }
        for (topic, id, partition) in image.topics().partitions() {
            let now = (partition.leader_epoch, partition.partition_epoch);
            let before = self.partitions.insert((topic.id, id), now).unwrap_or(now);
            assert!(now.0 >= before.0 && now.1 >= before.1, "{before:?} became {now:?}");
            check_partition(image, partition);
        }
        for broker in image.brokers().iter() {
            let before = self.broker_epochs.insert(broker.id, broker.epoch);
            assert!(before.is_none_or(|before| before <= broker.epoch));
        }
        let producer_id = image.next_producer_id();
        assert!(producer_id >= self.producer_id);
        self.producer_id = producer_id;
    }
}

fn check_partition(image: &Image, partition: &replication::image::Partition) {
    let distinct = |ids: &[BrokerId]| ids.iter().collect::<BTreeSet<_>>().len() == ids.len();
    let within = |ids: &[BrokerId]| ids.iter().all(|id| partition.replicas.contains(id));
    assert!(distinct(&partition.replicas) && !partition.replicas.is_empty(), "{partition:?}");
    assert_eq!(partition.directories.len(), partition.replicas.len());
    assert!(distinct(&partition.isr) && within(&partition.isr), "{partition:?}");
    assert!(distinct(&partition.elr), "{partition:?}");
    assert!(partition.elr.iter().all(|id| !partition.isr.contains(id)), "{partition:?}");
    if let Some(leader) = partition.leader {
        assert!(partition.isr.contains(&leader), "{partition:?}");
        // As in Kafka, one that changed its mind about stopping may lead again.
        let serves = image.brokers().get(leader).is_some_and(|broker| !broker.fenced);
        assert!(serves, "{leader} leads and does not serve");
        assert!(partition.last_known_elr.is_empty(), "{partition:?}");
    }
}

fn run(ops: &[Op]) -> (Vec<u8>, Image) {
    let mut world = World::new();
    let mut past = Past::default();
    for op in ops {
        let before = world.image().clone();
        world.step(op);
        let image = world.image();
        past.check(image);
        let committed = world.committed.image();
        assert!(delta(image, committed).is_empty(), "{op:?}: pending and committed differ");
        assert_eq!(reload(committed), *committed, "{op:?}: the snapshot is another image");
        assert_eq!(delta(&before, image).is_empty(), before.same_as(image), "{op:?}");
    }
    (world.log, world.committed.image().clone())
}

trait SameAs {
    fn same_as(&self, other: &Self) -> bool;
}

impl SameAs for Image {
    /// Equal in all that a delta tells: producer ids and controllers are not put into effect.
    fn same_as(&self, other: &Self) -> bool {
        self.topics() == other.topics()
            && self.configs() == other.configs()
            && self.brokers() == other.brokers()
            && self.features() == other.features()
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_controller_keeps_its_promises(ops in prop::collection::vec(op(), 1..80)) {
        let (log, image) = run(&ops);
        let (again, same) = run(&ops);
        prop_assert_eq!(log, again, "the same requests, other bytes");
        prop_assert_eq!(image, same);
    }
}
