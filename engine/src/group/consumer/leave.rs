//! Leaving: for good, or for a while.

use std::rc::Rc;

use super::Consumer;
use super::heartbeat::{Beaten, ConsumerBeat, LEFT_FOR_A_WHILE};
use super::member::{Held, Stand};
use crate::group::GroupError;
use crate::group::out::Answer;

impl Consumer {
    pub(super) fn leave(&mut self, beat: &ConsumerBeat) -> Result<Answer, GroupError> {
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
            self.fence(&[id]);
        }
        let (member, epoch) = (beat.member.clone(), beat.epoch);
        Ok(Answer::Beaten(Ok(Beaten { member, epoch, ..Beaten::default() })))
    }
}
