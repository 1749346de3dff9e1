//! AlterConfigs (33), v0–2: replace *all* configs of a resource. Deprecated:
//! IncrementalAlterConfigs.
//!
//! v2 flexible
//!
//! v1 changes only when throttling happens.

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Resources, and what their configs shall be.
    request AlterConfigsRequest<'a> 33, 0..=2, flexible 2 {
        resources: List<'a, AlterConfigsResource<'a>>,
        /// Check, change nothing.
        validate_only: bool,
    }

    /// One resource. What is not listed goes back to its default.
    struct AlterConfigsResource<'a> {
        /// As in DescribeConfigs.
        resource_type: i8,
        resource_name: &'a str,
        configs: List<'a, AlterableConfig<'a>>,
    }

    /// A config.
    struct AlterableConfig<'a> {
        name: &'a str,
        /// Null for the default.
        value: Option<&'a str>,
    }

    /// What became of each.
    response AlterConfigsResponse<'a> 33, 0..=2, flexible 2 {
        throttle_time_ms: i32,
        responses: List<'a, AlterConfigsResourceResponse<'a>>,
    }

    /// What became of one resource.
    struct AlterConfigsResourceResponse<'a> {
        error_code: i16,
        error_message: Option<&'a str>,
        /// As in DescribeConfigs.
        resource_type: i8,
        resource_name: &'a str,
    }
}
