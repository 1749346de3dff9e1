//! The image as records, in the order in which Kafka writes a snapshot.

use wire::record::metadata::{
    AccessControlEntryRecord, BrokerEndpoint, BrokerFeature, ClientQuotaRecord, ConfigRecord,
    ControllerEndpoint, ControllerFeature, DelegationTokenRecord, EntityData, FeatureLevelRecord,
    MetadataRecord, PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord,
    RegisterControllerRecord, TopicRecord, UserScramCredentialRecord,
};

use super::Image;
use super::brokers::{Broker, ControllerNode};
use super::topics::Partition;
use crate::features::{METADATA_VERSION, MetadataVersion};
use engine::ids::{BrokerId, PartitionId, TopicId};

pub(super) fn records(image: &Image) -> Vec<MetadataRecord> {
    let mut out = Vec::new();
    let version = image.features.metadata_version().unwrap_or(MetadataVersion::MINIMUM);
    features(image, &mut out);
    out.extend(image.brokers.iter().map(|broker| register_broker(broker, version).into()));
    out.extend(image.controllers.iter().map(|node| register_controller(node).into()));
    topics(image, version, &mut out);
    configs(image, &mut out);
    quotas(image, &mut out);
    out.extend(image.next_producer_id.map(|next| {
        // Who got the last block does not matter any more; Kafka writes −1 as well.
        let (broker_id, broker_epoch) = (-1, -1);
        ProducerIdsRecord { broker_id, broker_epoch, next_producer_id: next.0 }.into()
    }));
    security(image, &mut out);
    out
}

fn features(image: &Image, out: &mut Vec<MetadataRecord>) {
    let level = |(name, level): (&std::sync::Arc<str>, i16)| FeatureLevelRecord {
        name: name.to_string(),
        feature_level: level,
    };
    // What follows is read in the light of metadata.version.
    let (first, others): (Vec<_>, Vec<_>) =
        image.features.iter().map(level).partition(|record| record.name == METADATA_VERSION);
    out.extend(first.into_iter().chain(others).map(MetadataRecord::from));
}

fn register_broker(broker: &Broker, version: MetadataVersion) -> RegisterBrokerRecord {
    RegisterBrokerRecord {
        broker_id: broker.id.0,
        is_migrating_zk_broker: broker.migrating_zk,
        incarnation_id: broker.incarnation,
        broker_epoch: broker.epoch,
        end_points: broker
            .endpoints
            .iter()
            .map(|endpoint| BrokerEndpoint {
                name: endpoint.name.to_string(),
                host: endpoint.host.to_string(),
                port: endpoint.port,
                security_protocol: endpoint.security_protocol,
            })
            .collect(),
        features: broker
            .features
            .iter()
            .map(|(name, range)| BrokerFeature {
                name: name.to_string(),
                min_supported_version: range.min,
                max_supported_version: range.max,
            })
            .collect(),
        rack: broker.rack.as_ref().map(ToString::to_string),
        fenced: broker.fenced,
        in_controlled_shutdown: broker.in_controlled_shutdown,
        log_dirs: if version.has_directories() { broker.directories.clone() } else { Vec::new() },
        cordoned_log_dirs: broker.cordoned.clone().filter(|_| version.has_cordoned_directories()),
    }
}

/// The record of a controller's registration.
pub(crate) fn register_controller(node: &ControllerNode) -> RegisterControllerRecord {
    RegisterControllerRecord {
        controller_id: node.id.0,
        incarnation_id: node.incarnation,
        zk_migration_ready: node.zk_migration_ready,
        end_points: node
            .endpoints
            .iter()
            .map(|endpoint| ControllerEndpoint {
                name: endpoint.name.to_string(),
                host: endpoint.host.to_string(),
                port: endpoint.port,
                security_protocol: endpoint.security_protocol,
            })
            .collect(),
        features: node
            .features
            .iter()
            .map(|(name, range)| ControllerFeature {
                name: name.to_string(),
                min_supported_version: range.min,
                max_supported_version: range.max,
            })
            .collect(),
    }
}

