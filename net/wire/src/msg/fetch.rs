//! Fetch (1), v4–18: read record batches; for consumers, followers and the metadata quorum.
//!
//! v4 isolation level, aborted transactions · v5 log start offset · v7 sessions (KIP-227) · v9
//! current leader epoch (KIP-320) · v10 zstd (KIP-110) · v11 rack id, preferred read replica
//! (KIP-392) · v12 flexible, last fetched epoch and diverging epoch, snapshot id (KIP-595, KIP-630)
//! · v13 topic ids instead of names (KIP-516) · v14 OFFSET_MOVED_TO_TIERED_STORAGE (KIP-405) · v15
//! replica state with epoch instead of replica id (KIP-903) · v16 endpoints of leaders (KIP-951) ·
//! v17 directory id (KIP-853) · v18 high watermark (KIP-1166)
//!
//! v6, v8 change only what errors or throttling a client must expect. Partitions are served in
//! request order, and a batch that holds the fetch offset is returned whole.

use crate::list::List;
use crate::primitives::{Records, Uuid};
use crate::schema::wire;

wire! {
    /// What to read, or in a session what changed of that.
    request FetchRequest<'a> 1, 4..=18, flexible 12 {
        /// Of a quorum member, to keep clusters apart.
        cluster_id: Option<&'a str> [12.., tag 0, ignorable] = None,
        /// −1 for a consumer. From v15 on in `replica_state`.
        replica_id: i32 [..=14] = -1,
        replica_state: ReplicaState [15.., tag 1],
        /// How long to wait for `min_bytes`, milliseconds.
        max_wait_ms: i32,
        min_bytes: i32,
        /// Over all partitions; the first batch may exceed it.
        max_bytes: i32 = i32::MAX,
        /// 0 read_uncommitted, 1 read_committed.
        isolation_level: i8,
        /// 0 to open a session.
        session_id: i32 [7.., ignorable],
        /// 0 opens a session, −1 closes it or does without; else counts its requests.
        session_epoch: i32 [7.., ignorable] = -1,
        topics: List<'a, FetchTopic<'a>>,
        forgotten_topics_data: List<'a, ForgottenTopic<'a>> [7..],
        /// The consumer's rack.
        rack_id: &'a str [11.., ignorable],
    }

    /// Which replica asks.
    struct ReplicaState {
        /// −1 for a consumer.
        replica_id: i32 [15..] = -1,
        /// Broker epoch; −1 for unknown.
        replica_epoch: i64 [15..] = -1,
    }

    /// One topic's part of the request.
    struct FetchTopic<'a> {
        topic: &'a str [..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partitions: List<'a, FetchPartition>,
    }

    /// Partitions to drop from the session.
    struct ForgottenTopic<'a> {
        topic: &'a str [7..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partitions: List<'a, i32> [7..],
    }

    /// Where to read a partition from.
    struct FetchPartition {
        partition: i32,
        /// −1 for unknown.
        current_leader_epoch: i32 [9.., ignorable] = -1,
        fetch_offset: i64,
        /// Epoch of the last record the fetcher has; −1 for none.
        last_fetched_epoch: i32 [12..] = -1,
        /// Of a follower; −1 for a consumer.
        log_start_offset: i64 [5.., ignorable] = -1,
        /// For this partition; its first batch may exceed it.
        partition_max_bytes: i32,
        /// Of a quorum member.
        replica_directory_id: Uuid [17.., tag 0, ignorable],
        /// What the follower knows; the leader answers at once when its own differs.
        high_watermark: i64 [18.., tag 1, ignorable] = i64::MAX,
    }

    /// Batches, by partition.
    response FetchResponse<'a> 1, 4..=18, flexible 12 {
        throttle_time_ms: i32,
        error_code: i16 [7.., ignorable],
        /// 0 when there is no session.
        session_id: i32 [7..],
        responses: List<'a, FetchableTopicResponse<'a>>,
        /// For the leaders in `current_leader`.
        node_endpoints: List<'a, NodeEndpoint<'a>> [16.., tag 0],
    }

    /// One topic's part of the response.
    struct FetchableTopicResponse<'a> {
        topic: &'a str [..=12, ignorable],
        topic_id: Uuid [13.., ignorable],
        partitions: List<'a, PartitionData<'a>>,
    }

    /// Where a leader named in the response listens.
    struct NodeEndpoint<'a> {
        node_id: i32 [16..],
        host: &'a str [16..],
        port: i32 [16..],
        rack: Option<&'a str> [16..] = None,
    }

    /// One partition's part of the response.
    struct PartitionData<'a> {
        partition_index: i32,
        error_code: i16,
        high_watermark: i64,
        /// A read_committed consumer sees records below it; −1 for none.
        last_stable_offset: i64 = -1,
        log_start_offset: i64 [5.., ignorable] = -1,
        diverging_epoch: EpochEndOffset [12.., tag 0],
        current_leader: LeaderIdAndEpoch [12.., tag 1],
        snapshot_id: SnapshotId [12.., tag 2],
        /// With read_committed; null otherwise.
        aborted_transactions: Option<List<'a, AbortedTransaction>>,
        /// Where the consumer should read instead, without records here; −1 for here.
        preferred_read_replica: i32 [11..] = -1,
        /// Whole batches; the last may be cut off by older brokers.
        records: Option<Records<'a>>,
    }

    /// The largest epoch not above the fetcher's last one, and its end here; −1 for agreement.
    struct EpochEndOffset {
        epoch: i32 [12..] = -1,
        end_offset: i64 [12..] = -1,
    }

    /// The leader as this broker knows it; −1 for unknown.
    struct LeaderIdAndEpoch {
        leader_id: i32 [12..] = -1,
        leader_epoch: i32 [12..] = -1,
    }

    /// A snapshot to fetch instead; −1 for none.
    struct SnapshotId {
        end_offset: i64 = -1,
        epoch: i32 = -1,
    }

    /// A transaction whose records a read_committed consumer skips.
    struct AbortedTransaction {
        /// Of the aborted transaction.
        producer_id: i64,
        /// Of the aborted transaction.
        first_offset: i64,
    }
}
