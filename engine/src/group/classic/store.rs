//! What a classic group remembers, and what follows when it does.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use wire::record::group::{GroupMetadataKey, GroupMetadataValue, GroupRecord, MemberMetadata};

use super::join::Joined;
use super::member::{Member, Protocols};
use super::{Classic, State};
use crate::group::out::{Answer, Out, Then as Appended, entries};
use crate::group::{GroupError, GroupMemory, Ticket, Turn};

/// What follows when the group's record is kept.
#[derive(Debug)]
pub(in crate::group) enum Then {
    /// The assignments of a generation count.
    Assigned { generation: i32, assignments: BTreeMap<Rc<str>, Vec<u8>> },
    /// A static member has taken its former self's place.
    Replaced { ticket: Ticket, joined: Joined },
}

impl Then {
    pub(in crate::group) fn abandon(self, out: &mut Out, error: GroupError) {
        match self {
            // Those who wait are members, and answered as such.
            Self::Assigned { .. } => {}
            Self::Replaced { ticket, joined } => {
                out.answer(ticket, Answer::Joined(Err((error, joined.member))));
            }
        }
    }
}

impl Classic {
    /// A group as its last record says.
    pub(in crate::group) fn restored(value: GroupMetadataValue, memory: &Rc<GroupMemory>) -> Self {
        let protocol: Option<Rc<str>> = value.protocol.as_deref().map(Rc::from);
        let mut classic = Self {
            protocol_type: Some(value.protocol_type).filter(|it| !it.is_empty()),
            generation: value.generation,
            protocol,
            ..Self::new(value.current_state_timestamp)
        };
        for member in value.members {
            classic.restore(member, memory);
        }
        if !classic.members.is_empty() {
            classic.state = State::Stable { until: None };
            let leader = value.leader.unwrap_or_default();
            let known =
                classic.members.get_key_value(&*leader).or(classic.members.first_key_value());
            classic.leader = known.map(|(id, _)| Rc::clone(id));
        }
        classic
    }

    fn restore(&mut self, stored: MemberMetadata, memory: &Rc<GroupMemory>) {
        let id: Rc<str> = stored.member_id.into();
        let instance: Option<Rc<str>> = stored.group_instance_id.map(Rc::from);
        let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let session = millis(stored.session_timeout);
        let rebalance = match stored.rebalance_timeout {
            ms @ 0.. => millis(ms),
            _ => session,
        };
        let protocol = self.protocol.clone().unwrap_or_else(|| Rc::from(""));
        let protocols = Protocols::new([(protocol, stored.subscription)]);
        self.add_support(&protocols);
        if let Some(name) = &instance {
            self.instances.insert(Rc::clone(name), Rc::clone(&id));
        }
        let client = (stored.client_id, stored.client_host);
        let mut member = Member::new(memory, instance, client, (session, rebalance), protocols);
        member.assignment = stored.assignment;
        member.weigh();
        self.members.insert(id, member);
    }

    /// Remembers a new group. `answer` waits for that.
    pub(super) fn store_first(&self, turn: &mut Turn<'_>, answer: Option<(Ticket, Answer)>) {
        let value = GroupMetadataValue {
            current_state_timestamp: turn.now.wall_ms,
            protocol: None,
            leader: None,
            ..GroupMetadataValue::default()
        };
        append(turn, value, Appended::Answers(answer.into_iter().collect()));
    }

    /// Remembers that nobody is left, in which generation.
    pub(super) fn store_empty(&self, turn: &mut Turn<'_>) {
        let value = self.value(turn.now.wall_ms, |_, member| &member.assignment);
        append(turn, value, Appended::Answers(Vec::new()));
    }

    /// Remembers the members, with the assignments that are to count then, or those that they have.
    pub(super) fn store(&mut self, turn: &mut Turn<'_>, then: Then) {
        let record = match &then {
            Then::Assigned { assignments, .. } => {
                self.value(turn.now.wall_ms, |id, _| &assignments[id])
            }
            Then::Replaced { .. } => self.value(turn.now.wall_ms, |_, member| &member.assignment),
        };
        let key = GroupMetadataKey { group: turn.name.to_string() };
        let record = GroupRecord::GroupMetadata(key, Some(record));
        match entries(&[record], turn.settings.append_bytes_max) {
            Ok(records) => {
                let group = Rc::clone(turn.name);
                turn.out.append(records, Appended::Classic { group, then });
            }
            Err(error) => self.written(turn, then, Err(error)),
        }
    }

    /// The record of `then` is kept, or could not be.
    pub(in crate::group) fn written(
        &mut self,
        turn: &mut Turn<'_>,
        then: Then,
        outcome: Result<(), GroupError>,
    ) {
        match then {
            Then::Assigned { generation, assignments } => {
                self.assigned(turn, generation, assignments, outcome);
            }
            Then::Replaced { ticket, joined } => {
                turn.out.answer(ticket, Answer::Joined(Ok(joined)).after(outcome));
            }
        }
    }

    pub(super) fn value<'a>(
        &'a self,
        wall_ms: i64,
        assignment: impl Fn(&Rc<str>, &'a Member) -> &'a Vec<u8>,
    ) -> GroupMetadataValue {
        let protocol = self.protocol.as_deref();
        let members = self.members.iter().map(|(id, member)| MemberMetadata {
            member_id: id.to_string(),
            group_instance_id: member.instance.as_deref().map(str::to_owned),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: millis(member.rebalance_timeout),
            session_timeout: millis(member.session_timeout),
            subscription: member.protocols.metadata(protocol.unwrap_or("")).to_vec(),
            assignment: assignment(id, member).clone(),
        });
        GroupMetadataValue {
            protocol_type: self.protocol_type().to_owned(),
            generation: self.generation,
            protocol: protocol.map(str::to_owned),
            leader: self.leader.as_deref().map(str::to_owned),
            current_state_timestamp: wall_ms,
            members: members.collect(),
        }
    }
}

fn append(turn: &mut Turn<'_>, value: GroupMetadataValue, then: Appended) {
    let key = GroupMetadataKey { group: turn.name.to_string() };
    let record = GroupRecord::GroupMetadata(key, Some(value));
    let records = entries(&[record], usize::MAX).expect("names were checked when they came");
    turn.out.append(records, then);
}

fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}
