//! Heartbeat (12), v0–4: a member of a classic group says that it is alive.
//!
//! Runs on the core that owns the group's partition of `__consumer_offsets`: one hop.

use std::rc::Rc;

use wire::error_code::ErrorCode;
use wire::msg::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use super::errors::Coded;
use super::{Cx, groups};
use crate::conn::reply::Reply;
use crate::core::Core;

/// A member of a group in this partition of `__consumer_offsets`.
pub(crate) struct Work {
    shard: i32,
    group: String,
    generation: i32,
    member: String,
    instance: Option<String>,
}

/// Whether to go on.
pub(crate) type Outcome = Result<(), ErrorCode>;

pub(super) async fn handle(cx: &Cx, request: HeartbeatRequest<'_>) -> Reply {
    let outcome = match beat(cx, &request).await {
        // Its session begins anew when the groups are loaded; there is nothing to do about it.
        Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS) => Ok(()),
        outcome => outcome,
    };
    cx.reply(&HeartbeatResponse {
        throttle_time_ms: cx.throttle_ms(),
        error_code: outcome.err().unwrap_or(ErrorCode::NONE).into(),
    })
}

async fn beat(cx: &Cx, request: &HeartbeatRequest<'_>) -> Outcome {
    let (shard, core) = groups::home_of_members(cx, request.group_id)?;
    let work = Work {
        shard,
        group: request.group_id.to_owned(),
        generation: request.generation_id,
        member: request.member_id.to_owned(),
        instance: request.group_instance_id.map(str::to_owned),
    };
    cx.call(core, work).await.unwrap_or(Err(ErrorCode::COORDINATOR_NOT_AVAILABLE))
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, work: Work) -> Outcome {
    let Work { shard, group, generation, member, instance } = work;
    let host = core.groups.host(shard)?;
    let told = host
        .with(|shard, now| shard.heartbeat(now, &group, generation, &member, instance.as_deref()));
    told.map_err(|error| error.code())
}
