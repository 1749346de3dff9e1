//! From one generation to the next, and what time does.

use std::rc::Rc;
use std::time::Duration;

use super::{Classic, Newcomers, State};
use crate::group::out::Answer;
use crate::group::{GroupError, Turn};
use crate::rt::Instant;

impl Classic {
    /// Something has changed: members join again, or if they are at it, perhaps all have now.
    pub(super) fn rebalance_or_complete(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            State::Preparing { .. } => self.complete_if_all_joined(turn),
            _ => self.rebalance(turn),
        }
    }

    /// Makes all members join again.
    fn rebalance(&mut self, turn: &mut Turn<'_>) {
        self.turn_syncs_away(turn, GroupError::Rebalancing);
        for member in self.members.values_mut() {
            member.owes_sync = false;
        }
        let was_empty = self.state == State::Empty;
        let timeout = self.rebalance_timeout();
        let delay = turn.settings.initial_delay.min(timeout);
        if was_empty && !delay.is_zero() {
            let left = timeout.saturating_sub(delay);
            let newcomers = Some(Newcomers { came: false, left });
            let until = turn.arm(delay);
            return self.enter(turn, State::Preparing { until, newcomers });
        }
        let until = turn.arm(timeout);
        self.enter(turn, State::Preparing { until, newcomers: None });
        self.complete_if_all_joined(turn);
    }

    pub(super) fn complete_if_all_joined(&mut self, turn: &mut Turn<'_>) {
        let State::Preparing { newcomers: None, .. } = self.state else { return };
        if self.joining == self.members.len() && self.reserved.is_empty() {
            self.complete(turn);
        }
    }

    /// Those who have joined are the next generation. Static members stay although they have not
    /// come: they are restarting.
    fn complete(&mut self, turn: &mut Turn<'_>) {
        let late = self.members.iter().filter(|(_, it)| it.join.is_none() && it.instance.is_none());
        let late: Vec<_> = late.map(|(id, _)| Rc::clone(id)).collect();
        self.remove_all(turn, &late);
        if self.members.is_empty() {
            return self.become_empty(turn);
        }
        if !self.elect_leader() {
            // Only static members that have not come are left: their sessions will end.
            let until = turn.arm(self.rebalance_timeout().max(WAIT_MIN));
            return self.enter(turn, State::Preparing { until, newcomers: None });
        }
        self.generation = next_generation(self.generation);
        self.protocol = self.elected();
        let until = turn.arm(self.rebalance_timeout().max(WAIT_MIN));
        self.enter(turn, State::Completing { until });
        self.answer_joins(turn);
    }

    fn answer_joins(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            let member = self.members.get_mut(&id).expect("its id was listed");
            member.owes_sync = true;
            member.is_new = false;
            if let Some(join) = member.join.take() {
                self.joining -= 1;
                let joined = self.joined(&id);
                turn.out.answer(join.ticket, Answer::Joined(Ok(joined)));
                self.renew(turn, &id);
            }
        }
    }

    /// Nobody is left. The next generation is remembered, so that it is never used twice.
    fn become_empty(&mut self, turn: &mut Turn<'_>) {
        self.generation = next_generation(self.generation);
        self.protocol = None;
        self.leader = None;
        self.enter(turn, State::Empty);
        self.store_empty(turn);
    }

    /// The leader stays if it has come, otherwise somebody who has.
    fn elect_leader(&mut self) -> bool {
        let leads = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leads.is_some_and(|leader| leader.join.is_some()) {
            return true;
        }
        let come = self.members.iter().find(|(_, member)| member.join.is_some());
        match come.map(|(id, _)| Rc::clone(id)) {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }

    /// Removes members, whatever they wait for, and goes on without them.
    pub(super) fn drop_members(&mut self, turn: &mut Turn<'_>, ids: &[Rc<str>]) {
        if ids.is_empty() {
            return;
        }
        self.remove_all(turn, ids);
        match self.state {
            State::Empty => {}
            _ => self.rebalance_or_complete(turn),
        }
    }

    fn remove_all(&mut self, turn: &mut Turn<'_>, ids: &[Rc<str>]) {
        for id in ids {
            let Some(mut member) = self.members.remove(id) else { continue };
            let gone = GroupError::UnknownMember;
            if let Some(join) = member.join.take() {
                self.joining -= 1;
                turn.out.answer(join.ticket, Answer::Joined(Err((gone, id.to_string()))));
            }
            if let Some(ticket) = member.sync.take() {
                turn.out.answer(ticket, Answer::Synced(Err(gone)));
            }
            if let Some(name) = &member.instance
                && self.instances.get(name) == Some(id)
            {
                self.instances.remove(name);
            }
            self.remove_support(&member.protocols);
            if self.is_leader(id) {
                self.leader = self.members.keys().next().cloned();
            }
        }
    }

    /// Does what is due.
    pub(in crate::group) fn expire(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.at;
        let reserved = self.reserved.len();
        self.reserved.retain(|_, (until, _)| *until > now);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let silent = self.members.iter().filter(|(_, member)| due(member.silent_at));
        let silent: Vec<_> = silent.map(|(id, _)| Rc::clone(id)).collect();
        self.drop_members(turn, &silent);
        if self.reserved.len() < reserved {
            self.complete_if_all_joined(turn);
        }
        match self.state {
            State::Preparing { until, newcomers } if until <= now => match newcomers {
                Some(Newcomers { came: true, left }) if !left.is_zero() => {
                    let delay = turn.settings.initial_delay.min(left);
                    let newcomers = Newcomers { came: false, left: left - delay };
                    let until = turn.arm(delay);
                    self.state = State::Preparing { until, newcomers: Some(newcomers) };
                }
                _ => self.complete(turn),
            },
            State::Completing { until } | State::Stable { until: Some(until) } if until <= now => {
                self.drop_unsynced(turn);
            }
            _ => {}
        }
    }

    /// Members have joined and never asked what they are to do.
    fn drop_unsynced(&mut self, turn: &mut Turn<'_>) {
        let owing = self.members.iter().filter(|(_, member)| member.owes_sync);
        let owing: Vec<_> = owing.map(|(id, _)| Rc::clone(id)).collect();
        match &mut self.state {
            State::Stable { until } => *until = None,
            // The leader has asked, and its record takes this long: its log is stuck.
            State::Completing { until } => *until = turn.arm(WAIT_MIN),
            _ => {}
        }
        self.drop_members(turn, &owing);
    }

    /// Over the log's end: the members' sessions begin anew.
    pub(in crate::group) fn resume(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            self.renew(turn, &id);
        }
        if self.members.len() > turn.settings.members_max {
            self.rebalance(turn);
        }
    }
}

/// The generation after this one; they begin anew behind the largest.
fn next_generation(generation: i32) -> i32 {
    generation.checked_add(1).unwrap_or(1)
}

/// A member may have said that a rebalance need not wait for it at all: its next request must find
/// it all the same.
const WAIT_MIN: Duration = Duration::from_secs(1);
