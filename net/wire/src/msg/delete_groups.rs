//! DeleteGroups (42), v0–2: forget groups that have no members, and their offsets.
//!
//! v2 flexible
//!
//! v1 changes only when throttling happens.

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Groups to forget.
    request DeleteGroupsRequest<'a> 42, 0..=2, flexible 2 {
        groups_names: List<'a, &'a str>,
    }

    /// What became of each.
    response DeleteGroupsResponse<'a> 42, 0..=2, flexible 2 {
        throttle_time_ms: i32,
        results: List<'a, DeletableGroupResult<'a>>,
    }

    /// What became of one.
    struct DeletableGroupResult<'a> {
        group_id: &'a str,
        error_code: i16,
    }
}
