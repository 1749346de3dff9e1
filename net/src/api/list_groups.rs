//! ListGroups (16), v0–5: the groups that this node coordinates. Every core tells its own.

use std::rc::Rc;

use engine::group::Listing;
use futures_util::future::join_all;
use wire::error_code::ErrorCode;
use wire::msg::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use super::Cx;
use super::authz::{CLUSTER, Operation, ResourceKind};
use crate::conn::reply::Reply;
use crate::core::Core;
use crate::groups::NoHost;

/// All groups of a core.
pub(crate) struct Work;

/// In order of partition and id. While some are being loaded there is no saying which there are.
pub(crate) type Outcome = Result<Vec<Listing>, ErrorCode>;

pub(super) async fn handle(cx: &Cx, request: ListGroupsRequest<'_>) -> Reply {
    let throttle_time_ms = cx.throttle_ms();
    let cores: Vec<_> = cx.core.mesh.cores().collect();
    let calls: Vec<_> = cores.into_iter().map(|core| cx.call(core, Work)).collect();
    let unavailable = |_| Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
    let told: Result<Vec<_>, ErrorCode> =
        join_all(calls).await.into_iter().map(|told| told.unwrap_or_else(unavailable)).collect();
    let groups = match told {
        Ok(groups) => groups,
        Err(code) => {
            let (error_code, groups) = (code.into(), Vec::new().into());
            return cx.reply(&ListGroupsResponse { throttle_time_ms, error_code, groups });
        }
    };
    let wanted = |filter: &wire::list::List<'_, &str>, is: &str| {
        filter.is_empty() || filter.iter().any(|name| name.eq_ignore_ascii_case(is))
    };
    let all = cx.allows(Operation::Describe, ResourceKind::Cluster, CLUSTER);
    let shown = groups.iter().flatten().filter(|group| {
        wanted(&request.states_filter, group.state)
            && wanted(&request.types_filter, group.kind)
            && (all || cx.allows(Operation::Describe, ResourceKind::Group, &group.group))
    });
    let shown: Vec<_> = shown.collect();
    cx.claim(shown.len()).await;
    let groups = shown.iter().map(|group| ListedGroup {
        group_id: &group.group,
        protocol_type: &group.protocol_type,
        group_state: group.state,
        group_type: group.kind,
    });
    let (error_code, groups) = (ErrorCode::NONE.into(), groups.collect());
    cx.reply(&ListGroupsResponse { throttle_time_ms, error_code, groups })
}

/// This core's.
pub(crate) async fn serve(core: Rc<Core>, Work: Work) -> Outcome {
    let mut all = Vec::new();
    for host in core.groups.all() {
        match host.check_serving() {
            Err(NoHost::Loading) => return Err(NoHost::Loading.into()),
            // Its groups are nowhere.
            Err(NoHost::Elsewhere) => {}
            Ok(()) => host.with(|shard, _| all.extend(shard.list())),
        }
    }
    Ok(all)
}
