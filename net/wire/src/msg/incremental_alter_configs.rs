//! IncrementalAlterConfigs (44), v0–1: change some configs of a resource (KIP-339).
//!
//! v1 flexible

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Resources, and what to change.
    request IncrementalAlterConfigsRequest<'a> 44, 0..=1, flexible 1 {
        resources: List<'a, AlterConfigsResource<'a>>,
        /// Check, change nothing.
        validate_only: bool,
    }

    /// One resource. What is not listed stays.
    struct AlterConfigsResource<'a> {
        /// As in DescribeConfigs.
        resource_type: i8,
        resource_name: &'a str,
        configs: List<'a, AlterableConfig<'a>>,
    }

    /// A change to one config.
    struct AlterableConfig<'a> {
        name: &'a str,
        /// 0 set, 1 delete, 2 append to a list, 3 subtract from a list.
        config_operation: i8,
        /// Null with delete.
        value: Option<&'a str>,
    }

    /// What became of each.
    response IncrementalAlterConfigsResponse<'a> 44, 0..=1, flexible 1 {
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
