//! From what a member has to what it is to have, a step with each of its heartbeats.
//!
//! ```text
//!                 it has to give something up             it has, or has let it go by now
//!      Stable ─────────────────────────────▶ Unrevoked ──────────────────────────────────┐
//!      ▲  │ ▲                                    ▲                                       │
//!      │  │ └───────── others gave it up ─────┐  │ the target changed                    │
//!      │  └──────── others have it still ──▶ Unreleased ◀────────────────────────────────┤
//!      └─────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A partition is free for another member when its former one has said that it has not got it any
//! more, so no two have it at once.

use std::collections::BTreeMap;

use wire::primitives::Uuid;

use super::member::{Held, Phase, Stand};
use crate::group::assign::Partitions;

/// What a step depends on.
pub(super) struct Step<'a> {
    /// What the member says it has; none where it does not say.
    pub(super) owned: Option<&'a Partitions>,
    /// What it is to have, and the epoch that it has then.
    pub(super) target: Option<&'a Partitions>,
    pub(super) target_epoch: i32,
    /// It reads other topics than before.
    pub(super) subscribed_anew: bool,
    /// Whether it reads a topic.
    pub(super) reads: &'a dyn Fn(Uuid) -> bool,
    /// Whether somebody has a partition, or has to give it up.
    pub(super) is_held: &'a dyn Fn(Uuid, i32) -> bool,
}

impl Step<'_> {
    /// What the member becomes; none where nothing changes.
    pub(super) fn of(&self, stand: &Stand) -> Option<Stand> {
        match stand.phase {
            Phase::Stable if stand.epoch != self.target_epoch => self.next(stand, stand.epoch),
            Phase::Stable if self.subscribed_anew => self.narrow(stand),
            Phase::Stable => None,
            Phase::Unrevoked if self.owns_any(&stand.revoking) => match self.subscribed_anew {
                true => self.narrow(stand),
                false => None,
            },
            Phase::Unrevoked => self.next(stand, stand.epoch + 1),
            Phase::Unreleased => self.next(stand, stand.epoch),
            Phase::Unknown if self.owns_any(&stand.revoking) => None,
            Phase::Unknown => self.next(stand, self.target_epoch),
        }
        .filter(|next| next != stand)
    }

    /// One that does not say owns everything.
    fn owns_any(&self, held: &Held) -> bool {
        let Some(owned) = self.owned else { return !held.is_empty() };
        held.iter().any(|(topic, partitions)| {
            let owned = owned.get(topic);
            owned.is_some_and(|owned| partitions.keys().any(|id| owned.contains(id)))
        })
    }

    /// Towards the target: first what has to go, then what is free.
    fn next(&self, stand: &Stand, epoch: i32) -> Option<Stand> {
        let (mut keep, mut revoke) = (Held::new(), Held::new());
        for (topic, partitions) in &stand.assigned {
            let target = self.target.and_then(|target| target.get(topic));
            let target = target.filter(|_| (self.reads)(*topic));
            for (partition, since) in partitions {
                let stays = target.is_some_and(|target| target.contains(partition));
                let to = if stays { &mut keep } else { &mut revoke };
                to.entry(*topic).or_default().insert(*partition, *since);
            }
        }
        let turned = |phase, epoch, assigned, revoking| {
            Some(Stand { epoch, previous_epoch: stand.epoch, phase, assigned, revoking })
        };
        if !revoke.is_empty() && self.owns_any(&revoke) {
            return turned(Phase::Unrevoked, epoch, keep, revoke);
        }
        let mut unreleased = false;
        let mut added: BTreeMap<Uuid, BTreeMap<i32, i32>> = BTreeMap::new();
        for (topic, partitions) in self.target.into_iter().flatten() {
            if !(self.reads)(*topic) {
                continue;
            }
            let kept = keep.get(topic);
            for partition in partitions {
                if kept.is_some_and(|kept| kept.contains_key(partition)) {
                    continue;
                }
                match (self.is_held)(*topic, *partition) {
                    true => unreleased = true,
                    false => {
                        added.entry(*topic).or_default().insert(*partition, self.target_epoch);
                    }
                }
            }
        }
        for (topic, partitions) in added {
            keep.entry(topic).or_default().extend(partitions);
        }
        let phase = if unreleased { Phase::Unreleased } else { Phase::Stable };
        turned(phase, self.target_epoch, keep, Held::new())
    }

    /// Without what it does not read any more; a new target is yet to come.
    fn narrow(&self, stand: &Stand) -> Option<Stand> {
        let (keep, lost): (Held, Held) =
            stand.assigned.clone().into_iter().partition(|(topic, _)| (self.reads)(*topic));
        if lost.is_empty() {
            return None;
        }
        let mut next = Stand { assigned: keep, ..stand.clone() };
        if self.owns_any(&lost) {
            next.phase = Phase::Unrevoked;
            for (topic, partitions) in lost {
                next.revoking.entry(topic).or_default().extend(partitions);
            }
        }
        Some(next)
    }
}
