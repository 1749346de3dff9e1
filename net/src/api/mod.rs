//! The Kafka APIs: one row in [the table](TABLE), one handler file, one schema file each.
//!
//! # How to add an API
//! 1. The schema: `wire::msg::<api>` (net/wire/src/msg), with its row in `wire::api_key`.
//! 2. The handler: `net/src/api/<api>.rs` with
//!    ```text
//!    pub(super) async fn handle(cx: &Cx, req: XxxRequest<'_>) -> Reply {
//!        …
//!        cx.reply(&XxxResponse { … })
//!    }
//!    ```
//!    The response may borrow from the request, from an image held in a local, or from any local:
//!    [`Cx::reply`] encodes before the handler returns. A field that the version lacks is dropped
//!    or refused by the schema, not by the handler.
//! 3. The row below: `Xxx: xxx(XxxRequest) ordered, needs(Alter, Cluster), budget(64 KiB);`.
//!    From it come ApiVersions, the check of the version, the order, the memory charge and the
//!    hostile-input tests.
//! 4. Errors of the engine and of the controller become Kafka's codes in [`errors`], only there.
//!
//! **Order.** `ordered` handlers run alone on their connection: everything before is answered.
//! `pipelined` ones (Produce) run beside each other, but are first polled in order; `serial` ones
//! (Fetch) too, one at a time.
//!
//! **Where it runs.** On the connection's core. A partition's owner is [`Cx::owner`]; work there is
//! a call: declare `Xxx(api::xxx::Work) -> api::xxx::Outcome, by api::xxx::serve;` in
//! `mesh::calls!` (both `Send`), and group all partitions of one core into one call. Changes of
//! metadata go to core 0 with [`Cx::change`], one request type for each operation of the
//! controller ([`crate::meta::requests`]); `create_topics` shows it. [`Cx::topic_id`], [`Cx::home`]
//! and [`Scatter`](scatter::Scatter) sort by owner; `produce` and `list_offsets` show it.
//!
//! **`whole`** rows get the [`Frame`] undecoded and decode it themselves
//! ([`Cx::decode`]): for a handler that waits for long and must not
//! keep the request's buffer, for Produce, which passes slices of it on, and for ApiVersions,
//! which answers versions it can't read.
//!
//! **Rules.** No borrow of shared state across an await. Nothing unbounded: answers are bounded by
//! the request's own size or by a limit that is configured, and what they take is claimed before
//! they are built ([`Cx::claim`]). A handler is never dropped half way,
//! so it may be written without cancellation in mind; one that waits for news races
//! [`Cx::hurried`].

pub(crate) mod authz;
mod claim;
mod cx;
pub(crate) mod errors;
#[cfg(test)]
mod hostile;
pub(crate) mod resources;
mod scatter;

mod alter_configs;
mod alter_partition_reassignments;
pub(crate) mod alter_replica_log_dirs;
mod api_versions;
pub(crate) mod consumer_group_describe;
pub(crate) mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod describe_quorum;
mod describe_topic_partitions;
mod elect_leaders;
pub(crate) mod fetch;
mod find_coordinator;
mod groups;
pub(crate) mod heartbeat;
mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
mod list_config_resources;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
mod list_partition_reassignments;
mod loggers;
mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod sync_group;
mod unregister_broker;
mod update_features;

use wire::api_key::ApiKey;

use self::authz::{Operation, ResourceKind};
pub(crate) use self::cx::Cx;
use crate::conn::read::Frame;
use crate::conn::reply::Reply;

/// One API: what is known about it before its request is decoded.
#[derive(Debug)]
pub(crate) struct Row {
    /// Key, name and versions.
    pub(crate) key: ApiKey,
    /// How requests may pass each other on one connection.
    pub(crate) order: Order,
    /// What a principal must be allowed; checked here for the cluster, by the handler for the
    /// resources that the request names.
    pub(crate) permission: Option<(Operation, ResourceKind)>,
    /// Bytes that a handler may take beside the frame, charged while it runs.
    pub(crate) budget_bytes: usize,
}

/// How requests of one connection may pass each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Served beside others of this class; answers leave in order.
    Pipelined,
    /// Likewise beside those, but one at a time of its own kind: what a client that does not read
    /// keeps of the caches is one answer, and the requests of a session come in order.
    Serial,
    /// Starts when all before it are answered; nothing starts before it is.
    Ordered,
}

