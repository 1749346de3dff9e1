//! Guests: members of a consumer group that speak the classic protocol.
//!
//! A guest joins and is answered at once: its generation is its epoch, nobody leads, and its sync
//! tells what the broker has assigned to it. Its heartbeat says `Rebalancing` when there is a step for
//! it to take towards what it is to have; it takes that step by joining again, with what it has by
//! then. One that does not join, or does not sync, for its rebalance timeout is taken for dead.

use std::rc::Rc;

use super::heartbeat::Who;
use super::member::{Guest, Phase, Profile};
use super::{Consumer, Said, Turn};
use crate::group::assign::Partitions;
use crate::group::classic::{Caller, Protocols, timeouts};
use crate::group::out::Answer;
use crate::group::subscription::{ByTopic, CONSUMER, Subscription, write_assignment};
use crate::group::{GroupError, JoinRequest, Joined, Leaver, SyncRequest, Synced, TopicSource};

impl Consumer {
    /// Takes a guest in, or a step of one.
    pub(in crate::group) fn join_as_guest(
        &mut self,
        turn: &mut Turn<'_>,
        request: &JoinRequest,
    ) -> Result<Answer, GroupError> {
        let is_new = request.member.is_empty();
        let id: Rc<str> = Rc::from(if is_new { &*request.fresh } else { &*request.member });
        if self.members.len() >= turn.settings.consumer.members_max
            && !self.members.contains_key(&id)
        {
            return Err(GroupError::Full);
        }
        let sent = request.protocols.iter();
        let protocols = sent.map(|(name, metadata)| (Rc::from(&**name), metadata.clone()));
        let protocols = Protocols::new(protocols);
        if request.protocol_type != CONSUMER || !self.goes_with_guests(&protocols) {
            return Err(GroupError::InconsistentProtocol);
        }
        if is_new && request.instance.is_none() && request.knows_member_id_required {
            let required = (GroupError::MemberIdRequired, request.fresh.clone());
            return Ok(Answer::Joined(Err(required)));
        }
        let who = self.identify_guest(request, &id)?;
        let former = self.former(&who);
        let metadata = protocols.first().map_or(&[][..], |(_, metadata)| metadata);
        let subscription = Subscription::read(metadata).ok_or(GroupError::MalformedSubscription)?;
        let owned = by_id(turn.topics, &subscription.owned);
        // One that has something was a member, and does not know that others have it by now. Kafka
        // takes it in.
        if matches!(who, Who::New) && !owned.is_empty() {
            return Err(GroupError::UnknownMember);
        }
        let joined = protocols.clone();
        let profile = profile(request, protocols, subscription, &former);
        let rebalance_timeout = profile.rebalance_timeout();
        let said = Said { who, id: Rc::clone(&id), former, profile, owned: Some(owned) };
        let advanced = self.advance(turn, said)?;
        let member = self.members.get_mut(&id).expect("it has just been admitted");
        member.join_by = None;
        member.sync_by = Some(turn.arm(rebalance_timeout));
        let answer = match advanced.aimed {
            Ok(()) => Ok(Joined::guest(&id, member.stand.epoch, &joined)),
            Err(error) => Err((error, id.to_string())),
        };
        Ok(Answer::Joined(answer))
    }

    /// Whether a guest with these protocols can be among the others: one of them all have.
    fn goes_with_guests(&self, protocols: &Protocols) -> bool {
        let shared = |name: &str| {
            let mut guests = self.members.values().filter_map(|it| it.profile.guest.as_ref());
            guests.all(|guest| guest.protocols.iter().any(|(its, _)| **its == *name))
        };
        protocols.iter().any(|(name, _)| shared(name))
    }

    fn identify_guest(&self, request: &JoinRequest, id: &Rc<str>) -> Result<Who, GroupError> {
        let known = |id: &str| self.members.get_key_value(id).map(|(id, _)| Rc::clone(id));
        let Some(instance) = &request.instance else {
            return Ok(known(id).map_or(Who::New, Who::Known));
        };
        match self.instances.get(&**instance) {
            None if request.member.is_empty() => Ok(Who::New),
            None => Err(GroupError::UnknownMember),
            Some(holder) if holder == id => Ok(Who::Known(Rc::clone(holder))),
            Some(holder) if request.member.is_empty() => Ok(Who::InPlaceOf(Rc::clone(holder))),
            Some(_) => Err(GroupError::FencedInstance),
        }
    }

    /// Tells a guest what it has.
    pub(in crate::group) fn sync_of_guest(
        &mut self,
        turn: &mut Turn<'_>,
        request: &SyncRequest,
    ) -> Result<Answer, GroupError> {
        let caller = Caller { member: &request.member, instance: request.instance.as_deref() };
        let (id, guest) = self.check_guest(caller, request.generation)?;
        let chosen = guest.protocols.first();
        let (name, metadata) = chosen.map_or(("", &[][..]), |(name, metadata)| (&**name, metadata));
        let differs = |said: &Option<String>, is: &str| said.as_deref().is_some_and(|it| it != is);
        if differs(&request.protocol_type, CONSUMER) || differs(&request.protocol, name) {
            return Err(GroupError::InconsistentProtocol);
        }
        let stand = &self.members[&id].stand;
        // One that gives partitions up has joined already, and is to be told which it keeps.
        if self.target_epoch > stand.epoch && stand.phase != Phase::Unrevoked {
            self.await_join(turn, &id);
            return Err(GroupError::Rebalancing);
        }
        let assigned = stand.assigned.iter();
        let assigned = assigned.map(|(id, ids)| (*id, ids.keys().copied().collect()));
        let assignment = write_assignment(metadata, &by_name(turn.topics, assigned));
        let (protocol_type, protocol) = (CONSUMER.to_owned(), name.to_owned());
        self.members.get_mut(&id).expect("it was checked").sync_by = None;
        self.heard_of(turn, &id);
        Ok(Answer::Synced(Ok(Synced { protocol_type, protocol, assignment })))
    }

