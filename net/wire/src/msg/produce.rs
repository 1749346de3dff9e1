//! Produce (0), v3–13: append record batches to partitions.
//!
//! v3 transactional id, batch format 2 · v5 log start offset · v7 zstd (KIP-110) · v8 record errors
//! and message (KIP-467) · v9 flexible · v10 current leader and its endpoint (KIP-951) · v11
//! TRANSACTION_ABORTABLE (KIP-890) · v12 inside a transaction also adds the partition to it
//! (KIP-890, transaction.version 2) · v13 topic ids instead of names (KIP-516), UNKNOWN_TOPIC_ID
//!
//! v4, v6 change only what errors a client must expect. With acks 0 there is no response at all.

use crate::list::List;
use crate::primitives::{Records, Uuid};
use crate::schema::wire;

wire! {
    /// Batches to append.
    request ProduceRequest<'a> 0, 3..=13, flexible 9 {
        /// Null outside transactions.
        transactional_id: Option<&'a str> = None,
        /// 0 no response, 1 the leader has appended, −1 the in-sync replicas have.
        acks: i16,
        /// How long to wait for `acks`, milliseconds.
        timeout_ms: i32,
        topic_data: List<'a, TopicProduceData<'a>>,
    }

    /// One topic's part of the request.
    struct TopicProduceData<'a> {
        name: &'a str [..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partition_data: List<'a, PartitionProduceData<'a>>,
    }

    /// One partition's part of the request.
    struct PartitionProduceData<'a> {
        /// Partition index.
        index: i32,
        /// One batch of format 2. Null, as Kafka allows on the wire, is an invalid record set.
        records: Option<Records<'a>>,
    }

    /// Where the batches went.
    response ProduceResponse<'a> 0, 3..=13, flexible 9 {
        responses: List<'a, TopicProduceResponse<'a>>,
        throttle_time_ms: i32,
        /// For the leaders in `current_leader`.
        node_endpoints: List<'a, NodeEndpoint<'a>> [10.., tag 0],
    }

    /// One topic's part of the response.
    struct TopicProduceResponse<'a> {
        name: &'a str [..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partition_responses: List<'a, PartitionProduceResponse<'a>>,
    }

    /// Where a leader named in the response listens.
    struct NodeEndpoint<'a> {
        node_id: i32 [10..],
        host: &'a str [10..],
        port: i32 [10..],
        rack: Option<&'a str> [10..] = None,
    }

    /// One partition's part of the response.
    struct PartitionProduceResponse<'a> {
        /// Partition index.
        index: i32,
        error_code: i16,
        /// Offset of the batch's first record.
        base_offset: i64,
        /// The broker's timestamp for the batch under LogAppendTime, else −1.
        log_append_time_ms: i64 = -1,
        log_start_offset: i64 [5.., ignorable] = -1,
        /// With an error only: the records at fault.
        record_errors: List<'a, BatchIndexAndErrorMessage<'a>> [8.., ignorable],
        error_message: Option<&'a str> [8.., ignorable] = None,
        /// With NOT_LEADER_OR_FOLLOWER: who is.
        current_leader: LeaderIdAndEpoch [10.., tag 0],
    }

    /// A record that made its batch be refused.
    struct BatchIndexAndErrorMessage<'a> {
        /// Position of the record in its batch, from 0.
        batch_index: i32 [8..],
        batch_index_error_message: Option<&'a str> [8..] = None,
    }

    /// The leader as this broker knows it; −1 for unknown.
    struct LeaderIdAndEpoch {
        leader_id: i32 [10..] = -1,
        leader_epoch: i32 [10..] = -1,
    }
}