impl Row {
    /// Whether a request of this version is served. ApiVersions takes any: its answer is how a
    /// client learns which ones there are.
    pub(crate) fn accepts(&self, version: i16) -> bool {
        self.key == ApiKey::ApiVersions || self.key.supports(version)
    }
}

/// The row of an API, if it is served.
pub(crate) fn row(key: ApiKey) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.key == key)
}

/// The place of a row in the table.
pub(crate) fn place(row: &'static Row) -> usize {
    TABLE.element_offset(row).expect("rows are of the table")
}

/// Declares [`TABLE`] and [`dispatch`].
macro_rules! apis {
    ($($key:ident: $module:ident($input:ident) $order:ident
        $(, needs($operation:ident, $kind:ident))?, budget($budget:literal KiB);)*) => {
        /// Every API that is served, by key.
        pub(crate) static TABLE: &[Row] = &[$(Row {
            key: ApiKey::$key,
            order: apis!(@order $order),
            permission: apis!(@permission $($operation, $kind)?),
            budget_bytes: $budget << 10,
        },)*];

        /// Runs the handler of a request.
        pub(crate) async fn dispatch(cx: Cx, frame: Frame) -> Reply {
            match cx.row.key {
                $(ApiKey::$key => apis!(@run $order $module $input cx frame),)*
                _ => unreachable!("a request has a row"),
            }
        }
    };
    (@order pipelined) => { Order::Pipelined };
    (@order serial) => { Order::Serial };
    (@order ordered) => { Order::Ordered };
    (@permission) => { None };
    (@permission $operation:ident, $kind:ident) => {
        Some((Operation::$operation, ResourceKind::$kind))
    };
    // Pipelined and serial handlers live in the connection's own boxes; the others are boxed here, so
    // that the largest of them does not size every request.
    (@run pipelined $module:ident $input:ident $cx:ident $frame:ident) => {
        apis!(@handle $module $input $cx $frame)
    };
    (@run serial $module:ident $input:ident $cx:ident $frame:ident) => {
        apis!(@handle $module $input $cx $frame)
    };
    (@run ordered $module:ident $input:ident $cx:ident $frame:ident) => {
        Box::pin(async move { apis!(@handle $module $input $cx $frame) }).await
    };
    (@handle $module:ident whole $cx:ident $frame:ident) => {
        $module::handle(&$cx, $frame).await
    };
    (@handle $module:ident $request:ident $cx:ident $frame:ident) => {
        match $cx.decode::<wire::msg::$module::$request<'_>>(&$frame).await {
            Ok(request) => $module::handle(&$cx, request).await,
            Err(refusal) => Reply::Close(refusal),
        }
    };
}

