//! SyncGroup (14), v0–5: the leader of a classic group hands assignments out, the others get them.
//!
//! v1 throttle time · v3 static membership (KIP-345) · v4 flexible · v5 protocol type and name, both
//! ways (KIP-559)
//!
//! v2 changes only when throttling happens.

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Who asks, and of the leader what everybody gets.
    request SyncGroupRequest<'a> 14, 0..=5, flexible 4 {
        group_id: &'a str,
        generation_id: i32,
        member_id: &'a str,
        group_instance_id: Option<&'a str> [3..] = None,
        protocol_type: Option<&'a str> [5.., ignorable] = None,
        protocol_name: Option<&'a str> [5.., ignorable] = None,
        assignments: List<'a, SyncGroupRequestAssignment<'a>>,
    }

    /// What one member gets.
    struct SyncGroupRequestAssignment<'a> {
        member_id: &'a str,
        assignment: &'a [u8],
    }

    /// What the member gets.
    response SyncGroupResponse<'a> 14, 0..=5, flexible 4 {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: i16,
        protocol_type: Option<&'a str> [5.., ignorable] = None,
        protocol_name: Option<&'a str> [5.., ignorable] = None,
        assignment: &'a [u8],
    }
}
