//! A member of a classic group.

use std::rc::Rc;
use std::time::Duration;

use crate::group::memory::Charge;
use crate::group::{GroupMemory, Ticket};
use crate::rt::Instant;

/// What is known of a member.
#[derive(Debug)]
pub(super) struct Member {
    /// A static member's name.
    pub(super) instance: Option<Rc<str>>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocols: Protocols,
    /// Of the current generation, once that is stable.
    pub(super) assignment: Vec<u8>,
    /// It has never been told that it is a member: it cannot send heartbeats.
    pub(super) is_new: bool,
    /// Its join waits for the others.
    pub(super) join: Option<Join>,
    /// Its sync waits for the leader's.
    pub(super) sync: Option<Ticket>,
    /// It has joined this generation and has not asked for its assignment yet.
    pub(super) owes_sync: bool,
    /// When it is taken for dead; none while it waits.
    pub(super) silent_at: Option<Instant>,
    charge: Charge,
}

/// A join that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Join {
    pub(super) ticket: Ticket,
}

impl Member {
    pub(super) fn new(
        memory: &Rc<GroupMemory>,
        instance: Option<Rc<str>>,
        client: (String, String),
        timeouts: (Duration, Duration),
        protocols: Protocols,
    ) -> Self {
        let mut member = Self {
            instance,
            client_id: client.0,
            client_host: client.1,
            session_timeout: timeouts.0,
            rebalance_timeout: timeouts.1,
            protocols,
            assignment: Vec::new(),
            is_new: false,
            join: None,
            sync: None,
            owes_sync: false,
            silent_at: None,
            charge: Charge::new(memory, 0),
        };
        member.weigh();
        member
    }

    /// Whether it waits for an answer.
    pub(super) fn waits(&self) -> bool {
        self.join.is_some() || self.sync.is_some()
    }

    /// Counts its memory again, after a change.
    pub(super) fn weigh(&mut self) {
        let names = self.client_id.len() + self.client_host.len();
        let bytes = MEMBER_BYTES + names + self.protocols.bytes() + self.assignment.len();
        self.charge.set(bytes);
    }
}

/// The ways to assign that a member supports, best first, with what it says about itself in each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct Protocols(Vec<(Rc<str>, Vec<u8>)>);

impl Protocols {
    /// As sent. A name given twice counts once.
    pub(in crate::group) fn new(sent: impl IntoIterator<Item = (Rc<str>, Vec<u8>)>) -> Self {
        let mut seen = std::collections::BTreeSet::new();
        Self(sent.into_iter().filter(|(name, _)| seen.insert(Rc::clone(name))).collect())
    }

    pub(in crate::group) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::group) fn iter(&self) -> impl Iterator<Item = (&Rc<str>, &[u8])> {
        self.0.iter().map(|(name, metadata)| (name, &**metadata))
    }

    /// The one that the member likes best.
    pub(in crate::group) fn first(&self) -> Option<(&Rc<str>, &[u8])> {
        self.iter().next()
    }

    /// The same, with this one first if it is among them.
    pub(in crate::group) fn with_first(&self, protocol: &str) -> Self {
        let mut protocols = self.0.clone();
        protocols.sort_by_key(|(name, _)| **name != *protocol);
        Self(protocols)
    }

    /// Empty where it is not supported.
    pub(super) fn metadata(&self, protocol: &str) -> &[u8] {
        let found = self.iter().find(|(name, _)| ***name == *protocol);
        found.map_or(&[], |(_, metadata)| metadata)
    }

    pub(in crate::group) fn bytes(&self) -> usize {
        self.iter().map(|(name, metadata)| PROTOCOL_BYTES + name.len() + metadata.len()).sum()
    }
}

/// What a member takes beside its bytes and names.
pub(super) const MEMBER_BYTES: usize = 640;
/// Likewise one of its protocols.
const PROTOCOL_BYTES: usize = 96;
