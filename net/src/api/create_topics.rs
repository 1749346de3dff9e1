//! CreateTopics (19), v2–7: each topic whole or not at all, decided by the controller.
//!
//! The answer leaves when every core has the topics. The effective configuration that v5 and later
//! may tell is withheld where the client may not see it.

use config::Described;
use engine::ids::{BrokerId, PartitionId};
use replication::controller::create::{CreateTopics, CreatedTopic, NewTopic, TopicOutcome};
use wire::error_code::ErrorCode;
use wire::msg::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};

use super::Cx;
use super::authz::{CLUSTER, Operation, ResourceKind};
use super::errors::Coded;
use crate::conn::reply::Reply;

pub(super) async fn handle(cx: &Cx, request: CreateTopicsRequest<'_>) -> Reply {
    let allowed = |topic: &CreatableTopic<'_>| {
        cx.permits(CLUSTER) || cx.allows(Operation::Create, ResourceKind::Topic, topic.name)
    };
    let (asked, denied): (Vec<_>, Vec<_>) = request.topics.iter().partition(allowed);
    let change = CreateTopics {
        topics: asked.iter().map(new_topic).collect(),
        validate_only: request.validate_only,
    };
    let outcomes = cx.change(change).await;
    let mut results = Vec::new();
    let mut configs = Vec::new();
    match &outcomes {
        Ok(outcomes) => {
            let config = cx.core.config();
            let created = |outcome: &TopicOutcome| match &outcome.result {
                Ok(created) => config.describe_topic(&created.configs),
                Err(_) => Vec::new(),
            };
            configs.extend(outcomes.iter().map(created));
            results.extend(outcomes.iter().zip(&configs).map(|(outcome, described)| {
                match &outcome.result {
                    Ok(created) => success(cx, &outcome.name, created, described),
                    Err(refusal) => {
                        failure(&outcome.name, refusal.code(), refusal.message.as_deref())
                    }
                }
            }));
        }
        Err(failed) => {
            let message = failed.message.as_deref();
            results.extend(asked.iter().map(|topic| failure(topic.name, failed.code, message)));
        }
    }
    let refused = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
    results.extend(denied.iter().map(|topic| failure(topic.name, refused, None)));
    cx.reply(&CreateTopicsResponse { throttle_time_ms: cx.throttle_ms(), topics: results.into() })
}

fn new_topic(topic: &CreatableTopic<'_>) -> NewTopic {
    let assignments = topic.assignments.iter().map(|assigned| {
        let brokers = assigned.broker_ids.iter().map(BrokerId).collect();
        (PartitionId(assigned.partition_index), brokers)
    });
    let configs = topic
        .configs
        .iter()
        .map(|config| (config.name.to_owned(), config.value.map(str::to_owned)));
    NewTopic {
        name: topic.name.to_owned(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments.collect(),
        configs: configs.collect(),
        internal: false,
    }
}

fn success<'a>(
    cx: &Cx,
    name: &'a str,
    created: &CreatedTopic,
    described: &'a [Described],
) -> CreatableTopicResult<'a> {
    let result = CreatableTopicResult {
        name,
        topic_id: created.id.0,
        error_code: ErrorCode::NONE.into(),
        error_message: None,
        ..CreatableTopicResult::default()
    };
    if !cx.allows(Operation::DescribeConfigs, ResourceKind::Topic, name) {
        let withheld = ErrorCode::TOPIC_AUTHORIZATION_FAILED.into();
        return CreatableTopicResult { topic_config_error_code: withheld, configs: None, ..result };
    }
    let configs = described.iter().map(|config| CreatableTopicConfigs {
        name: config.name,
        value: config.value.as_deref(),
        read_only: config.read_only,
        config_source: config.source.id(),
        is_sensitive: config.sensitive,
    });
    CreatableTopicResult {
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(configs.collect()),
        ..result
    }
}

fn failure<'a>(
    name: &'a str,
    code: ErrorCode,
    message: Option<&'a str>,
) -> CreatableTopicResult<'a> {
    CreatableTopicResult {
        name,
        error_code: code.into(),
        error_message: message.or(Some(code.message())),
        configs: None,
        ..CreatableTopicResult::default()
    }
}
