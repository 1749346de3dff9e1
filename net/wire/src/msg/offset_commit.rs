//! OffsetCommit (8), v2–10: note how far a group has come.
//!
//! v3 throttle time · v5 no retention any more (KIP-211) · v6 leader epoch (KIP-320) · v7 static
//! membership (KIP-345) · v8 flexible · v9 also for the new group protocol: member epochs,
//! STALE_MEMBER_EPOCH, GROUP_ID_NOT_FOUND (KIP-848) · v10 topic ids instead of names (KIP-848)
//!
//! v4 changes only when throttling happens.

use crate::list::List;
use crate::primitives::Uuid;
use crate::schema::wire;

wire! {
    /// Offsets to keep.
    request OffsetCommitRequest<'a> 8, 2..=10, flexible 8 {
        group_id: &'a str,
        /// −1 from whoever is no member.
        generation_id_or_member_epoch: i32 [1.., ignorable] = -1,
        member_id: &'a str [1.., ignorable],
        group_instance_id: Option<&'a str> [7..] = None,
        /// How long to keep the offsets, milliseconds; −1 for the broker's setting.
        retention_time_ms: i64 [2..=4, ignorable] = -1,
        topics: List<'a, OffsetCommitRequestTopic<'a>>,
    }

    /// Offsets in one topic.
    struct OffsetCommitRequestTopic<'a> {
        name: &'a str [..=9, ignorable],
        topic_id: Uuid [10.., ignorable],
        partitions: List<'a, OffsetCommitRequestPartition<'a>>,
    }

    /// The offset in one partition.
    struct OffsetCommitRequestPartition<'a> {
        partition_index: i32,
        /// Of the next record to read.
        committed_offset: i64,
        /// Of the last record read; −1 for unknown.
        committed_leader_epoch: i32 [6.., ignorable] = -1,
        /// The client's own note.
        committed_metadata: Option<&'a str>,
    }

    /// What became of each.
    response OffsetCommitResponse<'a> 8, 2..=10, flexible 8 {
        throttle_time_ms: i32 [3.., ignorable],
        topics: List<'a, OffsetCommitResponseTopic<'a>>,
    }

    /// What became of one topic's.
    struct OffsetCommitResponseTopic<'a> {
        name: &'a str [..=9, ignorable],
        topic_id: Uuid [10.., ignorable],
        partitions: List<'a, OffsetCommitResponsePartition>,
    }

    /// What became of one.
    struct OffsetCommitResponsePartition {
        partition_index: i32,
        error_code: i16,
    }
}
