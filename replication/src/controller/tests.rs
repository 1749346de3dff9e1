use super::adopt::{AdoptPartition, AdoptTopic, AdoptTopics};
use super::brokers::RegisterBroker;
use super::configs::{AlterConfigs, AlterResource, ConfigsChange};
use super::create::{CreateTopics, NewTopic, TopicOutcome};
use super::delete::TopicRef;
use super::directories::AssignDirectories;
use super::elect::ElectionKind;
use super::grow::{CreatePartitions, GrowTopic};
use super::heartbeat::Heartbeat;
use super::isr::{AlterIsr, AlterPartition};
use super::levels::{Direction, FeatureUpdate, UpdateFeatures};
use super::reassign::{AlterReassignments, Reassign};
use super::*;
use crate::features::SUPPORTED;
use crate::image::{ConfigResource, LeaderRecovery, LevelRange, Loader, Partition, ResourceKind};
use crate::quorum::format;
use engine::ids::{LeaderEpoch, ProducerId};

const CLUSTER: &str = "AAECAwQFRgeICQoLDA0ODw";

/// A controller with its surroundings.
struct World {
    controller: Controller,
    now: Duration,
    seed: u64,
}

impl World {
    /// A new cluster of `brokers` unfenced brokers, 1 and up.
    fn new(brokers: i32) -> Self {
        Self::with_config(brokers, &[])
    }

    fn with_config(brokers: i32, settings: &[&str]) -> Self {
        let builder = settings.iter().fold(Config::builder(), |builder, set| builder.set(set));
        let options = ControllerOptions {
            node: BrokerId(1),
            cluster_id: CLUSTER.to_owned(),
            kraft_version: 1,
            session_timeout: SESSION_TIMEOUT,
            config: builder.build().expect("valid settings"),
        };
        let (controller, born) = Controller::activate(
            Duration::ZERO,
            options,
            &Loader::default(),
            Offset(3),
            &format::bootstrap_levels(),
        )
        .expect("known features");
        assert_eq!(born.records.len(), 9);
        let mut world = Self { controller, now: Duration::from_secs(100), seed: 1 };
        for id in 1..=brokers {
            world.start_broker(id, 1, -1);
        }
        world
    }

