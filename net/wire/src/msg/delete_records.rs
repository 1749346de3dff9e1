//! DeleteRecords (21), v0–2: raise a partition's log start.
//!
//! v2 flexible
//!
//! v1 changes only when throttling happens.

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Partitions, and what to delete before.
    request DeleteRecordsRequest<'a> 21, 0..=2, flexible 2 {
        topics: List<'a, DeleteRecordsTopic<'a>>,
        /// How long to wait for the followers, milliseconds.
        timeout_ms: i32,
    }

    /// One topic's part of the request.
    struct DeleteRecordsTopic<'a> {
        name: &'a str,
        partitions: List<'a, DeleteRecordsPartition>,
    }

    /// One partition's part of the request.
    struct DeleteRecordsPartition {
        partition_index: i32,
        /// Records below it go; −1 for all up to the high watermark.
        offset: i64,
    }

    /// What became of each.
    response DeleteRecordsResponse<'a> 21, 0..=2, flexible 2 {
        throttle_time_ms: i32,
        topics: List<'a, DeleteRecordsTopicResult<'a>>,
    }

    /// One topic's part of the response.
    struct DeleteRecordsTopicResult<'a> {
        name: &'a str,
        partitions: List<'a, DeleteRecordsPartitionResult>,
    }

    /// One partition's part of the response.
    struct DeleteRecordsPartitionResult {
        partition_index: i32,
        /// The lowest log start offset over all replicas; −1 with an error.
        low_watermark: i64,
        error_code: i16,
    }
}
