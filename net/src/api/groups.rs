//! What requests about groups have in common.

use engine::group::Answer;
use engine::ids::CoreId;
use wire::error_code::ErrorCode;

use super::Cx;
use super::errors::Coded;
use super::scatter::Scatter;
use crate::mesh::Work;

/// What became of each part of a request.
pub(crate) type Parts = Result<Vec<Result<(), ErrorCode>>, ErrorCode>;

/// Where a group is that the principal may ask for: its partition of `__consumer_offsets`, and the
/// core that owns that.
pub(super) fn home(cx: &Cx, group: &str) -> Result<(i32, CoreId), ErrorCode> {
    cx.permits_group(group)?;
    cx.group_home(group)
}

/// The same of a group that has members, or had: those have names.
pub(super) fn home_of_members(cx: &Cx, group: &str) -> Result<(i32, CoreId), ErrorCode> {
    cx.permits_group(group)?;
    match group.is_empty() {
        true => Err(ErrorCode::INVALID_GROUP_ID),
        false => cx.group_home(group),
    }
}

/// Asks for several groups, on one call per core; `work` takes them with their partitions.
pub(super) async fn ask<W, T>(
    cx: &Cx,
    names: &[&str],
    work: impl Fn(Vec<(i32, String)>) -> W,
) -> Vec<Result<T, ErrorCode>>
where
    W: Work<Outcome = Vec<Result<T, ErrorCode>>>,
{
    let mut outcomes = Vec::new();
    let mut scatter = Scatter::new();
    for (slot, name) in names.iter().enumerate() {
        outcomes.push(home(cx, name).and_then(|(shard, core)| {
            scatter.add(core, slot, (shard, (*name).to_owned()));
            // Until it is answered.
            Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)
        }));
    }
    for (slot, outcome) in scatter.ask(cx, |parts| work(parts.into_vec())).await {
        outcomes[slot] = outcome.unwrap_or(Err(ErrorCode::COORDINATOR_NOT_AVAILABLE));
    }
    outcomes
}

/// An answer that has parts.
pub(super) fn parts(answer: Answer) -> Parts {
    match answer {
        Answer::Parts(Ok(parts)) => {
            Ok(parts.into_iter().map(|part| part.map_err(|error| error.code())).collect())
        }
        Answer::Parts(Err(error)) => Err(error.code()),
        _ => unreachable!("what has parts is answered with parts"),
    }
}

/// A code for each part of a request: the one it was refused with at once, or what became of it.
pub(super) fn codes(
    refused: Vec<Option<ErrorCode>>,
    parts: Vec<Result<(), ErrorCode>>,
) -> impl Iterator<Item = ErrorCode> {
    let mut parts = parts.into_iter();
    refused.into_iter().map(move |code| match code {
        Some(code) => code,
        None => parts.next().expect("one for each").err().unwrap_or(ErrorCode::NONE),
    })
}