    fn turn<T>(&mut self, run: impl FnOnce(&mut Controller, &mut Turn<'_>) -> T) -> T {
        let seed = &mut self.seed;
        let mut next = || {
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *seed ^ *seed >> 29
        };
        let mut turn = Turn { now: self.now, random: Random::new(&mut next) };
        run(&mut self.controller, &mut turn)
    }

    fn registration(id: i32, incarnation: u8, previous_epoch: i64) -> RegisterBroker {
        let range = |min, max| LevelRange { min, max };
        RegisterBroker {
            id: BrokerId(id),
            cluster_id: CLUSTER.to_owned(),
            incarnation: Uuid([incarnation; 16]),
            endpoints: vec![],
            features: SUPPORTED.iter().map(|f| (f.name.to_owned(), range(f.min, f.max))).collect(),
            rack: None,
            directories: vec![Self::directory(id)],
            previous_epoch,
        }
    }

    fn directory(id: i32) -> Uuid {
        Uuid([100 + u8::try_from(id).expect("few brokers"); 16])
    }

    fn start_broker(&mut self, id: i32, incarnation: u8, previous_epoch: i64) -> i64 {
        let request = Self::registration(id, incarnation, previous_epoch);
        let epoch = self.turn(|c, turn| c.register_broker(turn, &request)).outcome;
        let epoch = epoch.expect("may register");
        let beat = self.beat(id);
        self.turn(|c, turn| c.heartbeat(turn, &beat)).outcome.expect("registered");
        epoch
    }

    fn beat(&self, id: i32) -> Heartbeat {
        let broker = self.controller.image().brokers().get(BrokerId(id)).expect("registered");
        Heartbeat {
            broker: broker.id,
            epoch: broker.epoch,
            metadata_offset: self.controller.next_offset().0 - 1,
            want_fence: false,
            want_shutdown: false,
            offline_directories: vec![],
            cordoned_directories: None,
        }
    }

    fn create(&mut self, topics: Vec<NewTopic>) -> Vec<TopicOutcome> {
        let request = CreateTopics { topics, validate_only: false };
        self.turn(|c, turn| c.create_topics(turn, &request)).outcome
    }

    fn refused(&mut self, topic: NewTopic) -> (ErrorKind, String) {
        let before = self.controller.image().clone();
        let outcome = self.create(vec![topic]).remove(0);
        assert_eq!(*self.controller.image(), before, "a refused topic changes nothing");
        parts(outcome.result.expect_err("refused"))
    }

    fn partition(&self, topic: &str, id: i32) -> Partition {
        let topic = self.controller.image().topics().named(topic).expect("created");
        Partition::clone(topic.partition(PartitionId(id)).expect("created"))
    }

    fn topic_id(&self, topic: &str) -> TopicId {
        self.controller.image().topics().named(topic).expect("created").id
    }
}

fn parts(refusal: Refusal) -> (ErrorKind, String) {
    (refusal.kind, refusal.message.unwrap_or_default())
}

fn topic(name: &str, partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic { name: name.to_owned(), partitions, replication_factor, ..NewTopic::default() }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> NewTopic {
    let assignments = assignments.iter().map(|(id, replicas)| (PartitionId(*id), ids(replicas)));
    NewTopic { assignments: assignments.collect(), ..topic(name, -1, -1) }
}

fn configured(name: &str, key: &str, value: Option<&str>) -> NewTopic {
    NewTopic { configs: vec![(key.to_owned(), value.map(str::to_owned))], ..topic(name, 1, 1) }
}

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

#[test]
fn refusals_of_new_topics_are_kafkas() {
    use ErrorKind::*;
    let mut world = World::new(1);
    assert!(world.create(vec![topic("p.one", 1, 1)])[0].result.is_ok());
    let manual = "The manual partition assignment includes ";
    let cases: Vec<(NewTopic, ErrorKind, String)> = vec![
        (topic("p.one", 1, 1), TopicAlreadyExists, "Topic 'p.one' already exists.".into()),
        (
            topic("p_one", 1, 1),
            InvalidTopic,
            "Topic 'p_one' collides with existing topic: p.one".into(),
        ),
        (topic("..", 1, 1), InvalidTopic, "Topic name is invalid: '..' is not allowed".into()),
        (
            topic("rf3", 1, 3),
            InvalidReplicationFactor,
            "Unable to replicate the partition 3 time(s): The target replication factor of 3 \
             cannot be reached because only 1 broker(s) are registered or some brokers have all \
             their log directories cordoned."
                .into(),
        ),
        (
            topic("rf0", 1, 0),
            InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.".into(),
        ),
        (
            topic("p0", 0, 1),
            InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.".into(),
        ),
        (topic("many", 10_001, 1), PolicyViolation, create::TOO_MANY.into()),
        (topic("most", i32::MAX, 1), PolicyViolation, create::TOO_MANY.into()),
        (
            topic("__cluster_metadata", 1, 1),
            InvalidRequest,
            "Creation of internal topic __cluster_metadata is prohibited.".into(),
        ),
        (
            assigned("m", &[(0, &[7])]),
            InvalidReplicaAssignment,
            format!("{manual}broker 7, but no such broker is registered."),
        ),
        (
            assigned("m", &[(0, &[1, 1])]),
            InvalidReplicaAssignment,
            format!("{manual}the broker 1 more than once."),
        ),
        (
            assigned("m", &[(0, &[])]),
            InvalidReplicaAssignment,
            format!("{manual}an empty replica list."),
        ),
        (
            assigned("m", &[(1, &[1])]),
            InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence".into(),
        ),
        (
            assigned("m", &[(0, &[1]), (0, &[1])]),
            InvalidReplicaAssignment,
            "Found multiple manual partition assignments for partition 0".into(),
        ),
        (
            NewTopic { replication_factor: 1, ..assigned("m", &[(0, &[1])]) },
            InvalidRequest,
            "A manual partition assignment was specified, but replication factor was not set to -1."
                .into(),
        ),
        (
            NewTopic { partitions: 1, ..assigned("m", &[(0, &[1])]) },
            InvalidRequest,
            "A manual partition assignment was specified, but numPartitions was not set to -1."
                .into(),
        ),
        (configured("c", "foo", Some("1")), InvalidConfig, "Unknown topic config name: foo".into()),
        (
            configured("c", "retention.ms", Some("abc")),
            InvalidConfig,
            "Invalid value abc for configuration retention.ms: Not a number of type LONG".into(),
        ),
        (
            configured("c", "retention.ms", None),
            InvalidConfig,
            "Null value not supported for topic configs: retention.ms".into(),
        ),
    ];
    for (request, kind, text) in cases {
        assert_eq!(world.refused(request.clone()), (kind, text), "{request:?}");
    }
}

#[test]
fn a_topic_named_twice_is_not_created() {
    let mut world = World::new(1);
    let outcomes = world.create(vec![topic("a", 1, 1), topic("b", 1, 1), topic("a", 2, 1)]);
    let twice = Refusal::new(ErrorKind::InvalidRequest, "Duplicate topic name.");
    assert_eq!(outcomes.len(), 2);
    assert_eq!(outcomes[0].result, Err(twice));
    assert!(outcomes[1].result.is_ok());
    assert_eq!(world.controller.image().topics().len(), 1);
}

#[test]
fn validation_and_defaults() {
    let mut world = World::with_config(3, &["num.partitions=4", "default.replication.factor=2"]);
    let request = CreateTopics { topics: vec![topic("t", -1, -1)], validate_only: true };
    let decision = world.turn(|c, turn| c.create_topics(turn, &request));
    assert_eq!((decision.records.len(), decision.batches(PLACE)), (0, Ok(Vec::new())));
    let created = decision.outcome[0].result.clone().expect("valid");
    assert_eq!((created.partitions, created.replication_factor), (4, 2));
    assert!(world.controller.image().topics().is_empty());

    let request = CreateTopics { topics: vec![topic("t", -1, -1)], validate_only: false };
    let decision = world.turn(|c, turn| c.create_topics(turn, &request));
    assert_eq!(decision.records.len(), 5);
    assert!(decision.batches(PLACE).is_ok_and(|batches| batches.len() == 1));
    let partition = world.partition("t", 0);
    assert_eq!((partition.replicas.len(), partition.isr.len()), (2, 2));
    assert_eq!(partition.leader, partition.replicas.first().copied());
    let replica = partition.replicas[1];
    assert_eq!(partition.directory_of(replica), Some(World::directory(replica.0)));
}

const PLACE: BatchPlace = BatchPlace { base: Offset(0), epoch: LeaderEpoch(-1), timestamp_ms: 0 };

#[test]
fn topics_are_deleted_by_name_or_id_but_not_twice() {
    let mut world = World::new(1);
    world.create(vec![topic("a", 1, 1), topic("b", 1, 1), topic("c", 1, 1)]);
    let by_name = |name: &str| TopicRef { name: Some(name.to_owned()), id: None };
    let by_id = |id| TopicRef { name: None, id: Some(id) };
    let (b, c) = (world.topic_id("b"), world.topic_id("c"));
    let request = [
        by_name("a"),
        by_id(b),
        by_name("c"),
        by_id(c),
        by_name("nope"),
        by_id(TopicId(Uuid([9; 16]))),
        TopicRef::default(),
        TopicRef { name: Some("a".to_owned()), id: Some(b) },
        by_name("x"),
        by_name("x"),
    ];
    let decision = world.controller.delete_topics(&request);
    assert_eq!(decision.records.len(), 2);
    let told: Vec<_> = decision
        .outcome
        .iter()
        .map(|outcome| {
            let result = outcome.result.clone().map_err(parts);
            (outcome.name.as_deref().unwrap_or("-").to_owned(), result)
        })
        .collect();
    let refused = |kind, text: &str| Err((kind, text.to_owned()));
    use ErrorKind::*;
    assert_eq!(
        told,
        [
            ("a".to_owned(), Ok(())),
            ("b".to_owned(), Ok(())),
            (
                "c".to_owned(),
                refused(
                    InvalidRequest,
                    "The provided topic name maps to an ID that was already supplied."
                )
            ),
            ("nope".to_owned(), refused(UnknownTopicOrPartition, "")),
            ("-".to_owned(), refused(UnknownTopicId, "")),
            ("-".to_owned(), refused(InvalidRequest, "Neither topic name nor id were specified.")),
            (
                "a".to_owned(),
                refused(InvalidRequest, "You may not specify both topic name and topic id.")
            ),
            ("x".to_owned(), refused(InvalidRequest, "Duplicate topic name.")),
        ]
    );
    assert_eq!(world.controller.image().topics().len(), 1, "c stays");
}

#[test]
fn partitions_only_come() {
    let mut world = World::new(1);
    world.create(vec![topic("t", 2, 1)]);
    let mut grow = |count, assignments: Option<&[&[i32]]>| {
        let assignments = assignments.map(|all| all.iter().map(|a| ids(a)).collect());
        let topic = GrowTopic { name: "t".to_owned(), count, assignments };
        let request = CreatePartitions { topics: vec![topic], validate_only: false };
        let decision = world.turn(|c, turn| c.create_partitions(turn, &request));
        decision.outcome.into_iter().next().expect("one").result.map_err(parts)
    };
    let refused = |kind, text: &str| Err((kind, text.to_owned()));
    use ErrorKind::*;
    assert_eq!(grow(2, None), refused(InvalidPartitions, "Topic already has 2 partition(s)."));
    assert_eq!(
        grow(-5, None),
        refused(
            InvalidPartitions,
            "The topic t currently has 2 partition(s); -5 would not be an increase."
        )
    );
    assert_eq!(
        grow(4, Some(&[&[1]])),
        refused(
            InvalidReplicaAssignment,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."
        )
    );
    assert_eq!(
        grow(3, Some(&[&[1, 2]])),
        refused(
            InvalidReplicaAssignment,
            "The manual partition assignment includes broker 2, but no such broker is registered."
        )
    );
    assert_eq!(grow(i32::MAX, None), refused(PolicyViolation, create::TOO_MANY));
    assert_eq!(grow(3, Some(&[&[1]])), Ok(()));
    assert_eq!(grow(5, None), Ok(()));
    assert_eq!(world.partition("t", 4).leader, Some(BrokerId(1)));
    let nope = GrowTopic { name: "nope".to_owned(), count: 3, assignments: None };
    let request = CreatePartitions { topics: vec![nope.clone(), nope], validate_only: false };
    let outcomes = world.turn(|c, turn| c.create_partitions(turn, &request)).outcome;
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].result, Err(Refusal::new(InvalidRequest, "Duplicate topic name.")));
}

