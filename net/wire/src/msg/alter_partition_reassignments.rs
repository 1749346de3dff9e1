//! AlterPartitionReassignments (45), v0–1: move replicas, or stop moving them (KIP-455).
//!
//! v1 whether the replication factor may change

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Where replicas shall be.
    request AlterPartitionReassignmentsRequest<'a> 45, 0..=1, flexible 0 {
        /// How long to wait until it is accepted, milliseconds.
        timeout_ms: i32 = 60000,
        allow_replication_factor_change: bool [1..] = true,
        topics: List<'a, ReassignableTopic<'a>>,
    }

    /// One topic's part of the request.
    struct ReassignableTopic<'a> {
        name: &'a str,
        partitions: List<'a, ReassignablePartition<'a>>,
    }

    /// One partition's part of the request.
    struct ReassignablePartition<'a> {
        partition_index: i32,
        /// Preferred leader first; null cancels the reassignment.
        replicas: Option<List<'a, i32>> = None,
    }

    /// What was accepted.
    response AlterPartitionReassignmentsResponse<'a> 45, 0..=1, flexible 0 {
        throttle_time_ms: i32,
        allow_replication_factor_change: bool [1.., ignorable] = true,
        error_code: i16,
        error_message: Option<&'a str>,
        responses: List<'a, ReassignableTopicResponse<'a>>,
    }

    /// One topic's part of the response.
    struct ReassignableTopicResponse<'a> {
        name: &'a str,
        partitions: List<'a, ReassignablePartitionResponse<'a>>,
    }

    /// One partition's part of the response.
    struct ReassignablePartitionResponse<'a> {
        partition_index: i32,
        error_code: i16,
        error_message: Option<&'a str>,
    }
}
