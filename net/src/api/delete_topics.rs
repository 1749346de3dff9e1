//! DeleteTopics (20), v1–6: by name, from v6 on also by id; decided by the controller.
//!
//! The answer leaves when no core serves the topics any more.

use engine::ids::TopicId;
use replication::controller::delete::TopicRef;
use wire::error_code::ErrorCode;
use wire::msg::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use wire::primitives::Uuid;

use super::Cx;
use super::errors::Failure;
use crate::conn::reply::Reply;
use crate::meta::requests::DeleteTopics;

pub(super) async fn handle(cx: &Cx, request: DeleteTopicsRequest<'_>) -> Reply {
    let by_name = request.topic_names.iter();
    let by_name = by_name.map(|name| TopicRef { name: Some(name.to_owned()), id: None });
    let topics: Vec<_> = by_name.chain(request.topics.iter().map(|topic| named(&topic))).collect();
    let (mut results, mut allowed) = (Vec::new(), Vec::new());
    for topic in topics {
        match permits(cx, &topic) {
            Ok(()) => allowed.push(topic),
            Err(code) => results.push((topic, Some(Failure::bare(code)))),
        }
    }
    let asked = allowed.clone();
    match cx.change(DeleteTopics(allowed)).await {
        Ok(outcomes) => results.extend(outcomes.into_iter().map(|outcome| {
            let failure = outcome.result.err().map(Failure::from);
            (TopicRef { name: outcome.name, id: outcome.id }, failure)
        })),
        Err(failure) => {
            results.extend(asked.into_iter().map(|topic| (topic, Some(failure.clone()))));
        }
    }
    let responses = results.iter().map(|(topic, failure)| {
        let code = failure.as_ref().map_or(ErrorCode::NONE, |failure| failure.code);
        let message = failure.as_ref().and_then(|failure| failure.message.as_deref());
        DeletableTopicResult {
            // Up to v5 a topic is always asked for by its name.
            name: topic.name.as_deref().or((cx.version < 6).then_some("")),
            topic_id: topic.id.map_or(Uuid::ZERO, |id| id.0),
            error_code: code.into(),
            error_message: message.or((!code.is_ok()).then_some(code.message())),
        }
    });
    let responses = responses.collect();
    cx.reply(&DeleteTopicsResponse { throttle_time_ms: cx.throttle_ms(), responses })
}

/// Whether the topic may be deleted. Of one that is unknown by its id there is nothing to deny.
fn permits(cx: &Cx, topic: &TopicRef) -> Result<(), ErrorCode> {
    let image = cx.image();
    let known = topic.id.and_then(|id| image.topics().get(id));
    match topic.name.as_deref().or(known.map(|topic| &*topic.name)) {
        Some(name) => cx.permits_topic(name),
        None => Ok(()),
    }
}

fn named(topic: &DeleteTopicState<'_>) -> TopicRef {
    let id = Some(TopicId(topic.topic_id)).filter(|id| !id.0.is_zero());
    TopicRef { name: topic.name.map(str::to_owned), id }
}
