//! Requests and responses, one module an API. A module's header says what each version changed.
//!
//! A handler's view of it:
//!
//! ```
//! use wire::cursor::Cursor;
//! use wire::header::RequestHeader;
//! use wire::msg::list_offsets::*;
//! use wire::writer::Writer;
//!
//! # fn answer(frame: &[u8]) -> Result<Writer, Box<dyn std::error::Error>> {
//! let mut cur = Cursor::new(frame);
//! let header = RequestHeader::decode(&mut cur)?;
//! let request = ListOffsetsRequest::decode(&mut cur, header.api_version)?;
//!
//! let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
//!     name: topic.name,
//!     partitions: topic.partitions.iter().map(|partition| ListOffsetsPartitionResponse {
//!         partition_index: partition.partition_index,
//!         offset: 42,
//!         ..Default::default()
//!     }).collect(),
//! });
//! let response = ListOffsetsResponse { throttle_time_ms: 0, topics: topics.collect() };
//!
//! let mut w = Writer::new();
//! let frame = w.begin_frame();
//! header.response().encode(&mut w, header.api, header.api_version);
//! response.encode(&mut w, header.api_version)?;
//! w.end_frame(frame)?;
//! # Ok(w)
//! # }
//! # let mut request = Writer::new();
//! # let header = RequestHeader {
//! #     api: wire::api_key::ApiKey::ListOffsets, api_version: 11, correlation_id: 1, client_id: None,
//! # };
//! # header.encode(&mut request).unwrap();
//! # ListOffsetsRequest::default().encode(&mut request, 11).unwrap();
//! # answer(&request.into_bytes()).unwrap();
//! ```
//!
//! Fields have Kafka's names, and these the same meaning everywhere: `throttle_time_ms` is how
//! long the client is to hold back, or was held back, milliseconds; `error_code` and
//! `error_message` are of the [`crate::error_code::ErrorCode`] table, the message null where there
//! is nothing to add; `topic_id` is zero for unknown. Errors of single topics and partitions are
//! inside the response; a response never fails as a whole unless it has a top-level error code.

use crate::api_key::ApiKey;
use crate::cursor::Cursor;
use crate::error::{DecodeError, DecodeFault, EncodeError};
use crate::schema::{self, Message, Shape, Value};
use crate::writer::Writer;

/// A request, and what answers it.
pub trait Request<'a>: Message<'a> {
    /// The API.
    const API: ApiKey;
    /// The response.
    type Response<'b>: Message<'b>;
}

macro_rules! apis {
    (<$lt:lifetime, $rlt:lifetime> $(
        $module:ident $api:ident
        $request:ident $(<$request_lt:lifetime>)? => $response:ident $(<$response_lt:lifetime>)?;
    )+) => {
        $( pub mod $module; )+

        $(
            impl<$lt> Request<$lt> for $module::$request $(<$request_lt>)? {
                const API: ApiKey = ApiKey::$api;
                type Response<$rlt> = $module::$response $(<$response_lt>)?;
            }
        )+

        any! {
            /// A request of any API: for tools that treat all alike, such as tracing and fuzzing.
            AnyRequest<$lt> { $( $api($module::$request $(<$request_lt>)?), )+ }
        }

        any! {
            /// A response of any API, likewise.
            AnyResponse<$rlt> { $( $api($module::$response $(<$response_lt>)?), )+ }
        }
    };
}

