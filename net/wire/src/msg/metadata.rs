//! Metadata (3), v0–13: brokers, topics, and which broker leads what.
//!
//! v1 null means all topics (in v0 no topics do), rack, controller, is internal · v2 cluster id ·
//! v3 throttle time · v4 whether to create missing topics · v5 offline replicas · v7 leader epochs
//! · v8 authorized operations · v9 flexible · v10 topic ids in the response (KIP-516) · v11 no
//! cluster operations any more: see DescribeCluster (KIP-700) · v12 topic ids in the request · v13
//! top-level error code (REBOOTSTRAP_REQUIRED)
//!
//! v6 changes only when throttling happens. v10 and v11 have a topic id in the request that no
//! server looks at.

use crate::list::List;
use crate::primitives::Uuid;
use crate::schema::wire;

wire! {
    /// Which topics to describe.
    request MetadataRequest<'a> 3, 0..=13, flexible 9 {
        /// Null (v0: empty) for all.
        topics: Option<List<'a, MetadataRequestTopic<'a>>> [null 1..],
        allow_auto_topic_creation: bool [4..] = true,
        include_cluster_authorized_operations: bool [8..=10],
        include_topic_authorized_operations: bool [8..],
    }

    /// A topic, by name or (v12) by id.
    struct MetadataRequestTopic<'a> {
        topic_id: Uuid [10.., ignorable],
        /// Null when asked by id.
        name: Option<&'a str> [null 10..],
    }

    /// The cluster as this broker knows it.
    response MetadataResponse<'a> 3, 0..=13, flexible 9 {
        throttle_time_ms: i32 [3.., ignorable],
        brokers: List<'a, MetadataResponseBroker<'a>>,
        cluster_id: Option<&'a str> [2.., ignorable] = None,
        /// Under KRaft any live broker; −1 for none.
        controller_id: i32 [1.., ignorable] = -1,
        topics: List<'a, MetadataResponseTopic<'a>>,
        /// Bits by ACL operation code; `i32::MIN` when not asked for.
        cluster_authorized_operations: i32 [8..=10] = i32::MIN,
        error_code: i16 [13.., ignorable],
    }

    /// A live broker, as seen from the client's listener.
    struct MetadataResponseBroker<'a> {
        node_id: i32,
        host: &'a str,
        port: i32,
        rack: Option<&'a str> [1.., ignorable] = None,
    }

    /// A topic asked for.
    struct MetadataResponseTopic<'a> {
        error_code: i16,
        /// Null (v12) when asked by an id that is unknown.
        name: Option<&'a str> [null 12..],
        topic_id: Uuid [10.., ignorable],
        is_internal: bool [1.., ignorable],
        partitions: List<'a, MetadataResponsePartition<'a>>,
        /// Bits by ACL operation code; `i32::MIN` when not asked for.
        topic_authorized_operations: i32 [8..] = i32::MIN,
    }

    /// A partition of it.
    struct MetadataResponsePartition<'a> {
        error_code: i16,
        partition_index: i32,
        /// −1 for none.
        leader_id: i32,
        leader_epoch: i32 [7.., ignorable] = -1,
        replica_nodes: List<'a, i32>,
        isr_nodes: List<'a, i32>,
        /// On brokers or log dirs that are down.
        offline_replicas: List<'a, i32> [5.., ignorable],
    }
}
