//! ElectLeaders (43), v0–2: of the partitions named, or of all; decided by the controller.

use std::collections::BTreeMap;

use engine::ids::PartitionId;
use replication::controller::elect::ElectionKind;
use wire::error_code::ErrorCode;
use wire::msg::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use super::Cx;
use super::errors::{Coded, Failure};
use crate::conn::reply::Reply;
use crate::meta::requests::ElectLeaders;

pub(super) async fn handle(cx: &Cx, request: ElectLeadersRequest<'_>) -> Reply {
    let asked = request.topic_partitions.as_ref().map(|topics| {
        let mut asked = Vec::new();
        for topic in topics {
            let name = topic.topic;
            asked.extend(topic.partitions.iter().map(|id| (name.to_owned(), PartitionId(id))));
        }
        asked
    });
    // Who leads is the cluster's business, whatever the topic, as in Kafka.
    let kind = cx
        .permits_cluster()
        .map_err(Failure::bare)
        .and_then(|()| ElectionKind::from_code(request.election_type).map_err(Failure::from));
    let (failed, results) = match kind {
        Err(failure) => (failure.code, all(asked, &failure)),
        Ok(kind) => match cx.change(ElectLeaders { kind, partitions: asked.clone() }).await {
            Ok(outcomes) => {
                let told = outcomes.into_iter().map(|outcome| {
                    let failure = outcome.result.err().map(|refusal| {
                        let code = refusal.code();
                        let message = refusal.message.map(Into::into);
                        Failure { code, message: message.or(Some(code.message().into())) }
                    });
                    (outcome.topic, outcome.partition, failure)
                });
                (ErrorCode::NONE, told.collect())
            }
            Err(failure) => (failure.code, all(asked, &failure)),
        },
    };
    let mut topics: BTreeMap<&str, Vec<PartitionResult<'_>>> = BTreeMap::new();
    for (topic, partition, failure) in &results {
        topics.entry(topic).or_default().push(PartitionResult {
            partition_id: partition.0,
            error_code: failure.as_ref().map_or(ErrorCode::NONE, |failure| failure.code).into(),
            error_message: failure.as_ref().and_then(|failure| failure.message.as_deref()),
        });
    }
    let topics = topics.into_iter().map(|(topic, partitions)| ReplicaElectionResult {
        topic,
        partition_result: partitions.into(),
    });
    cx.reply(&ElectLeadersResponse {
        throttle_time_ms: cx.throttle_ms(),
        error_code: failed.into(),
        replica_election_results: topics.collect(),
    })
}

/// The same failure for everything that was named.
fn all(
    asked: Option<Vec<(String, PartitionId)>>,
    failure: &Failure,
) -> Vec<(String, PartitionId, Option<Failure>)> {
    let asked = asked.unwrap_or_default().into_iter();
    asked.map(|(topic, partition)| (topic, partition, Some(failure.clone()))).collect()
}
