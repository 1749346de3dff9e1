//! UpdateFeatures (57), v0–2: feature levels go up or down (KIP-584).
//!
//! v1 upgrade type in place of a flag, validate only · v2 no results by feature

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Levels to set.
    request UpdateFeaturesRequest<'a> 57, 0..=2, flexible 0 {
        timeout_ms: i32 = 60000,
        feature_updates: List<'a, FeatureUpdateKey<'a>>,
        validate_only: bool [1..],
    }

    /// One feature's level.
    struct FeatureUpdateKey<'a> {
        feature: &'a str,
        /// 0 for none.
        max_version_level: i16,
        allow_downgrade: bool [..=0],
        /// 1 upgrade, 2 safe downgrade, 3 unsafe downgrade.
        upgrade_type: i8 [1..] = 1,
    }

    /// Whether they are set, all or none.
    response UpdateFeaturesResponse<'a> 57, 0..=2, flexible 0 {
        throttle_time_ms: i32,
        error_code: i16,
        error_message: Option<&'a str>,
        results: List<'a, UpdatableFeatureResult<'a>> [..=1, ignorable],
    }

    /// One feature's part of the response.
    struct UpdatableFeatureResult<'a> {
        feature: &'a str,
        error_code: i16,
        error_message: Option<&'a str>,
    }
}
