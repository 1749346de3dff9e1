//! FindCoordinator (10), v0–6: which broker coordinates a group, a transactional id or a share
//! group's partition.
//!
//! v1 kinds of keys, throttle time and error message · v3 flexible · v4 several keys (KIP-699) · v5
//! TRANSACTION_ABORTABLE (KIP-890) · v6 share groups (KIP-932)
//!
//! v2 changes only when throttling happens.

use crate::list::List;
use crate::schema::wire;

wire! {
    /// What to find coordinators for.
    request FindCoordinatorRequest<'a> 10, 0..=6, flexible 3 {
        /// Group id or transactional id.
        key: &'a str [..=3],
        /// 0 group, 1 transaction, 2 share.
        key_type: i8 [1..],
        /// As `key`, and for share groups `group:topicId:partition`.
        coordinator_keys: List<'a, &'a str> [4..],
    }

    /// The coordinators.
    response FindCoordinatorResponse<'a> 10, 0..=6, flexible 3 {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: i16 [..=3],
        error_message: Option<&'a str> [1..=3, ignorable],
        /// −1 with an error.
        node_id: i32 [..=3],
        host: &'a str [..=3],
        /// −1 with an error.
        port: i32 [..=3],
        coordinators: List<'a, Coordinator<'a>> [4..],
    }

    /// The coordinator of one key.
    struct Coordinator<'a> {
        key: &'a str,
        /// −1 with an error.
        node_id: i32,
        host: &'a str,
        /// −1 with an error.
        port: i32,
        error_code: i16,
        error_message: Option<&'a str> [ignorable],
    }
}
