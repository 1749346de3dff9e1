//! OffsetFetch (9), v1–10: how far groups have come.
//!
//! v2 null topics mean all of them; top-level error code · v3 throttle time · v5 leader epoch
//! (KIP-320) · v6 flexible · v7 stable offsets alone, on demand (KIP-447) · v8 several groups
//! (KIP-709) · v9 member id and epoch (KIP-848) · v10 topic ids instead of names (KIP-848)
//!
//! v4 changes only when throttling happens.

use crate::list::List;
use crate::primitives::Uuid;
use crate::schema::wire;

wire! {
    /// Offsets asked for.
    request OffsetFetchRequest<'a> 9, 1..=10, flexible 6 {
        group_id: &'a str [..=7],
        /// Null for all.
        topics: Option<List<'a, OffsetFetchRequestTopic<'a>>> [..=7, null 2..],
        groups: List<'a, OffsetFetchRequestGroup<'a>> [8..],
        /// Say UNSTABLE_OFFSET_COMMIT of a partition for which a transaction is open.
        require_stable: bool [7..],
    }

    /// Partitions of one topic.
    struct OffsetFetchRequestTopic<'a> {
        name: &'a str,
        partition_indexes: List<'a, i32>,
    }

    /// Offsets asked of one group.
    struct OffsetFetchRequestGroup<'a> {
        group_id: &'a str,
        member_id: Option<&'a str> [9.., ignorable] = None,
        member_epoch: i32 [9.., ignorable] = -1,
        /// Null for all.
        topics: Option<List<'a, OffsetFetchRequestTopics<'a>>>,
    }

    /// Partitions of one topic, asked of one group.
    struct OffsetFetchRequestTopics<'a> {
        name: &'a str [..=9, ignorable],
        topic_id: Uuid [10.., ignorable],
        partition_indexes: List<'a, i32>,
    }

    /// The offsets.
    response OffsetFetchResponse<'a> 9, 1..=10, flexible 6 {
        throttle_time_ms: i32 [3.., ignorable],
        topics: List<'a, OffsetFetchResponseTopic<'a>> [..=7],
        error_code: i16 [2..=7, ignorable],
        groups: List<'a, OffsetFetchResponseGroup<'a>> [8..],
    }

    /// Offsets in one topic.
    struct OffsetFetchResponseTopic<'a> {
        name: &'a str,
        partitions: List<'a, OffsetFetchResponsePartition<'a>>,
    }

    /// The offset in one partition.
    struct OffsetFetchResponsePartition<'a> {
        partition_index: i32,
        /// −1 for none.
        committed_offset: i64,
        committed_leader_epoch: i32 [5.., ignorable] = -1,
        metadata: Option<&'a str>,
        error_code: i16,
    }

    /// Offsets of one group.
    struct OffsetFetchResponseGroup<'a> {
        group_id: &'a str,
        topics: List<'a, OffsetFetchResponseTopics<'a>>,
        error_code: i16,
    }

    /// Offsets of one group in one topic.
    struct OffsetFetchResponseTopics<'a> {
        name: &'a str [..=9, ignorable],
        topic_id: Uuid [10.., ignorable],
        partitions: List<'a, OffsetFetchResponsePartitions<'a>>,
    }

    /// The offset of one group in one partition.
    struct OffsetFetchResponsePartitions<'a> {
        partition_index: i32,
        /// −1 for none.
        committed_offset: i64,
        committed_leader_epoch: i32 [ignorable] = -1,
        metadata: Option<&'a str>,
        error_code: i16,
    }
}
