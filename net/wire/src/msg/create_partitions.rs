//! CreatePartitions (37), v0–3: add partitions to topics.
//!
//! v2 flexible · v3 THROTTLING_QUOTA_EXCEEDED (KIP-599)
//!
//! v1 changes only when throttling happens.

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Topics that shall grow.
    request CreatePartitionsRequest<'a> 37, 0..=3, flexible 2 {
        topics: List<'a, CreatePartitionsTopic<'a>>,
        /// How long to wait until they are there, milliseconds.
        timeout_ms: i32,
        /// Check, create nothing.
        validate_only: bool,
    }

    /// One topic.
    struct CreatePartitionsTopic<'a> {
        name: &'a str,
        /// Partitions the topic shall have, the present ones included.
        count: i32,
        /// One per new partition; null to leave the placement to the controller.
        assignments: Option<List<'a, CreatePartitionsAssignment<'a>>>,
    }

    /// Where one new partition goes.
    struct CreatePartitionsAssignment<'a> {
        /// Preferred leader first.
        broker_ids: List<'a, i32>,
    }

    /// What became of each.
    response CreatePartitionsResponse<'a> 37, 0..=3, flexible 2 {
        throttle_time_ms: i32,
        results: List<'a, CreatePartitionsTopicResult<'a>>,
    }

    /// What became of one topic.
    struct CreatePartitionsTopicResult<'a> {
        name: &'a str,
        error_code: i16,
        error_message: Option<&'a str> = None,
    }
}