macro_rules! any {
    ($(#[$meta:meta])* $name:ident <$lt:lifetime> {
        $( $api:ident($message:ty), )+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum $name<$lt> {
            $(
                #[doc = concat!("Of ", stringify!($api), ".")]
                $api($message),
            )+
        }

        impl<$lt> $name<$lt> {
            /// The APIs there are schemas for, by ascending key.
            pub const APIS: &'static [ApiKey] = &[$( ApiKey::$api ),+];

            /// The default message of an API; none when it has no schema here.
            #[must_use]
            pub fn default_of(api: ApiKey) -> Option<Self> {
                match api {
                    $( ApiKey::$api => Some(Self::$api(Default::default())), )+
                    _ => None,
                }
            }

            /// The declaration of an API's message, as data.
            #[must_use]
            pub fn shape(api: ApiKey) -> Option<Shape> {
                match api {
                    $( ApiKey::$api => Some(<$message as Value<'_>>::SHAPE), )+
                    _ => None,
                }
            }

            /// Reads a message; see [`schema::decode`].
            pub fn decode(
                cur: &mut Cursor<$lt>,
                api: ApiKey,
                version: i16,
            ) -> Result<Self, DecodeError> {
                match api {
                    $( ApiKey::$api => schema::decode(cur, version).map(Self::$api), )+
                    _ => Err(DecodeFault::UnknownApiKey(api.key()).into()),
                }
            }

            /// Writes the message; see [`schema::encode`].
            pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
                match self {
                    $( Self::$api(message) => schema::encode(message, w, version), )+
                }
            }

            /// The message's API.
            #[must_use]
            pub const fn api(&self) -> ApiKey {
                match self {
                    $( Self::$api(_) => ApiKey::$api, )+
                }
            }
        }
    };
}

apis! {
    <'a, 'b>
    produce Produce ProduceRequest<'a> => ProduceResponse<'b>;
    fetch Fetch FetchRequest<'a> => FetchResponse<'b>;
    list_offsets ListOffsets ListOffsetsRequest<'a> => ListOffsetsResponse<'b>;
    metadata Metadata MetadataRequest<'a> => MetadataResponse<'b>;
    offset_commit OffsetCommit OffsetCommitRequest<'a> => OffsetCommitResponse<'b>;
    offset_fetch OffsetFetch OffsetFetchRequest<'a> => OffsetFetchResponse<'b>;
    find_coordinator FindCoordinator FindCoordinatorRequest<'a> => FindCoordinatorResponse<'b>;
    join_group JoinGroup JoinGroupRequest<'a> => JoinGroupResponse<'b>;
    heartbeat Heartbeat HeartbeatRequest<'a> => HeartbeatResponse;
    leave_group LeaveGroup LeaveGroupRequest<'a> => LeaveGroupResponse<'b>;
    sync_group SyncGroup SyncGroupRequest<'a> => SyncGroupResponse<'b>;
    describe_groups DescribeGroups DescribeGroupsRequest<'a> => DescribeGroupsResponse<'b>;
    list_groups ListGroups ListGroupsRequest<'a> => ListGroupsResponse<'b>;
    api_versions ApiVersions ApiVersionsRequest<'a> => ApiVersionsResponse<'b>;
    create_topics CreateTopics CreateTopicsRequest<'a> => CreateTopicsResponse<'b>;
    delete_topics DeleteTopics DeleteTopicsRequest<'a> => DeleteTopicsResponse<'b>;
    delete_records DeleteRecords DeleteRecordsRequest<'a> => DeleteRecordsResponse<'b>;
    init_producer_id InitProducerId InitProducerIdRequest<'a> => InitProducerIdResponse;
    offset_for_leader_epoch OffsetForLeaderEpoch
        OffsetForLeaderEpochRequest<'a> => OffsetForLeaderEpochResponse<'b>;
    describe_configs DescribeConfigs DescribeConfigsRequest<'a> => DescribeConfigsResponse<'b>;
    alter_configs AlterConfigs AlterConfigsRequest<'a> => AlterConfigsResponse<'b>;
    alter_replica_log_dirs AlterReplicaLogDirs
        AlterReplicaLogDirsRequest<'a> => AlterReplicaLogDirsResponse<'b>;
    describe_log_dirs DescribeLogDirs DescribeLogDirsRequest<'a> => DescribeLogDirsResponse<'b>;
    create_partitions CreatePartitions CreatePartitionsRequest<'a> => CreatePartitionsResponse<'b>;
    delete_groups DeleteGroups DeleteGroupsRequest<'a> => DeleteGroupsResponse<'b>;
    elect_leaders ElectLeaders ElectLeadersRequest<'a> => ElectLeadersResponse<'b>;
    incremental_alter_configs IncrementalAlterConfigs
        IncrementalAlterConfigsRequest<'a> => IncrementalAlterConfigsResponse<'b>;
    alter_partition_reassignments AlterPartitionReassignments
        AlterPartitionReassignmentsRequest<'a> => AlterPartitionReassignmentsResponse<'b>;
    list_partition_reassignments ListPartitionReassignments
        ListPartitionReassignmentsRequest<'a> => ListPartitionReassignmentsResponse<'b>;
    offset_delete OffsetDelete OffsetDeleteRequest<'a> => OffsetDeleteResponse<'b>;
    describe_quorum DescribeQuorum DescribeQuorumRequest<'a> => DescribeQuorumResponse<'b>;
    update_features UpdateFeatures UpdateFeaturesRequest<'a> => UpdateFeaturesResponse<'b>;
    describe_cluster DescribeCluster DescribeClusterRequest => DescribeClusterResponse<'b>;
    describe_producers DescribeProducers
        DescribeProducersRequest<'a> => DescribeProducersResponse<'b>;
    unregister_broker UnregisterBroker
        UnregisterBrokerRequest => UnregisterBrokerResponse<'b>;
    consumer_group_heartbeat ConsumerGroupHeartbeat
        ConsumerGroupHeartbeatRequest<'a> => ConsumerGroupHeartbeatResponse<'b>;
    consumer_group_describe ConsumerGroupDescribe
        ConsumerGroupDescribeRequest<'a> => ConsumerGroupDescribeResponse<'b>;
    list_config_resources ListConfigResources
        ListConfigResourcesRequest<'a> => ListConfigResourcesResponse<'b>;
    describe_topic_partitions DescribeTopicPartitions
        DescribeTopicPartitionsRequest<'a> => DescribeTopicPartitionsResponse<'b>;
}
