//! Leaving: for good, or for a while.

use std::rc::Rc;

use super::heartbeat::{Beaten, ConsumerBeat, LEFT_FOR_A_WHILE};
use super::member::{Held, Stand};
use super::{Consumer, Turn};
use crate::group::out::Answer;
use crate::group::{GroupError, Ticket};

impl Consumer {
    pub(super) fn leave(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        beat: &ConsumerBeat,
    ) -> Result<(), GroupError> {
        let id = match &beat.instance {
            None => self.members.get_key_value(&*beat.member).map(|(id, _)| id),
            Some(instance) => match self.instances.get(&**instance) {
                Some(id) if **id != *beat.member => return Err(GroupError::FencedInstance),
                id => id,
            },
        };
        let id = Rc::clone(id.ok_or(GroupError::UnknownMember)?);
        if beat.epoch == LEFT_FOR_A_WHILE {
            // What it had stays its own until its session ends.
            let stand = &self.members[&id].stand;
            let (epoch, revoking) = (LEFT_FOR_A_WHILE, Held::new());
            let stand = Stand { epoch, revoking, ..stand.clone() };
            self.stand(&id, stand);
            self.members.get_mut(&id).expect("it has a stand").revoke_by = None;
        } else {
            self.fence(turn, &[id]);
        }
        let (member, epoch) = (beat.member.clone(), beat.epoch);
        let answer = Beaten { member, epoch, ..Beaten::default() };
        self.flush(turn, Some((ticket, Answer::Beaten(Ok(answer)))));
        Ok(())
    }
}
