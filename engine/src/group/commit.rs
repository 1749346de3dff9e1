//! Offsets committed and asked for.

use std::sync::Arc;

use wire::primitives::Uuid;

use super::classic::Caller;
use super::offsets::{Change, CommittedOffset, Offsets};
use super::out::{Answer, Then, entries};
use super::{GroupError, NAME_LEN_MAX, Now, Shard, Ticket};
use crate::rt::sim::Plant;

/// Offsets that a member, or somebody who is none, wants to be kept.
#[derive(Clone, Debug, Default)]
pub struct CommitRequest {
    /// The group.
    pub group: String,
    /// −1 from whoever is no member.
    pub generation: i32,
    /// Empty from whoever is no member.
    pub member: String,
    /// A static member's name.
    pub instance: Option<String>,
    /// The client knows the epochs of consumer groups (version 9 on).
    pub knows_epochs: bool,
    /// The offsets; an answer has as many parts, in this order.
    pub offsets: Vec<NewOffset>,
}

/// An offset to keep.
#[derive(Clone, Debug, Default)]
pub struct NewOffset {
    /// Topic name.
    pub topic: Arc<str>,
    /// The topic's id now; zero for unknown.
    pub topic_id: Uuid,
    /// Index within the topic.
    pub partition: i32,
    /// Of the next record to read.
    pub offset: i64,
    /// Of the last record read; −1 for unknown.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: String,
    /// How long to keep it, milliseconds; none for as the broker's settings say.
    pub retention_ms: Option<i64>,
}

impl Shard {
    /// Keeps offsets. The answer says of each whether it is kept, once it is.
    pub fn commit(&mut self, now: Now, ticket: Ticket, request: &CommitRequest) {
        if let Err(error) = self.try_commit(now, ticket, request) {
            self.out.answer(ticket, Answer::Parts(Err(error)));
        }
    }

    fn try_commit(
        &mut self,
        now: Now,
        ticket: Ticket,
        request: &CommitRequest,
    ) -> Result<(), GroupError> {
        check_name(&request.group)?;
        let caller = Caller { member: &request.member, instance: request.instance.as_deref() };
        let checked = self.turn(now, &request.group, |group, turn| {
            match (&mut group.classic, &group.consumer) {
                (Some(it), _) => it.check_commit(turn, caller, request.generation),
                (None, Some(consumer)) => consumer.check_commit(turn.topics, request),
                // Nobody is a member here.
                (None, None) if request.generation < 0 => Ok(()),
                (None, None) => Err(GroupError::UnknownMember),
            }
        });
        match checked {
            None if request.generation >= 0 => return Err(GroupError::NotFound),
            Some(Err(error)) if !self.settings.planted(Plant::StaleCommits) => return Err(error),
            _ => {}
        }
        let max = self.settings.metadata_len_max;
        let fits = |offset: &NewOffset| match offset.metadata.encode_utf16().count() {
            len if len > max => Err(GroupError::MetadataTooLarge { len, max }),
            _ => check_name(&offset.topic),
        };
        let parts: Vec<_> = request.offsets.iter().map(fits).collect();
        let kept = request.offsets.iter().zip(&parts).filter(|(_, part)| part.is_ok());
        let changes: Vec<_> = kept.map(|(offset, _)| change(now, offset)).collect();
        let answer = Answer::Parts(Ok(parts));
        if changes.is_empty() {
            self.out.answer(ticket, answer);
            return Ok(());
        }
        self.memory.admit(Offsets::bytes_of(&changes))?;
        self.change_offsets(&request.group, changes, Some((ticket, answer)))
    }

    /// Appends the records of changes to a group's offsets, in one batch.
    pub(super) fn change_offsets(
        &mut self,
        group: &str,
        mut changes: Vec<Change>,
        answer: Option<(Ticket, Answer)>,
    ) -> Result<(), GroupError> {
        let record = |change: &Change| match &change.offset {
            Some(offset) => offset.record(group, &change.topic, change.partition),
            None => super::offsets::tombstone(group, &change.topic, change.partition),
        };
        let records: Vec<_> = changes.iter().map(record).collect();
        let entries = entries(&records, self.settings.append_bytes_max)?;
        let offsets = &mut self.obtain(group).offsets;
        for change in &mut changes {
            change.topic = offsets.begin(&change.topic, change.partition);
        }
        self.out.append(entries, Then::Offsets { group: group.into(), changes, answer });
        Ok(())
    }

    /// The records of changes were acknowledged, or were not written.
    pub(super) fn settle_offsets(&mut self, group: &str, changes: Vec<Change>, written: bool) {
        let Some(found) = self.groups.get_mut(group) else { return };
        for change in changes {
            found.offsets.settle(change, written);
        }
        if found.is_vacant() {
            self.forget(&group.into());
        }
    }

    /// Whether a caller may ask for the group's offsets: members of consumer groups say who they are.
    ///
    /// # Errors
    /// It is no member, or has another epoch.
    pub fn check_fetch(
        &self,
        group: &str,
        member: Option<&str>,
        epoch: i32,
    ) -> Result<(), GroupError> {
        let consumer = self.groups.get(group).and_then(|group| group.consumer.as_ref());
        consumer.map_or(Ok(()), |consumer| consumer.check_fetch(member, epoch))
    }

    /// A group's offset in a partition. One of another topic that had the name is none.
    #[must_use]
    pub fn offset(
        &self,
        group: &str,
        topic: &str,
        topic_id: Uuid,
        partition: i32,
    ) -> Option<&CommittedOffset> {
        let offset = self.groups.get(group)?.offsets.get(topic, partition)?;
        let is_same = offset.topic_id.is_zero() || topic_id.is_zero();
        (is_same || offset.topic_id == topic_id).then_some(offset)
    }

    /// All of a group's offsets, by topic and partition.
    pub fn offsets(&self, group: &str) -> impl Iterator<Item = (&str, i32, &CommittedOffset)> {
        let offsets = self.groups.get(group).into_iter().flat_map(|group| group.offsets.iter());
        offsets.map(|(topic, partition, offset)| (&**topic, partition, offset))
    }
}

fn change(now: Now, new: &NewOffset) -> Change {
    let expire_ms = new.retention_ms.map_or(-1, |keep| now.wall_ms.saturating_add(keep));
    let offset = CommittedOffset {
        offset: new.offset,
        leader_epoch: new.leader_epoch,
        metadata: new.metadata.as_str().into(),
        commit_ms: now.wall_ms,
        expire_ms,
        topic_id: new.topic_id,
    };
    Change { topic: (&*new.topic).into(), partition: new.partition, offset: Some(offset) }
}

/// Whether a record can hold the name.
pub(super) fn check_name(name: &str) -> Result<(), GroupError> {
    match name.len() {
        len if len > NAME_LEN_MAX => Err(GroupError::NameTooLong { len, max: NAME_LEN_MAX }),
        _ => Ok(()),
    }
}
