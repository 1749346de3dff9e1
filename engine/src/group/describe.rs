//! What is told of groups.

use super::{Group, Shard};

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its id.
    pub group: String,
    /// Empty for a group that only has offsets, or has not had a member yet.
    pub protocol_type: String,
    /// Kafka's name of its state.
    pub state: &'static str,
    /// Kafka's name of its kind: `classic` or `consumer`.
    pub kind: &'static str,
}

/// A group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Kafka's name of its state.
    pub state: &'static str,
    /// Empty where there is none.
    pub protocol_type: String,
    /// The chosen protocol of a stable group.
    pub protocol: String,
    /// In order of id.
    pub members: Vec<MemberDescription>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member: String,
    /// A static member's name.
    pub instance: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// Of the chosen protocol, in a stable group.
    pub metadata: Vec<u8>,
    /// In a stable group.
    pub assignment: Vec<u8>,
}

/// Partitions by topic id.
pub(super) type Owned = super::OwnedPartitions;

/// A consumer group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerDescription {
    /// Kafka's name of its state.
    pub state: &'static str,
    /// The group's.
    pub epoch: i32,
    /// Of what the members are to have.
    pub target_epoch: i32,
    /// Who computes that.
    pub assignor: &'static str,
    /// In order of id.
    pub members: Vec<ConsumerMemberDescription>,
}

/// A member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerMemberDescription {
    /// Its id.
    pub member: String,
    /// A static member's name.
    pub instance: Option<String>,
    /// Where it is.
    pub rack: Option<String>,
    /// Its epoch.
    pub epoch: i32,
    /// As the client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// What it reads, by name.
    pub topics: Vec<String>,
    /// And by expression; empty for none.
    pub pattern: String,
    /// What it has.
    pub assignment: Owned,
    /// What it is to have.
    pub target: Owned,
    /// It speaks the classic protocol.
    pub is_classic: bool,
}

/// Why there is nothing to describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Nobody knows such a group.
    Unknown,
    /// It is a consumer group.
    NotClassic,
    /// It is a classic group.
    NotConsumer,
}

impl Absent {
    /// The same in Kafka's words.
    #[must_use]
    pub fn message(self, group: &str) -> String {
        match self {
            Self::Unknown => format!("Group {group} not found."),
            Self::NotClassic => format!("Group {group} is not a classic group."),
            Self::NotConsumer => format!("Group {group} is not a consumer group."),
        }
    }
}

impl Shard {
    /// All groups, in order of their ids.
    pub fn list(&self) -> impl Iterator<Item = Listing> {
        self.groups.iter().map(|(name, group)| Listing {
            group: name.to_string(),
            protocol_type: group.protocol_type().to_owned(),
            state: group.state(),
            kind: group.kind(),
        })
    }

    /// Every group, in order of their ids: its id, Kafka's name of its kind, and that of its state.
    pub fn states(&self) -> impl Iterator<Item = (&str, &'static str, &'static str)> {
        self.groups.iter().map(|(name, group)| (&**name, group.kind(), group.state()))
    }

    /// The offsets that a group has committed: topic, partition, offset.
    pub fn committed(&self, group: &str) -> impl Iterator<Item = (&str, i32, i64)> {
        let offsets = self.groups.get(group).into_iter().flat_map(|group| group.offsets.iter());
        offsets.map(|(topic, partition, committed)| (&**topic, partition, committed.offset))
    }

    /// A consumer group.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn describe_consumer(&self, group: &str) -> Result<ConsumerDescription, Absent> {
        let consumer = &self.groups.get(group).ok_or(Absent::Unknown)?.consumer;
        let consumer = consumer.as_ref().ok_or(Absent::NotConsumer)?;
        Ok(consumer.describe(self.settings.consumer.assignors.first().copied()))
    }

    /// A classic group, or one of offsets alone.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn describe(&self, group: &str) -> Result<Description, Absent> {
        let group = self.groups.get(group).ok_or(Absent::Unknown)?;
        if group.consumer.is_some() {
            return Err(Absent::NotClassic);
        }
        let (protocol, members) = match &group.classic {
            Some(classic) => classic.describe(),
            None => (String::new(), Vec::new()),
        };
        let (state, protocol_type) = (group.state(), group.protocol_type().to_owned());
        Ok(Description { state, protocol_type, protocol, members })
    }
}

impl Group {
    fn kind(&self) -> &'static str {
        if self.consumer.is_some() { "consumer" } else { "classic" }
    }

    fn state(&self) -> &'static str {
        match (&self.classic, &self.consumer) {
            (Some(classic), _) => classic.state_name(),
            (None, Some(consumer)) => consumer.state_name(),
            (None, None) => "Empty",
        }
    }

    fn protocol_type(&self) -> &str {
        match (&self.classic, &self.consumer) {
            (Some(classic), _) => classic.protocol_type(),
            (None, Some(_)) => super::subscription::CONSUMER,
            (None, None) => "",
        }
    }

    pub(super) fn has_members(&self) -> bool {
        self.classic.as_ref().is_some_and(|classic| !classic.is_empty())
            || self.consumer.as_ref().is_some_and(|consumer| !consumer.is_empty())
    }

    /// Whether members read the topic, or may.
    pub(super) fn topics_read(&self) -> impl Fn(&str) -> bool {
        let classic = self.classic.as_ref().map(|classic| classic.topics_read());
        move |topic| {
            classic.as_ref().is_some_and(|read| read.covers(topic))
                || self.consumer.as_ref().is_some_and(|consumer| consumer.reads(topic))
        }
    }
}
