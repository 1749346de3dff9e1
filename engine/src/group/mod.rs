//! Groups of consumers and how far they have come: what a coordinator knows and decides.
//!
//! A [`Shard`] holds the groups whose records are in one partition of `__consumer_offsets`. It is a
//! state machine without clock or I/O: every call brings the time, what is to be done comes out as
//! [`Effect`]s, in order.
//!
//! ```text
//! request, ticket ─▶ Shard ─▶ Answer(ticket)                    at once, or when others have come
//!                        └──▶ Append(id, records) ─▶ log ─▶ appended(id) ─▶ Answer(ticket)
//! ```
//!
//! Records are appended in the order of the effects, and [`Shard::appended`] is called in that order,
//! when they are acknowledged. What a group *is* changes at once and waits for no disk; what it was
//! *promised* to keep (offsets, assignments, who is a static member) counts when its record is
//! acknowledged, and nobody is told before. A failed append is told to whoever waits for it; the
//! group goes on with what it had. A log that failed altogether ends the shard: [`Shard::unload`].
//!
//! **Bounded**: by `group.max.size`, and by the [`GroupMemory`] that all shards of a core share. A
//! request that waits is one of a member's two (join, sync) and holds no more than its ticket.

mod assign;
mod classic;
mod commit;
mod consumer;
mod delete;
mod describe;
mod error;
mod expire;
mod load;
mod memory;
mod migration;
mod offsets;
mod out;
mod pattern;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

pub use self::assign::Assignor;
pub use self::classic::{JoinRequest, Joined, JoinedMember, Leaver, SyncRequest, Synced};
pub use self::commit::{CommitRequest, NewOffset};
pub use self::consumer::{
    Beaten, ConsumerBeat, ConsumerSettings, OwnedPartitions, Pace, TopicSource,
};
pub use self::describe::{
    Absent, ConsumerDescription, ConsumerMemberDescription, Description, Listing, MemberDescription,
};
pub use self::error::GroupError;
pub use self::memory::GroupMemory;
pub use self::migration::MigrationPolicy;
pub use self::offsets::CommittedOffset;
pub use self::out::{Answer, Append, AppendId, Effect, Entry, Ticket};
pub use self::pattern::Pattern;

use self::classic::Classic;
use self::consumer::Consumer;
use self::memory::Charge;
use self::migration::Owed;
use self::offsets::Offsets;
use self::out::Out;
use crate::rt::Instant;
use crate::rt::sim::Plant;

/// The time of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For timeouts.
    pub at: Instant,
    /// For records, Unix ms.
    pub wall_ms: i64,
}

/// What is configured about groups; milliseconds and bytes as in Kafka's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_delay: Duration,
    /// `group.max.size`.
    pub members_max: usize,
    /// `offset.metadata.max.bytes`.
    pub metadata_len_max: usize,
    /// `offsets.retention.minutes`.
    pub retention_ms: i64,
    /// Bytes of records in one append: a batch must be able to hold them.
    pub append_bytes_max: usize,
    /// Of groups of KIP-848's protocol.
    pub consumer: ConsumerSettings,
    /// A bug that a simulation has planted in groups; none on a real node.
    pub plant: Option<Plant>,
}

impl GroupSettings {
    fn planted(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }
}

/// The groups of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct Shard {
    settings: Rc<GroupSettings>,
    memory: Rc<GroupMemory>,
    topics: Rc<dyn TopicSource>,
    groups: BTreeMap<Rc<str>, Group>,
    /// When to look at which group again; at most one entry each.
    wakes: BTreeSet<(Instant, Rc<str>)>,
    out: Out,
}

/// A group: members, offsets, or both.
#[derive(Debug)]
struct Group {
    /// None where only offsets are known: a *simple* group, whose consumers assign themselves.
    classic: Option<Classic>,
    /// The same of KIP-848's protocol; at most one of the two.
    consumer: Option<Box<Consumer>>,
    offsets: Offsets,
    owed: Owed,
    /// Its entry in [`Shard::wakes`].
    wake: Option<Instant>,
    /// Its name and itself.
    _charge: Charge,
}

/// What a call to one group works with.
struct Turn<'a> {
    now: Now,
    name: &'a Rc<str>,
    settings: &'a GroupSettings,
    memory: &'a Rc<GroupMemory>,
    topics: &'a dyn TopicSource,
    out: &'a mut Out,
    /// The earliest deadline set in this turn.
    soonest: Option<Instant>,
}

impl Turn<'_> {
    /// The group has to be looked at then.
    fn arm(&mut self, after: Duration) -> Instant {
        let at = self.now.at + after;
        self.arm_at(at);
        at
    }

    /// What is configured about the speed of the group.
    fn pace(&self) -> Pace {
        self.topics.pace(self.name).unwrap_or(self.settings.consumer.pace)
    }

    fn arm_at(&mut self, at: Instant) {
        self.soonest = Some(self.soonest.map_or(at, |soonest| soonest.min(at)));
    }
}

impl Shard {
    /// A shard without groups.
    #[must_use]
    pub fn new(
        settings: Rc<GroupSettings>,
        memory: &Rc<GroupMemory>,
        topics: Rc<dyn TopicSource>,
    ) -> Self {
        Self {
            settings,
            memory: Rc::clone(memory),
            topics,
            groups: BTreeMap::new(),
            wakes: BTreeSet::new(),
            out: Out::default(),
        }
    }

