//! What members read: topics by name, and those that an expression stands for.

use std::collections::BTreeSet;
use std::rc::Rc;

use wire::primitives::Uuid;

use super::member::{NAME_BYTES, Profile};
use super::target::RECORD_BYTES;
use super::{Consumer, Key, TopicSource, Turn};
use crate::group::memory::Charge;
use crate::group::out::Effect;
use crate::group::pattern::Pattern;
use crate::group::{GroupError, GroupMemory, Now, Shard};

/// The topics that an expression stands for.
#[derive(Debug)]
pub(super) struct Resolved {
    /// Their names.
    pub(super) topics: BTreeSet<String>,
    /// The metadata that they were found in; see [`TopicSource::version`].
    pub(super) version: i64,
    /// When, Unix ms.
    pub(super) at_ms: i64,
    _charge: Charge,
}

impl Resolved {
    pub(super) fn new(
        memory: &Rc<GroupMemory>,
        topics: BTreeSet<String>,
        version: i64,
        at_ms: i64,
    ) -> Self {
        let _charge = Charge::new(memory, topics.iter().map(|name| NAME_BYTES + name.len()).sum());
        Self { topics, version, at_ms, _charge }
    }
}

impl Shard {
    /// It was found out what a group's expressions stand for, in the metadata of this version; see
    /// [`Effect::Resolve`].
    pub fn resolved(
        &mut self,
        now: Now,
        group: &str,
        version: i64,
        found: Vec<(Rc<str>, BTreeSet<String>)>,
    ) {
        self.turn(now, group, |group, turn| {
            if let Some(consumer) = &mut group.consumer {
                consumer.take_resolved(turn, version, found);
            }
        });
    }
}

impl Consumer {
    fn take_resolved(
        &mut self,
        turn: &mut Turn<'_>,
        version: i64,
        found: Vec<(Rc<str>, BTreeSet<String>)>,
    ) {
        self.resolving = false;
        let mut changed = false;
        for (pattern, topics) in found {
            // Nobody may have it any more.
            if !self.patterns.contains_key(&pattern) {
                continue;
            }
            let former = self.resolved.get(&pattern);
            let topics = match refusal(turn, &pattern, &topics) {
                None => topics,
                Some(error) => {
                    let group = &**turn.name;
                    tracing::warn!(group, %pattern, topics = topics.len(), %error, "an expression \
                        stands for more topics than can be kept; those known before stay");
                    former.map(|former| former.topics.clone()).unwrap_or_default()
                }
            };
            changed |= former.map_or(!topics.is_empty(), |former| former.topics != topics);
            // That nothing has changed is not worth a record.
            if former.is_none_or(|former| former.topics != topics) {
                self.touch(Key::Pattern(Rc::clone(&pattern)));
            }
            let resolved = Resolved::new(turn.memory, topics, version, turn.now.wall_ms);
            self.resolved.insert(pattern, resolved);
        }
        if changed {
            self.bump(turn.topics);
        }
        self.flush(turn, None);
    }

    /// Asks for the expressions to be looked through again, if that may tell something new.
    pub(super) fn resolve_if_due(&mut self, turn: &mut Turn<'_>) {
        if self.resolving || self.patterns.is_empty() {
            return;
        }
        let last = self.resolved.values().map(|resolved| resolved.at_ms).max().unwrap_or(0);
        let since_ms = turn.now.wall_ms - last;
        if (0..PATTERN_INTERVAL_MS).contains(&since_ms) {
            return;
        }
        let version = turn.topics.version();
        let unresolved = self.patterns.keys().any(|it| !self.resolved.contains_key(it));
        let outdated = self.resolved.values().any(|resolved| resolved.version != version);
        let old = since_ms >= turn.settings.consumer.pattern_refresh_ms;
        if unresolved || outdated || old {
            self.resolving = true;
            let patterns = self.patterns.keys().cloned().collect();
            let group = Rc::clone(turn.name);
            turn.out.effects.push_back(Effect::Resolve { group, patterns });
        }
    }

    /// Whether a member with a new profile makes the members be assigned anew.
    ///
    /// # Errors
    /// The expression is none.
    pub(super) fn judge(&self, former: &Profile, profile: &Profile) -> Result<bool, GroupError> {
        let mut anew = former.topics != profile.topics;
        if former.pattern != profile.pattern {
            let pattern = &profile.pattern;
            anew |= pattern.is_empty() || self.resolved.contains_key(pattern);
            if !pattern.is_empty() && !self.patterns.contains_key(pattern) {
                Pattern::new(pattern)?;
            }
        }
        Ok(anew)
    }

    /// Counts a member among those who read its topics.
    pub(super) fn subscribe(&mut self, profile: &Profile) {
        for topic in &profile.topics {
            *self.readers.entry(Rc::clone(topic)).or_default() += 1;
        }
        if !profile.pattern.is_empty() {
            *self.patterns.entry(Rc::clone(&profile.pattern)).or_default() += 1;
        }
    }

    /// Counts it out again.
    pub(super) fn unsubscribe(&mut self, profile: &Profile) {
        for topic in &profile.topics {
            if let Some(count) = self.readers.get_mut(topic) {
                *count -= 1;
                if *count == 0 {
                    self.readers.remove(topic);
                }
            }
        }
        let pattern = &profile.pattern;
        if let Some(count) = self.patterns.get_mut(pattern) {
            *count -= 1;
            if *count == 0 {
                self.patterns.remove(pattern);
            }
        }
    }

    /// An expression that nobody has is forgotten.
    pub(super) fn forget_if_unused(&mut self, pattern: &Rc<str>) {
        if !self.patterns.contains_key(pattern) && self.resolved.remove(pattern).is_some() {
            self.touch(Key::Pattern(Rc::clone(pattern)));
        }
    }

    /// Whether a member with this profile reads the topic.
    pub(super) fn covers(&self, profile: &Profile, topics: &dyn TopicSource, id: Uuid) -> bool {
        let Some(name) = topics.name(id) else { return false };
        let by_name = profile.topics.binary_search_by(|topic| (**topic).cmp(&name)).is_ok();
        by_name || self.resolved.get(&profile.pattern).is_some_and(|it| it.topics.contains(&*name))
    }
}

/// Why what an expression stands for cannot be kept: in memory, or in a record.
fn refusal(turn: &Turn<'_>, pattern: &str, topics: &BTreeSet<String>) -> Option<GroupError> {
    let names: usize = topics.iter().map(String::len).sum();
    let bytes = RECORD_BYTES + turn.name.len() + pattern.len() + names + topics.len() * LEN_BYTES;
    let max = turn.settings.append_bytes_max;
    match bytes > max {
        true => Some(GroupError::TooLarge { bytes, max }),
        false => turn.memory.admit(names + topics.len() * NAME_BYTES).err(),
    }
}

/// What a name's length takes in a record, at most.
const LEN_BYTES: usize = 2;

/// Expressions are not looked through more often than this, however often topics come.
const PATTERN_INTERVAL_MS: i64 = 10_000;
