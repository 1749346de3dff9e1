//! OffsetFetch (9), v1–10: how far groups have come.
//!
//! Runs on the cores that own the groups' partitions of `__consumer_offsets`: one call per core. Tells
//! what is durable. A group that is not known has no offsets, which is no error. There are no
//! transactions yet, so every offset is stable.

use std::rc::Rc;

use engine::group::CommittedOffset;
use engine::ids::TopicId;
use replication::image::Image;
use wire::error_code::ErrorCode;
use wire::msg::offset_fetch::{
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use wire::primitives::Uuid;

use super::Cx;
use super::authz::{Operation, ResourceKind};
use super::errors::Coded;
use super::groups::home;
use super::scatter::Scatter;
use crate::conn::reply::Reply;
use crate::core::Core;

/// What is asked of the groups of one core.
pub(crate) struct Work(Vec<Ask>);

/// One group, in this partition of `__consumer_offsets`.
pub(crate) struct Ask {
    shard: i32,
    group: String,
    member: Option<String>,
    epoch: i32,
    /// None for all.
    topics: Option<Vec<(String, Uuid, Vec<i32>)>>,
}

/// What each group has.
pub(crate) type Outcome = Vec<Result<Offsets, ErrorCode>>;

/// Offsets of one group.
pub(crate) enum Offsets {
    /// In the order in which they were asked for.
    Asked(Vec<Option<CommittedOffset>>),
    /// All, in order of topic and partition.
    All(Vec<(String, i32, CommittedOffset)>),
}

/// A group of the request.
struct Group<'a> {
    id: &'a str,
    /// A member of a consumer group, and its epoch.
    member: Option<&'a str>,
    epoch: i32,
    /// None for all.
    topics: Option<Vec<Topic<'a>>>,
}

/// A topic of the request, and of the answer.
struct Topic<'a> {
    name: &'a str,
    id: Uuid,
    /// What is known by that name or id, or why nothing may be said.
    known: Result<(String, Uuid), ErrorCode>,
    partitions: Vec<i32>,
}

/// A topic of the answer.
struct Told {
    name: String,
    id: Uuid,
    partitions: Vec<(i32, Result<Option<CommittedOffset>, ErrorCode>)>,
}

pub(super) async fn handle(cx: &Cx, request: OffsetFetchRequest<'_>) -> Reply {
    let image = cx.image();
    let groups = groups(cx, &image, &request);
    let mut told: Vec<Option<Result<Offsets, ErrorCode>>> = Vec::new();
    let mut scatter = Scatter::new();
    for (slot, group) in groups.iter().enumerate() {
        told.push(match home(cx, group.id) {
            Err(code) => Some(Err(code)),
            Ok((shard, core)) => {
                scatter.add(core, slot, ask(shard, group));
                None
            }
        });
    }
    for (slot, outcome) in scatter.ask(cx, |parts| Work(parts.into_vec())).await {
        told[slot] = Some(outcome.unwrap_or(Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)));
    }
    let told = told.into_iter().map(|told| told.expect("every group was asked"));
    let told: Vec<_> = groups
        .iter()
        .zip(told)
        .map(|(group, told)| told.map(|offsets| answer(cx, &image, group, offsets)))
        .collect();
    cx.claim(told.iter().flatten().flatten().map(|topic| 1 + topic.partitions.len()).sum()).await;
    match cx.version {
        ..=7 => reply_for_one(cx, &groups[0], &told[0]),
        _ => reply(cx, &groups, &told),
    }
}

fn groups<'a>(cx: &Cx, image: &Image, request: &OffsetFetchRequest<'a>) -> Vec<Group<'a>> {
    let topic = |name: &'a str, id: Uuid, partitions: Vec<i32>| Topic {
        name,
        id,
        known: known(cx, image, name, id),
        partitions,
    };
    if cx.version <= 7 {
        let topics = request.topics.as_ref().map(|topics| {
            let topics = topics.iter();
            topics
                .map(|it| topic(it.name, Uuid::ZERO, it.partition_indexes.iter().collect()))
                .collect()
        });
        return vec![Group { id: request.group_id, member: None, epoch: -1, topics }];
    }
    let groups = request.groups.iter().map(|group| Group {
        id: group.group_id,
        member: group.member_id,
        epoch: group.member_epoch,
        topics: group.topics.as_ref().map(|topics| {
            let topics = topics.iter();
            topics
                .map(|it| topic(it.name, it.topic_id, it.partition_indexes.iter().collect()))
                .collect()
        }),
    });
    groups.collect()
}

/// A topic as offsets know it. One that is gone may have left some.
fn known(cx: &Cx, image: &Image, name: &str, id: Uuid) -> Result<(String, Uuid), ErrorCode> {
    let topics = image.topics();
    let by_id = cx.version >= 10;
    let found = if by_id { topics.get(TopicId(id)) } else { topics.named(name) };
    let name = found.map_or(name, |topic| &topic.name);
    if !cx.allows(Operation::Describe, ResourceKind::Topic, name) {
        return Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    }
    match found {
        Some(topic) => Ok((topic.name.to_string(), topic.id.0)),
        None if by_id => Err(ErrorCode::UNKNOWN_TOPIC_ID),
        None => Ok((name.to_owned(), Uuid::ZERO)),
    }
}

fn ask(shard: i32, group: &Group<'_>) -> Ask {
    let topics = group.topics.as_ref().map(|topics| {
        let known = topics.iter().filter_map(|topic| {
            let (name, id) = topic.known.clone().ok()?;
            Some((name, id, topic.partitions.clone()))
        });
        known.collect()
    });
    let member = group.member.map(str::to_owned);
    Ask { shard, group: group.id.to_owned(), member, epoch: group.epoch, topics }
}

