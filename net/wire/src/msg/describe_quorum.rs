//! DescribeQuorum (55), v0–2: the metadata quorum's leader, voters and observers (KIP-595).
//!
//! v1 times of fetching and catching up (KIP-836) · v2 error messages, endpoints, directory ids
//! (KIP-853)

use crate::list::List;
use crate::primitives::Uuid;
use crate::schema::wire;

wire! {
    /// Which partitions: there is one, `__cluster_metadata-0`.
    request DescribeQuorumRequest<'a> 55, 0..=2, flexible 0 {
        topics: List<'a, TopicRequest<'a>>,
    }

    /// One topic's part of the request.
    struct TopicRequest<'a> {
        topic_name: &'a str,
        partitions: List<'a, PartitionRequest>,
    }

    /// One partition's part of the request.
    struct PartitionRequest {
        partition_index: i32,
    }

    /// The quorum as its leader knows it.
    response DescribeQuorumResponse<'a> 55, 0..=2, flexible 0 {
        error_code: i16,
        error_message: Option<&'a str> [2.., ignorable],
        topics: List<'a, TopicData<'a>>,
        nodes: List<'a, Node<'a>> [2..],
    }

    /// One topic's part of the response.
    struct TopicData<'a> {
        topic_name: &'a str,
        partitions: List<'a, PartitionData<'a>>,
    }

    /// A voter or observer.
    struct Node<'a> {
        node_id: i32 [2..],
        listeners: List<'a, Listener<'a>> [2..],
    }

    /// One partition's part of the response.
    struct PartitionData<'a> {
        partition_index: i32,
        error_code: i16,
        error_message: Option<&'a str> [2.., ignorable],
        /// −1 for none.
        leader_id: i32,
        leader_epoch: i32,
        high_watermark: i64,
        current_voters: List<'a, ReplicaState>,
        observers: List<'a, ReplicaState>,
    }

    /// Where it listens.
    struct Listener<'a> {
        name: &'a str [2..],
        host: &'a str [2..],
        port: u16 [2..],
    }

    /// How far a replica is.
    struct ReplicaState {
        replica_id: i32,
        replica_directory_id: Uuid [2..],
        /// −1 for unknown.
        log_end_offset: i64,
        /// The leader's clock, Unix milliseconds; −1 for unknown.
        last_fetch_timestamp: i64 [1.., ignorable] = -1,
        /// The leader's clock, Unix milliseconds; −1 for unknown.
        last_caught_up_timestamp: i64 [1.., ignorable] = -1,
    }
}