fn alter(resource: ConfigResource, operations: &[(&str, i8, Option<&str>)]) -> AlterConfigs {
    let operation = |&(key, op, value): &(&str, i8, Option<&str>)| {
        (key.to_owned(), op, value.map(str::to_owned))
    };
    let change = ConfigsChange::Incremental(operations.iter().map(operation).collect());
    AlterConfigs { resources: vec![AlterResource { resource, change }], validate_only: false }
}

#[test]
fn refusals_of_configs_are_kafkas() {
    use ErrorKind::*;
    let mut world = World::new(1);
    world.create(vec![topic("t", 1, 1)]);
    let (t, own, all) = (
        ConfigResource::topic("t"),
        ConfigResource::broker(BrokerId(1)),
        ConfigResource::cluster_default(),
    );
    let named = |name| ConfigResource::new(ResourceKind::Broker, name);
    let long = "x".repeat(40_000);
    let cases = [
        (
            ConfigResource::topic("nope"),
            "retention.ms",
            0,
            Some("1"),
            UnknownTopicOrPartition,
            "The topic 'nope' does not exist.",
        ),
        (
            ConfigResource::topic(""),
            "retention.ms",
            0,
            Some("1"),
            InvalidRequest,
            "Default topic resources are not allowed.",
        ),
        (
            ConfigResource::topic(".."),
            "retention.ms",
            0,
            Some("1"),
            InvalidTopic,
            "Topic name is invalid: '..' is not allowed",
        ),
        (t.clone(), "foo", 0, Some("1"), InvalidConfig, "Unknown topic config name: foo"),
        (
            t.clone(),
            "retention.ms",
            2,
            Some("1"),
            InvalidConfig,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            t.clone(),
            "retention.ms",
            0,
            None,
            InvalidRequest,
            "Null value not supported for : retention.ms",
        ),
        (t.clone(), "retention.ms", 9, Some("1"), InvalidRequest, "Unknown operations type 9"),
        (
            t.clone(),
            "retention.ms",
            0,
            Some(&long),
            InvalidConfig,
            "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.",
        ),
        (
            t,
            "min.insync.replicas",
            0,
            Some("0"),
            InvalidConfig,
            "Invalid value 0 for configuration min.insync.replicas: Value must be at least 1",
        ),
        (
            named("2"),
            "log.retention.ms",
            0,
            Some("1"),
            InvalidRequest,
            "Unexpected broker id, expected 1, but received 2",
        ),
        (
            named("x"),
            "log.retention.ms",
            0,
            Some("1"),
            InvalidRequest,
            "Node id must be an integer, but it is: x",
        ),
        (
            own.clone(),
            "log.retention.ms",
            0,
            Some("abc"),
            InvalidRequest,
            "Invalid value abc for configuration log.retention.ms: Not a number of type LONG",
        ),
        (
            own.clone(),
            "log.retention.ms",
            2,
            Some("5"),
            InvalidConfig,
            "Config value append is not allowed for config key: log.retention.ms",
        ),
        (
            own,
            "min.insync.replicas",
            0,
            Some("2"),
            InvalidConfig,
            "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
        ),
        (
            all,
            "min.insync.replicas",
            1,
            None,
            InvalidConfig,
            "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
        ),
        (
            ConfigResource::new(ResourceKind::Group, ""),
            "consumer.session.timeout.ms",
            0,
            Some("50000"),
            InvalidRequest,
            "Default group resources are not allowed.",
        ),
        (
            ConfigResource::new(ResourceKind::Group, "g"),
            "consumer.session.timeout.ms",
            0,
            Some("10"),
            InvalidConfig,
            "consumer.session.timeout.ms must be greater than or equal to \
             group.consumer.min.session.timeout.ms",
        ),
        (
            ConfigResource::new(ResourceKind::Group, "g"),
            "nope",
            2,
            Some("10"),
            InvalidConfig,
            "Can't APPEND to key nope because its type is not LIST.",
        ),
        (
            ConfigResource::new(ResourceKind::ClientMetrics, ""),
            "interval.ms",
            0,
            Some("100"),
            InvalidRequest,
            "Subscription name can't be empty",
        ),
        (
            ConfigResource::new(ResourceKind::ClientMetrics, "c"),
            "interval.ms",
            0,
            Some("99"),
            InvalidRequest,
            "Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
        ),
        (
            ConfigResource::new(ResourceKind::ClientMetrics, "c"),
            "match",
            0,
            Some("a=b"),
            InvalidConfig,
            "Illegal client matching pattern: a=b",
        ),
        (
            ConfigResource::new(ResourceKind::Other(9), "x"),
            "a",
            0,
            Some("1"),
            InvalidRequest,
            "Unknown resource type 9",
        ),
    ];
    for (resource, key, op, value, kind, text) in cases {
        let request = alter(resource, &[(key, op, value)]);
        let decision = world.controller.alter_configs(&request);
        assert_eq!(decision.records, [], "{key}");
        let result = decision.outcome[0].result.clone();
        assert_eq!(parts(result.expect_err("refused")), (kind, text.to_owned()));
    }
    let twice = alter(ConfigResource::topic("t"), &[("a", 0, Some("1")), ("a", 1, None)]);
    let result = world.controller.alter_configs(&twice).outcome.remove(0).result;
    assert_eq!(
        parts(result.expect_err("refused")),
        (InvalidRequest, "Error due to duplicate config keys".to_owned())
    );
    let one = alter(ConfigResource::topic("t"), &[("retention.ms", 0, Some("1"))]);
    let both = AlterConfigs {
        resources: [one.resources.clone(), one.resources].concat(),
        validate_only: false,
    };
    for outcome in world.controller.alter_configs(&both).outcome {
        assert_eq!(
            parts(outcome.result.expect_err("refused")),
            (InvalidRequest, "Each resource must appear at most once.".to_owned())
        );
    }
}

