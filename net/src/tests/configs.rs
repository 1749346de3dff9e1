//! What can be set while the node runs, as clients see it.

use wire::api_key::ApiKey;
use wire::error_code::ErrorCode;
use wire::msg::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use wire::msg::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use wire::msg::list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use wire::msg::update_features::{FeatureUpdateKey, UpdateFeaturesRequest, UpdateFeaturesResponse};

use crate::api::resources::{BROKER_LOGGER as LOGGER, CLIENT_METRICS, GROUP};
use crate::loggers::{LOGGERS, Loggers, Severity};
use crate::testing::{Client, Whole};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;

/// Makes one operation; what is answered.
async fn alter(
    client: &mut Client,
    (kind, name): (i8, &str),
    (key, op, value): (&str, i8, Option<&str>),
    validate_only: bool,
) -> (ErrorCode, String) {
    let config = AlterableConfig { name: key, config_operation: op, value };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: name,
        configs: vec![config].into(),
    };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource].into(), validate_only };
    let answer = client.ask(ApiKey::IncrementalAlterConfigs, 1, &request, |cur| {
        let response = IncrementalAlterConfigsResponse::decode(cur, 1).expect("a response");
        let told = response.responses.first().expect("one resource");
        assert_eq!(told.resource_type, kind);
        (ErrorCode(told.error_code), told.error_message.unwrap_or_default().to_owned())
    });
    answer.await.expect("answered")
}

/// Name, value and source of every key.
async fn describe(
    client: &mut Client,
    kind: i8,
    name: &str,
) -> Result<Vec<(String, String, i8)>, ErrorCode> {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name,
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource].into(),
        ..DescribeConfigsRequest::default()
    };
    let answer = client.ask(ApiKey::DescribeConfigs, 4, &request, |cur| {
        let response = DescribeConfigsResponse::decode(cur, 4).expect("a response");
        let told = response.results.first().expect("one resource");
        if told.error_code != 0 {
            return Err(ErrorCode(told.error_code));
        }
        let configs = told.configs.iter().map(|config| {
            (
                config.name.to_owned(),
                config.value.unwrap_or("null").to_owned(),
                config.config_source,
            )
        });
        Ok(configs.collect())
    });
    answer.await.expect("answered")
}

async fn list(client: &mut Client, kinds: &[i8]) -> Result<Vec<(i8, String)>, ErrorCode> {
    let request = ListConfigResourcesRequest { resource_types: kinds.to_vec().into() };
    let answer = client.ask(ApiKey::ListConfigResources, 1, &request, |cur| {
        let response = ListConfigResourcesResponse::decode(cur, 1).expect("a response");
        if response.error_code != 0 {
            return Err(ErrorCode(response.error_code));
        }
        let found = response.config_resources.iter();
        Ok(found.map(|one| (one.resource_type, one.resource_name.to_owned())).collect())
    });
    answer.await.expect("answered")
}

#[test]
fn levels_of_loggers_change() {
    let node = Whole::start(1, 2, &[]);
    let levels = std::sync::Arc::clone(&node.loggers);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        let own = (LOGGER, "1");
        let all = describe(&mut client, LOGGER, "1").await.expect("this broker");
        assert_eq!(all.len(), LOGGERS.len());
        assert!(all.contains(&("root".to_owned(), "INFO".to_owned(), 6)));

        let debug = ("net.meta", SET, Some("DEBUG"));
        assert_eq!(alter(&mut client, own, debug, true).await.0, ErrorCode::NONE);
        assert_eq!(levels.level("net.meta"), Severity::Info, "it was only asked");
        assert_eq!(alter(&mut client, own, debug, false).await.0, ErrorCode::NONE);
        assert_eq!(levels.level("net.meta"), Severity::Debug);
        let gone = ("net.meta", DELETE, None);
        assert_eq!(alter(&mut client, own, gone, false).await.0, ErrorCode::NONE);
        assert_eq!(levels.level("net.meta"), Severity::Info);

        // What Kafka 4.3.1 answered to the same.
        for (name, operation, code, text) in [
            (
                "1",
                ("foo", SET, Some("DEBUG")),
                ErrorCode::INVALID_CONFIG,
                "Logger foo does not exist!",
            ),
            (
                "1",
                ("root", SET, Some("debug")),
                ErrorCode::INVALID_CONFIG,
                "Cannot set the log level of root to debug as it is not a supported log level. \
                 Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN",
            ),
            (
                "1",
                ("root", DELETE, None),
                ErrorCode::INVALID_REQUEST,
                "Removing the log level of the root logger is not allowed",
            ),
            (
                "1",
                ("root", APPEND, Some("INFO")),
                ErrorCode::INVALID_REQUEST,
                "APPEND operation is not allowed for the BROKER_LOGGER resource",
            ),
            (
                "2",
                ("root", SET, Some("INFO")),
                ErrorCode::INVALID_REQUEST,
                "Unexpected broker id, expected 1, but received 2",
            ),
            (
                "1",
                ("root", SET, None),
                ErrorCode::INVALID_REQUEST,
                "Null value not supported for : root",
            ),
        ] {
            let told = alter(&mut client, (LOGGER, name), operation, false).await;
            assert_eq!(told, (code, text.to_owned()));
        }
    });
}

