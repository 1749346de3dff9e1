//! DescribeProducers (61), v0: the producers that partitions remember. Runs on the owners: one call
//! per core.

use std::collections::BTreeSet;
use std::rc::Rc;

use engine::ids::LeaderEpoch;
use engine::partition::ActiveProducer;
use replication::cores::PartitionKey;
use wire::error_code::ErrorCode;
use wire::msg::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
    TopicResponse,
};
use wire::primitives::Uuid;

use super::Cx;
use super::errors::{Coded, check_epoch};
use super::scatter::Scatter;
use crate::conn::reply::Reply;
use crate::core::Core;

/// The partitions of one core in one request.
pub(crate) struct Work(Vec<PartitionKey>);

/// The parts' producers, in their order.
pub(crate) type Outcome = Vec<Result<Vec<ActiveProducer>, ErrorCode>>;

pub(super) async fn handle(cx: &Cx, request: DescribeProducersRequest<'_>) -> Reply {
    let mut found = Vec::new();
    let mut scatter = Scatter::new();
    // A partition's producers are far more than its number: they are told once.
    let mut seen = BTreeSet::new();
    for topic in &request.topics {
        let id = cx.topic_id(topic.name, Uuid::ZERO, i16::MAX);
        for partition in &topic.partition_indexes {
            let slot = found.len();
            found.push(match id.and_then(|id| cx.home(id, partition)) {
                Err(code) => Err(code),
                Ok((key, _)) if !seen.insert(key) => Err(ErrorCode::INVALID_REQUEST),
                Ok((key, home)) => {
                    scatter.add(home.core, slot, key);
                    Ok(Vec::new())
                }
            });
        }
    }
    for (slot, outcome) in scatter.ask(cx, |parts| Work(parts.into_vec())).await {
        found[slot] = outcome.unwrap_or_else(|error| Err(error.code()));
    }
    let mut found = found.into_iter();
    let topics = request.topics.iter().map(|topic| TopicResponse {
        name: topic.name,
        partitions: topic
            .partition_indexes
            .iter()
            .map(|partition| partition_response(partition, found.next().expect("one for each")))
            .collect(),
    });
    let topics = topics.collect();
    cx.reply(&DescribeProducersResponse { throttle_time_ms: cx.throttle_ms(), topics })
}

fn partition_response<'a>(
    partition_index: i32,
    found: Result<Vec<ActiveProducer>, ErrorCode>,
) -> PartitionResponse<'a> {
    match found {
        Ok(producers) => PartitionResponse {
            partition_index,
            active_producers: producers.into_iter().map(producer_state).collect(),
            ..PartitionResponse::default()
        },
        Err(code) => PartitionResponse {
            partition_index,
            error_code: code.into(),
            error_message: Some(code.message()),
            ..PartitionResponse::default()
        },
    }
}

fn producer_state(producer: ActiveProducer) -> ProducerState {
    ProducerState {
        producer_id: producer.producer_id.0,
        producer_epoch: i32::from(producer.producer_epoch.0),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.current_txn_first.map_or(-1, |offset| offset.0),
    }
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work(parts): Work) -> Outcome {
    let find = |key: PartitionKey| {
        let partition = core.partitions.open(key).map_err(|error| error.code())?;
        check_epoch(&partition, LeaderEpoch::NONE)?;
        Ok(partition.producers())
    };
    parts.into_iter().map(find).collect()
}
