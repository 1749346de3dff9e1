//! A member's heartbeat: it joins, tells what has changed, says what it has, and is told what it is
//! to have.

use std::rc::Rc;

use wire::primitives::Uuid;

use super::member::{Held, MEMBER_BYTES, Member, Phase, Profile, same_partitions};
use super::reconcile::Step;
use super::{Consumer, Key, Turn};
use crate::group::assign::{Assignor, Partitions};
use crate::group::commit::check_name;
use crate::group::migration::Owed;
use crate::group::out::{Answer, entries};
use crate::group::{GroupError, GroupSettings, Now, Shard, Ticket};
use crate::rt::sim::Plant;

/// Partitions by topic id.
pub type OwnedPartitions = Vec<(Uuid, Vec<i32>)>;

/// A member says that it is alive, and what is new. None stands for "as before".
#[derive(Clone, Debug, Default)]
pub struct ConsumerBeat {
    /// The group.
    pub group: String,
    /// The member; one that joins brings an id too.
    pub member: String,
    /// 0 to join, −1 to leave, −2 for a static member to leave for a while.
    pub epoch: i32,
    /// A static member's name.
    pub instance: Option<String>,
    /// Where it is.
    pub rack: Option<String>,
    /// −1 for as before.
    pub rebalance_timeout_ms: i32,
    /// The topics that it reads.
    pub topics: Option<Vec<String>>,
    /// An expression for more of them; empty for none.
    pub pattern: Option<String>,
    /// The assignor that it would like.
    pub assignor: Option<String>,
    /// What it has.
    pub owned: Option<OwnedPartitions>,
    /// As the client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
}

/// What a member is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beaten {
    /// Its id.
    pub member: String,
    /// Its epoch now.
    pub epoch: i32,
    /// When it is to come again, milliseconds.
    pub interval_ms: i32,
    /// What it is to have; none for as before.
    pub assignment: Option<OwnedPartitions>,
}

/// Who calls.
pub(super) enum Who {
    /// Nobody yet.
    New,
    Known(Rc<str>),
    /// A static member under another id than before.
    InPlaceOf(Rc<str>),
}

/// What a member says, in either protocol.
pub(super) struct Said {
    pub(super) who: Who,
    pub(super) id: Rc<str>,
    /// What it said before; of nobody's, nothing.
    pub(super) former: Profile,
    pub(super) profile: Profile,
    pub(super) owned: Option<Partitions>,
}

/// What came of that.
pub(super) struct Advanced {
    /// What the member had before.
    had: Held,
    /// Whether the target is what it should be.
    pub(super) aimed: Result<(), GroupError>,
}

impl Shard {
    /// Takes a heartbeat of a member of a consumer group.
    pub fn consumer_beat(&mut self, now: Now, ticket: Ticket, beat: ConsumerBeat) {
        if let Err(error) = self.try_beat(now, ticket, beat) {
            self.out.answer(ticket, Answer::Beaten(Err(error)));
        }
    }

    fn try_beat(&mut self, now: Now, ticket: Ticket, beat: ConsumerBeat) -> Result<(), GroupError> {
        check(&beat, &self.settings)?;
        let name = beat.group.clone();
        let joins = beat.epoch == 0;
        let found = self.groups.get(&*name);
        let known = found.is_some_and(|group| group.consumer.is_some());
        if !known {
            match found {
                None if !joins => return Err(GroupError::NotFound),
                Some(_) if !joins => return Err(GroupError::NotConsumer),
                _ => self.memory.admit(MEMBER_BYTES + name.len())?,
            }
            self.obtain(&name);
        }
        let told = self.turn(now, &name, |group, turn| {
            let consumer = match &mut group.consumer {
                Some(consumer) => consumer,
                // An empty group changes its kind, and one with members if it may.
                None => {
                    let consumer = group.upgraded(turn)?;
                    group.consumer.insert(Box::new(consumer))
                }
            };
            let told = match beat.epoch {
                ..0 => consumer.leave(&beat),
                _ => consumer.beat(turn, beat),
            };
            match told {
                Ok(answer) => {
                    if let Some(mut classic) = group.classic.take() {
                        // Its members go on as guests.
                        classic.dismiss_all(turn.out, GroupError::Rebalancing);
                    }
                    group.owed = Owed::default();
                    group.finish(turn, Some((ticket, answer)));
                    Ok(())
                }
                Err(error) => {
                    if !known {
                        group.consumer = None;
                    }
                    Err(error)
                }
            }
        });
        told.expect("there is the group now")
    }
}

