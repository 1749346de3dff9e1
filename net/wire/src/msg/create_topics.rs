//! CreateTopics (19), v2–7.
//!
//! v4 partitions and replication factor may be left to the defaults, −1 (KIP-464) · v5 flexible;
//! response: what the topic became, with configs (KIP-525) · v6 THROTTLING_QUOTA_EXCEEDED (KIP-599)
//! · v7 topic id in the response
//!
//! v3 changes only when throttling happens.

use crate::list::List;
use crate::primitives::Uuid;
use crate::schema::wire;

wire! {
    /// Topics to create, each on its own.
    request CreateTopicsRequest<'a> 19, 2..=7, flexible 5 {
        topics: List<'a, CreatableTopic<'a>>,
        /// How long to wait until the topic is there, milliseconds.
        timeout_ms: i32 = 60000,
        /// Check, create nothing.
        validate_only: bool,
    }

    /// A topic to create.
    struct CreatableTopic<'a> {
        name: &'a str,
        /// −1 for the default, or with assignments.
        num_partitions: i32,
        /// −1 for the default, or with assignments.
        replication_factor: i16,
        /// Empty to leave the placement to the controller.
        assignments: List<'a, CreatableReplicaAssignment<'a>>,
        configs: List<'a, CreatableTopicConfig<'a>>,
    }

    /// Where one partition goes.
    struct CreatableReplicaAssignment<'a> {
        partition_index: i32,
        /// Preferred leader first.
        broker_ids: List<'a, i32>,
    }

    /// A config of the new topic.
    struct CreatableTopicConfig<'a> {
        name: &'a str,
        value: Option<&'a str>,
    }

    /// What became of each.
    response CreateTopicsResponse<'a> 19, 2..=7, flexible 5 {
        throttle_time_ms: i32,
        topics: List<'a, CreatableTopicResult<'a>>,
    }

    /// What became of one topic.
    struct CreatableTopicResult<'a> {
        name: &'a str,
        topic_id: Uuid [7.., ignorable],
        error_code: i16,
        error_message: Option<&'a str>,
        /// TOPIC_AUTHORIZATION_FAILED when the configs are withheld.
        topic_config_error_code: i16 [5.., tag 0, ignorable],
        /// −1 when withheld.
        num_partitions: i32 [5.., ignorable] = -1,
        /// −1 when withheld.
        replication_factor: i16 [5.., ignorable] = -1,
        /// Null when withheld.
        configs: Option<List<'a, CreatableTopicConfigs<'a>>> [5.., ignorable],
    }

    /// An effective config of the new topic.
    struct CreatableTopicConfigs<'a> {
        name: &'a str [5..],
        value: Option<&'a str> [5..],
        read_only: bool [5..],
        /// As in DescribeConfigs.
        config_source: i8 [5.., ignorable] = -1,
        is_sensitive: bool [5..],
    }
}
