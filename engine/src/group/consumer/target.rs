//! What the members are to have.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use wire::primitives::Uuid;

use super::member::Profile;
use super::{Consumer, Key, TopicSource, Turn};
use crate::group::GroupError;
use crate::group::assign::{Assignor, Claim, Partitions};

impl Consumer {
    /// Computes it for the group's epoch, unless that was done or has been done only a moment ago.
    ///
    /// # Errors
    /// A member's share is more than a record can hold: the former target stays.
    pub(super) fn aim(&mut self, turn: &Turn<'_>) -> Result<(), GroupError> {
        let settings = &turn.settings.consumer;
        if !self.is_aim_due(turn) {
            return Ok(());
        }
        let assignor = self.assignor().or(settings.assignors.first().copied());
        let dealt = self.deal(assignor.unwrap_or(Assignor::Uniform), turn.topics);
        let max = turn.settings.append_bytes_max;
        for (id, partitions) in self.members.keys().zip(&dealt) {
            let bytes = RECORD_BYTES
                + turn.name.len()
                + id.len()
                + partitions.values().map(|ids| TOPIC_BYTES + 4 * ids.len()).sum::<usize>();
            if bytes > max {
                return Err(GroupError::TooLarge { bytes, max });
            }
        }
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for (id, partitions) in ids.into_iter().zip(dealt) {
            if self.targets.get(&id) != Some(&partitions) {
                self.targets.insert(Rc::clone(&id), partitions);
                self.touch(Key::TargetOf(Rc::clone(&id)));
                self.weigh(&id);
            }
        }
        self.target_epoch = self.epoch;
        self.target_ms = turn.now.wall_ms;
        self.touch(Key::Target);
        Ok(())
    }

    /// Whether the target is behind the group's epoch, and may be computed again.
    pub(super) fn is_aim_due(&self, turn: &Turn<'_>) -> bool {
        let since_ms = turn.now.wall_ms - self.target_ms;
        let rests = (0..turn.pace().assignment_interval_ms).contains(&since_ms);
        self.epoch > self.target_epoch && !rests
    }

    fn deal(&self, assignor: Assignor, topics: &dyn TopicSource) -> Vec<Partitions> {
        let mut counts = BTreeMap::new();
        // Members with equal subscriptions share what these stand for.
        let mut known: BTreeMap<Subscription<'_>, Rc<BTreeSet<Uuid>>> = BTreeMap::new();
        let mut claims = Vec::with_capacity(self.members.len());
        for (id, member) in &self.members {
            let profile = &member.profile;
            let reads = known
                .entry((&*profile.topics, &*profile.pattern))
                .or_insert_with(|| Rc::new(self.ids_of(profile, topics, &mut counts)));
            claims.push(Claim {
                id,
                instance: profile.instance.as_deref(),
                topics: Rc::clone(reads),
                had: self.targets.get(id),
            });
        }
        assignor.assign(&claims, &counts)
    }

    fn ids_of(
        &self,
        profile: &Profile,
        topics: &dyn TopicSource,
        counts: &mut BTreeMap<Uuid, i32>,
    ) -> BTreeSet<Uuid> {
        let named = profile.topics.iter().map(|name| &**name);
        let resolved = self.resolved.get(&profile.pattern);
        let found = resolved.into_iter().flat_map(|it| it.topics.iter().map(String::as_str));
        let ids = named.chain(found).filter_map(|name| {
            let (id, count) = topics.find(name)?;
            counts.insert(id, count);
            Some(id)
        });
        ids.collect()
    }
}

/// Names of topics, and an expression.
type Subscription<'a> = (&'a [Rc<str>], &'a str);

/// What a record takes in a batch beside names and partitions.
pub(super) const RECORD_BYTES: usize = 64;
/// What a topic takes in it beside its partitions.
const TOPIC_BYTES: usize = 24;
