//! ListOffsets (2), v1–11: find an offset by timestamp, or by a special one.
//!
//! v1 one offset and its timestamp · v2 isolation level, throttle time · v4 leader epochs · v5
//! OFFSET_NOT_AVAILABLE · v6 flexible · v7 max timestamp, −3 (KIP-734) · v8 earliest local, −4
//! (KIP-405) · v9 latest tiered, −5 (KIP-1005) · v10 timeout, for lookups in remote storage
//! (KIP-1075) · v11 earliest pending upload, −6 (KIP-1023)

use crate::list::List;
use crate::schema::wire;

wire! {
    /// What to look for.
    request ListOffsetsRequest<'a> 2, 1..=11, flexible 6 {
        /// −1 for a consumer, −2 for a tool that sees past the high watermark.
        replica_id: i32,
        /// 0 read_uncommitted, 1 read_committed: whether "latest" is the last stable offset.
        isolation_level: i8 [2..],
        topics: List<'a, ListOffsetsTopic<'a>>,
        /// How long to wait for remote storage, milliseconds.
        timeout_ms: i32 [10.., ignorable],
    }

    /// One topic's part of the request.
    struct ListOffsetsTopic<'a> {
        name: &'a str,
        partitions: List<'a, ListOffsetsPartition>,
    }

    /// One partition's part of the request.
    struct ListOffsetsPartition {
        partition_index: i32,
        current_leader_epoch: i32 [4.., ignorable] = -1,
        /// The first record not older, Unix milliseconds. Special: −1 latest, −2 earliest, −3 max
        /// timestamp, −4 earliest local, −5 latest tiered, −6 earliest pending upload.
        timestamp: i64,
    }

    /// What was found.
    response ListOffsetsResponse<'a> 2, 1..=11, flexible 6 {
        throttle_time_ms: i32 [2.., ignorable],
        topics: List<'a, ListOffsetsTopicResponse<'a>>,
    }

    /// One topic's part of the response.
    struct ListOffsetsTopicResponse<'a> {
        name: &'a str,
        partitions: List<'a, ListOffsetsPartitionResponse>,
    }

    /// One partition's part of the response.
    struct ListOffsetsPartitionResponse {
        partition_index: i32,
        error_code: i16,
        /// Of the record found; −1 for none.
        timestamp: i64 = -1,
        /// −1 for none.
        offset: i64 = -1,
        /// Of the record found; −1 for unknown.
        leader_epoch: i32 [4..] = -1,
    }
}
