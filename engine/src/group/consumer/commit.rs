//! Whether a member may commit, or ask for, offsets.

use wire::primitives::Uuid;

use super::member::Stand;
use super::{Consumer, TopicSource};
use crate::group::GroupError;
use crate::group::commit::CommitRequest;

impl Consumer {
    /// Whether a commit may be kept. A member that has fallen behind may still commit to what it had
    /// before and has.
    pub(in crate::group) fn check_commit(
        &self,
        topics: &dyn TopicSource,
        request: &CommitRequest,
    ) -> Result<(), GroupError> {
        if request.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(&*request.member).ok_or(GroupError::UnknownMember)?;
        let (said, stand) = (request.generation, &member.stand);
        let is_guest = member.profile.guest.is_some();
        if !request.knows_epochs && !is_guest {
            return Err(GroupError::UnsupportedVersion);
        }
        if said == stand.epoch {
            return Ok(());
        }
        let stale = Err(match is_guest {
            true => GroupError::IllegalGeneration { asked: said },
            false => GroupError::StaleMemberEpoch { said },
        });
        if said > stand.epoch {
            return stale;
        }
        for offset in &request.offsets {
            let named = || topics.find(&offset.topic).map(|(id, _)| id);
            let topic = Some(offset.topic_id).filter(|id| !id.is_zero()).or_else(named);
            let since = topic.and_then(|topic| since(stand, topic, offset.partition));
            if since.is_none_or(|since| said < since) {
                return stale;
            }
        }
        Ok(())
    }

    /// Whether offsets may be told to a member; −1 and no id come from whoever is none.
    pub(in crate::group) fn check_fetch(
        &self,
        member: Option<&str>,
        said: i32,
    ) -> Result<(), GroupError> {
        if member.is_none() && said < 0 {
            return Ok(());
        }
        let found = member.and_then(|member| self.members.get(member));
        let found = found.ok_or(GroupError::UnknownMember)?;
        match said == found.stand.epoch {
            true => Ok(()),
            false if found.profile.guest.is_some() => {
                Err(GroupError::IllegalGeneration { asked: said })
            }
            false => Err(GroupError::StaleMemberEpoch { said }),
        }
    }
}

/// The epoch since which a member has a partition.
fn since(stand: &Stand, topic: Uuid, partition: i32) -> Option<i32> {
    let of = |held: &super::member::Held| held.get(&topic)?.get(&partition).copied();
    of(&stand.assigned).or_else(|| of(&stand.revoking))
}
