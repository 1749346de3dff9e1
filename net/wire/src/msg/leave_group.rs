//! LeaveGroup (13), v0–5: members leave a classic group, or are removed from it.
//!
//! v1 throttle time · v3 several members, by id or by instance (KIP-345) · v4 flexible · v5 reason
//! (KIP-800)
//!
//! v2 changes only when throttling happens.

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Who leaves.
    request LeaveGroupRequest<'a> 13, 0..=5, flexible 4 {
        group_id: &'a str,
        member_id: &'a str [..=2],
        members: List<'a, MemberIdentity<'a>> [3..],
    }

    /// One who leaves.
    struct MemberIdentity<'a> {
        /// Empty where an administrator removes a static member.
        member_id: &'a str,
        group_instance_id: Option<&'a str> = None,
        reason: Option<&'a str> [5.., ignorable] = None,
    }

    /// What became of each.
    response LeaveGroupResponse<'a> 13, 0..=5, flexible 4 {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: i16,
        members: List<'a, MemberResponse<'a>> [3..],
    }

    /// What became of one.
    struct MemberResponse<'a> {
        member_id: &'a str,
        group_instance_id: Option<&'a str>,
        error_code: i16,
    }
}
