//! What a consumer group remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use wire::primitives::Uuid;
use wire::record::group::{
    AssignedPartitions, ClassicMemberMetadata, ClassicProtocol, ConsumerGroupKey,
    ConsumerGroupMetadataValue, ConsumerMemberKey, ConsumerMemberMetadataValue,
    CurrentMemberAssignmentValue, GroupMetadataKey, GroupRecord, HeldPartitions,
    RegularExpressionKey, RegularExpressionValue, TargetAssignmentMemberValue,
    TargetAssignmentMetadataValue,
};

use super::member::{Guest, Held, Member, Phase, Profile, Stand};
use super::subscription::Resolved;
use super::{Consumer, Turn};
use crate::group::assign::Partitions;
use crate::group::classic::Protocols;
use crate::group::migration::WRITE_AGAIN_AFTER;
use crate::group::out::{Answer, Entry, Then, entries};
use crate::group::{GroupError, GroupMemory, Ticket};

/// Something that is remembered of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::group) enum Key {
    /// That it was a classic group: only to be forgotten.
    Classic,
    Group,
    Member(Rc<str>),
    Target,
    TargetOf(Rc<str>),
    Current(Rc<str>),
    Pattern(Rc<str>),
    /// What Kafka kept of topics until 4.0: only to be forgotten.
    Partitions,
}

impl Key {
    /// The record that says that it is forgotten.
    pub(in crate::group) fn tombstone(&self, group: &str) -> GroupRecord {
        let own = || ConsumerGroupKey { group: group.to_owned() };
        match self {
            Self::Classic => {
                GroupRecord::GroupMetadata(GroupMetadataKey { group: group.to_owned() }, None)
            }
            Self::Group => GroupRecord::ConsumerGroup(own(), None),
            Self::Partitions => GroupRecord::ConsumerGroupPartitions(own(), None),
            Self::Target => GroupRecord::TargetAssignment(own(), None),
            Self::Member(id) => GroupRecord::ConsumerMember(member_key(group, id), None),
            Self::TargetOf(id) => GroupRecord::TargetAssignmentMember(member_key(group, id), None),
            Self::Current(id) => GroupRecord::CurrentAssignment(member_key(group, id), None),
            Self::Pattern(pattern) => {
                let pattern = pattern.to_string();
                let key = RegularExpressionKey { group: group.to_owned(), pattern };
                GroupRecord::RegularExpression(key, None)
            }
        }
    }
}

/// What has changed and was not appended yet, in order.
#[derive(Debug, Default)]
pub(super) struct Touched {
    order: Vec<Key>,
    all: BTreeSet<Key>,
}

impl Touched {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.order.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

impl Consumer {
    pub(in crate::group) fn touch(&mut self, key: Key) {
        if self.touched.all.insert(key.clone()) {
            self.touched.order.push(key);
        }
    }

    /// Appends what has changed. The answer waits until that is kept, and all before it.
    pub(in crate::group) fn flush(
        &mut self,
        turn: &mut Turn<'_>,
        answer: Option<(Ticket, Answer)>,
    ) {
        let keys = std::mem::take(&mut self.touched).order;
        self.write_again = None;
        if keys.is_empty() {
            let Some((ticket, answer)) = answer else { return };
            let waits = self.last_append.and_then(|id| turn.out.waiting.get_mut(&id));
            match waits {
                Some(Then::Consumer { answers, .. }) => answers.push((ticket, answer)),
                _ => turn.out.answer(ticket, answer),
            }
            return;
        }
        let max = turn.settings.append_bytes_max;
        let (mut batch, mut of_batch, mut bytes) = (Vec::new(), Vec::new(), 0);
        for key in keys {
            let record = [self.record(turn.name, &key)];
            let entry = entries(&record, usize::MAX).expect("names were checked").remove(0);
            let more = entry.bytes();
            // The target's own record comes last, so that a part of it is not taken for all of it.
            if bytes + more > max && !batch.is_empty() {
                self.append(turn, std::mem::take(&mut batch), std::mem::take(&mut of_batch), None);
                bytes = 0;
            }
            bytes += more;
            batch.push(entry);
            of_batch.push(key);
        }
        self.append(turn, batch, of_batch, answer);
    }

    fn append(
        &mut self,
        turn: &mut Turn<'_>,
        records: Vec<Entry>,
        keys: Vec<Key>,
        answer: Option<(Ticket, Answer)>,
    ) {
        let group = Rc::clone(turn.name);
        let answers = answer.into_iter().collect();
        let id = turn.out.append(records, Then::Consumer { group, keys, answers });
        self.last_append = Some(id);
    }

    /// An append was acknowledged, or could not be made: then it is made again soon, with what is
    /// true by then.
    pub(in crate::group) fn written(
        &mut self,
        turn: &mut Turn<'_>,
        keys: Vec<Key>,
        outcome: Result<(), GroupError>,
    ) {
        if outcome.is_err() {
            keys.into_iter().for_each(|key| self.touch(key));
            self.write_again = Some(turn.arm(WRITE_AGAIN_AFTER));
        }
    }