apis! {
    Produce: produce(whole) pipelined, needs(Write, Topic), budget(4 KiB);
    Fetch: fetch(whole) serial, needs(Read, Topic), budget(4 KiB);
    ListOffsets: list_offsets(ListOffsetsRequest) ordered, needs(Describe, Topic), budget(4 KiB);
    Metadata: metadata(MetadataRequest) ordered, needs(Describe, Topic), budget(64 KiB);
    OffsetCommit: offset_commit(OffsetCommitRequest) ordered, needs(Read, Group), budget(8 KiB);
    OffsetFetch: offset_fetch(OffsetFetchRequest) ordered, needs(Describe, Group), budget(16 KiB);
    FindCoordinator: find_coordinator(FindCoordinatorRequest) ordered, needs(Describe, Group), budget(8 KiB);
    JoinGroup: join_group(whole) ordered, needs(Read, Group), budget(4 KiB);
    Heartbeat: heartbeat(HeartbeatRequest) ordered, needs(Read, Group), budget(1 KiB);
    LeaveGroup: leave_group(LeaveGroupRequest) ordered, needs(Read, Group), budget(4 KiB);
    SyncGroup: sync_group(whole) ordered, needs(Read, Group), budget(4 KiB);
    DescribeGroups: describe_groups(DescribeGroupsRequest) ordered, needs(Describe, Group), budget(64 KiB);
    ListGroups: list_groups(ListGroupsRequest) ordered, needs(Describe, Group), budget(64 KiB);
    ApiVersions: api_versions(whole) ordered, budget(8 KiB);
    CreateTopics: create_topics(CreateTopicsRequest) ordered, needs(Create, Cluster), budget(64 KiB);
    DeleteTopics: delete_topics(DeleteTopicsRequest) ordered, needs(Delete, Topic), budget(64 KiB);
    DeleteRecords: delete_records(DeleteRecordsRequest) ordered, needs(Delete, Topic), budget(16 KiB);
    InitProducerId: init_producer_id(InitProducerIdRequest) ordered, needs(IdempotentWrite, Cluster), budget(4 KiB);
    OffsetForLeaderEpoch: offset_for_leader_epoch(OffsetForLeaderEpochRequest) ordered, needs(Describe, Topic), budget(16 KiB);
    DescribeConfigs: describe_configs(DescribeConfigsRequest) ordered, needs(DescribeConfigs, Cluster), budget(256 KiB);
    AlterConfigs: alter_configs(AlterConfigsRequest) ordered, needs(AlterConfigs, Cluster), budget(64 KiB);
    AlterReplicaLogDirs: alter_replica_log_dirs(AlterReplicaLogDirsRequest) ordered, needs(Alter, Cluster), budget(64 KiB);
    DescribeLogDirs: describe_log_dirs(DescribeLogDirsRequest) ordered, needs(Describe, Cluster), budget(256 KiB);
    CreatePartitions: create_partitions(CreatePartitionsRequest) ordered, needs(Alter, Topic), budget(64 KiB);
    DeleteGroups: delete_groups(DeleteGroupsRequest) ordered, needs(Delete, Group), budget(16 KiB);
    ElectLeaders: elect_leaders(ElectLeadersRequest) ordered, needs(Alter, Cluster), budget(64 KiB);
    IncrementalAlterConfigs: incremental_alter_configs(IncrementalAlterConfigsRequest) ordered, needs(AlterConfigs, Cluster), budget(64 KiB);
    AlterPartitionReassignments: alter_partition_reassignments(AlterPartitionReassignmentsRequest) ordered, needs(Alter, Cluster), budget(64 KiB);
    ListPartitionReassignments: list_partition_reassignments(ListPartitionReassignmentsRequest) ordered, needs(Describe, Cluster), budget(64 KiB);
    OffsetDelete: offset_delete(OffsetDeleteRequest) ordered, needs(Delete, Group), budget(8 KiB);
    DescribeQuorum: describe_quorum(DescribeQuorumRequest) ordered, needs(Describe, Cluster), budget(8 KiB);
    UpdateFeatures: update_features(UpdateFeaturesRequest) ordered, needs(Alter, Cluster), budget(8 KiB);
    DescribeCluster: describe_cluster(whole) ordered, needs(Describe, Cluster), budget(8 KiB);
    DescribeProducers: describe_producers(DescribeProducersRequest) ordered, needs(Read, Topic), budget(64 KiB);
    UnregisterBroker: unregister_broker(whole) ordered, needs(Alter, Cluster), budget(4 KiB);
    ConsumerGroupHeartbeat: consumer_group_heartbeat(ConsumerGroupHeartbeatRequest) ordered, needs(Read, Group), budget(4 KiB);
    ConsumerGroupDescribe: consumer_group_describe(ConsumerGroupDescribeRequest) ordered, needs(Describe, Group), budget(64 KiB);
    ListConfigResources: list_config_resources(ListConfigResourcesRequest) ordered, needs(DescribeConfigs, Cluster), budget(64 KiB);
    DescribeTopicPartitions: describe_topic_partitions(DescribeTopicPartitionsRequest) ordered, needs(Describe, Topic), budget(256 KiB);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_of_key_and_without_gaps() {
        assert!(TABLE.is_sorted_by_key(|row| row.key.key()));
        for row in TABLE {
            assert!(std::ptr::eq(super::row(row.key).expect("found"), row));
            assert!(std::ptr::eq(&TABLE[place(row)], row));
        }
    }

    #[test]
    fn only_produce_and_fetch_are_pipelined() {
        let of = |order| TABLE.iter().filter(move |row| row.order == order).map(|row| row.key);
        assert_eq!(of(Order::Pipelined).collect::<Vec<_>>(), [ApiKey::Produce]);
        assert_eq!(of(Order::Serial).collect::<Vec<_>>(), [ApiKey::Fetch]);
    }
}
