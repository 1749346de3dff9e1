//! ConsumerGroupDescribe (69), v0–1: consumer groups (KIP-848) with their members.
//!
//! v1 the kind of protocol that a member speaks (KIP-1099)

use crate::list::List;
use crate::primitives::Uuid;
use crate::schema::wire;

wire! {
    /// Which groups.
    request ConsumerGroupDescribeRequest<'a> 69, 0..=1, flexible 0 {
        group_ids: List<'a, &'a str>,
        include_authorized_operations: bool,
    }

    /// The groups.
    response ConsumerGroupDescribeResponse<'a> 69, 0..=1, flexible 0 {
        throttle_time_ms: i32,
        groups: List<'a, DescribedGroup<'a>>,
    }

    /// A group.
    struct DescribedGroup<'a> {
        error_code: i16,
        error_message: Option<&'a str> = None,
        group_id: &'a str,
        group_state: &'a str,
        group_epoch: i32,
        /// Of what the members are to have.
        assignment_epoch: i32,
        assignor_name: &'a str,
        members: List<'a, Member<'a>>,
        /// A bit for each operation; `i32::MIN` where they were not asked for.
        authorized_operations: i32 = i32::MIN,
    }

    /// A member.
    struct Member<'a> {
        member_id: &'a str,
        instance_id: Option<&'a str> = None,
        rack_id: Option<&'a str> = None,
        member_epoch: i32,
        client_id: &'a str,
        client_host: &'a str,
        subscribed_topic_names: List<'a, &'a str>,
        subscribed_topic_regex: Option<&'a str> = None,
        /// What it has.
        assignment: Assignment<'a>,
        /// What it is to have.
        target_assignment: Assignment<'a>,
        /// 0 classic, 1 consumer, −1 unknown.
        member_type: i8 [1.., ignorable] = -1,
    }

    /// Partitions of a member.
    struct Assignment<'a> {
        topic_partitions: List<'a, TopicPartitions<'a>>,
    }

    /// Partitions of a topic.
    struct TopicPartitions<'a> {
        topic_id: Uuid,
        topic_name: &'a str,
        partitions: List<'a, i32>,
    }
}
