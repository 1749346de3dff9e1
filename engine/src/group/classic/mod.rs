//! The classic protocol: members join, one of them leads and assigns, all get their assignment.
//!
//! ```text
//!            join                all have joined, or time is up           the leader's sync is kept
//!   Empty ──────────▶ Preparing ────────────────────────────▶ Completing ──────────────────▶ Stable
//!     ▲                 │  ▲ ▲      generation + 1                │                            │
//!     └─────────────────┘  │ └────────────────────────────────────┘ a member comes, goes,      │
//!       nobody is left     └──────────────────────────────────────── changes ─────────────────┘
//! ```
//!
//! Joins wait in Preparing, syncs in Completing. Time does the rest: a member that is silent for its
//! session timeout goes; a rebalance ends after the longest rebalance timeout, without those that did
//! not come; one that joined and never asked for its assignment goes after as long.

mod join;
mod leave;
mod member;
mod migrate;
mod rebalance;
mod store;
mod sync;
mod vote;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

pub(super) use self::join::timeouts;
pub use self::join::{JoinRequest, Joined, JoinedMember};
pub use self::leave::Leaver;
pub(super) use self::store::Then;
pub use self::sync::{SyncRequest, Synced};

use self::member::Member;
pub(super) use self::member::Protocols;
use super::describe::MemberDescription;
use super::memory::Charge;
use super::out::{Answer, Out};
use super::subscription::{CONSUMER, read_topics};
use super::{GroupError, Now, Shard, Turn};
use crate::rt::Instant;

/// Members, and where they are between two generations.
#[derive(Debug)]
pub(super) struct Classic {
    state: State,
    /// Since when it is in its state, Unix ms; −1 for unknown.
    since_ms: i64,
    /// None before the first member.
    protocol_type: Option<String>,
    generation: i32,
    /// None without members.
    protocol: Option<Rc<str>>,
    /// None without members.
    leader: Option<Rc<str>>,
    members: BTreeMap<Rc<str>, Member>,
    /// Ids of static members by their names.
    instances: BTreeMap<Rc<str>, Rc<str>>,
    /// Ids given out to those who have to come again with them, and until when.
    reserved: BTreeMap<Rc<str>, (Instant, Charge)>,
    /// How many members support each protocol.
    support: BTreeMap<Rc<str>, usize>,
    /// Members whose join waits.
    joining: usize,
}

/// Where a group is between two generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No members.
    Empty,
    /// Members are joining.
    Preparing {
        /// When to go on without those who have not come.
        until: Instant,
        /// Of a group that was empty: how much longer newcomers may make it wait.
        newcomers: Option<Newcomers>,
    },
    /// The leader is assigning.
    Completing {
        /// When those who have not asked for their assignment are dropped.
        until: Instant,
    },
    /// Everybody has an assignment.
    Stable {
        /// As in Completing, while somebody has not asked yet.
        until: Option<Instant>,
    },
}

/// The first rebalance of a group that was empty waits, and longer with each newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Newcomers {
    came: bool,
    left: Duration,
}

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    pub(super) member: &'a str,
    pub(super) instance: Option<&'a str>,
}

impl Caller<'_> {
    /// The caller's id, if it is one of these members; `instances` are ids by static names.
    pub(super) fn among<M>(
        self,
        members: &BTreeMap<Rc<str>, M>,
        instances: &BTreeMap<Rc<str>, Rc<str>>,
    ) -> Result<Rc<str>, GroupError> {
        if let Some(instance) = self.instance {
            match instances.get(instance) {
                None => return Err(GroupError::UnknownMember),
                Some(id) if **id != *self.member => return Err(GroupError::FencedInstance),
                Some(_) => {}
            }
        }
        let known = members.get_key_value(self.member);
        known.map(|(id, _)| Rc::clone(id)).ok_or(GroupError::UnknownMember)
    }
}

/// The topics that a group's members read.
#[derive(Debug)]
pub(super) enum TopicsRead {
    /// They do not say: it may be any.
    Any,
    These(BTreeSet<String>),
}

impl TopicsRead {
    pub(super) fn covers(&self, topic: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(topics) => topics.contains(topic),
        }
    }
}

impl Shard {
    /// A member says that it is alive.
    ///
    /// # Errors
    /// `Rebalancing` asks the member to join again; all others say that it is none.
    pub fn heartbeat(
        &mut self,
        now: Now,
        group: &str,
        generation: i32,
        member: &str,
        instance: Option<&str>,
    ) -> Result<(), GroupError> {
        if group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let caller = Caller { member, instance };
        let told = self.turn(now, group, |group, turn| match &mut group.classic {
            Some(classic) => classic.heartbeat(turn, caller, generation),
            None => match &mut group.consumer {
                Some(consumer) => consumer.beat_of_guest(turn, caller, generation),
                None => Err(GroupError::UnknownMember),
            },
        });
        told.unwrap_or(Err(GroupError::UnknownMember))
    }
}

