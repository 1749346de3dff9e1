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

impl Shard {
    /// All groups, in order of their ids.
    pub fn list(&self) -> impl Iterator<Item = Listing> {
        self.groups.iter().map(|(name, group)| Listing {
            group: name.to_string(),
            protocol_type: group.protocol_type().to_owned(),
            state: group.state(),
        })
    }

    /// A group; none that is not known.
    #[must_use]
    pub fn describe(&self, group: &str) -> Option<Description> {
        let group = self.groups.get(group)?;
        let (protocol, members) = match &group.classic {
            Some(classic) => classic.describe(),
            None => (String::new(), Vec::new()),
        };
        let (state, protocol_type) = (group.state(), group.protocol_type().to_owned());
        Some(Description { state, protocol_type, protocol, members })
    }
}

impl Group {
    fn state(&self) -> &'static str {
        self.classic.as_ref().map_or("Empty", |classic| classic.state_name())
    }

    fn protocol_type(&self) -> &str {
        self.classic.as_ref().map_or("", |classic| classic.protocol_type())
    }

    pub(super) fn has_members(&self) -> bool {
        self.classic.as_ref().is_some_and(|classic| !classic.is_empty())
    }
}
