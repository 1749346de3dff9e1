//! LeaveGroup (13), v0–5: members leave a classic group, or are removed by an administrator.
//!
//! Runs on the core that owns the group's partition of `__consumer_offsets`: one hop.

use std::rc::Rc;

use engine::group::Leaver;
use wire::error_code::ErrorCode;
use wire::msg::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};

use super::{Cx, groups};
use crate::conn::reply::Reply;
use crate::core::Core;

/// Members of a group in this partition of `__consumer_offsets`.
pub(crate) struct Work {
    shard: i32,
    group: String,
    leavers: Vec<Leaver>,
}

/// What became of each.
pub(crate) type Outcome = groups::Parts;

pub(super) async fn handle(cx: &Cx, request: LeaveGroupRequest<'_>) -> Reply {
    let outcome = leave(cx, &request).await;
    let throttle_time_ms = cx.throttle_ms();
    let code = |part: Result<(), ErrorCode>| part.err().unwrap_or(ErrorCode::NONE).into();
    let parts = match outcome {
        Ok(parts) => parts,
        Err(error) => {
            let error_code = error.into();
            let members = Vec::new().into();
            return cx.reply(&LeaveGroupResponse { throttle_time_ms, error_code, members });
        }
    };
    if cx.version < 3 {
        let error_code = parts.first().map_or(ErrorCode::NONE.into(), |part| code(*part));
        let members = Vec::new().into();
        return cx.reply(&LeaveGroupResponse { throttle_time_ms, error_code, members });
    }
    let members = request.members.iter().zip(parts).map(|(member, part)| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: code(part),
    });
    let members: Vec<_> = members.collect();
    cx.reply(&LeaveGroupResponse {
        throttle_time_ms,
        error_code: ErrorCode::NONE.into(),
        members: members.into(),
    })
}

async fn leave(cx: &Cx, request: &LeaveGroupRequest<'_>) -> Outcome {
    let (shard, core) = groups::home_of_members(cx, request.group_id)?;
    let leavers = match cx.version {
        ..=2 => vec![Leaver { member: request.member_id.to_owned(), instance: None }],
        _ => {
            let leaver = |member: wire::msg::leave_group::MemberIdentity<'_>| Leaver {
                member: member.member_id.to_owned(),
                instance: member.group_instance_id.map(str::to_owned),
            };
            request.members.iter().map(leaver).collect()
        }
    };
    let work = Work { shard, group: request.group_id.to_owned(), leavers };
    cx.call(core, work).await.unwrap_or(Err(ErrorCode::COORDINATOR_NOT_AVAILABLE))
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work { shard, group, leavers }: Work) -> Outcome {
    let host = core.groups.host(shard)?;
    groups::parts(host.ask(|shard, now, ticket| shard.leave(now, ticket, &group, &leavers)).await?)
}
