//! OffsetDelete (47), v0: forget how far a group has come in some partitions (KIP-496).

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Offsets to forget.
    request OffsetDeleteRequest<'a> 47, 0..=0, flexible never {
        group_id: &'a str,
        topics: List<'a, OffsetDeleteRequestTopic<'a>>,
    }

    /// Partitions of one topic.
    struct OffsetDeleteRequestTopic<'a> {
        name: &'a str,
        partitions: List<'a, OffsetDeleteRequestPartition>,
    }

    /// One partition.
    struct OffsetDeleteRequestPartition {
        partition_index: i32,
    }

    /// What became of each.
    response OffsetDeleteResponse<'a> 47, 0..=0, flexible never {
        error_code: i16,
        throttle_time_ms: i32 [ignorable],
        topics: List<'a, OffsetDeleteResponseTopic<'a>>,
    }

    /// What became of one topic's.
    struct OffsetDeleteResponseTopic<'a> {
        name: &'a str,
        partitions: List<'a, OffsetDeleteResponsePartition>,
    }

    /// What became of one.
    struct OffsetDeleteResponsePartition {
        partition_index: i32,
        error_code: i16,
    }
}
