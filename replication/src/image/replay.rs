//! One record's effect on the image.

use std::sync::Arc;

use engine::ids::{BrokerId, LeaderEpoch, PartitionId, ProducerId, TopicId};
use rpds::RedBlackTreeMapSync;
use wire::primitives::Uuid;
use wire::record::metadata::{
    AccessControlEntryRecord, BrokerEndpoint, BrokerFeature, BrokerRegistrationChangeRecord,
    ClientQuotaRecord, ControllerEndpoint, ControllerFeature, DelegationTokenRecord,
    FeatureLevelRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord,
    RegisterBrokerRecord, RegisterControllerRecord, TopicRecord, UserScramCredentialRecord,
};

use super::brokers::{Broker, ControllerNode, Endpoint, LevelRange};
use super::configs::{ConfigResource, ResourceKind};
use super::security::{Acl, DelegationToken, ScramCredential};
use super::topics::{LeaderRecovery, Partition, Topic, directory};
use super::{Image, ReplayError};

type Result = std::result::Result<(), ReplayError>;

pub(super) fn replay(image: &mut Image, record: &MetadataRecord) -> Result {
    match record {
        MetadataRecord::RegisterBroker(record) => register_broker(image, record),
        MetadataRecord::UnregisterBroker(record) => {
            let id = BrokerId(record.broker_id);
            check_epoch(image, "UnregisterBroker", id, record.broker_epoch)?;
            Arc::make_mut(&mut image.brokers).by_id.remove(&id);
        }
        MetadataRecord::FenceBroker(record) => {
            broker_mut(image, "FenceBroker", record.id, record.epoch)?.fenced = true;
        }
        MetadataRecord::UnfenceBroker(record) => {
            broker_mut(image, "UnfenceBroker", record.id, record.epoch)?.fenced = false;
        }
        MetadataRecord::BrokerRegistrationChange(record) => change_broker(image, record)?,
        MetadataRecord::RegisterController(record) => register_controller(image, record),
        MetadataRecord::Topic(record) => create_topic(image, record)?,
        MetadataRecord::RemoveTopic(record) => remove_topic(image, TopicId(record.topic_id))?,
        MetadataRecord::Partition(record) => set_partition(image, record)?,
        MetadataRecord::PartitionChange(record) => change_partition(image, record)?,
        MetadataRecord::ClearElr(record) => clear_elr(image, &record.topic_name)?,
        MetadataRecord::Config(record) => {
            let kind = ResourceKind::from_code(record.resource_type);
            let resource = ConfigResource::new(kind, &record.resource_name);
            let configs = Arc::make_mut(&mut image.configs);
            configs.set(resource, &record.name, record.value.as_deref());
        }
        MetadataRecord::FeatureLevel(record) => set_level(image, record),
        MetadataRecord::ClientQuota(record) => set_quota(image, record),
        MetadataRecord::ProducerIds(record) => {
            image.next_producer_id = Some(ProducerId(record.next_producer_id));
        }
        MetadataRecord::AccessControlEntry(record) => add_acl(image, record),
        MetadataRecord::RemoveAccessControlEntry(record) => {
            Arc::make_mut(&mut image.acls).by_id.remove_mut(&record.id);
        }
        MetadataRecord::UserScramCredential(record) => set_credential(image, record),
        MetadataRecord::RemoveUserScramCredential(record) => {
            let key = (record.mechanism, record.name.as_str().into());
            Arc::make_mut(&mut image.scram).by_user.remove_mut(&key);
        }
        MetadataRecord::DelegationToken(record) => set_token(image, record),
        MetadataRecord::RemoveDelegationToken(record) => {
            Arc::make_mut(&mut image.tokens).by_id.remove_mut(record.token_id.as_str());
        }
        MetadataRecord::NoOp(_) | MetadataRecord::ZkMigrationState(_) => {}
        MetadataRecord::BeginTransaction(_)
        | MetadataRecord::EndTransaction(_)
        | MetadataRecord::AbortTransaction(_) => {
            return Err(ReplayError::Transaction(record.name()));
        }
    }
    Ok(())
}

fn register_broker(image: &mut Image, record: &RegisterBrokerRecord) {
    let id = BrokerId(record.broker_id);
    let mut directories = record.log_dirs.clone();
    directories.sort_unstable();
    let broker = Broker {
        id,
        epoch: record.broker_epoch,
        incarnation: record.incarnation_id,
        endpoints: record.end_points.iter().map(Endpoint::from).collect(),
        features: record.features.iter().map(level_range).collect(),
        rack: record.rack.as_deref().map(Into::into),
        fenced: record.fenced,
        in_controlled_shutdown: record.in_controlled_shutdown,
        migrating_zk: record.is_migrating_zk_broker,
        directories,
        cordoned: record.cordoned_log_dirs.clone(),
    };
    Arc::make_mut(&mut image.brokers).by_id.insert(id, Arc::new(broker));
}

