//! DeleteTopics (20), v1–6.
//!
//! v3 TOPIC_DELETION_DISABLED · v4 flexible · v5 error messages, THROTTLING_QUOTA_EXCEEDED
//! (KIP-599) · v6 topics by name or by id instead of a list of names (KIP-516)
//!
//! v2 changes only when throttling happens.

use crate::list::List;
use crate::primitives::Uuid;
use crate::schema::wire;

wire! {
    /// Topics to delete, each on its own.
    request DeleteTopicsRequest<'a> 20, 1..=6, flexible 4 {
        /// From v6 on.
        topics: List<'a, DeleteTopicState<'a>> [6..],
        /// Up to v5.
        topic_names: List<'a, &'a str> [..=5, ignorable],
        /// How long to wait until the topics are gone, milliseconds.
        timeout_ms: i32,
    }

    /// A topic to delete.
    struct DeleteTopicState<'a> {
        /// Null when deleted by id.
        name: Option<&'a str> [6..] = None,
        topic_id: Uuid [6..],
    }

    /// What became of each.
    response DeleteTopicsResponse<'a> 20, 1..=6, flexible 4 {
        throttle_time_ms: i32,
        responses: List<'a, DeletableTopicResult<'a>>,
    }

    /// What became of one topic.
    struct DeletableTopicResult<'a> {
        /// Null (v6) when the id is unknown, or the name is withheld.
        name: Option<&'a str> [null 6..],
        topic_id: Uuid [6.., ignorable],
        error_code: i16,
        error_message: Option<&'a str> [5.., ignorable] = None,
    }
}
