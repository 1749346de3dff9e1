//! UnregisterBroker (64), v0: forgets a broker that is gone for good, decided by the controller.

use engine::ids::BrokerId;
use wire::error_code::ErrorCode;
use wire::msg::unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::Cx;
use super::errors::Failure;
use crate::conn::read::Frame;
use crate::conn::reply::Reply;
use crate::meta::requests::UnregisterBroker;

pub(super) async fn handle(cx: &Cx, frame: Frame) -> Reply {
    let request: UnregisterBrokerRequest = match cx.decode(&frame).await {
        Ok(request) => request,
        Err(refusal) => return Reply::Close(refusal),
    };
    let outcome = match cx.permits_cluster() {
        Err(code) => Err(Failure::bare(code)),
        Ok(()) => match cx.change(UnregisterBroker(BrokerId(request.broker_id))).await {
            Ok(outcome) => outcome.map_err(Failure::from),
            Err(failure) => Err(failure),
        },
    };
    let failure = outcome.err();
    cx.reply(&UnregisterBrokerResponse {
        throttle_time_ms: cx.throttle_ms(),
        error_code: failure.as_ref().map_or(ErrorCode::NONE, |failure| failure.code).into(),
        error_message: failure.as_ref().and_then(|failure| failure.message.as_deref()),
    })
}