impl Classic {
    /// A group without members, which has none since then (Unix ms; −1 for unknown).
    pub(super) fn new(since_ms: i64) -> Self {
        Self {
            state: State::Empty,
            since_ms,
            protocol_type: None,
            generation: 0,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            reserved: BTreeMap::new(),
            support: BTreeMap::new(),
            joining: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn is_stable(&self) -> bool {
        matches!(self.state, State::Stable { .. })
    }

    /// Whether the members' metadata are subscriptions.
    pub(super) fn is_consumer(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether somebody was given an id and is about to come with it.
    pub(super) fn is_expected(&self) -> bool {
        !self.reserved.is_empty()
    }

    pub(super) fn since_ms(&self) -> i64 {
        self.since_ms
    }

    pub(super) fn protocol_type(&self) -> &str {
        self.protocol_type.as_deref().unwrap_or("")
    }

    /// Kafka's name of the state.
    pub(super) fn state_name(&self) -> &'static str {
        match self.state {
            State::Empty => "Empty",
            State::Preparing { .. } => "PreparingRebalance",
            State::Completing { .. } => "CompletingRebalance",
            State::Stable { .. } => "Stable",
        }
    }

    /// The chosen protocol of a stable group, and the members.
    pub(super) fn describe(&self) -> (String, Vec<MemberDescription>) {
        let stable = self.is_stable();
        let chosen = self.protocol.as_deref().filter(|_| stable);
        let members = self.members.iter().map(|(id, member)| MemberDescription {
            member: id.to_string(),
            instance: member.instance.as_deref().map(str::to_owned),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: chosen.map_or_else(Vec::new, |name| member.protocols.metadata(name).to_vec()),
            assignment: if stable { member.assignment.clone() } else { Vec::new() },
        });
        (chosen.unwrap_or("").to_owned(), members.collect())
    }

    /// The topics that the members read, as far as they say so.
    pub(super) fn topics_read(&self) -> TopicsRead {
        let mut topics = BTreeSet::new();
        if self.members.is_empty() {
            return TopicsRead::These(topics);
        }
        if !self.is_consumer() {
            return TopicsRead::Any;
        }
        for member in self.members.values() {
            // Between two generations any of what they say may become true.
            let said = member.protocols.iter().map(|(_, metadata)| metadata);
            for metadata in said {
                if read_topics(metadata, &mut topics).is_none() {
                    return TopicsRead::Any;
                }
            }
        }
        TopicsRead::These(topics)
    }

    /// Whether a commit may be kept. A member's commit counts as a heartbeat.
    pub(super) fn check_commit(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller<'_>,
        generation: i32,
    ) -> Result<(), GroupError> {
        if generation < 0 && self.is_empty() {
            return Ok(());
        }
        if generation < 0 && caller.member.is_empty() && caller.instance.is_none() {
            return Err(GroupError::UnknownMember);
        }
        let id = self.check_caller(caller)?;
        self.check_generation(generation)?;
        if matches!(self.state, State::Completing { .. }) {
            return Err(GroupError::Rebalancing);
        }
        self.renew(turn, &id);
        Ok(())
    }

    fn heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller<'_>,
        generation: i32,
    ) -> Result<(), GroupError> {
        let id = self.check_caller(caller)?;
        self.check_generation(generation)?;
        self.renew(turn, &id);
        match self.state {
            State::Preparing { .. } => Err(GroupError::Rebalancing),
            _ => Ok(()),
        }
    }

    /// Whether the caller is a member; its id.
    fn check_caller(&self, caller: Caller<'_>) -> Result<Rc<str>, GroupError> {
        caller.among(&self.members, &self.instances)
    }

    fn check_generation(&self, asked: i32) -> Result<(), GroupError> {
        match asked == self.generation {
            true => Ok(()),
            false => Err(GroupError::IllegalGeneration { asked }),
        }
    }

    /// A member was heard of: its session begins anew. One that waits needs none.
    fn renew(&mut self, turn: &mut Turn<'_>, id: &str) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.silent_at = match member.waits() && !member.is_new {
            true => None,
            false => Some(turn.arm(member.session_timeout)),
        };
    }

    fn enter(&mut self, turn: &Turn<'_>, state: State) {
        self.state = state;
        self.since_ms = turn.now.wall_ms;
    }

    fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// The longest rebalance timeout of the members.
    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Earliest time at which something is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let sessions = self.members.values().filter_map(|member| member.silent_at);
        let reserved = self.reserved.values().map(|(until, _)| *until);
        let phase = match self.state {
            State::Empty => None,
            State::Preparing { until, .. } | State::Completing { until } => Some(until),
            State::Stable { until } => until,
        };
        sessions.chain(reserved).chain(phase).min()
    }

    /// Answers everybody who waits.
    pub(super) fn dismiss_all(&mut self, out: &mut Out, error: GroupError) {
        for (id, member) in &mut self.members {
            if let Some(join) = member.join.take() {
                out.answer(join.ticket, Answer::Joined(Err((error, id.to_string()))));
            }
            if let Some(ticket) = member.sync.take() {
                out.answer(ticket, Answer::Synced(Err(error)));
            }
        }
        self.joining = 0;
    }
}
