//! ListPartitionReassignments (46), v0: replicas on the move (KIP-455).

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Which partitions.
    request ListPartitionReassignmentsRequest<'a> 46, 0..=0, flexible 0 {
        /// Milliseconds.
        timeout_ms: i32 = 60000,
        /// Null for all.
        topics: Option<List<'a, ListPartitionReassignmentsTopics<'a>>> = None,
    }

    /// Partitions of a topic.
    struct ListPartitionReassignmentsTopics<'a> {
        name: &'a str,
        partition_indexes: List<'a, i32>,
    }

    /// What is going on.
    response ListPartitionReassignmentsResponse<'a> 46, 0..=0, flexible 0 {
        throttle_time_ms: i32,
        error_code: i16,
        error_message: Option<&'a str>,
        topics: List<'a, OngoingTopicReassignment<'a>>,
    }

    /// One topic's part of the response.
    struct OngoingTopicReassignment<'a> {
        name: &'a str,
        partitions: List<'a, OngoingPartitionReassignment<'a>>,
    }

    /// One partition's part of the response.
    struct OngoingPartitionReassignment<'a> {
        partition_index: i32,
        /// Present ones, the two kinds below included.
        replicas: List<'a, i32>,
        adding_replicas: List<'a, i32>,
        removing_replicas: List<'a, i32>,
    }
}
