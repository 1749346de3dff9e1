//! DescribeGroups (15), v0–6: classic groups with their members.
//!
//! Runs on the cores that own the groups' partitions of `__consumer_offsets`: one call per core.

use std::rc::Rc;

use engine::group::{Absent, Description};
use wire::error_code::ErrorCode;
use wire::msg::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

use super::authz::ResourceKind;
use super::{Cx, groups};
use crate::conn::reply::Reply;
use crate::core::Core;

/// Groups of one core, each with its partition of `__consumer_offsets`.
pub(crate) struct Work(Vec<(i32, String)>);

/// What each is.
pub(crate) type Outcome = Vec<Result<Result<Description, Absent>, ErrorCode>>;

pub(super) async fn handle(cx: &Cx, request: DescribeGroupsRequest<'_>) -> Reply {
    let names: Vec<&str> = request.groups.iter().collect();
    let found = groups::ask(cx, &names, Work).await;
    let members = found.iter().flatten().flatten().map(|group| 1 + group.members.len());
    cx.claim(names.len() + members.sum::<usize>()).await;
    let message = |(name, found): (&&str, &Result<Result<_, Absent>, _>)| match found {
        Ok(Err(absent)) => absent.message(name),
        _ => String::new(),
    };
    let messages: Vec<_> = names.iter().zip(&found).map(message).collect();
    let groups = names.iter().zip(&found).zip(&messages).map(|((name, found), message)| {
        let authorized_operations = match request.include_authorized_operations {
            true => cx.allowed_operations(ResourceKind::Group, name),
            false => i32::MIN,
        };
        match found {
            Ok(Ok(group)) => DescribedGroup { authorized_operations, ..described(name, group) },
            Ok(Err(_)) => DescribedGroup { authorized_operations, ..unknown(cx, name, message) },
            Err(code) => DescribedGroup {
                error_code: (*code).into(),
                group_id: name,
                ..DescribedGroup::default()
            },
        }
    });
    let groups = groups.collect();
    cx.reply(&DescribeGroupsResponse { throttle_time_ms: cx.throttle_ms(), groups })
}

/// A group that is not known is dead, which was no error before version 6.
fn unknown<'a>(cx: &Cx, group_id: &'a str, message: &'a str) -> DescribedGroup<'a> {
    let (error_code, error_message) = match cx.version {
        ..=5 => (ErrorCode::NONE, None),
        _ => (ErrorCode::GROUP_ID_NOT_FOUND, Some(message)),
    };
    DescribedGroup {
        error_code: error_code.into(),
        error_message,
        group_id,
        group_state: "Dead",
        ..DescribedGroup::default()
    }
}

fn described<'a>(group_id: &'a str, group: &'a Description) -> DescribedGroup<'a> {
    let members = group.members.iter().map(|member| DescribedGroupMember {
        member_id: &member.member,
        group_instance_id: member.instance.as_deref(),
        client_id: &member.client_id,
        client_host: &member.client_host,
        member_metadata: &member.metadata,
        member_assignment: &member.assignment,
    });
    DescribedGroup {
        group_id,
        group_state: group.state,
        protocol_type: &group.protocol_type,
        protocol_data: &group.protocol,
        members: members.collect(),
        ..DescribedGroup::default()
    }
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work(groups): Work) -> Outcome {
    let describe = |(shard, group): (i32, String)| {
        let host = core.groups.host(shard)?;
        Ok(host.with(|shard, _| shard.describe(&group)))
    };
    groups.into_iter().map(describe).collect()
}