/// What can be said of a request without knowing the group.
fn check(beat: &ConsumerBeat, settings: &GroupSettings) -> Result<(), GroupError> {
    let invalid = |what| Err(GroupError::InvalidRequest(what));
    let blank = |text: &str| text.trim().is_empty();
    if blank(&beat.member) {
        return invalid("MemberId can't be empty.");
    }
    if blank(&beat.group) {
        return invalid("GroupId can't be empty.");
    }
    if beat.instance.as_deref().is_some_and(blank) {
        return invalid("InstanceId can't be empty.");
    }
    if beat.rack.as_deref().is_some_and(blank) {
        return invalid("RackId can't be empty.");
    }
    match beat.epoch {
        0 if beat.rebalance_timeout_ms == -1 => {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        0 if beat.owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        0 if beat.topics.is_none() && beat.pattern.is_none() => {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
        -2 if beat.instance.is_none() => return invalid("InstanceId can't be null."),
        ..-2 => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    if let Some(name) = &beat.assignor {
        let known =
            Assignor::named(name).is_some_and(|it| settings.consumer.assignors.contains(&it));
        if !known {
            return Err(GroupError::UnsupportedAssignor);
        }
    }
    let names = [&beat.group, &beat.member, &beat.client_id].into_iter();
    let optional = [&beat.instance, &beat.rack, &beat.pattern].into_iter().flatten();
    names.chain(optional).chain(beat.topics.iter().flatten()).try_for_each(|name| check_name(name))
}

impl Consumer {
    fn beat(&mut self, turn: &mut Turn<'_>, beat: ConsumerBeat) -> Result<Answer, GroupError> {
        let id: Rc<str> = Rc::from(&*beat.member);
        if self.members.len() >= turn.settings.consumer.members_max
            && !self.members.contains_key(&id)
        {
            return Err(GroupError::Full);
        }
        let owned = beat.owned.as_ref().map(partitions);
        let who = self.identify(&beat, owned.as_ref())?;
        let former = self.former(&who);
        let profile = profile(&beat, &former);
        let said = Said { who, id: Rc::clone(&id), former, profile, owned };
        let advanced = self.advance(turn, said)?;
        if let Err(error) = advanced.aimed {
            return Ok(Answer::Beaten(Err(error)));
        }
        let stand = &self.members[&id].stand;
        let told_all = beat.epoch == 0
            || (beat.rebalance_timeout_ms != -1
                && (beat.topics.is_some() || beat.pattern.is_some())
                && beat.owned.is_some());
        let tell = told_all || !same_partitions(&advanced.had, &stand.assigned);
        Ok(Answer::Beaten(Ok(Beaten {
            member: beat.member,
            epoch: stand.epoch,
            interval_ms: turn.pace().heartbeat_interval_ms,
            assignment: tell.then(|| self::owned(&stand.assigned)),
        })))
    }

    /// What the caller has said about itself before.
    pub(super) fn former(&self, who: &Who) -> Profile {
        match who {
            Who::New => Profile::default(),
            Who::Known(id) | Who::InPlaceOf(id) => self.members[id].profile.clone(),
        }
    }

    /// Takes what a member says, and takes a step of it towards what it is to have.
    pub(super) fn advance(
        &mut self,
        turn: &mut Turn<'_>,
        said: Said,
    ) -> Result<Advanced, GroupError> {
        let Said { who, id, former, profile, owned } = said;
        let anew = self.judge(&former, &profile)?;
        let changed = matches!(who, Who::New) || former != profile;
        if changed {
            turn.memory.admit(profile.bytes())?;
            entries(
                &[self.member_record(turn.name, &id, &profile)],
                turn.settings.append_bytes_max,
            )?;
        }
        // From here on nothing is refused.
        self.admit(turn, &who, &id, &former, profile, changed);
        if self.epoch == 0 {
            self.epoch = 1;
            self.touch(Key::Group);
        }
        let version = turn.topics.version();
        let stale = self.seen_version != Some(version);
        if anew || (stale && self.hash_of(turn.topics) != self.metadata_hash) {
            self.bump(turn.topics);
        }
        self.seen_version = Some(version);
        self.resolve_if_due(turn);
        let aimed = self.aim(turn);
        let had = self.members[&id].stand.assigned.clone();
        self.step(turn, &id, owned.as_ref(), anew);
        self.heard_of(turn, &id);
        Ok(Advanced { had, aimed })
    }

    fn identify(&self, beat: &ConsumerBeat, owned: Option<&Partitions>) -> Result<Who, GroupError> {
        let joins = beat.epoch == 0;
        let known = match &beat.instance {
            None => match self.members.get_key_value(&*beat.member) {
                None if joins => return Ok(Who::New),
                None => return Err(GroupError::UnknownMember),
                Some((id, _)) => id,
            },
            Some(instance) => match self.instances.get(&**instance) {
                None if joins => return Ok(Who::New),
                None => return Err(GroupError::UnknownMember),
                Some(id) if **id == *beat.member => id,
                Some(_) if !joins => return Err(GroupError::FencedInstance),
                // A guest is not asked to leave first: it could not.
                Some(id)
                    if self.members[id].stand.epoch != LEFT_FOR_A_WHILE
                        && self.members[id].profile.guest.is_none() =>
                {
                    return Err(GroupError::UnreleasedInstance);
                }
                Some(id) => return Ok(Who::InPlaceOf(Rc::clone(id))),
            },
        };
        if !joins {
            self.check_epoch(known, beat.epoch, owned)?;
        }
        Ok(Who::Known(Rc::clone(known)))
    }

    /// A member may be one epoch behind: the answer that told it may have been lost.
    fn check_epoch(
        &self,
        id: &str,
        said: i32,
        owned: Option<&Partitions>,
    ) -> Result<(), GroupError> {
        let stand = &self.members[id].stand;
        let covered = |owned: &Partitions| {
            owned.iter().all(|(topic, ids)| {
                let had = stand.assigned.get(topic);
                ids.iter().all(|id| had.is_some_and(|had| had.contains_key(id)))
            })
        };
        if said == stand.epoch || said == stand.previous_epoch && owned.is_some_and(covered) {
            return Ok(());
        }
        Err(GroupError::FencedMemberEpoch { said })
    }

    /// Puts the caller's profile in its place.
    fn admit(
        &mut self,
        turn: &Turn<'_>,
        who: &Who,
        id: &Rc<str>,
        former: &Profile,
        profile: Profile,
        changed: bool,
    ) {
        self.subscribe(&profile);
        match who {
            Who::New => {
                self.members.insert(Rc::clone(id), Member::new(turn.memory, profile));
            }
            Who::Known(id) => {
                self.unsubscribe(former);
                let member = self.members.get_mut(id).expect("it is known");
                if profile.guest.is_none() {
                    (member.join_by, member.sync_by) = (None, None);
                }
                member.profile = profile;
            }
            Who::InPlaceOf(old) => {
                let stand = self.members[old].stand.clone();
                let target = self.targets.get(old).cloned();
                self.remove(old);
                self.touch(Key::Member(Rc::clone(id)));
                self.members.insert(Rc::clone(id), Member::new(turn.memory, profile));
                if let Some(target) = target {
                    self.targets.insert(Rc::clone(id), target);
                    self.touch(Key::TargetOf(Rc::clone(id)));
                }
                self.stand(id, stand);
            }
        }
        self.forget_if_unused(&former.pattern);
        if let Some(instance) = &self.members[id].profile.instance {
            self.instances.insert(Rc::clone(instance), Rc::clone(id));
        }
        if changed {
            self.touch(Key::Member(Rc::clone(id)));
        }
        self.weigh(id);
    }

    /// A step towards the target.
    fn step(
        &mut self,
        turn: &mut Turn<'_>,
        id: &Rc<str>,
        owned: Option<&Partitions>,
        subscribed_anew: bool,
    ) {
        let member = &self.members[id];
        let hands_over_early = turn.settings.planted(Plant::EarlyHandover);
        let next = Step {
            owned,
            target: self.targets.get(id),
            target_epoch: self.target_epoch,
            subscribed_anew,
            reads: &|topic| self.covers(&member.profile, turn.topics, topic),
            is_held: &|topic, partition| {
                !hands_over_early && self.holders.contains_key(&(topic, partition))
            },
        }
        .of(&member.stand);
        let Some(next) = next else { return };
        let revokes = next.phase == Phase::Unrevoked;
        let until = revokes.then(|| turn.arm(member.profile.rebalance_timeout()));
        self.stand(id, next);
        self.members.get_mut(id).expect("it has a stand").revoke_by = until;
        self.weigh(id);
    }

    pub(super) fn heard_of(&mut self, turn: &mut Turn<'_>, id: &str) {
        let pace = turn.pace();
        if let Some(member) = self.members.get_mut(id) {
            member.silent_at = Some(turn.arm(member.profile.session_timeout(pace)));
        }
    }
}

/// What the caller says about itself now.
fn profile(beat: &ConsumerBeat, former: &Profile) -> Profile {
    let topics = beat.topics.as_ref().map(|topics| {
        let mut topics: Vec<Rc<str>> = topics.iter().map(|topic| Rc::from(&**topic)).collect();
        topics.sort();
        topics.dedup();
        topics
    });
    Profile {
        instance: beat.instance.as_deref().map(Rc::from).or_else(|| former.instance.clone()),
        rack: beat.rack.clone().or_else(|| former.rack.clone()),
        client_id: beat.client_id.clone(),
        client_host: beat.client_host.clone(),
        topics: topics.unwrap_or_else(|| former.topics.clone()),
        pattern: beat.pattern.as_deref().map_or_else(|| Rc::clone(&former.pattern), Rc::from),
        rebalance_timeout_ms: match beat.rebalance_timeout_ms {
            -1 => former.rebalance_timeout_ms,
            ms => ms,
        },
        assignor: beat.assignor.clone().or_else(|| former.assignor.clone()),
        guest: None,
    }
}

fn partitions(owned: &OwnedPartitions) -> Partitions {
    let mut all = Partitions::new();
    for (topic, ids) in owned {
        all.entry(*topic).or_default().extend(ids);
    }
    all
}

/// As it is told.
pub(super) fn owned(held: &Held) -> OwnedPartitions {
    held.iter().map(|(topic, partitions)| (*topic, partitions.keys().copied().collect())).collect()
}

/// Epoch of a static member that has left for a while.
pub(super) const LEFT_FOR_A_WHILE: i32 = -2;
