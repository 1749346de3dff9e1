//! Groups and offsets deleted on demand, and with their topics.

use std::rc::Rc;

use super::consumer::Key;
use super::offsets::{Change, tombstone};
use super::out::{Answer, Entry, Then, entries};
use super::{GroupError, Shard, Ticket};
use wire::primitives::Uuid;

impl Shard {
    /// Forgets a group without members, and its offsets. The answer has no parts.
    pub fn delete_group(&mut self, ticket: Ticket, group: &str) {
        let outcome = match self.groups.get(group) {
            None => Err(GroupError::NotFound),
            Some(found) if found.has_members() => Err(GroupError::NotEmpty),
            Some(_) => Ok(()),
        };
        match outcome {
            Err(error) => self.out.answer(ticket, Answer::Parts(Err(error))),
            Ok(()) => self.bury(group, Some(ticket)),
        }
    }

    /// Appends the tombstones of a group without members and of all that it holds. Where one batch
    /// cannot hold them the group's own comes last, so that an interrupted deletion leaves a group to
    /// be deleted again.
    pub(super) fn bury(&mut self, group: &str, ticket: Option<Ticket>) {
        let Some(found) = self.groups.get_mut(group) else { return };
        let own = match &found.consumer {
            Some(consumer) => consumer.all_keys(),
            None => vec![Key::Classic],
        };
        let own: Vec<_> = own.iter().map(|key| key.tombstone(group)).collect();
        let places = found.offsets.places();
        let gone = places.map(|(topic, partition)| forgotten(topic, partition)).collect();
        let (mut records, changes) = self.tombstones(group, gone);
        records.extend(entries(&own, usize::MAX).expect("a group's name was checked"));
        let answer = ticket.map(|ticket| (ticket, Answer::Parts(Ok(Vec::new()))));
        self.out.append(records, Then::Burial { group: group.into(), changes, answer });
    }

    /// The tombstones of a group are kept, or could not be: then it is what it was. Somebody who has
    /// come meanwhile stays.
    pub(super) fn buried(
        &mut self,
        group: &str,
        changes: Vec<Change>,
        outcome: Result<(), GroupError>,
    ) {
        if let Some(found) = self.groups.get_mut(group)
            && outcome.is_ok()
            && !found.has_members()
        {
            found.classic.take_if(|classic| !classic.is_expected());
            found.consumer.take_if(|consumer| consumer.is_written());
        }
        self.settle_offsets(group, changes, outcome.is_ok());
    }

    /// Appends tombstones of offsets, in as many batches as they take.
    pub(super) fn forget_offsets(&mut self, group: &str, gone: Vec<Change>) {
        let (records, changes) = self.tombstones(group, gone);
        if !records.is_empty() {
            let then = Then::Offsets { group: group.into(), changes, answer: None };
            self.out.append(records, then);
        }
    }

    /// Appends all tombstones but those of the last batch, which are returned.
    fn tombstones(&mut self, group: &str, gone: Vec<Change>) -> (Vec<Entry>, Vec<Change>) {
        let (mut records, mut changes, mut bytes) = (Vec::new(), Vec::new(), 0);
        for change in gone {
            let record = tombstone(group, &change.topic, change.partition);
            let record = entries(&[record], usize::MAX).expect("it was written before").remove(0);
            bytes += ENTRY_BYTES + record.key.len();
            // Half of what fits, so that the group's own tombstone finds room.
            if bytes > self.settings.append_bytes_max / 2 && !records.is_empty() {
                bytes = 0;
                let changes = std::mem::take(&mut changes);
                let then = Then::Offsets { group: group.into(), changes, answer: None };
                self.out.append(std::mem::take(&mut records), then);
            }
            if let Some(found) = self.groups.get_mut(group) {
                found.offsets.begin(&change.topic, change.partition);
            }
            records.push(record);
            changes.push(change);
        }
        (records, changes)
    }

    /// Forgets offsets of a group, but those in topics that its members read. The answer has a part
    /// for each.
    pub fn delete_offsets(&mut self, ticket: Ticket, group: &str, places: &[(String, i32)]) {
        if let Err(error) = self.try_delete_offsets(ticket, group, places) {
            self.out.answer(ticket, Answer::Parts(Err(error)));
        }
    }

    fn try_delete_offsets(
        &mut self,
        ticket: Ticket,
        group: &str,
        places: &[(String, i32)],
    ) -> Result<(), GroupError> {
        let found = self.groups.get(group).ok_or(GroupError::NotFound)?;
        let classic = found.classic.as_ref();
        if classic.is_some_and(|classic| !classic.is_empty() && !classic.is_consumer()) {
            return Err(GroupError::NotEmpty);
        }
        let in_use = found.topics_read();
        let part = |(topic, _): &(String, i32)| match in_use(topic) {
            true => Err(GroupError::Subscribed),
            false => Ok(()),
        };
        let parts: Vec<_> = places.iter().map(part).collect();
        let held = |topic: &str, partition| {
            let offsets = &found.offsets;
            offsets.get(topic, partition).is_some() || offsets.is_moving(topic, partition)
        };
        let gone = places.iter().zip(&parts).filter(|(_, part)| part.is_ok());
        let changes: Vec<_> = gone
            .filter(|((topic, partition), _)| held(topic, *partition))
            .map(|((topic, partition), _)| Change {
                topic: topic.as_str().into(),
                partition: *partition,
                offset: None,
            })
            .collect();
        drop(in_use);
        let answer = Answer::Parts(Ok(parts));
        if changes.is_empty() {
            self.out.answer(ticket, answer);
            return Ok(());
        }
        self.change_offsets(group, changes, Some((ticket, answer)))
    }

    /// A topic is gone, and with it the offsets that are of it for all that is known.
    pub fn topic_deleted(&mut self, topic: &str, id: Uuid) {
        let of_it = |known: Uuid| known.is_zero() || id.is_zero() || known == id;
        let lost: Vec<_> = self
            .groups
            .iter()
            .map(|(name, group)| {
                let offsets = group
                    .offsets
                    .iter()
                    .filter(|(name, _, offset)| ***name == *topic && of_it(offset.topic_id));
                let gone = offsets.map(|(topic, partition, _)| forgotten(topic, partition));
                (name.clone(), gone.collect::<Vec<_>>())
            })
            .filter(|(_, changes)| !changes.is_empty())
            .collect();
        for (group, changes) in lost {
            self.forget_offsets(&group, changes);
        }
    }
}

fn forgotten(topic: &Rc<str>, partition: i32) -> Change {
    Change { topic: Rc::clone(topic), partition, offset: None }
}

/// What a tombstone takes in a batch beside its key.
const ENTRY_BYTES: usize = 32;
