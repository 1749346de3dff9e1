//! ConsumerGroupHeartbeat (68), v0–1: join, stay in, or leave a consumer group (KIP-848).
//!
//! v1 subscription by regular expression, and the member makes its own id (KIP-1082)
//!
//! Null means what was said before, in the request and in the response.

use crate::list::List;
use crate::primitives::Uuid;
use crate::schema::wire;

wire! {
    /// A member, what it wants and what it has.
    request ConsumerGroupHeartbeatRequest<'a> 68, 0..=1, flexible 0 {
        group_id: &'a str,
        /// Empty for a new member of v0, which is given one.
        member_id: &'a str,
        /// 0 to join, −1 to leave, −2 for a static member to leave for a while.
        member_epoch: i32,
        /// Static member's name.
        instance_id: Option<&'a str> = None,
        rack_id: Option<&'a str> = None,
        /// How long the member may take to give partitions up; −1 for as before.
        rebalance_timeout_ms: i32 = -1,
        subscribed_topic_names: Option<List<'a, &'a str>> = None,
        /// Of the RE2 kind; empty for none.
        subscribed_topic_regex: Option<&'a str> [1..] = None,
        /// The assignor that it would like; empty for none.
        server_assignor: Option<&'a str> = None,
        /// What it owns now.
        topic_partitions: Option<List<'a, TopicPartitions<'a>>> = None,
    }

    /// What the member is to have.
    response ConsumerGroupHeartbeatResponse<'a> 68, 0..=1, flexible 0 {
        throttle_time_ms: i32,
        error_code: i16,
        error_message: Option<&'a str> = None,
        /// Null with an error.
        member_id: Option<&'a str> = None,
        member_epoch: i32,
        heartbeat_interval_ms: i32,
        assignment: Option<Assignment<'a>> = None,
    }

    /// Partitions of a member.
    struct Assignment<'a> {
        topic_partitions: List<'a, TopicPartitions<'a>>,
    }

    /// Partitions of a topic.
    struct TopicPartitions<'a> {
        topic_id: Uuid,
        partitions: List<'a, i32>,
    }
}
