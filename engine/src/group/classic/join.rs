//! Joining: new members, and old ones that come again.

use std::rc::Rc;
use std::time::Duration;

use super::member::{Join, MEMBER_BYTES, Member, Protocols};
use super::{Caller, Classic, State, Then};
use crate::group::commit::check_name;
use crate::group::memory::Charge;
use crate::group::out::Answer;
use crate::group::{GroupError, MigrationPolicy, Now, Shard, Ticket, Turn};

/// Somebody wants to be a member of the next generation.
#[derive(Clone, Debug, Default)]
pub struct JoinRequest {
    /// The group.
    pub group: String,
    /// Empty for a new member.
    pub member: String,
    /// The id of the member, should it be new.
    pub fresh: String,
    /// A static member's name.
    pub instance: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// As asked for.
    pub session_timeout_ms: i32,
    /// As asked for; negative for the session timeout.
    pub rebalance_timeout_ms: i32,
    /// `consumer` or another.
    pub protocol_type: String,
    /// Best first, with the member's metadata.
    pub protocols: Vec<(String, Vec<u8>)>,
    /// The client knows that a new member has to come twice (version 4 on).
    pub knows_member_id_required: bool,
    /// The client knows that a leader may have nothing to assign (version 9 on).
    pub knows_skip_assignment: bool,
}

/// A member's generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Its number.
    pub generation: i32,
    /// `consumer` or another.
    pub protocol_type: String,
    /// The chosen one.
    pub protocol: String,
    /// Id of the leader.
    pub leader: String,
    /// The leader has nothing to assign.
    pub skip_assignment: bool,
    /// Id of the member itself.
    pub member: String,
    /// All members, for the leader.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: String,
    /// A static member's name.
    pub instance: Option<String>,
    /// Of the chosen protocol.
    pub metadata: Vec<u8>,
}

impl Shard {
    /// Takes a member in. The answer comes when its generation is complete.
    pub fn join(&mut self, now: Now, ticket: Ticket, request: JoinRequest) {
        let member = request.member.clone();
        if let Err(error) = self.try_join(now, ticket, request) {
            // Who cannot be taken in is not to come back with its id.
            let member = if error == GroupError::Full { String::new() } else { member };
            self.out.answer(ticket, Answer::Joined(Err((error, member))));
        }
    }

    fn try_join(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: JoinRequest,
    ) -> Result<(), GroupError> {
        self.check_join(&request)?;
        let found = self.groups.get(&*request.group);
        let known = found.is_some_and(|group| group.classic.is_some());
        if !known {
            // A consumer group with members takes it in as a guest, where any group may change.
            if found.is_some_and(|group| group.has_members()) {
                if self.settings.consumer.migration == MigrationPolicy::Disabled {
                    return Err(GroupError::InconsistentProtocol);
                }
                self.join_consumer(now, ticket, &request);
                return Ok(());
            }
            if !request.member.is_empty() {
                return Err(GroupError::UnknownMember);
            }
            if request.protocol_type.is_empty() || request.protocols.is_empty() {
                return Err(GroupError::InconsistentProtocol);
            }
        }
        let group = request.group.clone();
        self.obtain(&group).classic.get_or_insert_with(|| Classic::new(now.wall_ms));
        let joined = self.turn(now, &group, |group, turn| {
            group.end_consumer(turn);
            let classic = group.classic.as_mut().expect("there is one now");
            classic.join(turn, ticket, request, !known)
        });
        joined.expect("there is the group now")
    }

    fn join_consumer(&mut self, now: Now, ticket: Ticket, request: &JoinRequest) {
        let joined = self.turn(now, &request.group, |group, turn| {
            let consumer =
                group.consumer.as_mut().expect("it has members, and they are not classic");
            let answer = consumer.join_as_guest(turn, request);
            let answer = answer.unwrap_or_else(|error| Answer::Joined(Err((error, String::new()))));
            group.finish(turn, Some((ticket, answer)));
        });
        joined.expect("there is the group");
    }

    fn check_join(&self, request: &JoinRequest) -> Result<(), GroupError> {
        if request.group.is_empty() {
            return Err(GroupError::InvalidGroupId);
        }
        let names = [&request.group, &request.client_id, &request.protocol_type];
        let names = names.into_iter().chain(&request.instance);
        names
            .chain(request.protocols.iter().map(|(name, _)| name))
            .try_for_each(|name| check_name(name))?;
        let (min_ms, max_ms) =
            (self.settings.session_timeout_ms_min, self.settings.session_timeout_ms_max);
        let asked_ms = request.session_timeout_ms;
        if !(min_ms..=max_ms).contains(&asked_ms) {
            return Err(GroupError::InvalidSessionTimeout { asked_ms, min_ms, max_ms });
        }
        let metadata: usize = request.protocols.iter().map(|(_, metadata)| metadata.len()).sum();
        self.memory.admit(MEMBER_BYTES + request.group.len() + metadata)
    }
}