fn change_broker(image: &mut Image, record: &BrokerRegistrationChangeRecord) -> Result {
    const NAME: &str = "BrokerRegistrationChange";
    let fenced = match record.fenced {
        -1 => Some(false),
        0 => None,
        1 => Some(true),
        other => return Err(unknown_value(NAME, "fenced", other)),
    };
    if !(0..=1).contains(&record.in_controlled_shutdown) {
        return Err(unknown_value(NAME, "inControlledShutdown", record.in_controlled_shutdown));
    }
    let broker = broker_mut(image, NAME, record.broker_id, record.broker_epoch)?;
    if let Some(fenced) = fenced {
        broker.fenced = fenced;
    }
    if record.in_controlled_shutdown == 1 {
        broker.in_controlled_shutdown = true;
    }
    if !record.log_dirs.is_empty() {
        broker.directories.clone_from(&record.log_dirs);
        broker.directories.sort_unstable();
    }
    if let Some(cordoned) = &record.cordoned_log_dirs {
        broker.cordoned = Some(cordoned.clone());
    }
    Ok(())
}

fn register_controller(image: &mut Image, record: &RegisterControllerRecord) {
    let id = BrokerId(record.controller_id);
    let node = ControllerNode {
        id,
        incarnation: record.incarnation_id,
        zk_migration_ready: record.zk_migration_ready,
        endpoints: record.end_points.iter().map(Endpoint::from).collect(),
        features: record.features.iter().map(controller_level_range).collect(),
    };
    Arc::make_mut(&mut image.controllers).by_id.insert(id, Arc::new(node));
}

fn create_topic(image: &mut Image, record: &TopicRecord) -> Result {
    let id = TopicId(record.topic_id);
    let duplicate = || ReplayError::DuplicateTopic { name: record.name.clone(), id };
    if image.topics.get(id).is_some() || image.topics.named(&record.name).is_some() {
        return Err(duplicate());
    }
    let name: Arc<str> = record.name.as_str().into();
    let topics = Arc::make_mut(&mut image.topics);
    topics.by_name.insert_mut(Arc::clone(&name), id);
    let partitions = RedBlackTreeMapSync::new_sync();
    topics.by_id.insert(id, Arc::new(Topic { id, name, partitions }));
    Ok(())
}

fn remove_topic(image: &mut Image, id: TopicId) -> Result {
    let Some(topic) = image.topics.get(id).cloned() else {
        return Err(unknown_topic("RemoveTopic", id));
    };
    let topics = Arc::make_mut(&mut image.topics);
    topics.by_id.remove(&id);
    topics.by_name.remove_mut(&topic.name);
    let resource = ConfigResource::topic(&topic.name);
    if image.configs.get(&resource).is_some() {
        Arc::make_mut(&mut image.configs).remove(&resource);
    }
    Ok(())
}

fn set_partition(image: &mut Image, record: &PartitionRecord) -> Result {
    const NAME: &str = "Partition";
    let partition = Partition {
        replicas: brokers(&record.replicas),
        directories: if record.directories.is_empty() {
            vec![directory::MIGRATING; record.replicas.len()]
        } else {
            record.directories.clone()
        },
        isr: brokers(&record.isr),
        removing: brokers(&record.removing_replicas),
        adding: brokers(&record.adding_replicas),
        elr: record.eligible_leader_replicas.as_deref().map(brokers).unwrap_or_default(),
        last_known_elr: record.last_known_elr.as_deref().map(brokers).unwrap_or_default(),
        leader: leader(record.leader),
        leader_epoch: LeaderEpoch(record.leader_epoch),
        partition_epoch: record.partition_epoch,
        recovery: recovery(NAME, record.leader_recovery_state)?,
    };
    let topic = topic_mut(image, NAME, record.topic_id)?;
    topic.partitions.insert_mut(PartitionId(record.partition_id), Arc::new(partition));
    Ok(())
}