fn answer(cx: &Cx, image: &Image, group: &Group<'_>, offsets: Offsets) -> Vec<Told> {
    match offsets {
        Offsets::Asked(offsets) => {
            let mut offsets = offsets.into_iter();
            let topics = group.topics.iter().flatten().map(|topic| {
                let mut told = |partition: i32| match &topic.known {
                    Ok(_) => (partition, Ok(offsets.next().expect("one for each"))),
                    Err(code) => (partition, Err(*code)),
                };
                let partitions = topic.partitions.iter().map(|partition| told(*partition));
                let partitions = partitions.collect();
                Told { name: topic.name.to_owned(), id: topic.id, partitions }
            });
            topics.collect()
        }
        Offsets::All(offsets) => {
            let mut topics: Vec<Told> = Vec::new();
            for (name, partition, offset) in offsets {
                if topics.last().is_none_or(|topic| topic.name != name) {
                    let known = image.topics().named(&name).map(|topic| topic.id.0);
                    // A name of which no id is known cannot be told.
                    let hidden = cx.version >= 10 && known.is_none();
                    if hidden || !cx.allows(Operation::Describe, ResourceKind::Topic, &name) {
                        continue;
                    }
                    let id = known.unwrap_or_default();
                    topics.push(Told { name, id, partitions: Vec::new() });
                }
                let topic = topics.last_mut().expect("pushed just now, if it was not there");
                let other = !offset.topic_id.is_zero() && !topic.id.is_zero();
                if !(other && offset.topic_id != topic.id) {
                    topic.partitions.push((partition, Ok(Some(offset))));
                }
            }
            topics
        }
    }
}

/// What a partition is told.
fn parts(told: &Result<Option<CommittedOffset>, ErrorCode>) -> (i64, i32, &str, ErrorCode) {
    match told {
        Ok(Some(it)) => (it.offset, it.leader_epoch, &it.metadata, ErrorCode::NONE),
        Ok(None) => (-1, -1, "", ErrorCode::NONE),
        Err(code) => (-1, -1, "", *code),
    }
}

/// Version 1 has no place for an error of the group but in its partitions.
fn reply_for_one(cx: &Cx, group: &Group<'_>, told: &Result<Vec<Told>, ErrorCode>) -> Reply {
    let error = told.as_ref().err().copied();
    let failed: Vec<Told> = match error {
        Some(code) if cx.version < 2 => {
            let topics = group.topics.iter().flatten();
            topics
                .map(|topic| Told {
                    name: topic.name.to_owned(),
                    id: Uuid::ZERO,
                    partitions: topic.partitions.iter().map(|index| (*index, Err(code))).collect(),
                })
                .collect()
        }
        _ => Vec::new(),
    };
    let topics = told.as_ref().unwrap_or(&failed).iter().map(|topic| OffsetFetchResponseTopic {
        name: &topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|(index, told)| {
                let (committed_offset, committed_leader_epoch, note, code) = parts(told);
                OffsetFetchResponsePartition {
                    partition_index: *index,
                    committed_offset,
                    committed_leader_epoch,
                    metadata: Some(note),
                    error_code: code.into(),
                }
            })
            .collect(),
    });
    cx.reply(&OffsetFetchResponse {
        throttle_time_ms: cx.throttle_ms(),
        topics: topics.collect(),
        error_code: error.unwrap_or(ErrorCode::NONE).into(),
        ..OffsetFetchResponse::default()
    })
}

fn reply(cx: &Cx, groups: &[Group<'_>], told: &[Result<Vec<Told>, ErrorCode>]) -> Reply {
    let groups = groups.iter().zip(told).map(|(group, told)| OffsetFetchResponseGroup {
        group_id: group.id,
        topics: told
            .iter()
            .flatten()
            .map(|topic| OffsetFetchResponseTopics {
                name: &topic.name,
                topic_id: topic.id,
                partitions: topic.partitions.iter().map(partition).collect(),
            })
            .collect(),
        error_code: told.as_ref().err().copied().unwrap_or(ErrorCode::NONE).into(),
    });
    cx.reply(&OffsetFetchResponse {
        throttle_time_ms: cx.throttle_ms(),
        groups: groups.collect(),
        ..OffsetFetchResponse::default()
    })
}

fn partition(
    (index, told): &(i32, Result<Option<CommittedOffset>, ErrorCode>),
) -> OffsetFetchResponsePartitions<'_> {
    let (committed_offset, committed_leader_epoch, note, code) = parts(told);
    OffsetFetchResponsePartitions {
        partition_index: *index,
        committed_offset,
        committed_leader_epoch,
        metadata: Some(note),
        error_code: code.into(),
    }
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work(asks): Work) -> Outcome {
    asks.into_iter().map(|ask| look(&core, ask)).collect()
}

fn look(core: &Core, ask: Ask) -> Result<Offsets, ErrorCode> {
    let Ask { shard, group, member, epoch, topics } = ask;
    let host = core.groups.host(shard)?;
    let allowed = host.with(|shard, _| shard.check_fetch(&group, member.as_deref(), epoch));
    allowed.map_err(|error| error.code())?;
    Ok(host.with(|shard, _| match topics {
        None => {
            let all = shard.offsets(&group);
            Offsets::All(all.map(|(topic, id, it)| (topic.to_owned(), id, it.clone())).collect())
        }
        Some(topics) => {
            let asked = topics.iter().flat_map(|(topic, id, partitions)| {
                let offset = |partition: &i32| shard.offset(&group, topic, *id, *partition);
                partitions.iter().map(move |partition| offset(partition).cloned())
            });
            Offsets::Asked(asked.collect())
        }
    }))
}
