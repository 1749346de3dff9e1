//! Offsets, and groups, that nobody has used for long.

use super::offsets::{Change, CommittedOffset};
use super::{Group, GroupSettings, Now, Shard};

impl Shard {
    /// Forgets what has expired: offsets older than `offsets.retention.minutes` of groups that do not
    /// read their topic any more, and groups that have neither members nor offsets left.
    pub fn expire_offsets(&mut self, now: Now) {
        let names: Vec<_> = self.groups.keys().cloned().collect();
        for name in names {
            let Some(group) = self.groups.get(&name) else { continue };
            let expired = group.expired(now, &self.settings);
            let all = expired.len() == group.offsets.places().count();
            if all && !group.has_members() && !group.is_young(now) {
                self.bury(&name, None);
            } else if !expired.is_empty() {
                self.forget_offsets(&name, expired);
            }
        }
    }
}

impl Group {
    fn expired(&self, now: Now, settings: &GroupSettings) -> Vec<Change> {
        let Some(base) = self.base() else { return Vec::new() };
        let read = self.topics_read();
        let due = |topic: &str, offset: &CommittedOffset| {
            let in_use = read(topic);
            let over = match (offset.expire_ms, base) {
                (-1, Base::Commit) => now.wall_ms - offset.commit_ms >= settings.retention_ms,
                (-1, Base::At(since_ms)) => now.wall_ms - since_ms >= settings.retention_ms,
                (at, _) => now.wall_ms >= at,
            };
            over && !in_use
        };
        let expired = self.offsets.iter().filter(|(topic, partition, offset)| {
            due(topic, offset) && !self.offsets.is_moving(topic, *partition)
        });
        let change = |(topic, partition, _): (&std::rc::Rc<str>, i32, &CommittedOffset)| Change {
            topic: topic.clone(),
            partition,
            offset: None,
        };
        expired.map(change).collect()
    }

    /// What the time of the group's offsets is counted from; none while they do not expire.
    fn base(&self) -> Option<Base> {
        let Some(classic) = &self.classic else { return Some(Base::Commit) };
        if classic.is_empty() {
            let typed = !classic.protocol_type().is_empty();
            return Some(match classic.since_ms() {
                since if typed && since >= 0 => Base::At(since),
                _ => Base::Commit,
            });
        }
        (classic.is_consumer() && classic.is_stable()).then_some(Base::Commit)
    }

    /// Whether somebody is about to join, or a record is under way.
    fn is_young(&self, now: Now) -> bool {
        let joining = self.classic.as_ref().is_some_and(|classic| classic.is_expected());
        joining || self.offsets.places().any(|(topic, id)| self.offsets.is_moving(topic, id)) || {
            // Made a moment ago, by a member that has not come back yet.
            let since = self.classic.as_ref().map_or(-1, |classic| classic.since_ms());
            since >= 0 && now.wall_ms - since < YOUNG_MS
        }
    }
}

#[derive(Clone, Copy)]
enum Base {
    /// Each offset's commit.
    Commit,
    /// When the group became empty, Unix ms.
    At(i64),
}

/// A group is not forgotten while a client may be between two of its first requests.
const YOUNG_MS: i64 = 60_000;