#[test]
fn configs_of_groups_and_subscriptions_are_kept() {
    let mut world = World::new(1);
    let group = ConfigResource::new(ResourceKind::Group, "g");
    let subscription = ConfigResource::new(ResourceKind::ClientMetrics, "c");
    for (resource, key, value) in [
        (&group, "consumer.session.timeout.ms", "50000"),
        (&subscription, "match", "client_id=a.*"),
    ] {
        let set = |value| alter(resource.clone(), &[(key, 0, value)]);
        assert_eq!(world.controller.alter_configs(&set(Some(value))).records.len(), 1);
        assert_eq!(world.controller.image().configs().value(resource, key), Some(value));
        let deleted = alter(resource.clone(), &[(key, 1, None), ("nope", 1, None)]);
        assert_eq!(world.controller.alter_configs(&deleted).records.len(), 1);
        assert_eq!(world.controller.image().configs().get(resource), None);
    }
}

#[test]
fn configs_are_written_as_kafka_does() {
    let mut world = World::new(1);
    world.create(vec![topic("t", 1, 1)]);
    let t = ConfigResource::topic("t");
    let set = |value| alter(ConfigResource::topic("t"), &[("retention.ms", 0, Some(value))]);
    assert_eq!(world.controller.alter_configs(&set("5")).records.len(), 1);
    assert_eq!(world.controller.alter_configs(&set("5")).records, [], "unchanged");
    let own = alter(ConfigResource::broker(BrokerId(1)), &[("log.retention.ms", 0, Some("5"))]);
    assert_eq!(world.controller.alter_configs(&own).records.len(), 1);
    assert_eq!(world.controller.alter_configs(&own).records.len(), 1, "brokers read it again");
    let min_isr = alter(t.clone(), &[("min.insync.replicas", 0, Some("2"))]);
    let names: Vec<_> =
        world.controller.alter_configs(&min_isr).records.iter().map(MetadataRecord::name).collect();
    assert_eq!(names, ["ConfigRecord", "ClearElrRecord"]);

    let replace = ConfigsChange::Replace(vec![("segment.ms".to_owned(), Some("9".to_owned()))]);
    let request = AlterConfigs {
        resources: vec![AlterResource { resource: t.clone(), change: replace }],
        validate_only: true,
    };
    assert_eq!(world.controller.alter_configs(&request).records, []);
    let request = AlterConfigs { validate_only: false, ..request };
    let decision = world.controller.alter_configs(&request);
    assert_eq!(decision.outcome[0].result, Ok(()));
    let set = world.controller.image().configs().get(&t).expect("set");
    assert_eq!(set.iter().collect::<Vec<_>>(), [(&"segment.ms".to_owned(), &"9".to_owned())]);

    let defaults =
        alter(ConfigResource::cluster_default(), &[("min.insync.replicas", 0, Some("3"))]);
    assert_eq!(world.controller.alter_configs(&defaults).outcome[0].result, Ok(()));
    let topic = world.controller.image().topics().named("t").cloned().expect("created");
    assert_eq!(world.controller.election_rules(&topic).min_isr, 1, "at most the replicas");
}

#[test]
fn registrations_are_checked() {
    let mut world = World::new(1);
    let good = World::registration(2, 9, -1);
    let mut refused = |request: RegisterBroker| {
        let result = world.turn(|c, turn| c.register_broker(turn, &request)).outcome;
        parts(result.expect_err("refused"))
    };
    use ErrorKind::*;
    let other = RegisterBroker { cluster_id: "x".to_owned(), ..good.clone() };
    assert_eq!(
        refused(other),
        (InconsistentClusterId, format!("Expected cluster ID {CLUSTER}, but got cluster ID x"))
    );
    let directories =
        |directories: &[Uuid]| RegisterBroker { directories: directories.to_vec(), ..good.clone() };
    for (ids, text) in [
        (&[][..], "No directories specified in request".to_owned()),
        (&[Uuid::ONE][..], "Reserved directory ID in request".to_owned()),
        (&[Uuid([5; 16]); 2][..], "Duplicate directory ID in request".to_owned()),
        (
            &[World::directory(1)][..],
            format!("Broker 1 is already registered with directory {}", World::directory(1)),
        ),
    ] {
        assert_eq!(refused(directories(ids)), (InvalidRegistration, text));
    }
    let rack = Some("x".repeat(40_000));
    assert_eq!(refused(RegisterBroker { rack, ..good.clone() }).0, InvalidRegistration);
    let without = |name: &str| RegisterBroker {
        features: good.features.iter().filter(|(other, _)| other != name).cloned().collect(),
        ..good.clone()
    };
    assert_eq!(
        refused(without("metadata.version")),
        (InvalidRegistration, "Request features do not contain 'metadata.version'".to_owned())
    );
    for (name, level) in [("transaction.version", 2), ("kraft.version", 1)] {
        let text = format!(
            "Unable to register because the broker does not support finalized version {level} of \
             {name}. The broker wants a version between 0 and 0, inclusive."
        );
        assert_eq!(refused(without(name)), (UnsupportedVersion, text));
    }
    assert_eq!(refused(World::registration(1, 2, -1)).0, DuplicateBrokerRegistration);
    assert_eq!(
        world.controller.heartbeat_with_epoch(BrokerId(1), 99),
        (StaleBrokerEpoch, "Expected broker epoch 12, but got broker epoch 99".to_owned())
    );
}

