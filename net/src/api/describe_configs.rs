//! DescribeConfigs (32), v1–4: every key of a topic, broker, group or telemetry subscription with its
//! value, and where that is from; and the levels of this broker's loggers.
//!
//! Brokers answer for themselves and, under the empty name, for what is set for all. A group or a
//! subscription need not exist to be described.

use std::collections::{BTreeMap, BTreeSet};

use config::{Described, Source};
use replication::controller::names;
use replication::image::{ConfigResource, Image, ResourceKind};
use wire::error_code::ErrorCode;
use wire::msg::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::Cx;
use super::authz::Operation;
use super::errors::Failure;
use super::loggers;
use super::resources::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::conn::reply::Reply;

/// What a resource has.
enum Found {
    /// Keys of the table.
    Keys(Vec<Described>),
    /// This broker's loggers.
    Loggers,
}

pub(super) async fn handle(cx: &Cx, request: DescribeConfigsRequest<'_>) -> Reply {
    let image = cx.image();
    // An answer is far larger than the question: each resource is answered once.
    let mut seen = BTreeSet::new();
    let mut new = |asked: &DescribeConfigsResource<'_>| {
        let name = asked.resource_name;
        let broker = (asked.resource_type == BROKER).then(|| name.parse::<i32>().ok()).flatten();
        let name = broker.map_or_else(|| name.to_owned(), |id| id.to_string());
        seen.insert((asked.resource_type, name))
    };
    let resources = request.resources.iter().filter(|asked| new(asked));
    let resources: Vec<_> = resources.collect();
    cx.claim(resources.len() * KEYS).await;
    let resources = resources.into_iter();
    let found: Vec<_> = resources.map(|asked| (find(cx, &image, &asked), asked)).collect();
    let results = found.iter().map(|(found, asked)| {
        let result = DescribeConfigsResult {
            resource_type: asked.resource_type,
            resource_name: asked.resource_name,
            ..DescribeConfigsResult::default()
        };
        match found {
            Ok(found) => {
                DescribeConfigsResult { configs: configs(cx, found, asked, &request), ..result }
            }
            Err(failure) => DescribeConfigsResult {
                error_code: failure.code.into(),
                error_message: failure.message.as_deref(),
                ..result
            },
        }
    });
    let results = results.collect();
    cx.reply(&DescribeConfigsResponse { throttle_time_ms: cx.throttle_ms(), results })
}

fn find(cx: &Cx, image: &Image, asked: &DescribeConfigsResource<'_>) -> Result<Found, Failure> {
    let name = asked.resource_name;
    let resource = ConfigResource::new(ResourceKind::from_code(asked.resource_type), name);
    cx.permits_config(Operation::DescribeConfigs, &resource).map_err(Failure::bare)?;
    let none = BTreeMap::new();
    let set = image.configs().get(&resource).map_or(&none, |set| &**set);
    match asked.resource_type {
        TOPIC => {
            if let Some(refusal) = names::refusal(name) {
                return Err(Failure::new(ErrorCode::INVALID_TOPIC_EXCEPTION, refusal));
            }
            if image.topics().named(name).is_none() {
                return Err(Failure::bare(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
            }
            Ok(Found::Keys(cx.core.config().describe_topic(set)))
        }
        BROKER if name.is_empty() => Ok(Found::Keys(cx.core.config().describe_cluster())),
        BROKER => {
            own_id(cx, name, "expected {} or empty string, but received")?;
            Ok(Found::Keys(cx.core.config().describe_broker()))
        }
        BROKER_LOGGER if name.is_empty() => Err(invalid("Broker id must not be empty".to_owned())),
        BROKER_LOGGER => {
            own_id(cx, name, "expected {} but received")?;
            Ok(Found::Loggers)
        }
        CLIENT_METRICS if name.is_empty() => {
            Err(invalid("Client metrics subscription name must not be empty".to_owned()))
        }
        CLIENT_METRICS => Ok(Found::Keys(cx.core.config().describe_subscription(set))),
        GROUP if name.is_empty() => Err(invalid("Group name must not be empty".to_owned())),
        GROUP => Ok(Found::Keys(cx.core.config().describe_group(set))),
        // In Kafka's words, for a kind that its client library does not know.
        _ => Err(invalid(ErrorCode::INVALID_REQUEST.message().to_owned())),
    }
}

/// Whether `name` is this broker.
fn own_id(cx: &Cx, name: &str, expectation: &str) -> Result<(), Failure> {
    let own = cx.core.node.id.0;
    match name.parse::<i32>() {
        Err(_) => Err(invalid(format!("Broker id must be an integer, but it is: {name}"))),
        Ok(id) if id != own => {
            let expected = expectation.replace("{}", &own.to_string());
            Err(invalid(format!("Unexpected broker id, {expected} {name}")))
        }
        Ok(_) => Ok(()),
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(ErrorCode::INVALID_REQUEST, message)
}

/// The keys asked for; without any, all.
fn configs<'a, C: FromIterator<DescribeConfigsResourceResult<'a>>>(
    cx: &Cx,
    found: &'a Found,
    asked: &DescribeConfigsResource<'_>,
    request: &DescribeConfigsRequest<'_>,
) -> C {
    let keys: BTreeSet<&str> =
        asked.configuration_keys.iter().flat_map(|keys| keys.iter()).collect();
    let wanted = |name: &str| keys.is_empty() || keys.contains(name);
    match found {
        Found::Keys(all) => {
            let wanted = all.iter().filter(|described| wanted(described.name));
            wanted.map(|described| config(described, request)).collect()
        }
        Found::Loggers => {
            let all = loggers::describe(cx).into_iter();
            all.filter(|logger| wanted(logger.name)).collect()
        }
    }
}

fn config<'a>(
    described: &'a Described,
    request: &DescribeConfigsRequest<'_>,
) -> DescribeConfigsResourceResult<'a> {
    let synonyms = described.synonyms.iter().filter(|_| request.include_synonyms);
    let synonyms = synonyms.map(|synonym| DescribeConfigsSynonym {
        name: synonym.name,
        value: synonym.value.as_deref(),
        source: synonym.source.id(),
    });
    DescribeConfigsResourceResult {
        name: described.name,
        value: described.value.as_deref(),
        read_only: described.read_only,
        config_source: Source::id(described.source),
        is_sensitive: described.sensitive,
        synonyms: synonyms.collect(),
        config_type: described.kind.id(),
        documentation: request.include_documentation.then_some(described.doc),
    }
}

/// Keys of a topic, nearly.
const KEYS: usize = 40;
