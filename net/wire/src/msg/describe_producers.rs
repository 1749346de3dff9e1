//! DescribeProducers (61), v0: who produces to partitions, to find hanging transactions (KIP-664).

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Which partitions.
    request DescribeProducersRequest<'a> 61, 0..=0, flexible 0 {
        topics: List<'a, TopicRequest<'a>>,
    }

    /// Partitions of a topic.
    struct TopicRequest<'a> {
        name: &'a str,
        partition_indexes: List<'a, i32>,
    }

    /// Their producers.
    response DescribeProducersResponse<'a> 61, 0..=0, flexible 0 {
        throttle_time_ms: i32,
        topics: List<'a, TopicResponse<'a>>,
    }

    /// One topic's part of the response.
    struct TopicResponse<'a> {
        name: &'a str,
        partitions: List<'a, PartitionResponse<'a>>,
    }

    /// One partition's part of the response.
    struct PartitionResponse<'a> {
        partition_index: i32,
        error_code: i16,
        error_message: Option<&'a str> = None,
        active_producers: List<'a, ProducerState>,
    }

    /// What a partition remembers of a producer.
    struct ProducerState {
        producer_id: i64,
        producer_epoch: i32,
        /// −1 for none.
        last_sequence: i32 = -1,
        /// Of its last batch, Unix milliseconds; −1 for none.
        last_timestamp: i64 = -1,
        /// Of its last transaction marker.
        coordinator_epoch: i32,
        /// −1 without an open transaction.
        current_txn_start_offset: i64 = -1,
    }
}
