//! ElectLeaders (43), v0–2: elect the preferred replica, or any (KIP-183, KIP-460).
//!
//! v1 election type, top-level error code · v2 flexible

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Partitions to elect leaders for.
    request ElectLeadersRequest<'a> 43, 0..=2, flexible 2 {
        /// 0 preferred, 1 unclean.
        election_type: i8 [1..],
        /// Null for all.
        topic_partitions: Option<List<'a, TopicPartitions<'a>>>,
        /// How long to wait until they lead, milliseconds.
        timeout_ms: i32 = 60000,
    }

    /// Partitions of a topic.
    struct TopicPartitions<'a> {
        topic: &'a str,
        partitions: List<'a, i32>,
    }

    /// What became of each.
    response ElectLeadersResponse<'a> 43, 0..=2, flexible 2 {
        throttle_time_ms: i32,
        error_code: i16 [1..],
        replica_election_results: List<'a, ReplicaElectionResult<'a>>,
    }

    /// One topic's part of the response.
    struct ReplicaElectionResult<'a> {
        topic: &'a str,
        partition_result: List<'a, PartitionResult<'a>>,
    }

    /// One partition's part of the response.
    struct PartitionResult<'a> {
        partition_id: i32,
        error_code: i16,
        error_message: Option<&'a str>,
    }
}
