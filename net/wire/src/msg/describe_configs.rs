//! DescribeConfigs (32), v1–4.
//!
//! v1 synonyms, sources · v3 documentation and type (KIP-569) · v4 flexible
//!
//! v2 changes only when throttling happens.

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Whose configs.
    request DescribeConfigsRequest<'a> 32, 1..=4, flexible 4 {
        resources: List<'a, DescribeConfigsResource<'a>>,
        include_synonyms: bool,
        include_documentation: bool [3..],
    }

    /// A resource, and which of its configs.
    struct DescribeConfigsResource<'a> {
        /// 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8,
        resource_name: &'a str,
        /// Null for all.
        configuration_keys: Option<List<'a, &'a str>>,
    }

    /// The configs.
    response DescribeConfigsResponse<'a> 32, 1..=4, flexible 4 {
        throttle_time_ms: i32,
        results: List<'a, DescribeConfigsResult<'a>>,
    }

    /// One resource's configs.
    struct DescribeConfigsResult<'a> {
        error_code: i16,
        error_message: Option<&'a str>,
        /// 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8,
        resource_name: &'a str,
        configs: List<'a, DescribeConfigsResourceResult<'a>>,
    }

    /// A config in effect.
    struct DescribeConfigsResourceResult<'a> {
        name: &'a str,
        /// Null for a sensitive one.
        value: Option<&'a str>,
        read_only: bool,
        /// 1 dynamic topic, 2 dynamic broker, 3 dynamic default broker, 4 static broker, 5 default,
        /// 6 dynamic broker logger, 7 client metrics, 8 group; −1 unknown.
        config_source: i8 = -1,
        is_sensitive: bool,
        synonyms: List<'a, DescribeConfigsSynonym<'a>>,
        /// 0 unknown, 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9
        /// password.
        config_type: i8 [3.., ignorable],
        documentation: Option<&'a str> [3.., ignorable],
    }

    /// A place the value could come from, in order of precedence.
    struct DescribeConfigsSynonym<'a> {
        name: &'a str,
        value: Option<&'a str>,
        /// As `config_source`.
        source: i8,
    }
}
