//! OffsetForLeaderEpoch (23), v2–4: where a leader epoch ended (KIP-101, KIP-279, KIP-320).
//!
//! v2 current leader epoch, for fencing · v3 replica id · v4 flexible

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Epochs to look up.
    request OffsetForLeaderEpochRequest<'a> 23, 2..=4, flexible 4 {
        /// The follower's; −1 for a consumer, −2 for a tool.
        replica_id: i32 [3.., ignorable] = -2,
        topics: List<'a, OffsetForLeaderTopic<'a>>,
    }

    /// One topic's part of the request.
    struct OffsetForLeaderTopic<'a> {
        topic: &'a str,
        partitions: List<'a, OffsetForLeaderPartition>,
    }

    /// One partition's part of the request.
    struct OffsetForLeaderPartition {
        partition: i32,
        /// −1 for unknown.
        current_leader_epoch: i32 = -1,
        /// The epoch to look up.
        leader_epoch: i32,
    }

    /// Where they ended.
    response OffsetForLeaderEpochResponse<'a> 23, 2..=4, flexible 4 {
        throttle_time_ms: i32,
        topics: List<'a, OffsetForLeaderTopicResult<'a>>,
    }

    /// One topic's part of the response.
    struct OffsetForLeaderTopicResult<'a> {
        topic: &'a str,
        partitions: List<'a, EpochEndOffset>,
    }

    /// One partition's part of the response.
    struct EpochEndOffset {
        error_code: i16,
        partition: i32,
        /// The largest epoch not above the one asked for; −1 for none.
        leader_epoch: i32 = -1,
        /// Where it ended: the start of the next one, or the log end; −1 for none.
        end_offset: i64 = -1,
    }
}
