//! DescribeLogDirs (35), v1–5: what is in a broker's log directories, and room left.
//!
//! v2 flexible · v3 top-level error code · v4 total and usable bytes (KIP-827) · v5 cordoned dirs
//! (KIP-1066)

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Which partitions.
    request DescribeLogDirsRequest<'a> 35, 1..=5, flexible 2 {
        /// Null for all.
        topics: Option<List<'a, DescribableLogDirTopic<'a>>>,
    }

    /// Partitions of a topic.
    struct DescribableLogDirTopic<'a> {
        topic: &'a str,
        partitions: List<'a, i32>,
    }

    /// The directories.
    response DescribeLogDirsResponse<'a> 35, 1..=5, flexible 2 {
        throttle_time_ms: i32,
        error_code: i16 [3.., ignorable],
        results: List<'a, DescribeLogDirsResult<'a>>,
    }

    /// One directory.
    struct DescribeLogDirsResult<'a> {
        error_code: i16,
        /// Absolute path.
        log_dir: &'a str,
        topics: List<'a, DescribeLogDirsTopic<'a>>,
        /// Of the volume; −1 for unknown.
        total_bytes: i64 [4.., ignorable] = -1,
        /// Of the volume; −1 for unknown.
        usable_bytes: i64 [4.., ignorable] = -1,
        is_cordoned: bool [5.., ignorable],
    }

    /// What it holds of a topic.
    struct DescribeLogDirsTopic<'a> {
        name: &'a str,
        partitions: List<'a, DescribeLogDirsPartition>,
    }

    /// A replica in it.
    struct DescribeLogDirsPartition {
        partition_index: i32,
        /// Bytes of its log segments.
        partition_size: i64,
        /// Log end behind the high watermark, or of a future replica behind the current one.
        offset_lag: i64,
        /// A replica on its way from another directory.
        is_future_key: bool,
    }
}
