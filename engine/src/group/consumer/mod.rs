//! The protocol of KIP-848: members say what they read and have, the broker says what they are to
//! have.
//!
//! Three numbers go up one after the other. The *group's epoch*, when its members are to be assigned
//! anew: somebody reads something else, came or went, or the topics changed. The *target's epoch*,
//! when that was computed for a group's epoch, at most once in `group.consumer.assignment.interval.ms`.
//! A *member's epoch*, when the member has got as far as it can towards that target
//! ([`reconcile`]). The group is stable when all three are one.
//!
//! What is remembered is rendered from what is known: whoever changes something
//! [touches](Consumer::touch) it, and the turn ends with the records of all that was touched, in that
//! order. What could not be written is touched again.

mod commit;
mod guest;
mod heartbeat;
mod leave;
mod member;
mod migrate;
mod reconcile;
mod store;
mod subscription;
mod target;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use wire::primitives::Uuid;

use self::heartbeat::Said;
pub use self::heartbeat::{Beaten, ConsumerBeat, OwnedPartitions};
pub(super) use self::store::Key;
pub use self::topics::TopicSource;

use self::member::Member;
use self::store::Touched;
use self::subscription::Resolved;
use super::Turn;
use super::assign::{Assignor, Partitions};
use super::describe::{ConsumerDescription, ConsumerMemberDescription, Owned};
use super::migration::MigrationPolicy;
use crate::rt::Instant;

/// How fast one group goes: what is configured for it alone, or for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// `group.consumer.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`.
    pub heartbeat_interval_ms: i32,
    /// `group.consumer.assignment.interval.ms`.
    pub assignment_interval_ms: i64,
}

/// What is configured about consumer groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// Of groups that have none of their own.
    pub pace: Pace,
    /// `group.consumer.max.size`.
    pub members_max: usize,
    /// `group.consumer.assignors`: the first is the one where members do not ask for another.
    pub assignors: Vec<Assignor>,
    /// `group.consumer.regex.refresh.interval.ms`.
    pub pattern_refresh_ms: i64,
    /// `group.consumer.migration.policy`.
    pub migration: MigrationPolicy,
}

/// The members of a consumer group.
#[derive(Debug)]
pub(super) struct Consumer {
    epoch: i32,
    metadata_hash: i64,
    /// The metadata that the hash was taken of; none of what was loaded.
    seen_version: Option<i64>,
    target_epoch: i32,
    /// When the target was computed, Unix ms.
    target_ms: i64,
    targets: BTreeMap<Rc<str>, Partitions>,
    members: BTreeMap<Rc<str>, Member>,
    /// Ids of static members by their names.
    instances: BTreeMap<Rc<str>, Rc<str>>,
    /// Who has each partition, or has to give it up.
    holders: BTreeMap<(Uuid, i32), Rc<str>>,
    /// How many members read each topic by its name.
    readers: BTreeMap<Rc<str>, usize>,
    /// How many members have each expression.
    patterns: BTreeMap<Rc<str>, usize>,
    /// What the expressions stand for, as far as that was found out.
    resolved: BTreeMap<Rc<str>, Resolved>,
    /// Somebody is finding it out.
    resolving: bool,
    /// Somebody has gone: the others are to be assigned anew, at the end of the turn.
    lost: bool,
    touched: Touched,
    /// The last append, while it is under way.
    last_append: Option<super::AppendId>,
    /// When to write again what could not be written.
    write_again: Option<Instant>,
}

