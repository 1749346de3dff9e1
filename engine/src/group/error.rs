//! Why a group says no.

/// A request to a group was refused, or could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The group's id may not be empty here.
    #[error("the group id is empty")]
    InvalidGroupId,
    /// The session timeout asked for is outside of what the broker allows.
    #[error(
        "session timeout {asked_ms} ms; group.min.session.timeout.ms and group.max.session.timeout.ms allow {min_ms} to {max_ms}"
    )]
    InvalidSessionTimeout {
        /// Asked for.
        asked_ms: i32,
        /// `group.min.session.timeout.ms`.
        min_ms: i32,
        /// `group.max.session.timeout.ms`.
        max_ms: i32,
    },
    /// A name is longer than a record can hold.
    #[error("a name of {len} bytes; a record holds up to {max}")]
    NameTooLong {
        /// Its bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The group has as many members as it may have.
    #[error("the group has group.max.size members")]
    Full,
    /// Groups take as much memory as they may.
    #[error("groups use all of odradek.group.memory.bytes on this core")]
    OutOfMemory,
    /// No such group.
    #[error("no such group")]
    NotFound,
    /// The group is a classic one, and stays one.
    #[error("the group is not a consumer group")]
    NotConsumer,
    /// The same, and why.
    #[error("the group is not upgraded because {0}")]
    NotUpgraded(&'static str),
    /// A member's subscription cannot be read.
    #[error("the member's embedded consumer protocol is malformed")]
    MalformedSubscription,
    /// The group has members.
    #[error("the group has members")]
    NotEmpty,
    /// A new member must come again with the id that it is given.
    #[error("a member id is required")]
    MemberIdRequired,
    /// The member is not, or no longer, in the group.
    #[error("no such member")]
    UnknownMember,
    /// Another member has the instance id: the caller was replaced.
    #[error("another member has the instance id")]
    FencedInstance,
    /// The group is in another generation.
    #[error("generation {asked}, the group is in another")]
    IllegalGeneration {
        /// The caller's.
        asked: i32,
    },
    /// The request contradicts itself, or says too little.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// The broker does not have the assignor that was asked for.
    #[error("the assignor is none of group.consumer.assignors")]
    UnsupportedAssignor,
    /// The expression is none, or takes too much memory.
    #[error("the regular expression is not valid")]
    InvalidPattern,
    /// The member's epoch is not what the group knows: it has to give up all it has, and join again.
    #[error("member epoch {said} is not the one that the group knows")]
    FencedMemberEpoch {
        /// The caller's.
        said: i32,
    },
    /// The member has another epoch by now.
    #[error("member epoch {said} is not the member's any more")]
    StaleMemberEpoch {
        /// The caller's.
        said: i32,
    },
    /// Another member has the instance id and has not left.
    #[error("the instance id belongs to a member that has not left")]
    UnreleasedInstance,
    /// The client is too old for a member of this group.
    #[error("members of consumer groups need a newer version of the request")]
    UnsupportedVersion,
    /// The members are joining again; so must the caller.
    #[error("the group is rebalancing")]
    Rebalancing,
    /// The member's protocols do not go with the group's.
    #[error("the protocols do not go with those of the group")]
    InconsistentProtocol,
    /// A commit's note is longer than `offset.metadata.max.bytes`.
    #[error("metadata of {len}; offset.metadata.max.bytes is {max}")]
    MetadataTooLarge {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The group reads the topic: its offsets are in use.
    #[error("the group is subscribed to the topic")]
    Subscribed,
    /// What is to be remembered is larger than one batch of the topic may be.
    #[error("{bytes} bytes to remember; max.message.bytes of __consumer_offsets is {max}")]
    TooLarge {
        /// Bytes of the records.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The records could not be made durable now; try again.
    #[error("the group's records cannot be written now")]
    Unwritten,
    /// The group lives elsewhere now, or nowhere.
    #[error("the group is not coordinated here")]
    NotHere,
}

impl GroupError {
    /// The same in Kafka's words, where it has some that tell more than its code.
    #[must_use]
    pub fn message(self, group: &str) -> String {
        match self {
            Self::NotConsumer => format!("Group {group} is not a consumer group."),
            Self::NotUpgraded(why) => {
                format!("Cannot upgrade classic group {group} to consumer group because {why}.")
            }
            Self::NotFound => format!("Group {group} not found."),
            _ => self.to_string(),
        }
    }
}
