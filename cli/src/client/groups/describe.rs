//! A group of either protocol, as its coordinator describes it.

use anyhow::{Context, Result};
use wire::error_code::ErrorCode;
use wire::msg::consumer_group_describe::{
    Assignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use wire::msg::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};

use super::{Coordinator, Group, Member, Modern, SILENCE};
use crate::client::conn::{Conn, refused};
use crate::client::partitions::TopicPartition;
use crate::client::subscription::decode_assignment;

/// A group of the consumer protocol; none where it is not one.
pub(super) fn consumer(
    conn: &mut Conn,
    coordinator: &Coordinator,
    group: &str,
) -> Result<Option<Group>> {
    if conn.version::<ConsumerGroupDescribeRequest<'_>>().is_err() {
        return Ok(None);
    }
    let names = [group];
    let request = ConsumerGroupDescribeRequest { group_ids: (&names).into(), ..Default::default() };
    let answer: ConsumerGroupDescribeResponse<'_> = conn.call(&request)?;
    let found = answer.groups.first().context(SILENCE)?;
    let no_such = [ErrorCode::GROUP_ID_NOT_FOUND, ErrorCode::UNSUPPORTED_VERSION];
    if no_such.contains(&ErrorCode(found.error_code)) {
        return Ok(None);
    }
    refused(found.error_code, found.error_message)?;
    let members = found.members.iter().map(|member| Member {
        id: member.member_id.to_owned(),
        instance: member.instance_id.map(str::to_owned),
        client: member.client_id.to_owned(),
        host: member.client_host.to_owned(),
        has: partitions_of(&member.assignment),
        modern: Some(Modern {
            epoch: member.member_epoch,
            target: partitions_of(&member.target_assignment),
        }),
    });
    Ok(Some(Group {
        state: found.group_state.to_owned(),
        assignor: found.assignor_name.to_owned(),
        coordinator: coordinator.clone(),
        epochs: Some((found.group_epoch, found.assignment_epoch)),
        members: members.collect(),
    }))
}

/// A group of the classic protocol.
pub(super) fn classic(conn: &mut Conn, coordinator: &Coordinator, group: &str) -> Result<Group> {
    let names = [group];
    let request = DescribeGroupsRequest { groups: (&names).into(), ..Default::default() };
    let answer: DescribeGroupsResponse<'_> = conn.call(&request)?;
    let found = answer.groups.first().context(SILENCE)?;
    refused(found.error_code, found.error_message)?;
    // Other types of groups assign other things than partitions.
    let of_consumers = found.protocol_type == "consumer";
    let has = |bytes| if of_consumers { decode_assignment(bytes) } else { Ok(Vec::new()) };
    let members = found.members.iter().map(|member| {
        Ok(Member {
            id: member.member_id.to_owned(),
            instance: member.group_instance_id.map(str::to_owned),
            client: member.client_id.to_owned(),
            host: member.client_host.to_owned(),
            has: has(member.member_assignment)?,
            modern: None,
        })
    });
    Ok(Group {
        state: found.group_state.to_owned(),
        assignor: found.protocol_data.to_owned(),
        coordinator: coordinator.clone(),
        epochs: None,
        members: members.collect::<Result<_>>()?,
    })
}

fn partitions_of(assignment: &Assignment<'_>) -> Vec<TopicPartition> {
    let topics = assignment.topic_partitions.iter();
    let mut partitions: Vec<_> = topics
        .flat_map(|topic| {
            let partitions = topic.partitions.to_vec().into_iter();
            partitions.map(move |id| TopicPartition::new(topic.topic_name, id))
        })
        .collect();
    partitions.sort();
    partitions
}