    /// The records of all that has changed and was not appended.
    pub(super) fn touched_records(&self, group: &str) -> impl Iterator<Item = GroupRecord> {
        self.touched.iter().map(move |key| self.record(group, key))
    }

    fn record(&self, group: &str, key: &Key) -> GroupRecord {
        let own = || ConsumerGroupKey { group: group.to_owned() };
        let of = |member: &Rc<str>| member_key(group, member);
        match key {
            Key::Classic | Key::Partitions => key.tombstone(group),
            Key::Group => {
                let (epoch, metadata_hash) = (self.epoch, self.metadata_hash);
                let value = ConsumerGroupMetadataValue { epoch, metadata_hash };
                GroupRecord::ConsumerGroup(own(), Some(value))
            }
            Key::Target => {
                let value = TargetAssignmentMetadataValue {
                    assignment_epoch: self.target_epoch,
                    assignment_timestamp: self.target_ms,
                };
                GroupRecord::TargetAssignment(own(), Some(value))
            }
            Key::Member(id) => match self.members.get(id) {
                Some(member) => self.member_record(group, id, &member.profile),
                None => GroupRecord::ConsumerMember(of(id), None),
            },
            Key::TargetOf(id) => {
                let value = self.targets.get(id).map(|target| TargetAssignmentMemberValue {
                    topic_partitions: target.iter().map(assigned).collect(),
                });
                GroupRecord::TargetAssignmentMember(of(id), value)
            }
            Key::Current(id) => {
                let value = self.members.get(id).map(|member| current(&member.stand));
                GroupRecord::CurrentAssignment(of(id), value)
            }
            Key::Pattern(pattern) => {
                let key =
                    RegularExpressionKey { group: group.to_owned(), pattern: pattern.to_string() };
                let value = self.resolved.get(pattern).map(|resolved| RegularExpressionValue {
                    topics: resolved.topics.iter().cloned().collect(),
                    version: resolved.version,
                    timestamp: resolved.at_ms,
                });
                GroupRecord::RegularExpression(key, value)
            }
        }
    }

    pub(super) fn member_record(&self, group: &str, id: &str, profile: &Profile) -> GroupRecord {
        let value = ConsumerMemberMetadataValue {
            instance_id: profile.instance.as_deref().map(str::to_owned),
            rack_id: profile.rack.clone(),
            client_id: profile.client_id.clone(),
            client_host: profile.client_host.clone(),
            subscribed_topic_names: profile.topics.iter().map(|it| it.to_string()).collect(),
            subscribed_topic_regex: Some(profile.pattern.to_string()),
            rebalance_timeout_ms: profile.rebalance_timeout_ms,
            server_assignor: profile.assignor.clone(),
            classic_member_metadata: profile.guest.as_deref().map(|guest| ClassicMemberMetadata {
                session_timeout_ms: guest.session_timeout_ms,
                supported_protocols: guest.protocols.iter().map(protocol).collect(),
            }),
        };
        GroupRecord::ConsumerMember(member_key(group, id), Some(value))
    }

    /// Whether there is nothing of it that was not appended, or has to be again.
    pub(in crate::group) fn is_written(&self) -> bool {
        self.touched.is_empty()
    }

    /// Takes what one record in the log says of the group.
    pub(in crate::group) fn replay(&mut self, record: GroupRecord, memory: &Rc<GroupMemory>) {
        match record {
            GroupRecord::ConsumerGroup(_, Some(value)) => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            GroupRecord::ConsumerMember(key, value) => {
                let id: Rc<str> = key.member.into();
                match value {
                    Some(value) => self.restore_profile(&id, value, memory),
                    None => self.remove(&id),
                }
            }
            GroupRecord::TargetAssignment(_, value) => {
                let value = value.unwrap_or_default();
                self.target_epoch = value.assignment_epoch;
                self.target_ms = value.assignment_timestamp;
            }
            GroupRecord::TargetAssignmentMember(key, value) => {
                let id: Rc<str> = key.member.into();
                match value {
                    Some(value) => {
                        self.targets.insert(Rc::clone(&id), target(value));
                    }
                    None => {
                        self.targets.remove(&id);
                    }
                }
                self.weigh(&id);
            }
            GroupRecord::CurrentAssignment(key, value) => {
                let id: Rc<str> = key.member.into();
                match (self.members.get_mut(&id), value) {
                    (Some(member), value) => member.stand = value.map(stand).unwrap_or_default(),
                    // Compaction may leave what it says about itself behind what it has.
                    (None, Some(value)) => {
                        let mut member = Member::new(memory, Profile::default());
                        member.stand = stand(value);
                        self.members.insert(Rc::clone(&id), member);
                    }
                    (None, None) => {}
                }
                self.weigh(&id);
            }
            GroupRecord::RegularExpression(key, value) => {
                let pattern: Rc<str> = key.pattern.into();
                match value {
                    Some(value) => self.resolved.insert(pattern, resolved(memory, value)),
                    None => self.resolved.remove(&pattern),
                };
            }
            _ => {}
        }
        // What is in the log is not appended.
        self.touched = Touched::default();
    }

