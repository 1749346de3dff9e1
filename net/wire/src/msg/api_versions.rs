//! ApiVersions (18), v0–4: what can be said to this broker; the first request on a connection.
//!
//! v1 throttle time · v3 flexible, client software name and version; response: features (KIP-584) ·
//! v4 features whose lowest level is 0 are listed too (KAFKA-17011: older clients fail on them)
//!
//! v2 changes only when throttling happens. An unknown version is answered with UNSUPPORTED_VERSION
//! and the key list, in v0. The response header is v0 in every version.

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Who asks.
    request ApiVersionsRequest<'a> 18, 0..=4, flexible 3 {
        /// Letters, digits, `-` and `.`; anything else is INVALID_REQUEST.
        client_software_name: &'a str [3.., ignorable],
        /// As the name.
        client_software_version: &'a str [3.., ignorable],
    }

    /// APIs, their versions, and feature levels.
    response ApiVersionsResponse<'a> 18, 0..=4, flexible 3 {
        error_code: i16,
        /// Kafka's clients expect at least one.
        api_keys: List<'a, ApiVersion>,
        throttle_time_ms: i32 [1.., ignorable],
        supported_features: List<'a, SupportedFeatureKey<'a>> [3.., tag 0, ignorable],
        /// Grows with the metadata log; −1 for unknown.
        finalized_features_epoch: i64 [3.., tag 1, ignorable] = -1,
        finalized_features: List<'a, FinalizedFeatureKey<'a>> [3.., tag 2, ignorable],
        /// Never, without ZooKeeper.
        zk_migration_ready: bool [3.., tag 3, ignorable],
    }

    /// An API and its versions.
    struct ApiVersion {
        api_key: i16,
        min_version: i16,
        max_version: i16,
    }

    /// A feature that this node has, and its levels.
    struct SupportedFeatureKey<'a> {
        name: &'a str [3..],
        min_version: i16 [3..],
        max_version: i16 [3..],
    }

    /// A feature that the cluster has settled on, and its level.
    struct FinalizedFeatureKey<'a> {
        name: &'a str [3..],
        max_version_level: i16 [3..],
        min_version_level: i16 [3..],
    }
}
