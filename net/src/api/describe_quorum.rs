//! DescribeQuorum (55), v0–2: who leads the metadata log, and how far its voters are.
//!
//! Core 0 knows. With one voter, which leads, there is nobody behind.

use replication::quorum::ReplicaDescription;
use wire::error_code::ErrorCode;
use wire::msg::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState,
    TopicData,
};
use wire::primitives::Uuid;

use super::Cx;
use crate::conn::reply::Reply;
use crate::meta::requests::DescribeQuorum;

pub(super) async fn handle(cx: &Cx, request: DescribeQuorumRequest<'_>) -> Reply {
    if !asks_for_the_quorum(&request) {
        return refuse(cx, &request, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
    let state = match cx.change(DescribeQuorum).await {
        Ok(state) => state,
        Err(failure) => return refuse(cx, &request, failure.code),
    };
    let directories = cx.version >= NODES_NAMED;
    let replica = |known: &ReplicaDescription| ReplicaState {
        replica_id: known.id.0,
        replica_directory_id: if directories { known.directory } else { Uuid::ZERO },
        log_end_offset: known.log_end.map_or(-1, |offset| offset.0),
        last_fetch_timestamp: known.last_fetch_ms.unwrap_or(-1),
        last_caught_up_timestamp: known.last_caught_up_ms.unwrap_or(-1),
    };
    let partition = PartitionData {
        partition_index: 0,
        leader_id: state.leader.0,
        leader_epoch: state.epoch.0,
        high_watermark: state.high_watermark.map_or(-1, |offset| offset.0),
        current_voters: state.voters.iter().map(replica).collect(),
        observers: state.observers.iter().map(replica).collect(),
        ..PartitionData::default()
    };
    let nodes = state.nodes.iter().filter(|_| directories).map(|(id, endpoints)| Node {
        node_id: id.0,
        listeners: endpoints
            .iter()
            .map(|endpoint| Listener {
                name: &endpoint.name,
                host: &endpoint.host,
                port: endpoint.port,
            })
            .collect(),
    });
    let topic = TopicData { topic_name: METADATA_TOPIC, partitions: vec![partition].into() };
    let nodes = nodes.collect();
    cx.reply(&DescribeQuorumResponse {
        topics: vec![topic].into(),
        nodes,
        ..DescribeQuorumResponse::default()
    })
}

fn asks_for_the_quorum(request: &DescribeQuorumRequest<'_>) -> bool {
    let Some(topic) = request.topics.first().filter(|_| request.topics.len() == 1) else {
        return false;
    };
    let partition = topic.partitions.first().filter(|_| topic.partitions.len() == 1);
    topic.topic_name == METADATA_TOPIC && partition.is_some_and(|asked| asked.partition_index == 0)
}

fn refuse(cx: &Cx, request: &DescribeQuorumRequest<'_>, code: ErrorCode) -> Reply {
    let topics = request.topics.iter().map(|topic| TopicData {
        topic_name: topic.topic_name,
        partitions: topic
            .partitions
            .iter()
            .map(|asked| PartitionData {
                partition_index: asked.partition_index,
                error_code: code.into(),
                error_message: Some(code.message()),
                ..PartitionData::default()
            })
            .collect(),
    });
    cx.reply(&DescribeQuorumResponse {
        topics: topics.collect(),
        ..DescribeQuorumResponse::default()
    })
}

const METADATA_TOPIC: &str = "__cluster_metadata";
/// Version from which on nodes and directories are told.
const NODES_NAMED: i16 = 2;
