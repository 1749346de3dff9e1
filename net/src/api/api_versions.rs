//! ApiVersions (18), v0–4: what can be said to this listener, rendered from the table.
//!
//! Any version is answered: an unknown one with UNSUPPORTED_VERSION and the list, in v0. Runs
//! where the connection is.

use wire::api_key::ApiKey;
use wire::error_code::ErrorCode;
use wire::msg::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};

use super::{Cx, TABLE};
use crate::conn::read::Frame;
use crate::conn::reply::Reply;
use replication::features::{KRAFT_VERSION, SUPPORTED};

pub(super) async fn handle(cx: &Cx, frame: Frame) -> Reply {
    if !ApiKey::ApiVersions.supports(cx.version) {
        return answer(cx, 0, ErrorCode::UNSUPPORTED_VERSION);
    }
    let request: ApiVersionsRequest<'_> = match cx.decode(&frame).await {
        Ok(request) => request,
        Err(refusal) => return Reply::Close(refusal),
    };
    let (name, version) = (request.client_software_name, request.client_software_version);
    if cx.version >= 3 {
        if !is_valid(name) || !is_valid(version) {
            return answer(cx, cx.version, ErrorCode::INVALID_REQUEST);
        }
        cx.conn.identity.borrow_mut().software = Some((name.to_owned(), version.to_owned()));
    }
    answer(cx, cx.version, ErrorCode::NONE)
}

fn answer(cx: &Cx, version: i16, error: ErrorCode) -> Reply {
    let image = cx.image();
    let response = ApiVersionsResponse {
        error_code: error.into(),
        api_keys: TABLE.iter().map(|row| advertised(row.key)).collect(),
        throttle_time_ms: cx.throttle_ms(),
        supported_features: SUPPORTED
            .iter()
            // Older clients fail on a feature whose lowest level is 0.
            .filter(|feature| version >= 4 || feature.min > 0)
            .map(|feature| SupportedFeatureKey {
                name: feature.name,
                min_version: feature.min,
                max_version: feature.max,
            })
            .collect(),
        finalized_features_epoch: image.provenance().end.0 - 1,
        finalized_features: image
            .features()
            .iter()
            // The broker's listeners do not tell the quorum's own level.
            .filter(|(name, _)| &***name != KRAFT_VERSION)
            .map(|(name, level)| FinalizedFeatureKey {
                name,
                max_version_level: level,
                min_version_level: level,
            })
            .collect(),
        ..ApiVersionsResponse::default()
    };
    cx.reply_in(version, &response)
}

fn advertised(key: ApiKey) -> ApiVersion {
    let versions = key.advertised();
    ApiVersion { api_key: key.key(), min_version: *versions.start(), max_version: *versions.end() }
}

/// Kafka's pattern: `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`.
fn is_valid(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_kafkas() {
        for good in ["librdkafka", "apache-kafka-java", "4.3.0", "a"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "ä", "a\n"] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }

    #[test]
    fn produce_is_advertised_from_version_0() {
        let produce = advertised(ApiKey::Produce);
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
    }
}