impl Classic {
    fn join(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        request: JoinRequest,
        first: bool,
    ) -> Result<(), GroupError> {
        if !self.has_room(turn, &request.member) {
            let member = self.members.get_key_value(&*request.member);
            if let Some((id, _)) = member {
                let id = Rc::clone(id);
                self.drop_members(turn, &[id]);
            }
            self.reserved.remove(&*request.member);
            return Err(GroupError::Full);
        }
        let sent = request.protocols.iter();
        let protocols = sent.map(|(name, metadata)| (Rc::from(&**name), metadata.clone()));
        let protocols = Protocols::new(protocols);
        if !self.goes_with(&request.protocol_type, &protocols) {
            return Err(GroupError::InconsistentProtocol);
        }
        if !request.member.is_empty() {
            return self.join_again(turn, ticket, request, protocols);
        }
        let held = request.instance.as_deref().and_then(|name| self.instances.get(name)).cloned();
        if let Some(old) = held {
            self.replace(turn, ticket, &old, request, protocols);
        } else if request.instance.is_none() && request.knows_member_id_required {
            self.reserve(turn, ticket, request, first);
        } else {
            if first {
                self.store_first(turn, None);
            }
            let id = Rc::from(&*request.fresh);
            self.add(turn, ticket, id, request, protocols);
        }
        Ok(())
    }

    /// Whether one more may come, or this one again. Between two generations those count who have
    /// come, so that a group that is too large sheds who comes last.
    fn has_room(&self, turn: &Turn<'_>, member: &str) -> bool {
        let max = turn.settings.members_max;
        match self.state {
            State::Empty => true,
            State::Preparing { .. } => {
                let waits = self.members.get(member).is_some_and(|member| member.join.is_some());
                waits || self.joining < max
            }
            _ => self.members.contains_key(member) || self.members.len() < max,
        }
    }

    /// Gives an id out that the client has to come back with.
    fn reserve(&mut self, turn: &mut Turn<'_>, ticket: Ticket, request: JoinRequest, first: bool) {
        let until = turn.arm(millis(request.session_timeout_ms));
        let id: Rc<str> = Rc::from(&*request.fresh);
        let charge = Charge::new(turn.memory, RESERVED_BYTES + id.len());
        self.reserved.insert(id, (until, charge));
        let required = Answer::Joined(Err((GroupError::MemberIdRequired, request.fresh)));
        match first {
            true => self.store_first(turn, Some((ticket, required))),
            false => turn.out.answer(ticket, required),
        }
    }

    /// Somebody comes with an id.
    fn join_again(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        request: JoinRequest,
        protocols: Protocols,
    ) -> Result<(), GroupError> {
        if let Some((id, _)) = self.reserved.get_key_value(&*request.member) {
            if request.instance.is_some() {
                // Static members get no reserved ids.
                return Err(GroupError::UnknownMember);
            }
            let id = Rc::clone(id);
            self.reserved.remove(&id);
            self.add(turn, ticket, id, request, protocols);
            return Ok(());
        }
        let caller = Caller { member: &request.member, instance: request.instance.as_deref() };
        let id = self.check_caller(caller)?;
        let same = self.members[&id].protocols == protocols;
        let stands = match self.state {
            State::Empty => return Err(GroupError::UnknownMember),
            State::Preparing { .. } => false,
            State::Completing { .. } => same,
            // The leader comes when it sees that something has changed.
            State::Stable { .. } => same && !self.is_leader(&id),
        };
        if stands {
            // The answer may have been lost.
            let mut joined = self.joined(&id);
            if self.is_stable() {
                joined.members.clear();
            }
            turn.out.answer(ticket, Answer::Joined(Ok(joined)));
            self.renew(turn, &id);
            return Ok(());
        }
        self.update(&id, &request, protocols);
        self.park(turn, &id, ticket);
        self.rebalance_or_complete(turn);
        Ok(())
    }

