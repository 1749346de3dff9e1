//! UpdateFeatures (57), v0–2: feature levels go up or down, decided by the controller.

use replication::controller::levels::{Direction, FeatureUpdate, UpdateFeatures};
use wire::error_code::ErrorCode;
use wire::msg::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};

use super::Cx;
use super::errors::Failure;
use crate::conn::reply::Reply;

pub(super) async fn handle(cx: &Cx, request: UpdateFeaturesRequest<'_>) -> Reply {
    let update = |asked: FeatureUpdateKey<'_>| {
        let direction = match (cx.version, asked.allow_downgrade) {
            (0, true) => Direction::SafeDowngrade,
            (0, false) => Direction::Upgrade,
            _ => Direction::from_code(asked.upgrade_type),
        };
        (asked.feature.to_owned(), FeatureUpdate { level: asked.max_version_level, direction })
    };
    let change = UpdateFeatures {
        updates: request.feature_updates.iter().map(update).collect(),
        validate_only: request.validate_only,
    };
    let outcome = match cx.permits_cluster() {
        Err(code) => Err(Failure::bare(code)),
        Ok(()) => match cx.change(change).await {
            Ok(outcome) => outcome.map_err(|refusal| {
                let mut failure = Failure::from(refusal);
                failure.message = failure.message.map(|text| format!("{FAILED}{text}").into());
                failure
            }),
            Err(failure) => Err(failure),
        },
    };
    let failure = outcome.err();
    // Who is told of each feature by itself is so only when all went well, as in Kafka.
    let each = request.feature_updates.iter().filter(|_| failure.is_none() && cx.version < 2);
    let each = each.map(|asked| UpdatableFeatureResult {
        feature: asked.feature,
        error_code: ErrorCode::NONE.into(),
        error_message: None,
    });
    cx.reply(&UpdateFeaturesResponse {
        throttle_time_ms: cx.throttle_ms(),
        error_code: failure.as_ref().map_or(ErrorCode::NONE, |failure| failure.code).into(),
        error_message: failure.as_ref().and_then(|failure| failure.message.as_deref()),
        results: each.collect(),
    })
}

const FAILED: &str =
    "The update failed for all features since the following feature had an error: ";
