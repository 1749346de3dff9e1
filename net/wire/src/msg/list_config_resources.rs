//! ListConfigResources (74), v0–1: names of things that may have configs (KIP-714, KIP-1142).
//!
//! v0 client metrics only (ListClientMetricsResources) · v1 kinds

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Kinds to list.
    request ListConfigResourcesRequest<'a> 74, 0..=1, flexible 0 {
        /// Empty for all.
        resource_types: List<'a, i8> [1..],
    }

    /// What there is.
    response ListConfigResourcesResponse<'a> 74, 0..=1, flexible 0 {
        throttle_time_ms: i32,
        error_code: i16,
        config_resources: List<'a, ConfigResource<'a>>,
    }

    /// A thing.
    struct ConfigResource<'a> {
        resource_name: &'a str,
        /// 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8 [1.., ignorable] = 16,
    }
}
