//! JoinGroup (11), v0–9: become or stay a member of a classic group, in its next generation.
//!
//! v1 rebalance timeout · v2 throttle time · v4 MEMBER_ID_REQUIRED for whoever has no id (KIP-394)
//! · v5 static membership (KIP-345) · v6 flexible · v7 protocol type in the response (KIP-559) · v8
//! reason (KIP-800) · v9 a leader may be told to leave the assignment as it is
//!
//! v3 changes only when throttling happens.

use crate::list::List;
use crate::schema::wire;

wire! {
    /// Who joins, with what.
    request JoinGroupRequest<'a> 11, 0..=9, flexible 6 {
        group_id: &'a str,
        /// Without a heartbeat for so long, the member is taken for dead.
        session_timeout_ms: i32,
        /// How long a rebalance waits for the member; v0 means the session timeout.
        rebalance_timeout_ms: i32 [1.., ignorable] = -1,
        /// Empty for a new member.
        member_id: &'a str,
        /// Static member's name.
        group_instance_id: Option<&'a str> [5..] = None,
        /// `consumer`, `connect` or another.
        protocol_type: &'a str,
        /// Best first.
        protocols: List<'a, JoinGroupRequestProtocol<'a>>,
        reason: Option<&'a str> [8.., ignorable] = None,
    }

    /// A way to assign that a member supports.
    struct JoinGroupRequestProtocol<'a> {
        name: &'a str,
        /// For the leader; of `consumer`, a subscription.
        metadata: &'a [u8],
    }

    /// The generation that the member is in.
    response JoinGroupResponse<'a> 11, 0..=9, flexible 6 {
        throttle_time_ms: i32 [2.., ignorable],
        error_code: i16,
        generation_id: i32 = -1,
        protocol_type: Option<&'a str> [7.., ignorable] = None,
        /// The chosen one.
        protocol_name: Option<&'a str> [null 7..],
        /// Member id of the leader.
        leader: &'a str,
        /// The leader assigns nothing: the assignment stands.
        skip_assignment: bool [9..],
        member_id: &'a str,
        /// For the leader alone.
        members: List<'a, JoinGroupResponseMember<'a>>,
    }

    /// A member to assign to.
    struct JoinGroupResponseMember<'a> {
        member_id: &'a str,
        group_instance_id: Option<&'a str> [5.., ignorable] = None,
        /// Of the chosen protocol.
        metadata: &'a [u8],
    }
}