impl Controller {
    fn heartbeat_with_epoch(&self, broker: BrokerId, epoch: i64) -> (ErrorKind, String) {
        parts(self.check_broker_epoch(broker, epoch).expect_err("stale"))
    }
}

#[test]
fn a_silent_broker_is_fenced_and_its_partitions_move() {
    let mut world = World::new(3);
    world.create(vec![assigned("t", &[(0, &[1, 2, 3]), (1, &[2, 3, 1])])]);
    let start = world.now;
    for second in 1..=12 {
        world.now = start + Duration::from_secs(second);
        for id in [2, 3] {
            let beat = world.beat(id);
            let reply = world.turn(|c, turn| c.heartbeat(turn, &beat));
            assert!(reply.outcome.is_ok_and(|reply| !reply.is_fenced));
        }
    }
    assert_eq!(world.controller.next_session_deadline(), Some(start + SESSION_TIMEOUT));
    let now = world.now;
    let decision = world.controller.fence_stale_broker(now);
    assert_eq!(decision.outcome, Some(BrokerId(1)));
    assert_eq!(decision.records.len(), 3);
    assert_eq!(world.controller.fence_stale_broker(now).outcome, None);
    let partition = world.partition("t", 0);
    assert_eq!((partition.leader, partition.leader_epoch), (Some(BrokerId(2)), LeaderEpoch(1)));
    assert_eq!(partition.isr, ids(&[2, 3]));
    assert_eq!(world.partition("t", 1).leader_epoch, LeaderEpoch(0), "only the ISR shrinks");

    // It comes back as another incarnation, then into the ISR at its leader's request.
    let epoch = world.start_broker(1, 2, -1);
    let before = world.partition("t", 0);
    let asked = AlterIsr {
        topic: world.topic_id("t"),
        partition: PartitionId(0),
        leader_epoch: before.leader_epoch,
        partition_epoch: before.partition_epoch,
        isr: vec![(BrokerId(2), -1), (BrokerId(3), -1), (BrokerId(1), epoch)],
        recovery: LeaderRecovery::Recovered,
    };
    let leader = world.beat(2);
    let ask = |world: &mut World, asked: AlterIsr| {
        let request =
            AlterPartition { broker: leader.broker, epoch: leader.epoch, partitions: vec![asked] };
        let outcome = world.controller.alter_partition(&request).outcome.expect("known broker");
        outcome.into_iter().next().expect("one").result.map_err(|refusal| refusal.kind)
    };
    use ErrorKind::*;
    let wrong = |change: fn(&mut AlterIsr)| {
        let mut wrong = asked.clone();
        change(&mut wrong);
        wrong
    };
    for (request, kind) in [
        (wrong(|a| a.topic = TopicId(Uuid([9; 16]))), UnknownTopicId),
        (wrong(|a| a.partition = PartitionId(9)), UnknownTopicOrPartition),
        (wrong(|a| a.leader_epoch.0 += 1), NotController),
        (wrong(|a| a.partition_epoch += 1), NotController),
        (wrong(|a| a.leader_epoch.0 -= 1), FencedLeaderEpoch),
        (wrong(|a| a.partition_epoch -= 1), InvalidUpdateVersion),
        (wrong(|a| a.isr.push((BrokerId(3), -1))), InvalidRequest),
        (wrong(|a| a.isr.retain(|(id, _)| id.0 != 2)), InvalidRequest),
        (wrong(|a| a.recovery = LeaderRecovery::Recovering), InvalidRequest),
        (wrong(|a| a.isr[2].1 -= 1), IneligibleReplica),
    ] {
        assert_eq!(ask(&mut world, request), Err(kind));
    }
    let altered = ask(&mut world, asked.clone()).expect("altered");
    assert_eq!(altered.isr, ids(&[2, 3, 1]));
    assert_eq!(altered.partition_epoch, before.partition_epoch + 1);

    // The first replica leads again, when asked or by itself.
    let one = [("t".to_owned(), PartitionId(0))];
    let decision = world.controller.elect_leaders(ElectionKind::Preferred, Some(&one));
    assert_eq!(decision.outcome[0].result, Ok(()));
    assert_eq!(world.partition("t", 0).leader, Some(BrokerId(1)));
    assert_eq!(world.controller.balance_leaders(10).records, []);
}

#[test]
fn the_own_broker_restarts_at_once_and_leads_in_a_new_epoch() {
    for (clean, recovery) in
        [(true, LeaderRecovery::Recovered), (false, LeaderRecovery::Recovering)]
    {
        let mut world = World::new(1);
        world.create(vec![topic("t", 2, 1)]);
        let epoch = world.beat(1).epoch;
        let committed = Loader::new(world.controller.image().clone());
        let (options, next) = (world.controller.options.clone(), world.controller.next_offset());
        let (controller, nothing) =
            Controller::activate(world.now, options, &committed, next.plus(1), &[]).expect("known");
        assert_eq!(nothing.records, []);
        world.controller = controller;
        world.start_broker(1, 2, if clean { epoch } else { -1 });
        let partition = world.partition("t", 0);
        assert_eq!((partition.leader, partition.leader_epoch), (Some(BrokerId(1)), LeaderEpoch(2)));
        assert_eq!((partition.isr.len(), partition.elr.len()), (1, 0));
        assert_eq!(partition.recovery, recovery);
        let id = world.topic_id("t");
        let beat = world.beat(1);
        let asked = |partition: PartitionId, state: &Partition| AlterIsr {
            topic: id,
            partition,
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            isr: vec![(BrokerId(1), beat.epoch)],
            recovery: LeaderRecovery::Recovered,
        };
        let partitions = vec![asked(PartitionId(0), &partition)];
        let request = AlterPartition { broker: BrokerId(1), epoch: beat.epoch, partitions };
        let outcome = world.controller.alter_partition(&request);
        assert_eq!(outcome.records.len(), usize::from(!clean), "it has recovered");
        assert_eq!(world.partition("t", 0).recovery, LeaderRecovery::Recovered);
    }
}

