//! How far a group has come, by topic and partition.
//!
//! An offset counts when its record is acknowledged. Until then the partition's place is kept with
//! the number of records under way, so that a deletion in between reaches it too: records take
//! effect in the order of the log.

use std::collections::BTreeMap;
use std::rc::Rc;

use wire::primitives::Uuid;
use wire::record::group::{GroupRecord, OffsetCommitKey, OffsetCommitValue};

use super::GroupMemory;
use super::memory::Charge;

/// An offset that a group has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Of the next record to read.
    pub offset: i64,
    /// Of the last record read; −1 for unknown.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: Box<str>,
    /// Unix ms.
    pub commit_ms: i64,
    /// Unix ms; −1 for as the broker's settings say.
    pub expire_ms: i64,
    /// The topic's id at that time; zero for unknown.
    pub topic_id: Uuid,
}

impl CommittedOffset {
    /// As it is stored.
    pub(super) fn record(&self, group: &str, topic: &str, partition: i32) -> GroupRecord {
        let key = OffsetCommitKey { group: group.to_owned(), topic: topic.to_owned(), partition };
        let value = OffsetCommitValue {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: self.metadata.to_string(),
            commit_timestamp: self.commit_ms,
            expire_timestamp: self.expire_ms,
            topic_id: self.topic_id,
        };
        GroupRecord::OffsetCommit(key, Some(value))
    }

    fn bytes(&self) -> usize {
        self.metadata.len()
    }
}

impl From<OffsetCommitValue> for CommittedOffset {
    fn from(value: OffsetCommitValue) -> Self {
        Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.into(),
            commit_ms: value.commit_timestamp,
            expire_ms: value.expire_timestamp,
            topic_id: value.topic_id,
        }
    }
}

/// The record that says that an offset is forgotten.
pub(super) fn tombstone(group: &str, topic: &str, partition: i32) -> GroupRecord {
    let key = OffsetCommitKey { group: group.to_owned(), topic: topic.to_owned(), partition };
    GroupRecord::OffsetCommit(key, None)
}

/// One partition's change, under way.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) topic: Rc<str>,
    pub(super) partition: i32,
    /// None where it is forgotten.
    pub(super) offset: Option<CommittedOffset>,
}

/// The offsets of one group.
#[derive(Debug)]
pub(super) struct Offsets {
    topics: BTreeMap<Rc<str>, BTreeMap<i32, Slot>>,
    charge: Charge,
}

#[derive(Debug, Default)]
struct Slot {
    committed: Option<CommittedOffset>,
    /// Records appended and not acknowledged.
    under_way: u32,
}

impl Offsets {
    pub(super) fn new(memory: &Rc<GroupMemory>) -> Self {
        Self { topics: BTreeMap::new(), charge: Charge::new(memory, 0) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The committed offset.
    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)?.committed.as_ref()
    }

    /// All committed offsets.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Rc<str>, i32, &CommittedOffset)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            let committed = partitions.iter();
            committed.filter_map(move |(id, slot)| Some((topic, *id, slot.committed.as_ref()?)))
        })
    }

    /// Every partition that has an offset, or will have.
    pub(super) fn places(&self) -> impl Iterator<Item = (&Rc<str>, i32)> {
        self.topics
            .iter()
            .flat_map(|(topic, partitions)| partitions.keys().map(move |id| (topic, *id)))
    }

    /// Whether a record of the partition is under way.
    pub(super) fn is_moving(&self, topic: &str, partition: i32) -> bool {
        let slot = self.topics.get(topic).and_then(|partitions| partitions.get(&partition));
        slot.is_some_and(|slot| slot.under_way > 0)
    }

    /// What `more` changes may take.
    pub(super) fn bytes_of(changes: &[Change]) -> usize {
        let bytes = |change: &Change| {
            let note = change.offset.as_ref().map_or(0, CommittedOffset::bytes);
            SLOT_BYTES + change.topic.len() + note
        };
        changes.iter().map(bytes).sum()
    }

    /// A change's record is appended. Returns the topic's name to be shared.
    pub(super) fn begin(&mut self, topic: &str, partition: i32) -> Rc<str> {
        let (name, slot) = self.slot(topic, partition);
        slot.under_way += 1;
        name
    }

    /// A change's record was acknowledged, or was not written.
    pub(super) fn settle(&mut self, change: Change, written: bool) {
        let (_, slot) = self.slot(&change.topic, change.partition);
        slot.under_way = slot.under_way.saturating_sub(1);
        if written {
            self.put(&change.topic, change.partition, change.offset);
        } else {
            self.tidy(&change.topic, change.partition);
        }
    }

    /// What a record in the log says.
    pub(super) fn put(&mut self, topic: &str, partition: i32, offset: Option<CommittedOffset>) {
        let more = offset.as_ref().map_or(0, CommittedOffset::bytes);
        let (_, slot) = self.slot(topic, partition);
        let less = slot.committed.as_ref().map_or(0, CommittedOffset::bytes);
        slot.committed = offset;
        self.charge.add(more);
        self.charge.sub(less);
        self.tidy(topic, partition);
    }

    fn slot(&mut self, topic: &str, partition: i32) -> (Rc<str>, &mut Slot) {
        let name = match self.topics.get_key_value(topic) {
            Some((name, _)) => Rc::clone(name),
            None => {
                self.charge.add(SLOT_BYTES + topic.len());
                Rc::from(topic)
            }
        };
        let partitions = self.topics.entry(Rc::clone(&name)).or_default();
        let slot = partitions.entry(partition).or_insert_with(|| {
            self.charge.add(SLOT_BYTES);
            Slot::default()
        });
        (name, slot)
    }

    /// Removes a place that holds nothing.
    fn tidy(&mut self, topic: &str, partition: i32) {
        let Some(partitions) = self.topics.get_mut(topic) else { return };
        let held = |slot: &Slot| slot.committed.is_some() || slot.under_way > 0;
        if partitions.get(&partition).is_some_and(|slot| !held(slot)) {
            partitions.remove(&partition);
            self.charge.sub(SLOT_BYTES);
        }
        if partitions.is_empty() {
            self.topics.remove(topic);
            self.charge.sub(SLOT_BYTES + topic.len());
        }
    }
}

/// What an offset takes beside its note.
const SLOT_BYTES: usize = 160;
