//! DescribeGroups (15), v0–6: classic groups with their members.
//!
//! v1 throttle time · v3 authorized operations (KIP-430) · v4 static membership (KIP-345) · v5
//! flexible · v6 GROUP_ID_NOT_FOUND and a message (KIP-1043)
//!
//! v2 changes only when throttling happens.

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Which groups.
    request DescribeGroupsRequest<'a> 15, 0..=6, flexible 5 {
        groups: List<'a, &'a str>,
        include_authorized_operations: bool [3..],
    }

    /// The groups.
    response DescribeGroupsResponse<'a> 15, 0..=6, flexible 5 {
        throttle_time_ms: i32 [1.., ignorable],
        groups: List<'a, DescribedGroup<'a>>,
    }

    /// A group.
    struct DescribedGroup<'a> {
        error_code: i16,
        error_message: Option<&'a str> [6..] = None,
        group_id: &'a str,
        group_state: &'a str,
        protocol_type: &'a str,
        /// Name of the chosen protocol, in a stable group.
        protocol_data: &'a str,
        members: List<'a, DescribedGroupMember<'a>>,
        /// A bit for each operation; `i32::MIN` where they were not asked for.
        authorized_operations: i32 [3..] = i32::MIN,
    }

    /// A member.
    struct DescribedGroupMember<'a> {
        member_id: &'a str,
        group_instance_id: Option<&'a str> [4.., ignorable] = None,
        client_id: &'a str,
        client_host: &'a str,
        /// Of the chosen protocol, in a stable group.
        member_metadata: &'a [u8],
        /// In a stable group.
        member_assignment: &'a [u8],
    }
}
