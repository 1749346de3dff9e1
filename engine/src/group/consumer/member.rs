//! A member of a consumer group.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use wire::primitives::Uuid;

use crate::group::GroupMemory;
use crate::group::classic::Protocols;
use crate::group::memory::Charge;
use crate::rt::Instant;

/// Partitions of a member, each with the member's epoch in which it got it.
pub(super) type Held = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// What is known of a member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) profile: Profile,
    pub(super) stand: Stand,
    /// When it is taken for dead.
    pub(super) silent_at: Option<Instant>,
    /// Until when it has to have given partitions up, while it has to.
    pub(super) revoke_by: Option<Instant>,
    /// Until when a guest has to have joined again, while it has to.
    pub(super) join_by: Option<Instant>,
    /// Until when one that has joined has to have asked what it has.
    pub(super) sync_by: Option<Instant>,
    pub(super) charge: Charge,
}

/// What a member says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    /// A static member's name.
    pub(super) instance: Option<Rc<str>>,
    pub(super) rack: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    /// In order, none twice.
    pub(super) topics: Vec<Rc<str>>,
    /// Empty for none.
    pub(super) pattern: Rc<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) assignor: Option<String>,
    /// Of a member that speaks the classic protocol.
    pub(super) guest: Option<Rc<Guest>>,
}

/// What a member says in the classic protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guest {
    pub(super) session_timeout_ms: i32,
    /// At least one, each with a subscription.
    pub(super) protocols: Protocols,
}

impl Guest {
    pub(super) fn session_timeout(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.session_timeout_ms).unwrap_or(0))
    }
}

impl Profile {
    /// How long it may be silent, in a group of this pace.
    pub(super) fn session_timeout(&self, pace: super::Pace) -> Duration {
        self.guest.as_ref().map_or(pace.session_timeout, |guest| guest.session_timeout())
    }

    pub(super) fn rebalance_timeout(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.rebalance_timeout_ms).unwrap_or(0))
    }

    pub(super) fn bytes(&self) -> usize {
        let optional = [self.instance.as_deref(), self.rack.as_deref(), self.assignor.as_deref()];
        let texts = [&*self.client_id, &self.client_host, &self.pattern];
        let texts = texts.into_iter().chain(optional.into_iter().flatten()).map(str::len);
        let topics = self.topics.iter().map(|topic| NAME_BYTES + topic.len());
        let guest = self.guest.as_ref().map_or(0, |guest| guest.protocols.bytes());
        MEMBER_BYTES + guest + texts.chain(topics).sum::<usize>()
    }
}

/// How far a member has come towards what it is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stand {
    /// −2 of a static member that has left for a while.
    pub(super) epoch: i32,
    pub(super) previous_epoch: i32,
    pub(super) phase: Phase,
    /// What it has and keeps.
    pub(super) assigned: Held,
    /// What it has until it says that it has not.
    pub(super) revoking: Held,
}

/// Where a member is between two epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has what it is to have in its epoch.
    #[default]
    Stable,
    /// It has to give partitions up first.
    Unrevoked,
    /// Others have to give up what it is to have.
    Unreleased,
    /// Written by a newer release.
    Unknown,
}

impl Phase {
    pub(super) fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::Unrevoked => 1,
            Self::Unreleased => 2,
            Self::Unknown => 127,
        }
    }

    pub(super) fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::Unrevoked,
            2 => Self::Unreleased,
            _ => Self::Unknown,
        }
    }
}

impl Member {
    pub(super) fn new(memory: &Rc<GroupMemory>, profile: Profile) -> Self {
        let charge = Charge::new(memory, profile.bytes());
        let stand = Stand::default();
        let (silent_at, revoke_by, join_by, sync_by) = (None, None, None, None);
        Self { profile, stand, silent_at, revoke_by, join_by, sync_by, charge }
    }

    /// Counts its memory again, after a change; `target` partitions are to be its.
    pub(super) fn weigh(&mut self, target: usize) {
        let held = count(&self.stand.assigned) + count(&self.stand.revoking);
        self.charge.set(self.profile.bytes() + (held + target) * PARTITION_BYTES);
    }

    /// Earliest time at which it is taken for dead.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.silent_at, self.revoke_by, self.join_by, self.sync_by].into_iter().flatten().min()
    }

    /// Whether it has what it is to have in this epoch.
    pub(super) fn is_settled(&self, epoch: i32) -> bool {
        self.stand.phase == Phase::Stable && self.stand.epoch == epoch
    }
}

pub(super) fn count(held: &Held) -> usize {
    held.values().map(BTreeMap::len).sum()
}

/// Whether both have the same partitions.
pub(super) fn same_partitions(a: &Held, b: &Held) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|((a, ours), (b, theirs))| a == b && ours.keys().eq(theirs.keys()))
}

/// What a member takes beside names and partitions.
pub(super) const MEMBER_BYTES: usize = 768;
/// What a topic's name takes beside its bytes.
pub(super) const NAME_BYTES: usize = 32;
/// What a partition takes, of the member, of its target and among those that are held.
const PARTITION_BYTES: usize = 48;
