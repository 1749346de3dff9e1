//! DeleteGroups (42), v0–2: forgets groups that have no members, and their offsets.
//!
//! Runs on the cores that own the groups' partitions of `__consumer_offsets`: one call per core.

use std::collections::BTreeSet;
use std::rc::Rc;

use engine::group::Answer;
use futures_util::future::join_all;
use wire::error_code::ErrorCode;
use wire::msg::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

use super::errors::Coded;
use super::{Cx, groups};
use crate::conn::reply::Reply;
use crate::core::Core;

/// Groups of one core, each with its partition of `__consumer_offsets`.
pub(crate) struct Work(Vec<(i32, String)>);

/// What became of each.
pub(crate) type Outcome = Vec<Result<(), ErrorCode>>;

pub(super) async fn handle(cx: &Cx, request: DeleteGroupsRequest<'_>) -> Reply {
    let mut seen = BTreeSet::new();
    let names: Vec<&str> = request.groups_names.iter().filter(|name| seen.insert(*name)).collect();
    let outcomes = groups::ask(cx, &names, Work).await;
    let results = names.iter().zip(outcomes).map(|(group_id, outcome)| DeletableGroupResult {
        group_id,
        error_code: outcome.err().unwrap_or(ErrorCode::NONE).into(),
    });
    let results = results.collect();
    cx.reply(&DeleteGroupsResponse { throttle_time_ms: cx.throttle_ms(), results })
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work(groups): Work) -> Outcome {
    join_all(groups.into_iter().map(|(shard, group)| delete(&core, shard, group))).await
}

async fn delete(core: &Core, shard: i32, group: String) -> Result<(), ErrorCode> {
    let host = core.groups.host(shard)?;
    match host.ask(|shard, _, ticket| shard.delete_group(ticket, &group)).await? {
        Answer::Parts(outcome) => outcome.map(drop).map_err(|error| error.code()),
        _ => unreachable!("a deletion is answered in kind"),
    }
}
