//! A group with members changes its protocol, while they go on.
//!
//! ```text
//!             the first member comes that speaks KIP-848's protocol
//!   classic ────────────────────────────────────────────────────────▶ consumer
//!           ◀────────────────────────────────────────────────────────
//!             the last one of these goes, and guests are left
//! ```
//!
//! Members take over what they have. In a consumer group those of the classic protocol are
//! [guests](super::consumer): the broker assigns to them too. All records of a change are one batch: a
//! group is never found half changed.

use std::rc::Rc;
use std::time::Duration;

use super::classic::{Classic, Protocols};
use super::consumer::{Consumer, Key};
use super::out::{Answer, Then, entries};
use super::subscription::ByTopic;
use super::{Group, GroupError, Ticket, Turn};
use crate::rt::Instant;

/// Which groups with members may change their protocol: `group.consumer.migration.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// None.
    Disabled,
    /// Classic ones, to KIP-848's.
    Upgrade,
    /// Those of KIP-848, to the classic protocol.
    Downgrade,
    /// All.
    Bidirectional,
}

impl MigrationPolicy {
    /// The policy of Kafka's name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Disabled, Self::Upgrade, Self::Downgrade, Self::Bidirectional];
        all.into_iter().find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Upgrade => "upgrade",
            Self::Downgrade => "downgrade",
            Self::Bidirectional => "bidirectional",
        }
    }

    fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    fn downgrades(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// A member, as both protocols know it.
#[derive(Debug)]
pub(super) struct Migrant {
    pub(super) id: Rc<str>,
    pub(super) instance: Option<Rc<str>>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocols: Protocols,
    /// What it has of a classic group, or is to have of a consumer group.
    pub(super) assigned: ByTopic,
}

/// Tombstones that could not be written: what they forget is of a consumer group that there is no
/// more.
#[derive(Debug, Default)]
pub(super) struct Owed {
    keys: Vec<Key>,
    /// When to write them again.
    pub(super) again: Option<Instant>,
}

impl Owed {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Group {
    /// The consumer group that this one becomes.
    ///
    /// # Errors
    /// It stays what it is.
    pub(super) fn upgraded(&self, turn: &mut Turn<'_>) -> Result<Consumer, GroupError> {
        let mut consumer = Consumer::new();
        // What it could not forget yet comes first.
        self.owed.keys.iter().for_each(|key| consumer.touch(key.clone()));
        let Some(classic) = &self.classic else { return Ok(consumer) };
        consumer.touch(Key::Classic);
        if classic.is_empty() {
            return Ok(consumer);
        }
        let settings = &turn.settings.consumer;
        let refusal = if !settings.migration.upgrades() {
            Some("online upgrade is disabled")
        } else if !classic.is_consumer() {
            Some("the group does not use the consumer embedded protocol")
        } else if classic.len() > settings.members_max {
            Some("the group size exceeds the consumer group maximum size")
        } else {
            None
        };
        refusal.map_or(Ok(()), |why| Err(GroupError::NotUpgraded(why)))?;
        consumer.take_in(turn, classic.generation(), classic.migrants()?)?;
        Ok(consumer)
    }

    /// Ends a turn in which a consumer group may have changed: when only guests are left it becomes a
    /// classic one. The answer waits for the records.
    pub(super) fn finish(&mut self, turn: &mut Turn<'_>, answer: Option<(Ticket, Answer)>) {
        let Some(consumer) = &mut self.consumer else { return };
        let lost = consumer.take_lost();
        let alone = consumer.is_left_to_guests()
            && turn.settings.consumer.migration.downgrades()
            && consumer.len() <= turn.settings.members_max;
        if alone && let Some(classic) = consumer.downgraded(turn) {
            return self.downgrade(turn, classic, answer);
        }
        if lost {
            consumer.bump(turn.topics);
        }
        consumer.flush(turn, answer);
    }

    fn downgrade(
        &mut self,
        turn: &mut Turn<'_>,
        (mut classic, batch): (Classic, Batch),
        answer: Option<(Ticket, Answer)>,
    ) {
        let settled = self.consumer.take().is_some_and(|consumer| consumer.is_settled());
        let (joiner, answer) = match answer {
            // Not all have what they are to have: they join a new generation, and so does it.
            Some((ticket, Answer::Joined(Ok(joined)))) if !settled => {
                (Some((ticket, joined.member)), None)
            }
            answer => (None, answer),
        };
        let joins = matches!(answer, Some((_, Answer::Joined(Ok(_)))));
        let (group, answers) = (Rc::clone(turn.name), answer.into_iter().collect());
        let (keys, records) = batch;
        turn.out.append(records, Then::Consumer { group, keys, answers });
        // A static member that takes its own place disturbs nobody.
        classic.take_over(turn, !joins, joiner);
        self.classic = Some(classic);
    }

    /// Forgets an empty consumer group.
    pub(super) fn end_consumer(&mut self, turn: &mut Turn<'_>) {
        let Some(consumer) = self.consumer.take() else { return };
        let keys = consumer.all_keys();
        self.append_tombstones(turn, keys);
    }

    fn append_tombstones(&self, turn: &mut Turn<'_>, keys: Vec<Key>) {
        let records: Vec<_> = keys.iter().map(|key| key.tombstone(turn.name)).collect();
        let records = entries(&records, usize::MAX).expect("names were checked when they came");
        let group = Rc::clone(turn.name);
        turn.out.append(records, Then::Consumer { group, keys, answers: Vec::new() });
    }

    /// Records of a consumer group are kept, or could not be. Those are written again, as what is
    /// true by then.
    pub(super) fn written(
        &mut self,
        turn: &mut Turn<'_>,
        keys: Vec<Key>,
        outcome: Result<(), GroupError>,
    ) {
        match &mut self.consumer {
            Some(consumer) => consumer.written(turn, keys, outcome),
            None if outcome.is_err() => {
                // Of the classic group that it is by now there are records of its own.
                self.owed.keys.extend(keys.into_iter().filter(|key| *key != Key::Classic));
                self.owed.again = Some(turn.arm(WRITE_AGAIN_AFTER));
            }
            None => {}
        }
    }

    /// Writes again what could not be written.
    pub(super) fn pay(&mut self, turn: &mut Turn<'_>) {
        let due = self.owed.again.is_some_and(|at| at <= turn.now.at);
        if due && self.consumer.is_none() {
            let keys = std::mem::take(&mut self.owed).keys;
            self.append_tombstones(turn, keys);
        }
    }
}

/// Why a group stays classic: what its members say, or their leader, cannot be read.
pub(super) const MALFORMED: GroupError =
    GroupError::NotUpgraded("the embedded consumer protocol is malformed");
/// Its leader keeps data of its own, which nobody could keep in a consumer group.
pub(super) const CUSTOM_ASSIGNOR: GroupError = GroupError::NotUpgraded(
    "an unsupported custom assignor is in use. Please refer to the documentation or switch to a \
     default assignor before re-attempting the upgrade",
);

/// Records, and what they are of.
pub(super) type Batch = (Vec<Key>, Vec<super::Entry>);

/// How long to wait before what could not be written is written again.
pub(super) const WRITE_AGAIN_AFTER: Duration = Duration::from_secs(1);
