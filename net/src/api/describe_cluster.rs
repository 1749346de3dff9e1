//! DescribeCluster (60), v0–2: the brokers of the cluster and its controller.

use wire::error_code::ErrorCode;
use wire::msg::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use super::{Cx, ResourceKind};
use crate::conn::read::Frame;
use crate::conn::reply::Reply;

pub(super) async fn handle(cx: &Cx, frame: Frame) -> Reply {
    let request: DescribeClusterRequest = match cx.decode(&frame).await {
        Ok(request) => request,
        Err(refusal) => return Reply::Close(refusal),
    };
    let throttle_time_ms = cx.throttle_ms();
    if let Some((code, message)) = other_endpoint(request.endpoint_type) {
        return cx.reply(&DescribeClusterResponse {
            throttle_time_ms,
            error_code: code.into(),
            error_message: Some(&message),
            ..DescribeClusterResponse::default()
        });
    }
    let image = cx.image();
    let listener = &cx.listener().name;
    let known = image.brokers().iter();
    let known = known.filter(|broker| request.include_fenced_brokers || !broker.fenced);
    let brokers = known.filter_map(|broker| {
        let endpoint = broker.endpoints.iter().find(|endpoint| *endpoint.name == **listener)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id.0,
            host: &endpoint.host,
            port: i32::from(endpoint.port),
            rack: broker.rack.as_deref(),
            is_fenced: broker.fenced,
        })
    });
    cx.reply(&DescribeClusterResponse {
        throttle_time_ms,
        cluster_id: &cx.core.node.cluster_id,
        controller_id: cx.core.node.id.0,
        brokers: brokers.collect(),
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => cx.allowed_operations(ResourceKind::Cluster, "kafka-cluster"),
            false => i32::MIN,
        },
        ..DescribeClusterResponse::default()
    })
}

/// What to tell who asks a broker for something else than brokers.
fn other_endpoint(kind: i8) -> Option<(ErrorCode, String)> {
    match kind {
        BROKERS => None,
        CONTROLLERS => {
            let message = "The request was sent to an endpoint of type BROKER, but we wanted an \
                           endpoint of type CONTROLLER";
            Some((ErrorCode::MISMATCHED_ENDPOINT_TYPE, message.to_owned()))
        }
        kind => {
            let message = format!("Unsupported endpoint type {kind}");
            Some((ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, message))
        }
    }
}

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;
