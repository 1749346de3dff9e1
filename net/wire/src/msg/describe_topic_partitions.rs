//! DescribeTopicPartitions (75), v0: partitions with eligible leaders, page by page (KIP-966).

use crate::list::List;
use crate::primitives::Uuid;
use crate::schema::wire;

wire! {
    /// Which topics, and where to go on.
    request DescribeTopicPartitionsRequest<'a> 75, 0..=0, flexible 0 {
        /// Empty for all.
        topics: List<'a, TopicRequest<'a>>,
        /// At most so many partitions a page; the server has a limit of its own.
        response_partition_limit: i32 = 2000,
        /// The last response's `next_cursor`; null at first.
        cursor: Option<Cursor<'a>> = None,
    }

    /// A topic.
    struct TopicRequest<'a> {
        name: &'a str,
    }

    /// The next partition to describe.
    struct Cursor<'a> {
        topic_name: &'a str,
        partition_index: i32,
    }

    /// One page.
    response DescribeTopicPartitionsResponse<'a> 75, 0..=0, flexible 0 {
        throttle_time_ms: i32,
        topics: List<'a, DescribeTopicPartitionsResponseTopic<'a>>,
        /// Null on the last page.
        next_cursor: Option<Cursor<'a>> = None,
    }

    /// A topic, or what fits the page of it.
    struct DescribeTopicPartitionsResponseTopic<'a> {
        error_code: i16,
        name: Option<&'a str>,
        topic_id: Uuid,
        is_internal: bool,
        partitions: List<'a, DescribeTopicPartitionsResponsePartition<'a>>,
        /// Bits by ACL operation code.
        topic_authorized_operations: i32 = i32::MIN,
    }

    /// A partition of it.
    struct DescribeTopicPartitionsResponsePartition<'a> {
        error_code: i16,
        partition_index: i32,
        /// −1 for none.
        leader_id: i32,
        leader_epoch: i32 = -1,
        replica_nodes: List<'a, i32>,
        isr_nodes: List<'a, i32>,
        /// Out of the in-sync set, yet safe to lead.
        eligible_leader_replicas: Option<List<'a, i32>> = None,
        /// Led last, not known to be safe.
        last_known_elr: Option<List<'a, i32>> = None,
        offline_replicas: List<'a, i32>,
    }
}