#[test]
fn elections_that_cannot_be() {
    let mut world = World::new(1);
    world.create(vec![topic("t", 1, 1)]);
    let mut elect = |kind, topic: &str, id| {
        let one = [(topic.to_owned(), PartitionId(id))];
        let outcome = world.controller.elect_leaders(kind, Some(&one)).outcome.remove(0);
        parts(outcome.result.expect_err("no election"))
    };
    use ErrorKind::*;
    for kind in [ElectionKind::Preferred, ElectionKind::Unclean] {
        assert_eq!(elect(kind, "t", 0), (ElectionNotNeeded, String::new()));
        assert_eq!(
            elect(kind, "t", 9),
            (UnknownTopicOrPartition, "No such partition as t-9".to_owned())
        );
        assert_eq!(
            elect(kind, "nope", 0),
            (UnknownTopicOrPartition, "No such topic as nope".to_owned())
        );
    }
    assert_eq!(world.controller.elect_leaders(ElectionKind::Preferred, None).outcome, []);
    assert!(ElectionKind::from_code(2).is_err());

    let stop = Heartbeat { want_fence: true, ..world.beat(1) };
    let _ = world.turn(|c, turn| c.heartbeat(turn, &stop)).outcome.expect("known");
    let one = [("t".to_owned(), PartitionId(0))];
    for (kind, error) in [
        (ElectionKind::Preferred, PreferredLeaderNotAvailable),
        (ElectionKind::Unclean, EligibleLeadersNotAvailable),
    ] {
        let outcome = world.controller.elect_leaders(kind, Some(&one)).outcome.remove(0);
        assert_eq!(outcome.result, Err(Refusal::plain(error)));
    }
    assert_eq!(world.controller.elect_leaderless(10).records, []);
}

#[test]
fn reassignments_start_are_listed_and_cancelled() {
    let mut world = World::new(3);
    world.create(vec![assigned("t", &[(0, &[1, 2])])]);
    let mut alter = |partition, replicas: Option<&[i32]>, allow| {
        let request = AlterReassignments {
            partitions: vec![Reassign {
                topic: if partition == 7 { "nope" } else { "t" }.to_owned(),
                partition: PartitionId(partition),
                replicas: replicas.map(ids),
            }],
            allow_replication_factor_change: allow,
        };
        let decision = world.controller.alter_reassignments(&request);
        decision.outcome.into_iter().next().expect("one").result.map_err(parts)
    };
    use ErrorKind::*;
    let refused = |kind, text: &str| Err((kind, text.to_owned()));
    assert_eq!(alter(0, None, true), refused(NoReassignmentInProgress, ""));
    assert_eq!(
        alter(9, Some(&[1]), true),
        refused(UnknownTopicOrPartition, "Unable to find partition t:9.")
    );
    assert_eq!(
        alter(7, Some(&[1]), true),
        refused(UnknownTopicOrPartition, "Unable to find a topic named nope.")
    );
    assert_eq!(
        alter(0, Some(&[9]), true),
        refused(
            InvalidReplicaAssignment,
            "The manual partition assignment includes broker 9, but no such broker is registered."
        )
    );
    assert_eq!(
        alter(0, Some(&[1]), false),
        refused(InvalidReplicationFactor, "The replication factor is changed from 2 to 1")
    );
    assert_eq!(alter(0, Some(&[1, 2]), true), Ok(()));
    assert_eq!(alter(0, Some(&[1, 3]), false), Ok(()));
    let ongoing = world.controller.list_reassignments(None);
    assert_eq!(ongoing.len(), 1);
    assert_eq!(ongoing[0].replicas, ids(&[1, 3, 2]));
    assert_eq!((&ongoing[0].adding, &ongoing[0].removing), (&ids(&[3]), &ids(&[2])));
    let chosen = [("t".to_owned(), PartitionId(0)), ("nope".to_owned(), PartitionId(0))];
    assert_eq!(world.controller.list_reassignments(Some(&chosen)), ongoing);
    let cancel = AlterReassignments {
        partitions: vec![Reassign {
            topic: "t".to_owned(),
            partition: PartitionId(0),
            replicas: None,
        }],
        allow_replication_factor_change: true,
    };
    assert_eq!(world.controller.alter_reassignments(&cancel).outcome[0].result, Ok(()));
    assert_eq!(world.controller.list_reassignments(None), []);
    assert_eq!(world.partition("t", 0).replicas, ids(&[1, 2]));
}

#[test]
fn replicas_tell_their_directories() {
    let mut world = World::new(0);
    let dirs = [Uuid([201; 16]), Uuid([202; 16])];
    let request = RegisterBroker { directories: dirs.to_vec(), ..World::registration(1, 1, -1) };
    world.turn(|c, turn| c.register_broker(turn, &request)).outcome.expect("registers");
    let beat = world.beat(1);
    world.turn(|c, turn| c.heartbeat(turn, &beat)).outcome.expect("known");
    world.create(vec![topic("t", 2, 1)]);
    let unassigned = world.partition("t", 0).directory_of(BrokerId(1));
    assert_eq!(unassigned, Some(directory::UNASSIGNED), "two to choose from");
    let id = world.topic_id("t");
    let assignments = vec![
        (id, PartitionId(0), dirs[1]),
        (id, PartitionId(1), Uuid([9; 16])),
        (id, PartitionId(7), dirs[1]),
    ];
    let request = AssignDirectories { broker: BrokerId(1), epoch: beat.epoch, assignments };
    let decision = world.controller.assign_directories(&request);
    let results: Vec<_> = decision
        .outcome
        .expect("known broker")
        .into_iter()
        .map(|outcome| outcome.result.map_err(|refusal| refusal.kind))
        .collect();
    assert_eq!(results, [Ok(()), Ok(()), Err(ErrorKind::UnknownTopicOrPartition)]);
    assert_eq!(world.partition("t", 0).directory_of(BrokerId(1)), Some(dirs[1]));
    assert_eq!(world.partition("t", 0).leader, Some(BrokerId(1)));
    assert_eq!(world.partition("t", 1).leader, None, "in a directory that is not there");

    let beat = Heartbeat { offline_directories: vec![dirs[1]], ..world.beat(1) };
    let _ = world.turn(|c, turn| c.heartbeat(turn, &beat)).outcome.expect("known");
    assert_eq!(world.partition("t", 0).leader, None, "its directory failed");
    let broker = world.controller.image().brokers().get(BrokerId(1)).cloned().expect("registered");
    assert_eq!(broker.directories, [dirs[0]]);
}