fn change_partition(image: &mut Image, record: &PartitionChangeRecord) -> Result {
    const NAME: &str = "PartitionChange";
    let recovered = match record.leader_recovery_state {
        NO_RECOVERY_CHANGE => None,
        code => Some(recovery(NAME, code)?),
    };
    let (topic, id) = (TopicId(record.topic_id), PartitionId(record.partition_id));
    let of_topic = topic_mut(image, NAME, record.topic_id)?;
    let partition = of_topic.partitions.get_mut(&id).ok_or(ReplayError::UnknownPartition {
        record: NAME,
        topic,
        partition: id,
    })?;
    let overflow = |field| ReplayError::Overflow { record: NAME, field, topic, partition: id };
    let partition_epoch = partition.partition_epoch.checked_add(1);
    let partition_epoch = partition_epoch.ok_or_else(|| overflow("partitionEpoch"))?;
    let leader_epoch = if record.leader == NO_LEADER_CHANGE {
        partition.leader_epoch
    } else {
        LeaderEpoch(partition.leader_epoch.0.checked_add(1).ok_or_else(|| overflow("leaderEpoch"))?)
    };
    let partition = Arc::make_mut(partition);
    if record.leader != NO_LEADER_CHANGE {
        partition.leader = leader(record.leader);
    }
    partition.leader_epoch = leader_epoch;
    partition.partition_epoch = partition_epoch;
    if let Some(replicas) = &record.replicas {
        reassign(partition, brokers(replicas));
    }
    // An empty list would leave replicas without directories: Kafka keeps them as well.
    if let Some(directories) = record.directories.as_ref().filter(|dirs| !dirs.is_empty()) {
        partition.directories.clone_from(directories);
    }
    set(&mut partition.isr, record.isr.as_deref());
    set(&mut partition.removing, record.removing_replicas.as_deref());
    set(&mut partition.adding, record.adding_replicas.as_deref());
    set(&mut partition.elr, record.eligible_leader_replicas.as_deref());
    set(&mut partition.last_known_elr, record.last_known_elr.as_deref());
    if let Some(recovered) = recovered {
        partition.recovery = recovered;
    }
    Ok(())
}

/// New replicas; those that stay keep their directories, others have yet to pick one.
fn reassign(partition: &mut Partition, replicas: Vec<BrokerId>) {
    let directory = |&id| partition.directory_of(id).unwrap_or(directory::UNASSIGNED);
    partition.directories = replicas.iter().map(directory).collect();
    partition.replicas = replicas;
}

fn clear_elr(image: &mut Image, name: &str) -> Result {
    let topics: Vec<TopicId> = if name.is_empty() {
        image.topics.by_id().map(|topic| topic.id).collect()
    } else {
        let topic = image.topics.named(name).ok_or_else(|| ReplayError::UnknownTopic {
            record: "ClearElr",
            topic: name.to_owned(),
        })?;
        vec![topic.id]
    };
    for id in topics {
        let topic = image.topics.get(id).expect("taken from the image");
        let marked: Vec<PartitionId> = topic
            .partitions()
            .filter(|(_, part)| !part.elr.is_empty() || !part.last_known_elr.is_empty())
            .map(|(id, _)| id)
            .collect();
        if marked.is_empty() {
            continue;
        }
        let topic = topic_mut(image, "ClearElr", id.0)?;
        for id in marked {
            let partition = topic.partitions.get_mut(&id).map(Arc::make_mut);
            let partition = partition.expect("found in the topic");
            partition.elr.clear();
            partition.last_known_elr.clear();
        }
    }
    Ok(())
}

fn set_level(image: &mut Image, record: &FeatureLevelRecord) {
    let features = Arc::make_mut(&mut image.features);
    if record.feature_level == 0 {
        features.levels.remove(record.name.as_str());
    } else {
        features.levels.insert(record.name.as_str().into(), record.feature_level);
    }
}

fn set_quota(image: &mut Image, record: &ClientQuotaRecord) {
    let entity = record.entity.iter().map(|part| {
        (part.entity_type.as_str().into(), part.entity_name.as_deref().map(Into::into))
    });
    let limit = (!record.remove).then_some(record.value);
    Arc::make_mut(&mut image.quotas).set(entity.collect(), &record.key, limit);
}

fn add_acl(image: &mut Image, record: &AccessControlEntryRecord) {
    let acl = Acl {
        id: record.id,
        resource_type: record.resource_type,
        resource_name: record.resource_name.as_str().into(),
        pattern_type: record.pattern_type,
        principal: record.principal.as_str().into(),
        host: record.host.as_str().into(),
        operation: record.operation,
        permission_type: record.permission_type,
    };
    Arc::make_mut(&mut image.acls).by_id.insert_mut(record.id, Arc::new(acl));
}