#[test]
fn groups_and_subscriptions_are_set_and_listed() {
    let node = Whole::start(2, 2, &[]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        let heartbeat = "consumer.heartbeat.interval.ms";
        let set = (heartbeat, SET, Some("6000"));
        assert_eq!(alter(&mut client, (GROUP, "g"), set, false).await.0, ErrorCode::NONE);
        let all = describe(&mut client, GROUP, "g").await.expect("a group");
        assert!(all.contains(&(heartbeat.to_owned(), "6000".to_owned(), 8)), "{all:?}");
        assert!(describe(&mut client, GROUP, "").await.is_err());
        let every = ("interval.ms", SET, Some("1000"));
        let basic = (CLIENT_METRICS, "basic");
        assert_eq!(alter(&mut client, basic, every, false).await.0, ErrorCode::NONE);
        let seldom = ("interval.ms", SET, Some("3600001"));
        assert_eq!(alter(&mut client, basic, seldom, false).await.0, ErrorCode::INVALID_REQUEST);

        assert_eq!(client.create("t", 1, &[]).await, ErrorCode::NONE);
        let listed = list(&mut client, &[]).await.expect("all");
        let expected = [(2, "t"), (4, "1"), (8, "1"), (CLIENT_METRICS, "basic"), (GROUP, "g")];
        assert_eq!(listed, expected.map(|(kind, name)| (kind, name.to_owned())));
        assert_eq!(list(&mut client, &[GROUP]).await, Ok(vec![(GROUP, "g".to_owned())]));
        assert_eq!(list(&mut client, &[3]).await, Err(ErrorCode::UNSUPPORTED_VERSION));
    });
}

#[test]
fn feature_levels_are_kept_over_a_restart() {
    async fn update(
        client: &mut Client,
        version: i16,
        level: i16,
        kind: i8,
    ) -> (ErrorCode, String) {
        let update = FeatureUpdateKey {
            feature: "transaction.version",
            max_version_level: level,
            allow_downgrade: version == 0 && kind != 1,
            upgrade_type: if version == 0 { 1 } else { kind },
        };
        let request = UpdateFeaturesRequest {
            feature_updates: vec![update].into(),
            ..UpdateFeaturesRequest::default()
        };
        let answer = client.ask(ApiKey::UpdateFeatures, version, &request, |cur| {
            let response = UpdateFeaturesResponse::decode(cur, version).expect("a response");
            let told = response.results.iter().count();
            assert_eq!(told, usize::from(version < 2 && response.error_code == 0));
            let text = response.error_message.unwrap_or_default().to_owned();
            (ErrorCode(response.error_code), text)
        });
        answer.await.expect("answered")
    }
    let mut node = Whole::start(3, 1, &[]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        let (code, text) = update(&mut client, 2, 1, 1).await;
        assert_eq!(code, ErrorCode::INVALID_UPDATE_VERSION);
        assert!(text.starts_with("The update failed for all features since"), "{text}");
        assert_eq!(update(&mut client, 0, 1, 2).await.0, ErrorCode::NONE);
    });
    for outcome in node.stop() {
        outcome.expect("stops in order");
    }
    node.boot();
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        // It is at level 1, so this is a step up.
        assert_eq!(update(&mut client, 2, 2, 2).await.0, ErrorCode::INVALID_UPDATE_VERSION);
        assert_eq!(update(&mut client, 1, 2, 1).await.0, ErrorCode::NONE);
    });
}

/// A name as long as names can be leaves no room for what is said of it.
#[test]
fn what_an_answer_quotes_is_cut() {
    let node = Whole::start(4, 1, &[]);
    node.run(|rt, addr| async move {
        let mut client = Client::connect(&rt, addr).await;
        let feature = &*"x".repeat(usize::from(i16::MAX.unsigned_abs()));
        let update = FeatureUpdateKey {
            feature,
            max_version_level: 1,
            upgrade_type: 1,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest {
            feature_updates: vec![update].into(),
            ..UpdateFeaturesRequest::default()
        };
        let answer = client.ask(ApiKey::UpdateFeatures, 2, &request, |cur| {
            let response = UpdateFeaturesResponse::decode(cur, 2).expect("a response");
            (ErrorCode(response.error_code), response.error_message.unwrap_or_default().len())
        });
        let (code, len) = answer.await.expect("answered");
        assert_eq!(code, ErrorCode::INVALID_UPDATE_VERSION);
        assert!((1000..4000).contains(&len), "{len} bytes");
    });
}
