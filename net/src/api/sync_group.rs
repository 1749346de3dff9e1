//! SyncGroup (14), v0–5: a member's assignment, once the leader has brought it.
//!
//! Runs on the core that owns the group's partition of `__consumer_offsets`: one hop. Waits as
//! JoinGroup does.

use std::rc::Rc;

use engine::group::{Answer, SyncRequest, Synced};
use futures_util::future::{Either, select};
use wire::error_code::ErrorCode;
use wire::msg::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::errors::Coded;
use super::{Cx, groups};
use crate::conn::read::Frame;
use crate::conn::reply::Reply;
use crate::core::Core;

/// A member of a group in this partition of `__consumer_offsets`.
pub(crate) struct Work {
    shard: i32,
    request: SyncRequest,
}

/// The assignment.
pub(crate) type Outcome = Result<Synced, ErrorCode>;

pub(super) async fn handle(cx: &Cx, frame: Frame) -> Reply {
    let request = match cx.decode::<SyncGroupRequest<'_>>(&frame).await {
        Ok(request) => read(&request),
        Err(refusal) => return Reply::Close(refusal),
    };
    drop(frame);
    drop(cx.claimed.take());
    let outcome = match check(cx, &request) {
        Err(code) => Err(code),
        Ok((shard, core)) => {
            let synced = Box::pin(cx.call(core, Work { shard, request }));
            match select(synced, Box::pin(cx.lost())).await {
                Either::Left((Ok(outcome), _)) => outcome,
                Either::Left((Err(_), _)) | Either::Right(_) => {
                    Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)
                }
            }
        }
    };
    let throttle_time_ms = cx.throttle_ms();
    match outcome {
        Ok(synced) => cx.reply(&SyncGroupResponse {
            throttle_time_ms,
            error_code: ErrorCode::NONE.into(),
            protocol_type: Some(&synced.protocol_type),
            protocol_name: Some(&synced.protocol),
            assignment: &synced.assignment,
        }),
        Err(code) => cx.reply(&SyncGroupResponse {
            throttle_time_ms,
            error_code: code.into(),
            ..SyncGroupResponse::default()
        }),
    }
}

fn check(cx: &Cx, request: &SyncRequest) -> Result<(i32, engine::ids::CoreId), ErrorCode> {
    if cx.version >= 5 && (request.protocol_type.is_none() || request.protocol.is_none()) {
        return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    }
    groups::home_of_members(cx, &request.group)
}

fn read(request: &SyncGroupRequest<'_>) -> SyncRequest {
    let assignments = request.assignments.iter();
    let assignments = assignments.map(|one| (one.member_id.to_owned(), one.assignment.to_vec()));
    SyncRequest {
        group: request.group_id.to_owned(),
        generation: request.generation_id,
        member: request.member_id.to_owned(),
        instance: request.group_instance_id.map(str::to_owned),
        protocol_type: request.protocol_type.map(str::to_owned),
        protocol: request.protocol_name.map(str::to_owned),
        assignments: assignments.collect(),
    }
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work { shard, request }: Work) -> Outcome {
    let host = core.groups.host(shard)?;
    match host.ask(|shard, now, ticket| shard.sync(now, ticket, request)).await? {
        Answer::Synced(synced) => synced.map_err(|error| error.code()),
        _ => unreachable!("a sync is answered in kind"),
    }
}
