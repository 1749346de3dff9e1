//! DescribeConfigs (32), v1–4: every key of a topic or a broker with its value, and where that is
//! from.
//!
//! Brokers answer for themselves and, under the empty name, for what is set for all. Groups and
//! telemetry subscriptions show what is set for them; there are no loggers to set.

use std::collections::{BTreeMap, BTreeSet};

use config::{Described, Kind, Source};
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
use crate::conn::reply::Reply;

/// What a resource has.
enum Found<'a> {
    /// Keys of the table.
    Described(Vec<Described>),
    /// Values of a resource whose keys are not in the table, and the layer they are from.
    Plain(&'a BTreeMap<String, String>, i8),
    /// Nothing that could be set.
    Nothing,
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
                DescribeConfigsResult { configs: configs(found, asked, &request), ..result }
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

fn find<'a>(
    cx: &Cx,
    image: &'a Image,
    asked: &DescribeConfigsResource<'_>,
) -> Result<Found<'a>, Failure> {
    let name = asked.resource_name;
    let resource = ConfigResource::new(ResourceKind::from_code(asked.resource_type), name);
    cx.permits_config(Operation::DescribeConfigs, &resource).map_err(Failure::bare)?;
    match asked.resource_type {
        TOPIC => {
            if let Some(refusal) = names::refusal(name) {
                return Err(failure(ErrorCode::INVALID_TOPIC_EXCEPTION, refusal));
            }
            if image.topics().named(name).is_none() {
                return Err(Failure::bare(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
            }
            let none = BTreeMap::new();
            let overrides = image.configs().get(&ConfigResource::topic(name));
            let overrides = overrides.map_or(&none, |overrides| overrides);
            Ok(Found::Described(cx.core.config().describe_topic(overrides)))
        }
        BROKER if name.is_empty() => Ok(Found::Described(cx.core.config().describe_cluster())),
        BROKER => {
            own_id(cx, name, "expected {} or empty string, but received")?;
            Ok(Found::Described(cx.core.config().describe_broker()))
        }
        LOGGER if name.is_empty() => Err(invalid("Broker id must not be empty".to_owned())),
        LOGGER => {
            own_id(cx, name, "expected {} but received")?;
            Ok(Found::Nothing)
        }
        CLIENT_METRICS if name.is_empty() => {
            Err(invalid("Client metrics subscription name must not be empty".to_owned()))
        }
        CLIENT_METRICS => Ok(plain(image, ResourceKind::ClientMetrics, name, FROM_CLIENT_METRICS)),
        GROUP if name.is_empty() => Err(invalid("Group name must not be empty".to_owned())),
        GROUP => Ok(plain(image, ResourceKind::Group, name, FROM_GROUP)),
        // In Kafka's words, for a kind that its client library does not know.
        _ => Err(invalid(ErrorCode::INVALID_REQUEST.message().to_owned())),
    }
}

fn plain<'a>(image: &'a Image, kind: ResourceKind, name: &str, source: i8) -> Found<'a> {
    match image.configs().get(&ConfigResource::new(kind, name)) {
        Some(set) => Found::Plain(set, source),
        None => Found::Nothing,
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
    failure(ErrorCode::INVALID_REQUEST, message)
}

fn failure(code: ErrorCode, mut message: String) -> Failure {
    // What it quotes may be as long as a string can be.
    message.truncate(message.floor_char_boundary(MESSAGE_LEN_MAX));
    Failure { code, message: Some(message.into()) }
}

/// The keys asked for; without any, all.
fn configs<'a, C: FromIterator<DescribeConfigsResourceResult<'a>>>(
    found: &'a Found<'_>,
    asked: &DescribeConfigsResource<'_>,
    request: &DescribeConfigsRequest<'_>,
) -> C {
    let keys: BTreeSet<&str> =
        asked.configuration_keys.iter().flat_map(|keys| keys.iter()).collect();
    let wanted = |name: &str| keys.is_empty() || keys.contains(name);
    match found {
        Found::Described(all) => {
            let wanted = all.iter().filter(|described| wanted(described.name));
            wanted.map(|described| config(described, request)).collect()
        }
        Found::Plain(set, source) => {
            let wanted = set.iter().filter(|(name, _)| wanted(name));
            let config = |(name, value): (&'a String, &'a String)| DescribeConfigsResourceResult {
                name,
                value: Some(value),
                config_source: *source,
                ..DescribeConfigsResourceResult::default()
            };
            wanted.map(config).collect()
        }
        Found::Nothing => std::iter::empty().collect(),
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
        config_type: config_type(described.kind),
        documentation: request.include_documentation.then_some(described.doc),
    }
}

/// `ConfigType` as the protocol numbers it.
fn config_type(kind: Kind) -> i8 {
    match kind {
        Kind::Bool => 1,
        Kind::String => 2,
        Kind::Int => 3,
        Kind::Short => 4,
        Kind::Long => 5,
        Kind::Double => 6,
        Kind::List => 7,
        Kind::Password => 9,
    }
}

/// Keys of a topic, nearly.
const KEYS: usize = 40;
/// As long as anybody reads.
const MESSAGE_LEN_MAX: usize = 2048;
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
/// `ConfigSource` of values that the config table does not know.
const FROM_CLIENT_METRICS: i8 = 7;
const FROM_GROUP: i8 = 8;
