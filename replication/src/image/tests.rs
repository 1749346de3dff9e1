use std::collections::BTreeMap;

use wire::primitives::Uuid;
use wire::record::metadata::*;

use super::*;

const ID: Uuid = Uuid([7; 16]);

fn image(records: &[MetadataRecord]) -> Image {
    let mut image = Image::default();
    for record in records {
        image.replay(record).expect("consistent records");
    }
    image
}

fn topic(name: &str, id: u8, partitions: i32) -> Vec<MetadataRecord> {
    let topic_id = Uuid([id; 16]);
    let mut records = vec![TopicRecord { name: name.to_owned(), topic_id }.into()];
    records.extend((0..partitions).map(|partition_id| {
        let record = PartitionRecord {
            partition_id,
            topic_id,
            replicas: vec![1, 2, 3],
            isr: vec![1, 2],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![Uuid([0xd1; 16]), Uuid([0xd2; 16]), Uuid([0xd3; 16])],
            ..PartitionRecord::default()
        };
        MetadataRecord::from(record)
    }));
    records
}

fn register(id: i32, epoch: i64) -> MetadataRecord {
    RegisterBrokerRecord { broker_id: id, broker_epoch: epoch, ..Default::default() }.into()
}

fn partition(image: &Image) -> &Partition {
    image.topics().partition(TopicId(ID), PartitionId(0)).expect("created")
}

#[test]
fn a_partition_change_keeps_what_it_does_not_name() {
    let mut image = image(&topic("t", 7, 1));
    let change = PartitionChangeRecord { partition_id: 0, topic_id: ID, ..Default::default() };
    let isr = PartitionChangeRecord { isr: Some(vec![1]), ..change.clone() };
    image.replay(&isr.into()).expect("known");
    assert_eq!((partition(&image).leader_epoch.0, partition(&image).partition_epoch), (0, 1));
    assert_eq!(partition(&image).isr, [BrokerId(1)]);

    let same_leader = PartitionChangeRecord { leader: 1, ..change.clone() };
    image.replay(&same_leader.into()).expect("known");
    assert_eq!((partition(&image).leader_epoch.0, partition(&image).partition_epoch), (1, 2));

    let lost = PartitionChangeRecord {
        leader: -1,
        isr: Some(vec![]),
        eligible_leader_replicas: Some(vec![1]),
        last_known_elr: Some(vec![1]),
        ..change.clone()
    };
    image.replay(&lost.into()).expect("known");
    assert_eq!(partition(&image).leader, None);
    assert_eq!(partition(&image).elr, [BrokerId(1)]);

    let moved = PartitionChangeRecord { replicas: Some(vec![3, 4, 1]), ..change };
    image.replay(&moved.into()).expect("known");
    let directory = |id| partition(&image).directory_of(BrokerId(id));
    assert_eq!(directory(3), Some(Uuid([0xd3; 16])));
    assert_eq!(directory(4), Some(directory::UNASSIGNED));
    assert_eq!(directory(2), None);
}

#[test]
fn what_contradicts_the_image_is_named() {
    let mut image = image(&[register(1, 5)]);
    let change = |broker_id, broker_epoch| -> MetadataRecord {
        let record = BrokerRegistrationChangeRecord {
            broker_id,
            broker_epoch,
            fenced: -1,
            ..Default::default()
        };
        record.into()
    };
    let before = image.clone();
    assert_eq!(
        image.replay(&change(2, 5)).expect_err("unknown").to_string(),
        "BrokerRegistrationChange names broker 2, which is not registered"
    );
    assert_eq!(
        image.replay(&change(1, 4)).expect_err("old").to_string(),
        "BrokerRegistrationChange names epoch 4 of broker 1, which is at epoch 5"
    );
    let partition = PartitionChangeRecord { partition_id: 0, topic_id: ID, ..Default::default() };
    let error = image.replay(&partition.into()).expect_err("no topic");
    assert!(error.to_string().ends_with("which does not exist"), "{error}");
    let fence = UnregisterBrokerRecord { broker_id: 1, broker_epoch: 6 };
    assert!(image.replay(&fence.into()).is_err());
    assert_eq!(image, before, "a refused record changes nothing");
}

#[test]
fn removing_a_topic_frees_its_name_and_configs() {
    let mut records = topic("t", 7, 2);
    let config = ConfigRecord {
        resource_type: 2,
        resource_name: "t".to_owned(),
        name: "retention.ms".to_owned(),
        value: Some("5".to_owned()),
    };
    records.push(config.into());
    records.push(RemoveTopicRecord { topic_id: ID }.into());
    assert_eq!(image(&records), Image::default());
    records.extend(topic("t", 8, 1));
    assert_eq!(image(&records).topics().named("t").map(|topic| topic.id.0), Some(Uuid([8; 16])));
}

#[test]
fn elr_is_cleared_by_topic_or_everywhere() {
    let mut image = image(&[topic("a", 1, 2), topic("b", 2, 1)].concat());
    for (topic, partition_id) in [(1, 0), (1, 1), (2, 0)] {
        let record = PartitionChangeRecord {
            partition_id,
            topic_id: Uuid([topic; 16]),
            eligible_leader_replicas: Some(vec![3]),
            ..Default::default()
        };
        image.replay(&record.into()).expect("known");
    }
    let with_elr =
        |image: &Image| image.topics().partitions().filter(|(_, _, p)| !p.elr.is_empty()).count();
    image.replay(&ClearElrRecord { topic_name: "a".to_owned() }.into()).expect("known");
    assert_eq!(with_elr(&image), 1);
    image.replay(&ClearElrRecord { topic_name: String::new() }.into()).expect("known");
    assert_eq!(with_elr(&image), 0);
    assert!(image.replay(&ClearElrRecord { topic_name: "c".to_owned() }.into()).is_err());
}

