//! ConsumerGroupDescribe (69), v0–1: consumer groups with their members (KIP-848).
//!
//! Runs on the cores that own the groups' partitions of `__consumer_offsets`: one call per core.

use std::rc::Rc;
use std::sync::Arc;

use engine::group::{Absent, ConsumerDescription, ConsumerMemberDescription, OwnedPartitions};
use engine::ids::TopicId;
use replication::image::Image;
use wire::error_code::ErrorCode;
use wire::msg::consumer_group_describe::{
    Assignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup,
    Member, TopicPartitions,
};

use super::authz::{Operation, ResourceKind};
use super::{Cx, groups};
use crate::conn::reply::Reply;
use crate::core::Core;

/// Groups of one core, each with its partition of `__consumer_offsets`.
pub(crate) struct Work(Vec<(i32, String)>);

/// What each is.
pub(crate) type Outcome = Vec<Result<Result<ConsumerDescription, Absent>, ErrorCode>>;

pub(super) async fn handle(cx: &Cx, request: ConsumerGroupDescribeRequest<'_>) -> Reply {
    let names: Vec<&str> = request.group_ids.iter().collect();
    let found: Outcome = groups::ask(cx, &names, Work).await;
    let members = found.iter().flatten().flatten().flat_map(|group| &group.members);
    let parts = |owned: &OwnedPartitions| owned.iter().map(|(_, ids)| 1 + ids.len()).sum::<usize>();
    let size = members
        .map(|member| 1 + member.topics.len() + parts(&member.assignment) + parts(&member.target));
    let size: usize = size.sum();
    cx.claim(names.len() + size).await;
    let image = cx.image();
    let message = |(name, found): (&&str, &Result<Result<_, Absent>, _>)| match found {
        Ok(Err(absent)) => absent.message(name),
        _ => String::new(),
    };
    let messages: Vec<_> = names.iter().zip(&found).map(message).collect();
    let groups = names.iter().zip(&found).zip(&messages).map(|((name, found), message)| {
        let failed = |code: ErrorCode, error_message| DescribedGroup {
            error_code: code.into(),
            error_message,
            group_id: name,
            ..DescribedGroup::default()
        };
        match found {
            Ok(Ok(group)) if group.members.iter().any(|it| is_hidden(cx, &image, it)) => {
                failed(ErrorCode::TOPIC_AUTHORIZATION_FAILED, Some(HIDDEN))
            }
            Ok(Ok(group)) => DescribedGroup {
                authorized_operations: match request.include_authorized_operations {
                    true => cx.allowed_operations(ResourceKind::Group, name),
                    false => i32::MIN,
                },
                ..described(&image, name, group)
            },
            Ok(Err(_)) => failed(ErrorCode::GROUP_ID_NOT_FOUND, Some(message)),
            Err(code) => failed(*code, None),
        }
    });
    let groups = groups.collect();
    cx.reply(&ConsumerGroupDescribeResponse { throttle_time_ms: cx.throttle_ms(), groups })
}

/// Whether a member reads or has what the caller may not know of.
fn is_hidden(cx: &Cx, image: &Image, member: &ConsumerMemberDescription) -> bool {
    let hidden = |topic: &str| !cx.allows(Operation::Describe, ResourceKind::Topic, topic);
    let mut ids = member.assignment.iter().chain(&member.target).map(|(id, _)| *id);
    member.topics.iter().any(|topic| hidden(topic))
        || ids.any(|id| image.topics().get(TopicId(id)).is_some_and(|topic| hidden(&topic.name)))
}

fn described<'a>(
    image: &'a Arc<Image>,
    group_id: &'a str,
    group: &'a ConsumerDescription,
) -> DescribedGroup<'a> {
    let members = group.members.iter().map(|member| Member {
        member_id: &member.member,
        instance_id: member.instance.as_deref(),
        rack_id: member.rack.as_deref(),
        member_epoch: member.epoch,
        client_id: &member.client_id,
        client_host: &member.client_host,
        subscribed_topic_names: member.topics.iter().map(String::as_str).collect(),
        subscribed_topic_regex: Some(&member.pattern),
        assignment: assignment(image, &member.assignment),
        target_assignment: assignment(image, &member.target),
        member_type: if member.is_classic { CLASSIC } else { CONSUMER },
    });
    DescribedGroup {
        group_id,
        group_state: group.state,
        group_epoch: group.epoch,
        assignment_epoch: group.target_epoch,
        assignor_name: group.assignor,
        members: members.collect(),
        ..DescribedGroup::default()
    }
}

/// Topics that are gone have no names.
fn assignment<'a>(image: &'a Image, owned: &'a OwnedPartitions) -> Assignment<'a> {
    let topics = owned.iter().filter_map(|(topic_id, partitions)| {
        let topic_name = &*image.topics().get(TopicId(*topic_id))?.name;
        Some(TopicPartitions { topic_id: *topic_id, topic_name, partitions: partitions.into() })
    });
    Assignment { topic_partitions: topics.collect() }
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work(groups): Work) -> Outcome {
    let describe = |(shard, group): (i32, String)| {
        let host = core.groups.host(shard)?;
        Ok(host.with(|shard, _| shard.describe_consumer(&group)))
    };
    groups.into_iter().map(describe).collect()
}

/// A member's protocol: the classic one, or this.
const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;
/// As Kafka says it.
const HIDDEN: &str =
    "The group has described topic(s) that the client is not authorized to describe.";
