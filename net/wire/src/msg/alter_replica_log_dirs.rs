//! AlterReplicaLogDirs (34), v1–2: move replicas of a broker between its log directories (KIP-113).
//!
//! v2 flexible

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Directories, and what is to go there.
    request AlterReplicaLogDirsRequest<'a> 34, 1..=2, flexible 2 {
        dirs: List<'a, AlterReplicaLogDir<'a>>,
    }

    /// One directory.
    struct AlterReplicaLogDir<'a> {
        /// Absolute path.
        path: &'a str,
        topics: List<'a, AlterReplicaLogDirTopic<'a>>,
    }

    /// Partitions of a topic.
    struct AlterReplicaLogDirTopic<'a> {
        name: &'a str,
        partitions: List<'a, i32>,
    }

    /// What became of each.
    response AlterReplicaLogDirsResponse<'a> 34, 1..=2, flexible 2 {
        throttle_time_ms: i32,
        results: List<'a, AlterReplicaLogDirTopicResult<'a>>,
    }

    /// One topic's part of the response.
    struct AlterReplicaLogDirTopicResult<'a> {
        topic_name: &'a str,
        partitions: List<'a, AlterReplicaLogDirPartitionResult>,
    }

    /// One partition's part of the response.
    struct AlterReplicaLogDirPartitionResult {
        partition_index: i32,
        error_code: i16,
    }
}