    fn restore_profile(
        &mut self,
        id: &Rc<str>,
        value: ConsumerMemberMetadataValue,
        memory: &Rc<GroupMemory>,
    ) {
        let mut topics: Vec<Rc<str>> =
            value.subscribed_topic_names.into_iter().map(Rc::from).collect();
        topics.sort();
        topics.dedup();
        let profile = Profile {
            instance: value.instance_id.map(Rc::from),
            rack: value.rack_id,
            client_id: value.client_id,
            client_host: value.client_host,
            topics,
            pattern: value.subscribed_topic_regex.unwrap_or_default().into(),
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            assignor: value.server_assignor,
            guest: value.classic_member_metadata.map(|said| Rc::new(guest(said))),
        };
        if let Some(instance) = &profile.instance {
            self.instances.insert(Rc::clone(instance), Rc::clone(id));
        }
        self.subscribe(&profile);
        match self.members.get_mut(id) {
            Some(member) => {
                let former = std::mem::replace(&mut member.profile, profile);
                self.unsubscribe(&former);
            }
            None => {
                self.members.insert(Rc::clone(id), Member::new(memory, profile));
            }
        }
        self.weigh(id);
    }

    /// Who has what, from the members themselves. A partition that two have, as may be when not all
    /// was written, is the later one's.
    pub(super) fn restore_holders(&mut self) {
        self.holders.clear();
        let mut since: BTreeMap<(Uuid, i32), i32> = BTreeMap::new();
        for (id, member) in &self.members {
            let all = member.stand.assigned.iter().chain(&member.stand.revoking);
            for (topic, partitions) in all {
                for (partition, epoch) in partitions {
                    let place = (*topic, *partition);
                    if since.get(&place).is_none_or(|former| former <= epoch) {
                        since.insert(place, *epoch);
                        self.holders.insert(place, Rc::clone(id));
                    }
                }
            }
        }
    }
}

fn protocol((name, metadata): (&Rc<str>, &[u8])) -> ClassicProtocol {
    ClassicProtocol { name: name.to_string(), metadata: metadata.to_vec() }
}

fn guest(said: ClassicMemberMetadata) -> Guest {
    let protocols = said.supported_protocols.into_iter();
    let protocols = Protocols::new(protocols.map(|it| (Rc::from(it.name), it.metadata)));
    Guest { session_timeout_ms: said.session_timeout_ms, protocols }
}

fn member_key(group: &str, member: &str) -> ConsumerMemberKey {
    ConsumerMemberKey { group: group.to_owned(), member: member.to_owned() }
}

fn assigned((topic_id, partitions): (&Uuid, &BTreeSet<i32>)) -> AssignedPartitions {
    AssignedPartitions { topic_id: *topic_id, partitions: partitions.iter().copied().collect() }
}

fn target(value: TargetAssignmentMemberValue) -> Partitions {
    let topics = value.topic_partitions.into_iter();
    topics.map(|topic| (topic.topic_id, topic.partitions.into_iter().collect())).collect()
}

fn current(stand: &Stand) -> CurrentMemberAssignmentValue {
    let held = |held: &Held| held.iter().map(one).collect();
    CurrentMemberAssignmentValue {
        member_epoch: stand.epoch,
        previous_member_epoch: stand.previous_epoch,
        state: stand.phase.code(),
        assigned_partitions: held(&stand.assigned),
        partitions_pending_revocation: held(&stand.revoking),
    }
}

fn one((topic_id, partitions): (&Uuid, &BTreeMap<i32, i32>)) -> HeldPartitions {
    HeldPartitions {
        topic_id: *topic_id,
        partitions: partitions.keys().copied().collect(),
        assignment_epochs: Some(partitions.values().copied().collect()),
    }
}

fn stand(value: CurrentMemberAssignmentValue) -> Stand {
    let unknown = value.member_epoch;
    let held = |all: Vec<HeldPartitions>| -> Held {
        let topics = all.into_iter().map(|topic| {
            let since = topic.assignment_epochs.unwrap_or_default();
            let since = since.into_iter().chain(std::iter::repeat(unknown));
            (topic.topic_id, topic.partitions.into_iter().zip(since).collect())
        });
        topics.collect()
    };
    Stand {
        epoch: value.member_epoch,
        previous_epoch: value.previous_member_epoch,
        phase: Phase::from_code(value.state),
        assigned: held(value.assigned_partitions),
        revoking: held(value.partitions_pending_revocation),
    }
}

fn resolved(memory: &Rc<GroupMemory>, value: RegularExpressionValue) -> Resolved {
    Resolved::new(memory, value.topics.into_iter().collect(), value.version, value.timestamp)
}