fn set_credential(image: &mut Image, record: &UserScramCredentialRecord) {
    let key = (record.mechanism, record.name.as_str().into());
    let credential = ScramCredential {
        salt: record.salt.clone(),
        stored_key: record.stored_key.clone(),
        server_key: record.server_key.clone(),
        iterations: record.iterations,
    };
    Arc::make_mut(&mut image.scram).by_user.insert_mut(key, Arc::new(credential));
}

fn set_token(image: &mut Image, record: &DelegationTokenRecord) {
    let id: Arc<str> = record.token_id.as_str().into();
    let token = DelegationToken {
        id: Arc::clone(&id),
        owner: record.owner.as_str().into(),
        requester: record.requester.as_str().into(),
        renewers: record.renewers.iter().map(|renewer| renewer.as_str().into()).collect(),
        issued_ms: record.issue_timestamp,
        max_ms: record.max_timestamp,
        expires_ms: record.expiration_timestamp,
    };
    Arc::make_mut(&mut image.tokens).by_id.insert_mut(id, Arc::new(token));
}

fn check_epoch(image: &Image, record: &'static str, broker: BrokerId, named: i64) -> Result {
    let known = image.brokers.get(broker).ok_or(ReplayError::UnknownBroker { record, broker })?;
    if known.epoch == named {
        Ok(())
    } else {
        Err(ReplayError::BrokerEpoch { record, broker, named, registered: known.epoch })
    }
}

fn broker_mut<'a>(
    image: &'a mut Image,
    record: &'static str,
    id: i32,
    epoch: i64,
) -> std::result::Result<&'a mut Broker, ReplayError> {
    let id = BrokerId(id);
    check_epoch(image, record, id, epoch)?;
    let broker = Arc::make_mut(&mut image.brokers).by_id.get_mut(&id);
    Ok(Arc::make_mut(broker.expect("its epoch was checked")))
}

fn topic_mut<'a>(
    image: &'a mut Image,
    record: &'static str,
    id: Uuid,
) -> std::result::Result<&'a mut Topic, ReplayError> {
    let id = TopicId(id);
    if image.topics.get(id).is_none() {
        return Err(unknown_topic(record, id));
    }
    let topic = Arc::make_mut(&mut image.topics).by_id.get_mut(&id);
    Ok(topic.expect("found just before"))
}

fn unknown_topic(record: &'static str, id: TopicId) -> ReplayError {
    ReplayError::UnknownTopic { record, topic: id.to_string() }
}

fn unknown_value(record: &'static str, field: &'static str, value: i8) -> ReplayError {
    ReplayError::Value { record, field, value: value.into() }
}

fn recovery(record: &'static str, code: i8) -> std::result::Result<LeaderRecovery, ReplayError> {
    LeaderRecovery::from_code(code)
        .ok_or_else(|| unknown_value(record, "leaderRecoveryState", code))
}

fn leader(id: i32) -> Option<BrokerId> {
    (id >= 0).then_some(BrokerId(id))
}

fn brokers(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn set(to: &mut Vec<BrokerId>, from: Option<&[i32]>) {
    if let Some(ids) = from {
        *to = brokers(ids);
    }
}

fn level_range(feature: &BrokerFeature) -> (Arc<str>, LevelRange) {
    let (min, max) = (feature.min_supported_version, feature.max_supported_version);
    (feature.name.as_str().into(), LevelRange { min, max })
}

fn controller_level_range(feature: &ControllerFeature) -> (Arc<str>, LevelRange) {
    let (min, max) = (feature.min_supported_version, feature.max_supported_version);
    (feature.name.as_str().into(), LevelRange { min, max })
}

impl From<&BrokerEndpoint> for Endpoint {
    fn from(wire: &BrokerEndpoint) -> Self {
        Self {
            name: wire.name.as_str().into(),
            host: wire.host.as_str().into(),
            port: wire.port,
            security_protocol: wire.security_protocol,
        }
    }
}

impl From<&ControllerEndpoint> for Endpoint {
    fn from(wire: &ControllerEndpoint) -> Self {
        Self {
            name: wire.name.as_str().into(),
            host: wire.host.as_str().into(),
            port: wire.port,
            security_protocol: wire.security_protocol,
        }
    }
}

/// `leader` of a PartitionChange that keeps it.
pub(crate) const NO_LEADER_CHANGE: i32 = -2;

/// `leaderRecoveryState` of a PartitionChange that keeps it.
pub(crate) const NO_RECOVERY_CHANGE: i8 = -1;
