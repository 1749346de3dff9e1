//! IncrementalAlterConfigs (44), v0–1: changes some configs (KIP-339), decided by the controller; and
//! levels of this broker's loggers (KIP-412).

use std::collections::BTreeMap;

use replication::controller::configs::{AlterResource, ConfigsChange};
use replication::image::ConfigResource;
use wire::error_code::ErrorCode;
use wire::msg::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::Cx;
use super::alter_configs::{Altered, alter, resource};
use super::errors::Failure;
use super::loggers;
use super::resources::BROKER_LOGGER;
use crate::conn::reply::Reply;

pub(super) async fn handle(cx: &Cx, request: IncrementalAlterConfigsRequest<'_>) -> Reply {
    let resources = request
        .resources
        .iter()
        .map(|asked| resource(asked.resource_type, asked.resource_name, change(&asked)));
    let (loggers, resources): (Vec<_>, Vec<_>) =
        resources.partition(|asked| asked.resource.kind.code() == BROKER_LOGGER);
    let mut altered = alter(cx, resources, request.validate_only).await;
    altered.extend(alter_loggers(cx, loggers, request.validate_only));
    let told = |altered| AlterConfigsResourceResponse {
        error_code: Altered::code(altered).into(),
        error_message: altered.message(),
        resource_type: altered.resource().kind.code(),
        resource_name: &altered.resource().name,
    };
    cx.reply(&IncrementalAlterConfigsResponse {
        throttle_time_ms: cx.throttle_ms(),
        responses: altered.iter().map(told).collect(),
    })
}

/// Loggers are this process's own.
fn alter_loggers(cx: &Cx, asked: Vec<AlterResource>, validate_only: bool) -> Vec<Altered> {
    let mut counts: BTreeMap<ConfigResource, usize> = BTreeMap::new();
    for AlterResource { resource, .. } in &asked {
        *counts.entry(resource.clone()).or_default() += 1;
    }
    let altered = asked.into_iter().map(|AlterResource { resource, change }| {
        let outcome = match counts[&resource] {
            1 => loggers::alter(cx, &resource, &change, validate_only),
            _ => Err(Failure {
                code: ErrorCode::INVALID_REQUEST,
                message: Some("Each resource must appear at most once.".into()),
            }),
        };
        Altered::new(resource, outcome)
    });
    altered.collect()
}

fn change(resource: &AlterConfigsResource<'_>) -> ConfigsChange {
    let operations = resource.configs.iter().map(|config| {
        let value = config.value.map(str::to_owned);
        (config.name.to_owned(), config.config_operation, value)
    });
    ConfigsChange::Incremental(operations.collect())
}
