//! FindCoordinator (10), v0–6: which broker coordinates a group.
//!
//! `__consumer_offsets` is made when the first group is looked for; the answer waits for that, where
//! Kafka's sends the client away for a moment. Transactional ids and share groups have no coordinator
//! until there are any, and are refused as INVALID_REQUEST.

use std::borrow::Cow;
use std::sync::Arc;

use engine::ids::PartitionId;
use replication::controller::ErrorKind;
use replication::controller::create::CreateTopics;
use replication::image::Image;
use wire::error_code::ErrorCode;
use wire::msg::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

use super::Cx;
use super::errors::{Coded, Failure};
use crate::conn::reply::Reply;
use crate::groups::{CONSUMER_OFFSETS, new_topic, partition_of};

/// A coordinator's broker: id, host and port.
type Place = (i32, String, i32);

pub(super) async fn handle(cx: &Cx, request: FindCoordinatorRequest<'_>) -> Reply {
    let single = [request.key];
    let keys: Vec<&str> = match cx.version {
        ..=3 => single.to_vec(),
        _ => request.coordinator_keys.iter().collect(),
    };
    let image = match request.key_type {
        GROUP if keys.iter().any(|key| cx.permits(key)) => image_with_topic(cx).await,
        GROUP => Ok(cx.image()),
        other => Err(unsupported(other)),
    };
    let places = keys.iter().map(|key| match &image {
        Err(failure) => Err(failure.clone()),
        Ok(image) => {
            cx.permits_group(key).map_err(Failure::bare)?;
            place(cx, image, key).map_err(Failure::bare)
        }
    });
    let places: Vec<Result<Place, Failure>> = places.collect();
    let throttle_time_ms = cx.throttle_ms();
    if cx.version >= 4 {
        let coordinators = keys.iter().zip(&places).map(|(key, place)| coordinator(key, place));
        let coordinators = coordinators.collect();
        return cx.reply(&FindCoordinatorResponse {
            throttle_time_ms,
            coordinators,
            ..FindCoordinatorResponse::default()
        });
    }
    let found = coordinator(request.key, &places[0]);
    cx.reply(&FindCoordinatorResponse {
        throttle_time_ms,
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    })
}

fn coordinator<'a>(key: &'a str, place: &'a Result<Place, Failure>) -> Coordinator<'a> {
    match place {
        Ok((node_id, host, port)) => Coordinator {
            key,
            node_id: *node_id,
            host,
            port: *port,
            error_code: ErrorCode::NONE.into(),
            error_message: None,
        },
        Err(failure) => Coordinator {
            key,
            node_id: -1,
            host: "",
            port: -1,
            error_code: failure.code.into(),
            error_message: Some(failure.message.as_deref().unwrap_or(failure.code.message())),
        },
    }
}

fn unsupported(kind: i8) -> Failure {
    let message = match kind {
        TRANSACTION => Cow::from("transactions are not built yet"),
        SHARE => Cow::from("share groups are not built yet"),
        other => format!("there is no coordinator of type {other}").into(),
    };
    Failure::new(ErrorCode::INVALID_REQUEST, message)
}

/// The leader of the group's partition, at the address of the listener that the client came in by.
fn place(cx: &Cx, image: &Image, group: &str) -> Result<Place, ErrorCode> {
    let unknown = ErrorCode::COORDINATOR_NOT_AVAILABLE;
    let topic = image.topics().named(CONSUMER_OFFSETS).ok_or(unknown)?;
    let partition = PartitionId(partition_of(group, topic.partition_count()));
    let leader = topic.partition(partition).and_then(|partition| partition.leader);
    let broker = leader.and_then(|id| image.brokers().get(id)).ok_or(unknown)?;
    let listener = &cx.listener().name;
    let endpoint = broker.endpoints.iter().find(|endpoint| *endpoint.name == **listener);
    let endpoint = endpoint.ok_or(unknown)?;
    Ok((broker.id.0, endpoint.host.to_string(), i32::from(endpoint.port)))
}

/// The metadata once it has `__consumer_offsets`.
async fn image_with_topic(cx: &Cx) -> Result<Arc<Image>, Failure> {
    let image = cx.image();
    if image.topics().named(CONSUMER_OFFSETS).is_some() {
        return Ok(image);
    }
    let topics = vec![new_topic(&cx.core.config(), &image)];
    let outcomes = cx.change(CreateTopics { topics, validate_only: false }).await;
    let unavailable = |code: ErrorCode, why: Option<&str>| {
        let why = why.map_or_else(|| code.message().to_owned(), str::to_owned);
        let message = format!("{CONSUMER_OFFSETS} cannot be created: {why}");
        Failure::new(ErrorCode::COORDINATOR_NOT_AVAILABLE, message)
    };
    match outcomes {
        Err(failure) => return Err(unavailable(failure.code, failure.message.as_deref())),
        Ok(outcomes) => {
            for outcome in outcomes {
                match outcome.result {
                    // Somebody else was faster.
                    Err(refusal) if refusal.kind == ErrorKind::TopicAlreadyExists => {}
                    Err(refusal) => {
                        return Err(unavailable(refusal.code(), refusal.message.as_deref()));
                    }
                    Ok(_) => {}
                }
            }
        }
    }
    Ok(cx.image())
}

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