#[test]
fn unknown_levels_refuse_to_start_by_name() {
    use wire::record::metadata::FeatureLevelRecord;
    let world = World::new(0);
    let level = |name: &str, feature_level| -> MetadataRecord {
        FeatureLevelRecord { name: name.to_owned(), feature_level }.into()
    };
    let options = world.controller.options.clone();
    let start = |record: MetadataRecord| {
        let mut image = world.controller.image().clone();
        image.replay(&record).expect("plain");
        let result = Controller::activate(
            Duration::ZERO,
            options.clone(),
            &Loader::new(image),
            Offset(9),
            &[],
        );
        result.map(|_| ()).expect_err("refused").to_string()
    };
    assert_eq!(
        start(level("telepathy.version", 1)),
        "the cluster uses feature telepathy.version at level 1, which this program does not know; \
         start a version that does"
    );
    assert_eq!(
        start(level("metadata.version", 31)),
        "the cluster uses metadata.version at level 31; this program supports 7 to 30, start a \
         version that supports it"
    );
}

#[test]
fn an_open_transaction_is_aborted_first() {
    use wire::record::metadata::BeginTransactionRecord;
    let world = World::new(0);
    let options = world.controller.options;
    let mut loader = Loader::default();
    let info = crate::image::BatchInfo { base: Offset(3), epoch: 1, timestamp_ms: 0 };
    let begin: MetadataRecord = BeginTransactionRecord { name: None }.into();
    loader.apply_records(info, [&begin]).expect("begins");
    let (_, decision) = Controller::activate(
        Duration::ZERO,
        options,
        &loader,
        Offset(5),
        &format::bootstrap_levels(),
    )
    .expect("known");
    let names: Vec<_> = decision.records.iter().map(MetadataRecord::name).collect();
    assert_eq!(names[..2], ["AbortTransactionRecord", "BeginTransactionRecord"]);
    assert_eq!(names.last(), Some(&"EndTransactionRecord"));
    let info = crate::image::BatchInfo { base: Offset(5), ..info };
    loader.apply_records(info, &decision.records).expect("consistent");
    assert_eq!(loader.image().features().level(ELR_VERSION), 1);
}

#[test]
fn adopted_topics_keep_what_they_were() {
    let mut world = World::new(1);
    let id = TopicId(Uuid([9; 16]));
    let partition = AdoptPartition { directory: World::directory(1), last_epoch: LeaderEpoch(41) };
    let topic = AdoptTopic {
        name: "old".to_owned(),
        id: Some(id),
        configs: vec![("retention.ms".to_owned(), "-1".to_owned())],
        partitions: vec![partition; 2],
    };
    let request =
        AdoptTopics { topics: vec![topic.clone()], producer_id_end: Some(ProducerId(5001)) };
    assert_eq!(world.controller.check_adoption(&request), Ok(()));
    let ids = world.turn(|c, turn| c.adopt_topics(turn, &request)).outcome;
    assert_eq!(ids, Ok(vec![id]));
    let image = world.controller.image();
    let adopted = image.topics().get(id).expect("there");
    assert_eq!((&*adopted.name, adopted.partition_count()), ("old", 2));
    for (_, partition) in adopted.partitions() {
        assert_eq!(partition.leader_epoch, LeaderEpoch(42), "above what the files hold");
        assert_eq!(partition.leader, Some(BrokerId(1)));
        assert_eq!(partition.directories, [World::directory(1)]);
    }
    let configs = image.configs().get(&ConfigResource::topic("old")).expect("set");
    assert_eq!(configs["retention.ms"], "-1");
    let epoch = image.brokers().get(BrokerId(1)).expect("registered").epoch;
    let block = world.turn(|c, _| c.allocate_producer_ids(BrokerId(1), epoch)).outcome;
    assert_eq!(block.expect("a block").first, ProducerId(5001));

    let mut refused = |topics: Vec<AdoptTopic>| {
        let request = AdoptTopics { topics, producer_id_end: None };
        let before = world.controller.image().clone();
        let outcome = world.turn(|c, turn| c.adopt_topics(turn, &request)).outcome;
        assert_eq!(*world.controller.image(), before, "a refusal changes nothing");
        outcome.expect_err("refused").kind
    };
    assert_eq!(refused(vec![topic.clone()]), ErrorKind::TopicAlreadyExists);
    let renamed = AdoptTopic { name: "new".to_owned(), ..topic.clone() };
    assert_eq!(refused(vec![renamed]), ErrorKind::TopicAlreadyExists, "the id is taken");
    let fresh = AdoptTopic { name: "new".to_owned(), id: None, ..topic };
    assert_eq!(refused(vec![fresh.clone(), fresh.clone()]), ErrorKind::InvalidRequest);
    let wrong = vec![("retention.ms".to_owned(), "soon".to_owned())];
    let good = AdoptTopic { name: "good".to_owned(), ..fresh.clone() };
    let bad = AdoptTopic { configs: wrong, ..fresh };
    assert_eq!(refused(vec![good, bad]), ErrorKind::InvalidConfig, "all or none");
}

#[test]
fn a_decision_too_large_for_a_batch_is_split_where_it_may_be() {
    let (count, value) = (25_000, vec![0; 100]);
    let decision =
        Decision { records: Vec::new(), outcome: (), values: vec![value; count], divisible: false };
    assert_eq!(decision.batches(PLACE).map(|batches| batches.len()), Ok(1), "2.5 MB in one");
    let split = decision.clone().divisible().batches(PLACE).expect("divisible");
    assert_eq!(split.iter().map(|batch| batch.records).sum::<usize>(), count);
    let mut next = PLACE.base;
    for batch in &split {
        assert_eq!(batch.place.base, next);
        assert!(batch.bytes.len() <= BATCH_BYTES_MAX);
        next = next.plus(i64::try_from(batch.records).expect("few"));
    }
    let large = Decision { values: vec![vec![0; 1 << 20]; 9], ..decision };
    let TooLarge { bytes } = large.batches(PLACE).expect_err("more than 8 MiB");
    assert!(bytes > 9 << 20);
    assert_eq!(large.divisible().batches(PLACE).map(|batches| batches.len()), Ok(9));
}

