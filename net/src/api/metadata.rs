//! Metadata (3), v0–13: brokers, topics and leaders, as this core's image has them.
//!
//! A topic that does not exist is created where the client and `auto.create.topics.enable` allow
//! it. The answer then has it: creation is confirmed by every core first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::ids::TopicId;
use replication::controller::create::{CreateTopics, NewTopic};
use replication::controller::{ErrorKind, names};
use replication::image::{Image, Topic};
use wire::error_code::ErrorCode;
use wire::msg::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use wire::primitives::Uuid;

use super::Cx;
use super::authz::{CLUSTER, Operation, ResourceKind};
use super::errors::Coded;
use crate::conn::reply::Reply;
use crate::groups;

pub(super) async fn handle(cx: &Cx, request: MetadataRequest<'_>) -> Reply {
    // Versions 10 and 11 have the fields, but no way to answer for a topic without a name.
    let mut asked = request.topics.iter().flat_map(|topics| topics.iter());
    if cx.version < 12 && asked.any(|it| it.name.is_none() || !it.topic_id.is_zero()) {
        return refuse(cx, &request);
    }
    let refused = create_missing(cx, &request).await;
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
    // A topic is far larger than its name: each is answered once, as in Kafka.
    let mut seen = BTreeSet::new();
    let asked = request.topics.iter().flat_map(|topics| topics.iter());
    let asked: Vec<_> = asked.filter(|it| seen.insert((it.name, it.topic_id))).collect();
    cx.claim(if all {
        elements(image.topics().iter())
    } else {
        elements(asked.iter().filter_map(|asked| find(&image, asked))) + asked.len()
    })
    .await;
    let topics = if all {
        let known = image.topics().iter();
        known.map(|topic| known_topic(&image, topic, operations(&topic.name))).collect()
    } else {
        let asked = asked.iter();
        asked.map(|asked| asked_topic(&image, asked, &refused, &operations)).collect()
    };
    cx.reply(&MetadataResponse {
        throttle_time_ms: cx.throttle_ms(),
        brokers: brokers(cx, &image),
        cluster_id: Some(&cx.core.node.cluster_id),
        controller_id: cx.core.node.id.0,
        topics,
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => cx.allowed_operations(ResourceKind::Cluster, CLUSTER),
            false => i32::MIN,
        },
        ..MetadataResponse::default()
    })
}

/// As Kafka answers a request that asks by id before there was asking by id.
fn refuse(cx: &Cx, request: &MetadataRequest<'_>) -> Reply {
    let topics = request.topics.iter().flat_map(|topics| topics.iter());
    let refused = topics.map(|topic| MetadataResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST.into(),
        name: Some(topic.name.unwrap_or("")),
        topic_id: topic.topic_id,
        ..MetadataResponseTopic::default()
    });
    let throttle_time_ms = cx.throttle_ms();
    let topics = refused.collect();
    cx.reply(&MetadataResponse { throttle_time_ms, topics, ..MetadataResponse::default() })
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

/// Creates the topics that are asked for and missing, where client and broker allow it. Returns
/// why not, for those that could not be.
async fn create_missing(cx: &Cx, request: &MetadataRequest<'_>) -> BTreeMap<String, ErrorCode> {
    let mut refused = BTreeMap::new();
    let image = cx.image();
    let named = request.topics.iter().flat_map(|topics| topics.iter()).filter_map(|it| it.name);
    let missing: BTreeSet<_> =
        named.filter(|name| image.topics().named(name).is_none()).map(str::to_owned).collect();
    let auto = request.allow_auto_topic_creation && cx.core.config().auto_create_topics_enable;
    let (mut wanted, mut topics) = (Vec::new(), Vec::new());
    for name in missing {
        let allowed = cx.allows(Operation::Create, ResourceKind::Cluster, CLUSTER)
            || cx.allows(Operation::Create, ResourceKind::Topic, &name);
        if names::refusal(&name).is_some() {
            refused.insert(name, ErrorCode::INVALID_TOPIC_EXCEPTION);
        } else if auto && !allowed {
            refused.insert(name, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
        } else if auto {
            let (partitions, replication_factor) = (-1, -1);
            topics.push(match groups::is_hosted(&name) {
                true => groups::new_topic(&cx.core.config(), &image),
                false => NewTopic { name, partitions, replication_factor, ..NewTopic::default() },
            });
        }
    }
    if topics.is_empty() {
        return refused;
    }
    wanted.extend(topics.iter().map(|topic| topic.name.clone()));
    let change = CreateTopics { topics, validate_only: false };
    match cx.change(change).await {
        Ok(outcomes) => refused.extend(outcomes.into_iter().filter_map(|outcome| {
            match outcome.result {
                Ok(_) => None,
                // Somebody else was faster.
                Err(refusal) if refusal.kind == ErrorKind::TopicAlreadyExists => None,
                Err(refusal) => Some((outcome.name, refusal.code())),
            }
        })),
        // The client asks again.
        Err(_) => {
            refused.extend(wanted.into_iter().map(|it| (it, ErrorCode::LEADER_NOT_AVAILABLE)))
        }
    }
    refused
}

fn asked_topic<'a>(
    image: &'a Image,
    asked: &MetadataRequestTopic<'a>,
    refused: &BTreeMap<String, ErrorCode>,
    operations: &impl Fn(&str) -> i32,
) -> MetadataResponseTopic<'a> {
    let by_id = asked.name.is_none();
    match find(image, asked) {
        Some(topic) => known_topic(image, topic, operations(&topic.name)),
        None => MetadataResponseTopic {
            error_code: match asked.name {
                None => ErrorCode::UNKNOWN_TOPIC_ID,
                Some(name) => {
                    refused.get(name).copied().unwrap_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
                }
            }
            .into(),
            name: asked.name,
            topic_id: if by_id { asked.topic_id } else { Uuid::ZERO },
            ..MetadataResponseTopic::default()
        },
    }
}

fn find<'a>(image: &'a Image, asked: &MetadataRequestTopic<'_>) -> Option<&'a Arc<Topic>> {
    match asked.name {
        Some(name) => image.topics().named(name),
        None => image.topics().get(TopicId(asked.topic_id)),
    }
}

/// Elements of the answer about these topics.
fn elements<'a>(topics: impl Iterator<Item = &'a Arc<Topic>>) -> usize {
    topics.map(|topic| 1 + topic.partition_count()).sum()
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
        is_internal: names::is_internal(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations,
    }
}
