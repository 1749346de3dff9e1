//! AlterConfigs (33), v0–2: replaces all configs of what it names, decided by the controller.

use replication::controller::configs::{AlterConfigs, AlterResource, ConfigsChange};
use replication::image::{ConfigResource, ResourceKind};
use wire::error_code::ErrorCode;
use wire::msg::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};

use super::Cx;
use super::authz::Operation;
use super::errors::Failure;
use crate::conn::reply::Reply;

/// What became of one resource.
pub(super) struct Altered {
    resource: ConfigResource,
    failure: Option<Failure>,
}

pub(super) async fn handle(cx: &Cx, request: AlterConfigsRequest<'_>) -> Reply {
    let resources = request
        .resources
        .iter()
        .map(|asked| resource(asked.resource_type, asked.resource_name, change(&asked)));
    let altered = alter(cx, resources.collect(), request.validate_only).await;
    let responses = altered.iter().map(|altered| AlterConfigsResourceResponse {
        error_code: altered.code().into(),
        error_message: altered.message(),
        resource_type: altered.resource.kind.code(),
        resource_name: &altered.resource.name,
    });
    let responses = responses.collect();
    cx.reply(&AlterConfigsResponse { throttle_time_ms: cx.throttle_ms(), responses })
}

fn change(resource: &AlterConfigsResource<'_>) -> ConfigsChange {
    let configs = resource.configs.iter();
    let configs = configs.map(|config| (config.name.to_owned(), config.value.map(str::to_owned)));
    ConfigsChange::Replace(configs.collect())
}

/// A resource as the protocol names it, and what shall change.
pub(super) fn resource(kind: i8, name: &str, change: ConfigsChange) -> AlterResource {
    AlterResource { resource: ConfigResource::new(ResourceKind::from_code(kind), name), change }
}

/// Alters what the principal may alter; also for IncrementalAlterConfigs.
pub(super) async fn alter(
    cx: &Cx,
    resources: Vec<AlterResource>,
    validate_only: bool,
) -> Vec<Altered> {
    let (mut altered, mut allowed) = (Vec::new(), Vec::new());
    for asked in resources {
        match cx.permits_config(Operation::AlterConfigs, &asked.resource) {
            Ok(()) => allowed.push(asked),
            Err(code) => altered.push(Altered::not(asked.resource, Failure::bare(code))),
        }
    }
    let asked: Vec<_> = allowed.iter().map(|asked| asked.resource.clone()).collect();
    match cx.change(AlterConfigs { resources: allowed, validate_only }).await {
        Ok(outcomes) => altered.extend(outcomes.into_iter().map(|outcome| Altered {
            resource: outcome.resource,
            failure: outcome.result.err().map(Failure::from),
        })),
        Err(failure) => altered
            .extend(asked.into_iter().map(|resource| Altered::not(resource, failure.clone()))),
    }
    altered
}

impl Altered {
    pub(super) fn new(resource: ConfigResource, outcome: Result<(), Failure>) -> Self {
        Self { resource, failure: outcome.err() }
    }

    fn not(resource: ConfigResource, failure: Failure) -> Self {
        Self { resource, failure: Some(failure) }
    }

    pub(super) fn resource(&self) -> &ConfigResource {
        &self.resource
    }

    pub(super) fn code(&self) -> ErrorCode {
        self.failure.as_ref().map_or(ErrorCode::NONE, |failure| failure.code)
    }

    pub(super) fn message(&self) -> Option<&str> {
        self.failure.as_ref().and_then(|failure| failure.message.as_deref())
    }
}
