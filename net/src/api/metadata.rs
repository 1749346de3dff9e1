//! Metadata (3), v0–13: brokers, topics and leaders, as this core's image has them.
//!
//! A topic that does not exist is created where the client and `auto.create.topics.enable` allow
//! it. The answer then has it: creation is confirmed by every core first.

use std::sync::Arc;

use engine::ids::TopicId;
use replication::image::{Image, Topic};
use wire::error_code::ErrorCode;
use wire::msg::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use wire::primitives::Uuid;

use super::{Cx, ResourceKind};
use crate::conn::reply::Reply;

pub(super) async fn handle(cx: &Cx, request: MetadataRequest<'_>) -> Reply {
    let image = cx.image();
    let with_operations = request.include_topic_authorized_operations;
    let operations = |name: &str| match with_operations {
        true => cx.allowed_operations(ResourceKind::Topic, name),
        false => i32::MIN,
    };
    // In version 0 an empty list asks for all, later null does.
    let all = match &request.topics {
        None => true,
        Some(topics) => cx.version == 0 && topics.is_empty(),
    };
    let topics = if all {
        let known = image.topics().iter();
        known.map(|topic| known_topic(&image, topic, operations(&topic.name))).collect()
    } else {
        let asked = request.topics.iter().flat_map(|topics| topics.iter());
        asked.map(|asked| asked_topic(&image, &asked, &operations)).collect()
    };
    cx.reply(&MetadataResponse {
        throttle_time_ms: cx.throttle_ms(),
        brokers: brokers(cx, &image),
        cluster_id: Some(&cx.core.node.cluster_id),
        controller_id: cx.core.node.id.0,
        topics,
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => cx.allowed_operations(ResourceKind::Cluster, "kafka-cluster"),
            false => i32::MIN,
        },
        ..MetadataResponse::default()
    })
}

/// Brokers that serve, at the address of the listener that the client came in by.
fn brokers<'a, C: FromIterator<MetadataResponseBroker<'a>>>(cx: &Cx, image: &'a Image) -> C {
    let listener = &cx.listener().name;
    let serving = image.brokers().unfenced().filter_map(|broker| {
        let endpoint = broker.endpoints.iter().find(|endpoint| *endpoint.name == **listener)?;
        Some(MetadataResponseBroker {
            node_id: broker.id.0,
            host: &endpoint.host,
            port: i32::from(endpoint.port),
            rack: broker.rack.as_deref(),
        })
    });
    serving.collect()
}

fn asked_topic<'a>(
    image: &'a Image,
    asked: &MetadataRequestTopic<'a>,
    operations: &impl Fn(&str) -> i32,
) -> MetadataResponseTopic<'a> {
    let by_id = asked.name.is_none();
    let known = match asked.name {
        Some(name) => image.topics().named(name),
        None => image.topics().get(TopicId(asked.topic_id)),
    };
    match known {
        Some(topic) => known_topic(image, topic, operations(&topic.name)),
        None => MetadataResponseTopic {
            error_code: match by_id {
                true => ErrorCode::UNKNOWN_TOPIC_ID,
                false => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            }
            .into(),
            name: asked.name,
            topic_id: if by_id { asked.topic_id } else { Uuid::ZERO },
            ..MetadataResponseTopic::default()
        },
    }
}

fn known_topic<'a>(
    image: &'a Image,
    topic: &'a Arc<Topic>,
    topic_authorized_operations: i32,
) -> MetadataResponseTopic<'a> {
    let partitions = topic.partitions().map(|(index, partition)| {
        let leader = partition.leader.filter(|&leader| image.brokers().get(leader).is_some());
        let offline = |replica: &&_| !image.brokers().is_active(**replica);
        MetadataResponsePartition {
            error_code: match leader {
                Some(_) => ErrorCode::NONE,
                None => ErrorCode::LEADER_NOT_AVAILABLE,
            }
            .into(),
            partition_index: index.0,
            leader_id: leader.map_or(-1, |leader| leader.0),
            leader_epoch: partition.leader_epoch.0,
            replica_nodes: partition.replicas.iter().map(|replica| replica.0).collect(),
            isr_nodes: partition.isr.iter().map(|replica| replica.0).collect(),
            offline_replicas: partition.replicas.iter().filter(offline).map(|id| id.0).collect(),
        }
    });
    MetadataResponseTopic {
        error_code: ErrorCode::NONE.into(),
        name: Some(&topic.name),
        topic_id: topic.id.0,
        is_internal: is_internal(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations,
    }
}

/// Kafka's own topics, which clients leave alone.
pub(super) fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}