fn raise(updates: &[(&str, i16)], direction: Direction) -> UpdateFeatures {
    let update =
        |&(name, level): &(&str, i16)| (name.to_owned(), FeatureUpdate { level, direction });
    UpdateFeatures { updates: updates.iter().map(update).collect(), validate_only: false }
}

/// What Kafka 4.3.1 answered to the same.
#[test]
fn refusals_of_feature_levels_are_kafkas() {
    use Direction::*;
    let mut world = World::new(1);
    let before = world.controller.image().clone();
    let cases: [(&str, i16, Direction, &str); 13] = [
        (
            "foo",
            1,
            Upgrade,
            "Invalid update version 1 for feature foo. Local controller 1 does not support this feature.",
        ),
        (
            "metadata.version",
            31,
            Upgrade,
            "Invalid update version 31 for feature metadata.version. Local controller 1 only supports versions 7-30",
        ),
        (
            "metadata.version",
            29,
            Upgrade,
            "Invalid update version 29 for feature metadata.version. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
        ),
        (
            "metadata.version",
            29,
            SafeDowngrade,
            "Unsupported metadata.version downgrade from 30 to 29. Refusing to perform the requested downgrade because it might delete metadata information.",
        ),
        (
            "metadata.version",
            7,
            UnsafeDowngrade,
            "Unsupported metadata.version downgrade from 30 to 7. Unsafe metadata downgrade is not supported in this version.",
        ),
        (
            "metadata.version",
            6,
            UnsafeDowngrade,
            "Invalid update version 6 for feature metadata.version. Local controller 1 only supports versions 7-30",
        ),
        (
            "group.version",
            2,
            Upgrade,
            "Invalid update version 2 for feature group.version. Local controller 1 only supports versions 0-1",
        ),
        (
            "group.version",
            0,
            Upgrade,
            "Invalid update version 0 for feature group.version. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
        ),
        (
            "group.version",
            -1,
            SafeDowngrade,
            "Invalid update version -1 for feature group.version. A feature version cannot be less than 0.",
        ),
        (
            "group.version",
            1,
            Unknown,
            "Invalid update version 1 for feature group.version. The controller does not support the given upgrade type.",
        ),
        (
            "kraft.version",
            0,
            SafeDowngrade,
            "Invalid update version 0 for feature kraft.version. Can't downgrade the version of this feature.",
        ),
        (
            "kraft.version",
            2,
            Upgrade,
            "Invalid update version 2 for feature kraft.version. Local controller 1 only supports versions 0-1",
        ),
        (
            "share.version",
            0,
            Upgrade,
            "Invalid update version 0 for feature share.version. Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
        ),
    ];
    for (name, level, direction, text) in cases {
        // One fault stops all.
        let request = raise(&[(name, level), ("transaction.version", 2)], direction);
        let decision = world.controller.update_features(&request);
        assert_eq!(decision.records, [], "{name}");
        let refusal = decision.outcome.expect_err("refused");
        assert_eq!(parts(refusal), (ErrorKind::InvalidUpdateVersion, text.to_owned()));
    }
    assert_eq!(*world.controller.image(), before);
}

#[test]
fn feature_levels_go_down_and_up() {
    let mut world = World::new(1);
    let level = |world: &World, name: &str| world.controller.image().features().level(name);
    let down = raise(&[("transaction.version", 1), (ELR_VERSION, 0)], Direction::SafeDowngrade);
    let dry = UpdateFeatures { validate_only: true, ..down.clone() };
    let decision = world.controller.update_features(&dry);
    assert_eq!((decision.records.len(), decision.outcome), (0, Ok(())));
    assert_eq!(world.controller.update_features(&down).outcome, Ok(()));
    assert_eq!(level(&world, "transaction.version"), 1);
    assert_eq!(level(&world, ELR_VERSION), 0);

    // Without ELR a broker may have its own minimum and the cluster none; with it neither.
    let own = alter(ConfigResource::broker(BrokerId(1)), &[("min.insync.replicas", 0, Some("2"))]);
    assert_eq!(world.controller.alter_configs(&own).outcome[0].result, Ok(()));
    let none = alter(ConfigResource::cluster_default(), &[("min.insync.replicas", 1, None)]);
    assert_eq!(world.controller.alter_configs(&none).outcome[0].result, Ok(()));
    let up = raise(&[(ELR_VERSION, 1)], Direction::Upgrade);
    let decision = world.controller.update_features(&up);
    let names: Vec<_> = decision.records.iter().map(MetadataRecord::name).collect();
    assert_eq!(names, ["ConfigRecord", "ConfigRecord", "FeatureLevelRecord"]);
    let configs = world.controller.image().configs();
    assert_eq!(configs.value(&ConfigResource::cluster_default(), "min.insync.replicas"), Some("1"));
    assert_eq!(configs.get(&ConfigResource::broker(BrokerId(1))), None);
    assert_eq!(level(&world, ELR_VERSION), 1);
    // What is in force is written again, and downwards only to lower levels.
    assert_eq!(world.controller.update_features(&up).records.len(), 1);
    let off = raise(&[("streams.version", 0)], Direction::SafeDowngrade);
    assert_eq!(world.controller.update_features(&off).outcome, Ok(()));
    let odd = raise(&[("streams.version", 1)], Direction::SafeDowngrade);
    let refusal = world.controller.update_features(&odd).outcome.expect_err("refused");
    assert_eq!(
        parts(refusal).1,
        "Invalid update version 1 for feature streams.version. Can't downgrade to a newer version."
    );
}

#[test]
fn the_controllers_own_broker_stays() {
    let mut world = World::new(2);
    let refused = world.controller.unregister_broker(BrokerId(1));
    assert_eq!(parts(refused.outcome.expect_err("refused")).0, ErrorKind::InvalidRequest);
    assert_eq!(world.controller.unregister_broker(BrokerId(2)).outcome, Ok(()));
    let refused = world.controller.unregister_broker(BrokerId(2)).outcome.expect_err("refused");
    assert_eq!(
        parts(refused),
        (ErrorKind::BrokerIdNotRegistered, "Broker ID 2 is not currently registered".to_owned())
    );
}
