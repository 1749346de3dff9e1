//! CreateTopics (19), v2–7: each topic on its own, decided on core 0.

use std::rc::Rc;

use engine::ids::CoreId;
use wire::error_code::ErrorCode;
use wire::msg::create_topics::{CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse};
use wire::primitives::Uuid;

use super::Cx;
use super::errors::Coded;
use crate::boot::random_id;
use crate::conn::reply::Reply;
use crate::core::Core;
use crate::meta::join::create_topic;

/// Names and numbers of partitions.
pub(crate) struct Work(Vec<(String, i32)>);

/// What became of each.
pub(crate) type Outcome = Vec<Result<Uuid, ErrorCode>>;

pub(super) async fn handle(cx: &Cx, request: CreateTopicsRequest<'_>) -> Reply {
    let default = i32::try_from(cx.core.config().num_partitions).unwrap_or(i32::MAX);
    let topics = request.topics.iter().map(|topic| {
        let partitions = if topic.num_partitions == -1 { default } else { topic.num_partitions };
        (topic.name.to_owned(), partitions)
    });
    let topics: Vec<_> = topics.collect();
    let outcome = match cx.call(CoreId(0), Work(topics.clone())).await {
        Ok(outcome) => outcome,
        Err(error) => vec![Err(error.code()); topics.len()],
    };
    let results =
        topics.iter().zip(outcome).map(|((name, partitions), created)| CreatableTopicResult {
            name,
            topic_id: created.unwrap_or_default(),
            error_code: created.err().unwrap_or(ErrorCode::NONE).into(),
            error_message: None,
            num_partitions: *partitions,
            replication_factor: 1,
            ..CreatableTopicResult::default()
        });
    cx.reply(&CreateTopicsResponse {
        throttle_time_ms: cx.throttle_ms(),
        topics: results.collect(),
    })
}

/// Core 0's side.
pub(crate) async fn serve(core: Rc<Core>, Work(topics): Work) -> Outcome {
    let Some(meta) = core.meta.get() else {
        return vec![Err(ErrorCode::NOT_CONTROLLER); topics.len()];
    };
    let mut outcome = Vec::with_capacity(topics.len());
    for (name, partitions) in topics {
        let (id, broker) = (random_id(&core.rt), core.node.id);
        let decided = meta.propose(move |desk| create_topic(desk, broker, id, &name, partitions));
        outcome.push(match decided.await {
            Ok(true) => Ok(id),
            Ok(false) => Err(ErrorCode::TOPIC_ALREADY_EXISTS),
            Err(_) => Err(ErrorCode::UNKNOWN_SERVER_ERROR),
        });
    }
    outcome
}
