//! A shard from its log: each record in order, then [`Shard::loaded`].

use std::rc::Rc;

use wire::record::group::GroupRecord;

use super::classic::Classic;
use super::consumer::Consumer;
use super::{Now, Shard};
use crate::rt::sim::Plant;

impl Shard {
    /// Takes what one record says. What is loaded is not refused, whatever memory it takes: it was
    /// promised to be kept.
    pub fn replay(&mut self, record: GroupRecord) {
        match record {
            GroupRecord::OffsetCommit(key, value) => {
                let known = self.groups.contains_key(&*key.group);
                if value.is_none() && !known {
                    return;
                }
                let offset = value.map(Into::into);
                self.obtain(&key.group).offsets.put(&key.topic, key.partition, offset);
                self.forget_if_vacant(&key.group);
            }
            GroupRecord::GroupMetadata(key, Some(mut value)) => {
                if self.settings.planted(Plant::ForgottenGenerations) {
                    value.generation = 0;
                }
                let memory = Rc::clone(&self.memory);
                let group = self.obtain(&key.group);
                group.classic = Some(Classic::restored(value, &memory));
                group.consumer = None;
            }
            GroupRecord::GroupMetadata(key, None) => {
                if let Some(group) = self.groups.get_mut(&*key.group) {
                    group.classic = None;
                    self.forget_if_vacant(&key.group);
                }
            }
            GroupRecord::ConsumerGroup(key, None) => {
                if let Some(group) = self.groups.get_mut(&*key.group) {
                    group.consumer = None;
                    self.forget_if_vacant(&key.group);
                }
            }
            GroupRecord::ConsumerGroup(ref key, _)
            | GroupRecord::TargetAssignment(ref key, _)
            | GroupRecord::ConsumerGroupPartitions(ref key, _) => {
                self.replay_consumer(&key.group.clone(), record);
            }
            GroupRecord::ConsumerMember(ref key, _)
            | GroupRecord::TargetAssignmentMember(ref key, _)
            | GroupRecord::CurrentAssignment(ref key, _) => {
                self.replay_consumer(&key.group.clone(), record);
            }
            GroupRecord::RegularExpression(ref key, _) => {
                self.replay_consumer(&key.group.clone(), record);
            }
        }
    }

    /// A tombstone may be all that is left of a group that there was.
    fn replay_consumer(&mut self, group: &str, record: GroupRecord) {
        let memory = Rc::clone(&self.memory);
        let known = self.groups.get(group).is_some_and(|group| group.consumer.is_some());
        if !known && record.version().is_none() {
            return;
        }
        let group = self.obtain(group);
        group.classic = None;
        group.consumer.get_or_insert_with(|| Box::new(Consumer::new())).replay(record, &memory);
    }

    /// The log has been read: the members' sessions begin anew.
    pub fn loaded(&mut self, now: Now) {
        let names: Vec<_> = self.groups.keys().cloned().collect();
        for name in names {
            self.turn(now, &name, |group, turn| {
                if let Some(classic) = &mut group.classic {
                    classic.resume(turn);
                }
                if let Some(consumer) = &mut group.consumer {
                    consumer.resume(turn);
                }
            });
        }
    }

    fn forget_if_vacant(&mut self, group: &str) {
        if self.groups.get(group).is_some_and(super::Group::is_vacant) {
            self.forget(&group.into());
        }
    }
}