#[test]
fn a_delta_names_exactly_what_changed() {
    let old = image(&[topic("a", 1, 3), topic("b", 2, 1), vec![register(1, 5)]].concat());
    assert!(delta(&old, &old.clone()).is_empty());
    let mut new = old.clone();
    let grown = PartitionRecord { partition_id: 3, topic_id: Uuid([1; 16]), ..Default::default() };
    let change = PartitionChangeRecord {
        partition_id: 1,
        topic_id: Uuid([1; 16]),
        isr: Some(vec![1]),
        ..Default::default()
    };
    let config = ConfigRecord {
        resource_type: 4,
        resource_name: String::new(),
        name: "log.retention.ms".to_owned(),
        value: Some("5".to_owned()),
    };
    let mut records: Vec<MetadataRecord> = vec![
        grown.into(),
        change.into(),
        config.into(),
        RemoveTopicRecord { topic_id: Uuid([2; 16]) }.into(),
        register(2, 9),
    ];
    records.extend(topic("c", 3, 2));
    for record in &records {
        new.replay(record).expect("consistent");
    }
    let delta = delta(&old, &new);
    let names = |topics: &[Arc<Topic>]| -> Vec<String> {
        topics.iter().map(|topic| topic.name.to_string()).collect()
    };
    assert_eq!(names(&delta.topics_created), ["c"]);
    assert_eq!(names(&delta.topics_deleted), ["b"]);
    let changed: Vec<_> = delta
        .partitions_changed
        .iter()
        .map(|part| (part.partition.0, part.old.is_some()))
        .collect();
    assert_eq!(changed, [(1, true), (3, false)]);
    assert_eq!(delta.configs_changed.len(), 1);
    assert_eq!(delta.brokers_changed, [BrokerId(2)]);
    assert!(!delta.features_changed && !delta.security_changed && !delta.quotas_changed);
}

fn batch(base: i64) -> BatchInfo {
    BatchInfo { base: Offset(base), epoch: 3, timestamp_ms: 100 + base }
}

fn begin() -> MetadataRecord {
    BeginTransactionRecord { name: Some("x".to_owned()) }.into()
}

#[test]
fn a_transaction_is_published_whole_or_not_at_all() {
    let mut loader = Loader::default();
    let end: MetadataRecord = EndTransactionRecord {}.into();
    let abort: MetadataRecord = AbortTransactionRecord { reason: None }.into();
    loader.apply_records(batch(0), &[topic("a", 1, 1), vec![begin()]].concat()).expect("begins");
    assert_eq!(loader.image().topics().len(), 1);
    assert_eq!(loader.open_transaction(), Some(Some("x")));
    assert!(!loader.image().provenance().batch_aligned);
    loader.apply_records(batch(3), &topic("b", 2, 1)).expect("inside");
    assert_eq!(loader.image().topics().len(), 1);
    assert_eq!(loader.image().provenance().end, Offset(2));
    assert!(loader.clone().apply_records(batch(5), &[begin()]).is_err(), "they do not nest");

    let mut ended = loader.clone();
    ended.apply_records(batch(5), std::slice::from_ref(&end)).expect("ends");
    assert_eq!(ended.image().topics().len(), 2);
    assert_eq!(
        ended.image().provenance(),
        Provenance { end: Offset(6), epoch: 3, timestamp_ms: 105, batch_aligned: true }
    );
    loader.apply_records(batch(5), &[abort]).expect("aborts");
    assert_eq!(loader.image().topics().len(), 1);
    assert!(loader.apply_records(batch(6), &[end]).is_err(), "nothing is open");
}

#[test]
fn an_unknown_record_stops_the_log_by_name_and_offset() {
    let mut loader = Loader::default();
    let values: [&[u8]; 2] = [&[1, 20, 0, 0], &[1, 99, 0, 0]];
    let error = loader.apply_batch(batch(40), values).expect_err("type 99");
    assert_eq!(error.to_string(), "metadata log, offset 41: unknown metadata record type 99");
}

#[test]
fn images_go_between_cores() {
    fn shareable<T: Send + Sync>() {}
    shareable::<Image>();
    shareable::<Delta>();
}

#[test]
fn quotas_and_features_come_and_go() {
    let quota = |remove| -> MetadataRecord {
        let entity = vec![EntityData { entity_type: "user".to_owned(), entity_name: None }];
        let key = "producer_byte_rate".to_owned();
        ClientQuotaRecord { entity, key, value: 1.5, remove }.into()
    };
    let level = |feature_level| -> MetadataRecord {
        FeatureLevelRecord { name: "group.version".to_owned(), feature_level }.into()
    };
    let set = image(&[quota(false), level(1)]);
    let entity = BTreeMap::from([("user".into(), None)]);
    assert_eq!(set.quotas().get(&entity).and_then(|q| q.get("producer_byte_rate")), Some(&1.5));
    assert_eq!(set.features().level("group.version"), 1);
    assert_eq!(image(&[quota(false), level(1), quota(true), level(0)]), Image::default());
}