fn topics(image: &Image, version: MetadataVersion, out: &mut Vec<MetadataRecord>) {
    for topic in image.topics.by_id() {
        let (name, topic_id) = (topic.name.to_string(), topic.id.0);
        out.push(TopicRecord { name, topic_id }.into());
        let partitions = topic.partitions();
        out.extend(
            partitions.map(|(id, part)| partition_record(topic.id, id, part, version).into()),
        );
    }
}

/// A partition's whole state as a record; also how the controller creates one.
pub(crate) fn partition_record(
    topic: TopicId,
    id: PartitionId,
    partition: &Partition,
    version: MetadataVersion,
) -> PartitionRecord {
    let elr =
        |replicas: &[BrokerId]| (version.has_elr() && !replicas.is_empty()).then(|| ids(replicas));
    PartitionRecord {
        partition_id: id.0,
        topic_id: topic.0,
        replicas: ids(&partition.replicas),
        isr: ids(&partition.isr),
        removing_replicas: ids(&partition.removing),
        adding_replicas: ids(&partition.adding),
        leader: partition.leader.map_or(-1, |leader| leader.0),
        leader_recovery_state: partition.recovery as i8,
        leader_epoch: partition.leader_epoch.0,
        partition_epoch: partition.partition_epoch,
        directories: if version.has_directories() {
            partition.directories.clone()
        } else {
            Vec::new()
        },
        eligible_leader_replicas: elr(&partition.elr),
        last_known_elr: elr(&partition.last_known_elr),
    }
}

fn configs(image: &Image, out: &mut Vec<MetadataRecord>) {
    for (resource, values) in image.configs.iter() {
        out.extend(values.iter().map(|(name, value)| {
            let record = ConfigRecord {
                resource_type: resource.kind.code(),
                resource_name: resource.name.to_string(),
                name: name.clone(),
                value: Some(value.clone()),
            };
            record.into()
        }));
    }
}

fn quotas(image: &Image, out: &mut Vec<MetadataRecord>) {
    for (entity, limits) in image.quotas.iter() {
        let entity: Vec<_> = entity
            .iter()
            .map(|(kind, name)| EntityData {
                entity_type: kind.to_string(),
                entity_name: name.as_ref().map(ToString::to_string),
            })
            .collect();
        out.extend(limits.iter().map(|(key, &value)| {
            let (entity, key) = (entity.clone(), key.to_string());
            ClientQuotaRecord { entity, key, value, remove: false }.into()
        }));
    }
}

fn security(image: &Image, out: &mut Vec<MetadataRecord>) {
    out.extend(image.acls.iter().map(|acl| {
        let record = AccessControlEntryRecord {
            id: acl.id,
            resource_type: acl.resource_type,
            resource_name: acl.resource_name.to_string(),
            pattern_type: acl.pattern_type,
            principal: acl.principal.to_string(),
            host: acl.host.to_string(),
            operation: acl.operation,
            permission_type: acl.permission_type,
        };
        record.into()
    }));
    out.extend(image.scram.iter().map(|(mechanism, user, credential)| {
        let record = UserScramCredentialRecord {
            name: user.to_string(),
            mechanism,
            salt: credential.salt.clone(),
            stored_key: credential.stored_key.clone(),
            server_key: credential.server_key.clone(),
            iterations: credential.iterations,
        };
        record.into()
    }));
    out.extend(image.tokens.iter().map(|token| {
        let record = DelegationTokenRecord {
            owner: token.owner.to_string(),
            requester: token.requester.to_string(),
            renewers: token.renewers.iter().map(ToString::to_string).collect(),
            issue_timestamp: token.issued_ms,
            max_timestamp: token.max_ms,
            expiration_timestamp: token.expires_ms,
            token_id: token.id.to_string(),
        };
        record.into()
    }));
}

/// Ids as records carry them.
pub(crate) fn ids(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|broker| broker.0).collect()
}
