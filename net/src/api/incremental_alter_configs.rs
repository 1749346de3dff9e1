//! IncrementalAlterConfigs (44), v0–1: changes some configs of topics and brokers (KIP-339), decided
//! by the controller.

use replication::controller::configs::ConfigsChange;
use wire::msg::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::Cx;
use super::alter_configs::{Altered, alter, resource};
use crate::conn::reply::Reply;

pub(super) async fn handle(cx: &Cx, request: IncrementalAlterConfigsRequest<'_>) -> Reply {
    let resources: Vec<_> = request
        .resources
        .iter()
        .map(|asked| resource(asked.resource_type, asked.resource_name, change(&asked)))
        .collect();
    let altered = alter(cx, resources, request.validate_only).await;
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

fn change(resource: &AlterConfigsResource<'_>) -> ConfigsChange {
    let operations = resource.configs.iter().map(|config| {
        let value = config.value.map(str::to_owned);
        (config.name.to_owned(), config.config_operation, value)
    });
    ConfigsChange::Incremental(operations.collect())
}
