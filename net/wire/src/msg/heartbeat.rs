//! Heartbeat (12), v0–4: a member of a classic group says that it is alive.
//!
//! v1 throttle time · v3 static membership (KIP-345) · v4 flexible
//!
//! v2 changes only when throttling happens.

use crate::schema::wire;

wire! {
    /// Who is alive.
    request HeartbeatRequest<'a> 12, 0..=4, flexible 4 {
        group_id: &'a str,
        generation_id: i32,
        member_id: &'a str,
        group_instance_id: Option<&'a str> [3..] = None,
    }

    /// Whether to go on, or to join again.
    response HeartbeatResponse 12, 0..=4, flexible 4 {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: i16,
    }
}