    /// A guest says that it is alive.
    pub(in crate::group) fn beat_of_guest(
        &mut self,
        turn: &mut Turn<'_>,
        caller: Caller<'_>,
        generation: i32,
    ) -> Result<(), GroupError> {
        let (id, _) = self.check_guest(caller, generation)?;
        self.heard_of(turn, &id);
        let stand = &self.members[&id].stand;
        let has_step = match stand.phase {
            _ if stand.epoch < self.target_epoch => true,
            // Where nobody else does, it has the target computed. Kafka leaves that to others.
            _ if self.is_aim_due(turn) => true,
            Phase::Unrevoked => true,
            Phase::Unreleased => !self.waits_for_others(&id),
            Phase::Stable | Phase::Unknown => false,
        };
        if has_step {
            self.await_join(turn, &id);
            return Err(GroupError::Rebalancing);
        }
        Ok(())
    }

    /// Removes members, as guests and administrators ask: by whichever protocol they came.
    pub(in crate::group) fn leave_of(&mut self, leavers: &[Leaver]) -> Vec<Result<(), GroupError>> {
        let leave = |leaver: &Leaver| {
            let id = match (&*leaver.member, leaver.instance.as_deref()) {
                ("", Some(name)) => {
                    self.instances.get(name).cloned().ok_or(GroupError::UnknownMember)?
                }
                (member, instance) => self.check_caller(Caller { member, instance })?,
            };
            self.fence(&[id]);
            Ok(())
        };
        leavers.iter().map(leave).collect()
    }

    fn check_guest(
        &self,
        caller: Caller<'_>,
        generation: i32,
    ) -> Result<(Rc<str>, Rc<Guest>), GroupError> {
        let id = self.check_caller(caller)?;
        let member = &self.members[&id];
        let guest = member.profile.guest.as_ref().ok_or(GroupError::UnknownMember)?;
        match generation == member.stand.epoch {
            true => Ok((id, Rc::clone(guest))),
            false => Err(GroupError::IllegalGeneration { asked: generation }),
        }
    }

    fn check_caller(&self, caller: Caller<'_>) -> Result<Rc<str>, GroupError> {
        caller.among(&self.members, &self.instances)
    }

    /// It was told to join again: it has this long.
    fn await_join(&mut self, turn: &mut Turn<'_>, id: &str) {
        let Some(member) = self.members.get_mut(id) else { return };
        if member.join_by.is_none() {
            member.join_by = Some(turn.arm(member.profile.rebalance_timeout()));
        }
    }

    /// Whether others have what the member is to have.
    fn waits_for_others(&self, id: &str) -> bool {
        let stand = &self.members[id].stand;
        let has = |topic, partition: &i32| {
            stand.assigned.get(topic).is_some_and(|had| had.contains_key(partition))
        };
        self.targets.get(id).into_iter().flatten().any(|(topic, partitions)| {
            let mut missing = partitions.iter().filter(|id| !has(topic, id));
            missing.any(|id| self.holders.contains_key(&(*topic, *id)))
        })
    }
}

fn profile(
    request: &JoinRequest,
    protocols: Protocols,
    subscription: Subscription,
    former: &Profile,
) -> Profile {
    let mut topics: Vec<Rc<str>> = subscription.topics.into_iter().map(Rc::from).collect();
    topics.sort();
    topics.dedup();
    let (_, rebalance_timeout) = timeouts(request);
    Profile {
        instance: request.instance.as_deref().map(Rc::from).or_else(|| former.instance.clone()),
        rack: subscription.rack.or_else(|| former.rack.clone()),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        topics,
        pattern: Rc::from(""),
        rebalance_timeout_ms: i32::try_from(rebalance_timeout.as_millis()).unwrap_or(i32::MAX),
        assignor: former.assignor.clone(),
        guest: Some(Rc::new(Guest { session_timeout_ms: request.session_timeout_ms, protocols })),
    }
}

/// Topics that there are not have no partitions.
pub(super) fn by_id(topics: &dyn TopicSource, partitions: &ByTopic) -> Partitions {
    let mut all = Partitions::new();
    for (name, ids) in partitions {
        if let Some((topic, count)) = topics.find(name).filter(|_| !ids.is_empty()) {
            let ids = ids.iter().copied().filter(|id| (0..count).contains(id));
            all.entry(topic).or_default().extend(ids);
        }
    }
    all
}

/// Topics that are gone have no names.
pub(super) fn by_name(
    topics: &dyn TopicSource,
    partitions: impl Iterator<Item = (wire::primitives::Uuid, Vec<i32>)>,
) -> ByTopic {
    partitions.filter_map(|(id, ids)| Some((topics.name(id)?.to_string(), ids))).collect()
}
