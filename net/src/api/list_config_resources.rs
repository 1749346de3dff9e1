//! ListConfigResources (74), v0–1: names of the things that have configs, or may have.

use replication::image::ResourceKind;
use wire::error_code::ErrorCode;
use wire::msg::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};

use super::Cx;
use super::resources::{BROKER, BROKER_LOGGER, CLIENT_METRICS, KINDS, TOPIC};
use crate::conn::reply::Reply;

pub(super) async fn handle(cx: &Cx, request: ListConfigResourcesRequest<'_>) -> Reply {
    let throttle_time_ms = cx.throttle_ms();
    let refused = |code: ErrorCode| {
        let error_code = code.into();
        cx.reply(&ListConfigResourcesResponse {
            throttle_time_ms,
            error_code,
            ..ListConfigResourcesResponse::default()
        })
    };
    if let Err(code) = cx.permits_cluster() {
        return refused(code);
    }
    let asked: Vec<i8> = request.resource_types.iter().collect();
    if asked.iter().any(|kind| !KINDS.contains(kind)) {
        return refused(ErrorCode::UNSUPPORTED_VERSION);
    }
    let wanted = |kind: i8| match cx.version {
        0 => kind == CLIENT_METRICS,
        _ => asked.is_empty() || asked.contains(&kind),
    };
    let image = cx.image();
    let mut found: Vec<(i8, Vec<String>)> = Vec::new();
    for kind in KINDS.iter().copied().filter(|kind| wanted(*kind)) {
        let set = |kind| -> Vec<String> {
            image.configs().names(kind).iter().map(|name| name.to_string()).collect()
        };
        let names = match kind {
            TOPIC => image.topics().iter().map(|topic| topic.name.to_string()).collect(),
            BROKER | BROKER_LOGGER => {
                image.brokers().iter().map(|broker| broker.id.to_string()).collect()
            }
            CLIENT_METRICS => set(ResourceKind::ClientMetrics),
            _ => set(ResourceKind::Group),
        };
        found.push((kind, names));
    }
    cx.claim(found.iter().map(|(_, names)| names.len()).sum()).await;
    let resources = found.iter().flat_map(|(kind, names)| {
        let resource = |resource_name| ConfigResource { resource_name, resource_type: *kind };
        names.iter().map(String::as_str).map(resource)
    });
    cx.reply(&ListConfigResourcesResponse {
        throttle_time_ms,
        error_code: ErrorCode::NONE.into(),
        config_resources: resources.collect(),
    })
}
