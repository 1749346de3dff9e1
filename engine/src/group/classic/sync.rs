//! Syncing: the leader hands assignments out.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Caller, Classic, State, Then};
use crate::group::out::Answer;
use crate::group::{GroupError, Now, Shard, Ticket, Turn};

/// A member asks for its assignment; the leader brings all of them.
#[derive(Clone, Debug, Default)]
pub struct SyncRequest {
    /// The group.
    pub group: String,
    /// The caller's generation.
    pub generation: i32,
    /// The caller.
    pub member: String,
    /// A static member's name.
    pub instance: Option<String>,
    /// Has to be the group's, if given.
    pub protocol_type: Option<String>,
    /// Has to be the chosen one, if given.
    pub protocol: Option<String>,
    /// Of the leader: members and what they get. One that is left out gets nothing, one that is no
    /// member is left out.
    pub assignments: Vec<(String, Vec<u8>)>,
}

/// A member's assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Of the group.
    pub protocol_type: String,
    /// The chosen one.
    pub protocol: String,
    /// Opaque.
    pub assignment: Vec<u8>,
}

impl Shard {
    /// Tells a member its assignment, as soon as the leader has brought it and it is kept.
    pub fn sync(&mut self, now: Now, ticket: Ticket, request: SyncRequest) {
        let group = request.group.clone();
        let told = self.turn(now, &group, |group, turn| match &mut group.classic {
            Some(classic) => classic.sync(turn, ticket, request),
            None => match &mut group.consumer {
                Some(consumer) => {
                    let answer = consumer.sync_of_guest(turn, &request)?;
                    group.finish(turn, Some((ticket, answer)));
                    Ok(())
                }
                None => Err(GroupError::UnknownMember),
            },
        });
        if let Err(error) = told.unwrap_or(Err(GroupError::UnknownMember)) {
            self.out.answer(ticket, Answer::Synced(Err(error)));
        }
    }
}

impl Classic {
    fn sync(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        request: SyncRequest,
    ) -> Result<(), GroupError> {
        let caller = Caller { member: &request.member, instance: request.instance.as_deref() };
        let id = self.check_caller(caller)?;
        self.check_generation(request.generation)?;
        let differs = |said: &Option<String>, is: Option<&str>| {
            said.as_deref().is_some_and(|said| Some(said) != is)
        };
        if differs(&request.protocol_type, self.protocol_type.as_deref())
            || differs(&request.protocol, self.protocol.as_deref())
        {
            return Err(GroupError::InconsistentProtocol);
        }
        match self.state {
            State::Empty => Err(GroupError::UnknownMember),
            State::Preparing { .. } => Err(GroupError::Rebalancing),
            State::Completing { .. } => {
                self.await_assignment(turn, ticket, &id);
                if self.is_leader(&id) {
                    self.assign(turn, request.assignments);
                }
                Ok(())
            }
            State::Stable { .. } => {
                self.has_synced(&id);
                turn.out.answer(ticket, Answer::Synced(Ok(self.synced(&id))));
                self.renew(turn, &id);
                Ok(())
            }
        }
    }

    fn await_assignment(&mut self, turn: &mut Turn<'_>, ticket: Ticket, id: &Rc<str>) {
        self.has_synced(id);
        let member = self.members.get_mut(id).expect("the caller was checked");
        member.silent_at = None;
        if let Some(former) = member.sync.replace(ticket) {
            // It has given that one up.
            turn.out.answer(former, Answer::Synced(Err(GroupError::Rebalancing)));
        }
    }

    fn has_synced(&mut self, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.owes_sync = false;
        }
        let owing = self.members.values().any(|member| member.owes_sync);
        if let State::Stable { until } = &mut self.state
            && !owing
        {
            *until = None;
        }
    }

    /// The leader has brought the assignments: they count once they are kept.
    fn assign(&mut self, turn: &mut Turn<'_>, sent: Vec<(String, Vec<u8>)>) {
        let mut assignments: BTreeMap<Rc<str>, Vec<u8>> =
            self.members.keys().map(|id| (Rc::clone(id), Vec::new())).collect();
        for (id, assignment) in sent {
            if let Some(place) = assignments.get_mut(&*id) {
                *place = assignment;
            }
        }
        let bytes = assignments.values().map(Vec::len).sum();
        if let Err(error) = turn.memory.admit(bytes) {
            return self.assignment_failed(turn, error);
        }
        let generation = self.generation;
        self.store(turn, Then::Assigned { generation, assignments });
    }

    /// The assignments are kept, or could not be.
    pub(super) fn assigned(
        &mut self,
        turn: &mut Turn<'_>,
        generation: i32,
        assignments: BTreeMap<Rc<str>, Vec<u8>>,
        outcome: Result<(), GroupError>,
    ) {
        let State::Completing { until } = self.state else { return };
        if generation != self.generation {
            return;
        }
        if let Err(error) = outcome {
            return self.assignment_failed(turn, error);
        }
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
                member.weigh();
            }
        }
        let owing = self.members.values().any(|member| member.owes_sync);
        self.enter(turn, State::Stable { until: owing.then_some(until) });
        if owing {
            turn.arm_at(until);
        }
        let waiting: Vec<_> = self.members.keys().cloned().collect();
        for id in waiting {
            let member = self.members.get_mut(&id).expect("its id was listed");
            if let Some(ticket) = member.sync.take() {
                turn.out.answer(ticket, Answer::Synced(Ok(self.synced(&id))));
                self.renew(turn, &id);
            }
        }
    }

    fn assignment_failed(&mut self, turn: &mut Turn<'_>, error: GroupError) {
        self.turn_syncs_away(turn, error);
        self.rebalance_or_complete(turn);
    }

    /// Whoever waits for an assignment will not get it. What a member was assigned before is kept: it
    /// may not have given it up, and the next assignment may be somebody else's ([`migrate`]).
    ///
    /// [`migrate`]: super::migrate
    pub(super) fn turn_syncs_away(&mut self, turn: &mut Turn<'_>, error: GroupError) {
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            let member = self.members.get_mut(&id).expect("its id was listed");
            if let Some(ticket) = member.sync.take() {
                turn.out.answer(ticket, Answer::Synced(Err(error)));
                self.renew(turn, &id);
            }
        }
    }

    fn synced(&self, id: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type().to_owned(),
            protocol: self.protocol.as_deref().unwrap_or("").to_owned(),
            assignment: self.members[id].assignment.clone(),
        }
    }
}
