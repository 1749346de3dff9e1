//! ListGroups (16), v0–5: the groups that a broker coordinates.
//!
//! v1 throttle time · v3 flexible · v4 states, and only some of them (KIP-518) · v5 types, and only
//! some of them (KIP-848)
//!
//! v2 changes only when throttling happens.

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Which groups.
    request ListGroupsRequest<'a> 16, 0..=5, flexible 3 {
        /// None for all.
        states_filter: List<'a, &'a str> [4..],
        /// None for all.
        types_filter: List<'a, &'a str> [5..],
    }

    /// The groups.
    response ListGroupsResponse<'a> 16, 0..=5, flexible 3 {
        throttle_time_ms: i32 [1.., ignorable],
        error_code: i16,
        groups: List<'a, ListedGroup<'a>>,
    }

    /// A group.
    struct ListedGroup<'a> {
        group_id: &'a str,
        /// Empty for a group that only has offsets.
        protocol_type: &'a str,
        group_state: &'a str [4.., ignorable],
        group_type: &'a str [5.., ignorable],
    }
}
