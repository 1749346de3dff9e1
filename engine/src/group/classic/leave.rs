//! Leaving: members go, or are sent away by an administrator.

use std::rc::Rc;

use super::{Caller, Classic};
use crate::group::out::Answer;
use crate::group::{GroupError, Now, Shard, Ticket, Turn};

/// One who leaves.
#[derive(Clone, Debug, Default)]
pub struct Leaver {
    /// Empty where an administrator names a static member.
    pub member: String,
    /// A static member's name.
    pub instance: Option<String>,
}

impl Shard {
    /// Removes members. The answer says of each whether it was one.
    pub fn leave(&mut self, now: Now, ticket: Ticket, group: &str, leavers: &[Leaver]) {
        if group.is_empty() {
            let refused = Answer::Parts(Err(GroupError::InvalidGroupId));
            return self.out.answer(ticket, refused);
        }
        let unknown = || leavers.iter().map(|_| Err(GroupError::UnknownMember)).collect();
        let told = self.turn(now, group, |group, turn| {
            let parts = match (&mut group.classic, &mut group.consumer) {
                (Some(classic), _) => classic.leave(turn, leavers),
                (None, Some(consumer)) => {
                    let parts = consumer.leave_of(leavers);
                    return group.finish(turn, Some((ticket, Answer::Parts(Ok(parts)))));
                }
                (None, None) => unknown(),
            };
            turn.out.answer(ticket, Answer::Parts(Ok(parts)));
        });
        if told.is_none() {
            self.out.answer(ticket, Answer::Parts(Ok(unknown())));
        }
    }
}

impl Classic {
    fn leave(&mut self, turn: &mut Turn<'_>, leavers: &[Leaver]) -> Vec<Result<(), GroupError>> {
        let mut gone = Vec::new();
        let mut unreserved = false;
        let parts = leavers.iter().map(|leaver| {
            if self.reserved.remove(&*leaver.member).is_some() {
                unreserved = true;
                return Ok(());
            }
            let id = self.leaver(leaver)?;
            match gone.contains(&id) {
                true => Err(GroupError::UnknownMember),
                false => {
                    gone.push(id);
                    Ok(())
                }
            }
        });
        let parts = parts.collect();
        self.drop_members(turn, &gone);
        if unreserved {
            self.complete_if_all_joined(turn);
        }
        parts
    }

    fn leaver(&self, leaver: &Leaver) -> Result<Rc<str>, GroupError> {
        match (&*leaver.member, leaver.instance.as_deref()) {
            ("", Some(name)) => self.instances.get(name).cloned().ok_or(GroupError::UnknownMember),
            (member, instance) => self.check_caller(Caller { member, instance }),
        }
    }
}