impl Consumer {
    /// A group without members.
    pub(super) fn new() -> Self {
        Self {
            epoch: 0,
            metadata_hash: 0,
            seen_version: None,
            target_epoch: 0,
            target_ms: 0,
            targets: BTreeMap::new(),
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            holders: BTreeMap::new(),
            readers: BTreeMap::new(),
            patterns: BTreeMap::new(),
            resolved: BTreeMap::new(),
            resolving: false,
            lost: false,
            touched: Touched::default(),
            last_append: None,
            write_again: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Kafka's name of the state.
    pub(super) fn state_name(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.members.values().all(|member| member.is_settled(self.target_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// Whether some member reads the topic.
    pub(super) fn reads(&self, topic: &str) -> bool {
        self.readers.contains_key(topic)
            || self.resolved.values().any(|resolved| resolved.topics.contains(topic))
    }

    pub(super) fn describe(&self, default: Option<Assignor>) -> ConsumerDescription {
        let owned = |partitions: &Partitions| -> Owned {
            partitions.iter().map(|(topic, ids)| (*topic, ids.iter().copied().collect())).collect()
        };
        let members = self.members.iter().map(|(id, member)| ConsumerMemberDescription {
            member: id.to_string(),
            instance: member.profile.instance.as_deref().map(str::to_owned),
            rack: member.profile.rack.clone(),
            epoch: member.stand.epoch,
            is_classic: member.profile.guest.is_some(),
            client_id: member.profile.client_id.clone(),
            client_host: member.profile.client_host.clone(),
            topics: member.profile.topics.iter().map(|topic| topic.to_string()).collect(),
            pattern: member.profile.pattern.to_string(),
            assignment: heartbeat::owned(&member.stand.assigned),
            target: self.targets.get(id).map(owned).unwrap_or_default(),
        });
        ConsumerDescription {
            state: self.state_name(),
            epoch: self.epoch,
            target_epoch: self.target_epoch,
            assignor: self.assignor().or(default).map_or("", Assignor::name),
            members: members.collect(),
        }
    }

    /// Earliest time at which something is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let members = self.members.values().map(Member::next_deadline);
        members.chain([self.write_again]).flatten().min()
    }

    /// Does what time demands: members that are silent, or do not give up what they have to, go.
    /// Whether there is something to write.
    pub(super) fn expire(&mut self, turn: &Turn<'_>) -> bool {
        let at = turn.now.at;
        let due = |until: Option<Instant>| until.is_some_and(|until| until <= at);
        let gone: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| due(member.next_deadline()))
            .map(|(id, _)| Rc::clone(id))
            .collect();
        self.fence(&gone);
        due(self.write_again) || !gone.is_empty()
    }

    /// Removes members; the others are to be assigned anew.
    fn fence(&mut self, gone: &[Rc<str>]) {
        for id in gone {
            let pattern = self.members.get(id).map(|member| Rc::clone(&member.profile.pattern));
            self.remove(id);
            pattern.iter().for_each(|pattern| self.forget_if_unused(pattern));
            self.lost = true;
        }
    }

    /// Whether somebody has gone since this was asked.
    pub(super) fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// Has the members assigned anew.
    pub(super) fn bump(&mut self, topics: &dyn TopicSource) {
        self.metadata_hash = self.hash_of(topics);
        self.seen_version = Some(topics.version());
        self.epoch += 1;
        self.touch(Key::Group);
    }

    fn hash_of(&self, topics: &dyn TopicSource) -> i64 {
        let named = self.readers.keys().map(|name| &**name);
        let found = self.resolved.values().flat_map(|it| it.topics.iter().map(String::as_str));
        topics::metadata_hash(topics, named.chain(found))
    }

    /// Removes a member, and nothing else changes.
    fn remove(&mut self, id: &Rc<str>) {
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.profile.instance
            && self.instances.get(instance) == Some(id)
        {
            self.instances.remove(instance);
        }
        self.targets.remove(id);
        self.release(id, &member.stand);
        self.touch(Key::Current(Rc::clone(id)));
        self.touch(Key::TargetOf(Rc::clone(id)));
        self.touch(Key::Member(Rc::clone(id)));
        self.unsubscribe(&member.profile);
    }

    fn release(&mut self, id: &Rc<str>, stand: &member::Stand) {
        for (topic, partitions) in stand.assigned.iter().chain(&stand.revoking) {
            for partition in partitions.keys() {
                let place = (*topic, *partition);
                if self.holders.get(&place) == Some(id) {
                    self.holders.remove(&place);
                }
            }
        }
    }

    /// A member has come to stand elsewhere.
    fn stand(&mut self, id: &Rc<str>, stand: member::Stand) {
        let member = self.members.get_mut(id).expect("only members have a stand");
        let former = std::mem::replace(&mut member.stand, stand);
        self.release(id, &former);
        let member = &self.members[id];
        let all = member.stand.assigned.iter().chain(&member.stand.revoking);
        for (topic, partitions) in all {
            for partition in partitions.keys() {
                self.holders.insert((*topic, *partition), Rc::clone(id));
            }
        }
        self.touch(Key::Current(Rc::clone(id)));
    }

    fn weigh(&mut self, id: &str) {
        let target = self.targets.get(id).map_or(0, |it| it.values().map(BTreeSet::len).sum());
        if let Some(member) = self.members.get_mut(id) {
            member.weigh(target);
        }
    }

    /// The assignor that most members ask for; none where nobody does.
    fn assignor(&self) -> Option<Assignor> {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for member in self.members.values() {
            let wanted = member.profile.assignor.as_deref().and_then(Assignor::named);
            if let Some(wanted) = wanted {
                *votes.entry(wanted).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(assignor, _)| assignor)
    }

    /// The shard was loaded: everybody's time begins anew.
    pub(super) fn resume(&mut self, turn: &mut Turn<'_>) {
        let pace = turn.pace();
        for member in self.members.values_mut() {
            member.silent_at = Some(turn.arm(member.profile.session_timeout(pace)));
            if member.stand.phase == member::Phase::Unrevoked {
                member.revoke_by = Some(turn.arm(member.profile.rebalance_timeout()));
            }
        }
        self.restore_holders();
    }
}
