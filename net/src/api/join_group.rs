//! JoinGroup (11), v0–9: become or stay a member of a classic group.
//!
//! Runs on the core that owns the group's partition of `__consumer_offsets`: one hop. The answer
//! comes when all members have joined, which may take minutes; meanwhile the request holds nothing
//! but its place among the members. Who goes away is not waited for, and stays a member until its
//! session ends.

use std::rc::Rc;

use engine::group::{Answer, JoinRequest, Joined};
use futures_util::future::{Either, select};
use wire::error_code::ErrorCode;
use wire::msg::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};

use super::errors::Coded;
use super::{Cx, groups};
use crate::conn::read::Frame;
use crate::conn::reply::Reply;
use crate::core::Core;

/// A member of a group in this partition of `__consumer_offsets`.
pub(crate) struct Work {
    shard: i32,
    request: JoinRequest,
}

/// The generation, or why not and the id that the member is to use.
pub(crate) type Outcome = Result<Joined, (ErrorCode, String)>;

pub(super) async fn handle(cx: &Cx, frame: Frame) -> Reply {
    let request = match cx.decode::<JoinGroupRequest<'_>>(&frame).await {
        Ok(request) => read(cx, &request),
        Err(refusal) => return Reply::Close(refusal),
    };
    drop(frame);
    drop(cx.claimed.take());
    let member = request.member.clone();
    let outcome = match groups::home_of_members(cx, &request.group) {
        Err(code) => Err((code, member)),
        Ok((shard, core)) => {
            let joined = Box::pin(cx.call(core, Work { shard, request }));
            match select(joined, Box::pin(cx.lost())).await {
                Either::Left((Ok(outcome), _)) => outcome,
                Either::Left((Err(_), _)) | Either::Right(_) => {
                    Err((ErrorCode::COORDINATOR_NOT_AVAILABLE, member))
                }
            }
        }
    };
    answer(cx, outcome).await
}

fn read(cx: &Cx, request: &JoinGroupRequest<'_>) -> JoinRequest {
    let peer = cx.conn.identity.borrow().peer.ip();
    let name = request.group_instance_id.unwrap_or(&cx.client_id);
    let protocols = request.protocols.iter();
    JoinRequest {
        group: request.group_id.to_owned(),
        member: request.member_id.to_owned(),
        fresh: format!("{name}-{}", random_uuid(&cx.core)),
        instance: request.group_instance_id.map(str::to_owned),
        client_id: cx.client_id.to_string(),
        client_host: format!("/{peer}"),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        protocol_type: request.protocol_type.to_owned(),
        protocols: protocols.map(|one| (one.name.to_owned(), one.metadata.to_vec())).collect(),
        knows_member_id_required: cx.version >= 4,
        knows_skip_assignment: cx.version >= 9,
    }
}

/// A random UUID as Java writes it.
fn random_uuid(core: &Core) -> String {
    let (high, low) = (core.rt.random_u64(), core.rt.random_u64());
    let (high, low) = ((high & !0xf000) | 0x4000, (low & (u64::MAX >> 2)) | 1 << 63);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

async fn answer(cx: &Cx, outcome: Outcome) -> Reply {
    let throttle_time_ms = cx.throttle_ms();
    let joined = match outcome {
        Ok(joined) => joined,
        Err((code, member)) => {
            return cx.reply(&JoinGroupResponse {
                throttle_time_ms,
                error_code: code.into(),
                member_id: &member,
                // Versions that can say that there is none.
                protocol_name: if cx.version >= 7 { None } else { Some("") },
                ..JoinGroupResponse::default()
            });
        }
    };
    cx.claim(joined.members.len()).await;
    let members = joined.members.iter().map(|member| JoinGroupResponseMember {
        member_id: &member.member,
        group_instance_id: member.instance.as_deref(),
        metadata: &member.metadata,
    });
    cx.reply(&JoinGroupResponse {
        throttle_time_ms,
        error_code: ErrorCode::NONE.into(),
        generation_id: joined.generation,
        protocol_type: Some(&joined.protocol_type),
        protocol_name: Some(&joined.protocol),
        leader: &joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: &joined.member,
        members: members.collect(),
    })
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work { shard, request }: Work) -> Outcome {
    let member = request.member.clone();
    let told = match core.groups.host(shard) {
        Ok(host) => host.ask(|shard, now, ticket| shard.join(now, ticket, request)).await,
        Err(code) => Err(code),
    };
    match told {
        Ok(Answer::Joined(Ok(joined))) => Ok(joined),
        Ok(Answer::Joined(Err((error, member)))) => Err((error.code(), member)),
        Ok(_) => unreachable!("a join is answered in kind"),
        Err(error) => Err((error.code(), member)),
    }
}
