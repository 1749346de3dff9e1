//! IncrementalAlterConfigs (44), v0–1: changes some configs of topics and brokers (KIP-339), decided
//! by the controller.

use replication::controller::configs::{AlterConfigs, AlterResource, ConfigsChange};
use replication::image::{ConfigResource, ResourceKind};
use wire::error_code::ErrorCode;
use wire::msg::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::Cx;
use super::errors::Failure;
use crate::conn::reply::Reply;

pub(super) async fn handle(cx: &Cx, request: IncrementalAlterConfigsRequest<'_>) -> Reply {
    let resources = request.resources.iter().map(|resource| {
        let kind = ResourceKind::from_code(resource.resource_type);
        let change = change(&resource);
        AlterResource { resource: ConfigResource::new(kind, resource.resource_name), change }
    });
    let resources: Vec<_> = resources.collect();
    let asked: Vec<_> = resources.iter().map(|resource| resource.resource.clone()).collect();
    let change = AlterConfigs { resources, validate_only: request.validate_only };
    let results: Vec<(ConfigResource, Option<Failure>)> = match cx.change(change).await {
        Ok(outcomes) => {
            let told = outcomes.into_iter().map(|outcome| {
                let failure = outcome.result.err().map(Failure::from);
                (outcome.resource, failure)
            });
            told.collect()
        }
        Err(failure) => {
            asked.into_iter().map(|resource| (resource, Some(failure.clone()))).collect()
        }
    };
    let responses = results.iter().map(|(resource, failure)| AlterConfigsResourceResponse {
        error_code: failure.as_ref().map_or(ErrorCode::NONE, |failure| failure.code).into(),
        error_message: failure.as_ref().and_then(|failure| failure.message.as_deref()),
        resource_type: resource.kind.code(),
        resource_name: &resource.name,
    });
    let responses = responses.collect();
    cx.reply(&IncrementalAlterConfigsResponse { throttle_time_ms: cx.throttle_ms(), responses })
}

fn change(resource: &AlterConfigsResource<'_>) -> ConfigsChange {
    let operations = resource.configs.iter().map(|config| {
        let value = config.value.map(str::to_owned);
        (config.name.to_owned(), config.config_operation, value)
    });
    ConfigsChange::Incremental(operations.collect())
}