    fn add(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        id: Rc<str>,
        request: JoinRequest,
        protocols: Protocols,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        self.add_support(&protocols);
        let instance: Option<Rc<str>> = request.instance.as_deref().map(Rc::from);
        if let Some(name) = &instance {
            self.instances.insert(Rc::clone(name), Rc::clone(&id));
        }
        let timeouts = timeouts(&request);
        let client = (request.client_id, request.client_host);
        let mut member = Member::new(turn.memory, instance, client, timeouts, protocols);
        member.is_new = true;
        self.members.insert(Rc::clone(&id), member);
        self.leader.get_or_insert_with(|| Rc::clone(&id));
        if let State::Preparing { newcomers: Some(newcomers), .. } = &mut self.state {
            newcomers.came = true;
        }
        self.park(turn, &id, ticket);
        // It may never learn its id, so that nobody would ever say that it is dead.
        let member = self.members.get_mut(&id).expect("added just now");
        member.silent_at = Some(turn.arm(NEW_MEMBER_PATIENCE));
        self.rebalance_or_complete(turn);
    }

    /// A static member has restarted: it takes the place of its former self.
    fn replace(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        old: &Rc<str>,
        request: JoinRequest,
        protocols: Protocols,
    ) {
        let id: Rc<str> = Rc::from(&*request.fresh);
        let former_leader = self.leader.clone();
        let mut member = self.members.remove(old).expect("an instance names a member");
        let fenced = GroupError::FencedInstance;
        if let Some(join) = member.join.take() {
            self.joining -= 1;
            turn.out.answer(join.ticket, Answer::Joined(Err((fenced, old.to_string()))));
        }
        if let Some(ticket) = member.sync.take() {
            turn.out.answer(ticket, Answer::Synced(Err(fenced)));
        }
        if let Some(name) = &member.instance {
            self.instances.insert(Rc::clone(name), Rc::clone(&id));
        }
        if self.is_leader(old) {
            self.leader = Some(Rc::clone(&id));
        }
        // Its name tells that it is a member.
        member.is_new = false;
        member.client_id.clone_from(&request.client_id);
        member.client_host.clone_from(&request.client_host);
        self.members.insert(Rc::clone(&id), member);
        self.update(&id, &request, protocols);
        if self.is_stable() && self.elected() == self.protocol {
            // The others need not know.
            let mut joined = self.joined(&id);
            if request.knows_skip_assignment {
                joined.skip_assignment = self.is_leader(&id);
            } else {
                joined.members.clear();
                joined.leader = former_leader.map_or_else(String::new, |id| id.to_string());
            }
            self.renew(turn, &id);
            self.store(turn, Then::Replaced { ticket, joined });
            return;
        }
        self.park(turn, &id, ticket);
        self.renew(turn, &id);
        self.rebalance_or_complete(turn);
    }

    /// What a member says about itself now.
    fn update(&mut self, id: &str, request: &JoinRequest, protocols: Protocols) {
        let member = self.members.get_mut(id).expect("only members are updated");
        let former = std::mem::replace(&mut member.protocols, protocols);
        (member.session_timeout, member.rebalance_timeout) = timeouts(request);
        member.weigh();
        let protocols = member.protocols.clone();
        self.remove_support(&former);
        self.add_support(&protocols);
    }

    /// A member's join waits. One that it sent before is answered: it has given it up.
    pub(super) fn park(&mut self, turn: &mut Turn<'_>, id: &Rc<str>, ticket: Ticket) {
        let member = self.members.get_mut(id).expect("only members wait");
        match member.join.replace(Join { ticket }) {
            None => self.joining += 1,
            Some(former) => {
                let given_up = Err((GroupError::Rebalancing, id.to_string()));
                turn.out.answer(former.ticket, Answer::Joined(given_up));
            }
        }
        if !member.is_new {
            member.silent_at = None;
        }
    }

    /// What a member is told of the generation.
    pub(super) fn joined(&self, id: &str) -> Joined {
        let leads = self.is_leader(id);
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type().to_owned(),
            protocol: self.protocol.as_deref().unwrap_or("").to_owned(),
            leader: self.leader.as_deref().unwrap_or("").to_owned(),
            skip_assignment: false,
            member: id.to_owned(),
            members: if leads { self.roll() } else { Vec::new() },
        }
    }

    /// All members with their metadata of the chosen protocol.
    fn roll(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or("");
        let members = self.members.iter().map(|(id, member)| JoinedMember {
            member: id.to_string(),
            instance: member.instance.as_deref().map(str::to_owned),
            metadata: member.protocols.metadata(protocol).to_vec(),
        });
        members.collect()
    }
}

/// Session and rebalance timeout.
pub(in crate::group) fn timeouts(request: &JoinRequest) -> (Duration, Duration) {
    let session = millis(request.session_timeout_ms);
    match request.rebalance_timeout_ms {
        ms @ 0.. => (session, millis(ms)),
        _ => (session, session),
    }
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// How long a new member's first join may wait: longer than a client waits for its answer.
const NEW_MEMBER_PATIENCE: Duration = Duration::from_secs(5 * 60);
/// What a reserved id takes beside its bytes.
const RESERVED_BYTES: usize = 160;
