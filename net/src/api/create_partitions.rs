//! CreatePartitions (37), v0–3: topics grow, decided by the controller.

use engine::ids::BrokerId;
use replication::controller::grow::{CreatePartitions, GrowTopic};
use wire::error_code::ErrorCode;
use wire::msg::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};

use super::Cx;
use super::errors::Failure;
use crate::conn::reply::Reply;

pub(super) async fn handle(cx: &Cx, request: CreatePartitionsRequest<'_>) -> Reply {
    let mut results: Vec<(String, Option<Failure>)> = Vec::new();
    let (mut allowed, mut topics) = (Vec::new(), Vec::new());
    for topic in &request.topics {
        match cx.permits_topic(topic.name) {
            Ok(()) => {
                topics.push(grow(&topic));
                allowed.push(topic.name);
            }
            Err(code) => results.push((topic.name.to_owned(), Some(Failure::bare(code)))),
        }
    }
    let change = CreatePartitions { topics, validate_only: request.validate_only };
    match cx.change(change).await {
        Ok(outcomes) => results.extend(outcomes.into_iter().map(|outcome| {
            let failure = outcome.result.err().map(Failure::from);
            (outcome.name, failure)
        })),
        Err(failure) => {
            let names = allowed.into_iter().map(str::to_owned);
            results.extend(names.map(|name| (name, Some(failure.clone()))));
        }
    }
    let results = results.iter().map(|(name, failure)| CreatePartitionsTopicResult {
        name,
        error_code: failure.as_ref().map_or(ErrorCode::NONE, |failure| failure.code).into(),
        error_message: failure.as_ref().and_then(|failure| failure.message.as_deref()),
    });
    let results = results.collect();
    cx.reply(&CreatePartitionsResponse { throttle_time_ms: cx.throttle_ms(), results })
}

fn grow(topic: &CreatePartitionsTopic<'_>) -> GrowTopic {
    let assignments = topic.assignments.as_ref().map(|assignments| {
        let brokers = |brokers: &wire::list::List<'_, i32>| brokers.iter().map(BrokerId).collect();
        assignments.iter().map(|assigned| brokers(&assigned.broker_ids)).collect()
    });
    GrowTopic { name: topic.name.to_owned(), count: topic.count, assignments }
}