    /// What is to be done, oldest first.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.effects.pop_front()
    }

    /// When [`Shard::expire_due`] has to be called again.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Does what time demands: members that are silent, rebalances that have waited long enough.
    pub fn expire_due(&mut self, now: Now) {
        while let Some((at, name)) = self.wakes.first().cloned()
            && at <= now.at
        {
            self.wakes.pop_first();
            if let Some(group) = self.groups.get_mut(&name) {
                group.wake = None;
            }
            self.turn(now, &name, |group, turn| {
                if let Some(classic) = &mut group.classic {
                    classic.expire(turn);
                }
                if let Some(consumer) = &mut group.consumer
                    && consumer.expire(turn)
                {
                    group.finish(turn, None);
                }
                group.pay(turn);
                let classic = group.classic.as_ref().and_then(Classic::next_deadline);
                let consumer = group.consumer.as_ref().and_then(|it| it.next_deadline());
                let owed = group.owed.again.filter(|_| group.consumer.is_none());
                if let Some(next) = classic.into_iter().chain(consumer).chain(owed).min() {
                    turn.arm_at(next);
                }
            });
        }
    }

    /// An append was acknowledged, or could not be made. Called in the order of the appends.
    pub fn appended(&mut self, now: Now, id: AppendId, outcome: Result<(), GroupError>) {
        let Some(then) = self.out.waiting.remove(&id) else { return };
        match then {
            out::Then::Answers(answers) => {
                for (ticket, answer) in answers {
                    self.out.answer(ticket, answer.after(outcome));
                }
            }
            out::Then::Offsets { group, changes, answer } => {
                self.settle_offsets(&group, changes, outcome.is_ok());
                if let Some((ticket, answer)) = answer {
                    self.out.answer(ticket, answer.after(outcome));
                }
            }
            out::Then::Consumer { group, keys, answers } => {
                for (ticket, answer) in answers {
                    self.out.answer(ticket, answer.after(outcome));
                }
                self.turn(now, &group, |group, turn| group.written(turn, keys, outcome));
            }
            out::Then::Burial { group, changes, answer } => {
                self.buried(&group, changes, outcome);
                if let Some((ticket, answer)) = answer {
                    self.out.answer(ticket, answer.after(outcome));
                }
            }
            out::Then::Classic { group, then } => {
                self.turn(now, &group, |group, turn| match &mut group.classic {
                    Some(classic) => classic.written(turn, then, outcome),
                    None => then.abandon(turn.out, GroupError::UnknownMember),
                });
            }
        }
    }

    /// Ends the shard: whoever waits is sent elsewhere. Effects are left to be taken.
    pub fn unload(&mut self) {
        let gone = GroupError::NotHere;
        for group in self.groups.values_mut() {
            if let Some(classic) = &mut group.classic {
                classic.dismiss_all(&mut self.out, gone);
            }
        }
        for (_, then) in std::mem::take(&mut self.out.waiting) {
            then.abandon(&mut self.out, gone);
        }
        self.groups.clear();
        self.wakes.clear();
    }

    /// Groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is no group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Runs `work` on a group that there is, and sees to its deadlines.
    fn turn<T>(
        &mut self,
        now: Now,
        name: &str,
        work: impl FnOnce(&mut Group, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let (name, _) = self.groups.get_key_value(name)?;
        let name = Rc::clone(name);
        let group = self.groups.get_mut(&name)?;
        let mut turn = Turn {
            now,
            name: &name,
            settings: &self.settings,
            memory: &self.memory,
            topics: &*self.topics,
            out: &mut self.out,
            soonest: None,
        };
        let result = work(group, &mut turn);
        if let Some(at) = turn.soonest
            && group.wake.is_none_or(|wake| at < wake)
        {
            if let Some(former) = group.wake.replace(at) {
                self.wakes.remove(&(former, Rc::clone(&name)));
            }
            self.wakes.insert((at, Rc::clone(&name)));
        }
        if group.is_vacant() {
            self.forget(&name);
        }
        Some(result)
    }

    /// The group, made if there is none.
    fn obtain(&mut self, name: &str) -> &mut Group {
        if !self.groups.contains_key(name) {
            let group = Group {
                classic: None,
                consumer: None,
                offsets: Offsets::new(&self.memory),
                owed: Owed::default(),
                wake: None,
                _charge: Charge::new(&self.memory, GROUP_BYTES + name.len()),
            };
            self.groups.insert(name.into(), group);
        }
        self.groups.get_mut(name).expect("made just now, if it was not there")
    }

    fn forget(&mut self, name: &Rc<str>) {
        if let Some(Group { wake: Some(wake), .. }) = self.groups.remove(name) {
            self.wakes.remove(&(wake, Rc::clone(name)));
        }
    }
}

impl Group {
    /// Neither members nor offsets nor a generation to remember.
    fn is_vacant(&self) -> bool {
        let known = self.classic.is_some() || self.consumer.is_some() || !self.offsets.is_empty();
        !known && self.owed.is_empty()
    }
}

/// What a group takes, beside its name, members and offsets.
const GROUP_BYTES: usize = 512;
/// Longest name of any kind: a record's strings have lengths of 15 bits, and a member's id is a name
/// of its own with 37 bytes more.
const NAME_LEN_MAX: usize = 32_000;
