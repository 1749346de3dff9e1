//! A shard from its log: each record in order, then [`Shard::loaded`].

use std::rc::Rc;

use wire::record::group::GroupRecord;

use super::classic::Classic;
use super::{Now, Shard};

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
            GroupRecord::GroupMetadata(key, Some(value)) => {
                let memory = Rc::clone(&self.memory);
                self.obtain(&key.group).classic = Some(Classic::restored(value, &memory));
            }
            GroupRecord::GroupMetadata(key, None) => {
                if let Some(group) = self.groups.get_mut(&*key.group) {
                    group.classic = None;
                    self.forget_if_vacant(&key.group);
                }
            }
        }
    }

    /// The log has been read: the members' sessions begin anew.
    pub fn loaded(&mut self, now: Now) {
        let names: Vec<_> = self.groups.keys().cloned().collect();
        for name in names {
            self.turn(now, &name, |group, turn| {
                if let Some(classic) = &mut group.classic {
                    classic.resume(turn);
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
