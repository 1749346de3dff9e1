//! Roles, and how far each kind of reader may see.

use super::Partition;
use super::read::ReadBound;
use crate::error::{AppendError, LogError};
use crate::ids::{LeaderEpoch, Offset};
use crate::rt::sim::Plant;

/// A leader's knowledge of its partition when it takes office, and whenever the in-sync set
/// changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderSpec {
    /// The epoch of this leadership.
    pub epoch: LeaderEpoch,
    /// Assigned replicas, this one included.
    pub replica_count: u32,
    /// Members of the in-sync set, this one included.
    pub isr_count: u32,
    /// `min.insync.replicas` as configured; the replica count bounds it, as in Kafka.
    pub min_isr: u32,
}

/// What a follower is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerSpec {
    /// The epoch of the leadership that is followed.
    pub epoch: LeaderEpoch,
}

/// The positions of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// First offset that may be read.
    pub log_start: Offset,
    /// The offset that the next record gets.
    pub log_end: Offset,
    /// Everything below survives a power loss on this broker.
    pub synced: Offset,
    /// Everything below is acknowledged.
    pub high_watermark: Offset,
    /// No transaction is undecided below.
    pub last_stable: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Opened, or closed.
    None,
    Leader {
        spec: LeaderSpec,
        /// The smallest offset that the other members of the in-sync set have fetched.
        others: Option<i64>,
    },
    Follower(FollowerSpec),
}

impl LeaderSpec {
    /// In-sync replicas that `acks=all` asks for.
    #[must_use]
    pub fn min_isr_effective(&self) -> u32 {
        self.min_isr.min(self.replica_count)
    }
}

impl Partition {
    /// Takes the lead, or learns of a changed in-sync set under the same epoch. A new epoch starts
    /// at the log's end.
    pub fn become_leader(&self, spec: LeaderSpec) {
        if self.is_past(spec.epoch) {
            return;
        }
        let before = *self.role.borrow();
        let spec = match self.leader_epoch() {
            LeaderEpoch::NONE => spec,
            stale if self.cx.rt.planted(Plant::StaleEpoch) => LeaderSpec { epoch: stale, ..spec },
            _ => spec,
        };
        let log_end = self.log.log_end();
        self.log.start_epoch(spec.epoch.0, log_end);
        let others = match before {
            Role::Leader { spec: old, others } if old.epoch == spec.epoch => others,
            _ => None,
        };
        *self.role.borrow_mut() = Role::Leader { spec, others };
        self.changed();
        self.on_progress();
    }

    /// Whether a leadership is over, and said so: batches of it behind those of a later one would
    /// not be taken for part of the log after a crash.
    fn is_past(&self, epoch: LeaderEpoch) -> bool {
        let newest =
            self.log.epochs(|epochs| epochs.latest()).map_or(LeaderEpoch::NONE, LeaderEpoch);
        let past = epoch < newest.max(self.leader_epoch());
        if past {
            let (name, newest) = (self.name(), newest.0);
            tracing::error!(partition = &*name, epoch = epoch.0, newest, "an epoch that is over");
        }
        past
    }

    /// Follows the leader of `spec.epoch` from now on. Whoever waits here is told to go there.
    pub fn become_follower(&self, spec: FollowerSpec) {
        if spec.epoch < self.leader_epoch() {
            return;
        }
        *self.role.borrow_mut() = Role::Follower(spec);
        self.changed();
    }

    /// Tells a leader that every other member of the in-sync set has all below `fetched`.
    pub fn others_reached(&self, fetched: Offset) {
        if let Role::Leader { others, .. } = &mut *self.role.borrow_mut() {
            *others = Some(fetched.0);
        }
        self.on_progress();
    }

    pub(super) fn end_role(&self) {
        *self.role.borrow_mut() = Role::None;
        self.changed();
    }

    /// The epoch of the role in force; [`LeaderEpoch::NONE`] without one.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        match *self.role.borrow() {
            Role::None => LeaderEpoch::NONE,
            Role::Leader { spec, .. } => spec.epoch,
            Role::Follower(spec) => spec.epoch,
        }
    }

    /// Whether this broker leads the partition.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        matches!(*self.role.borrow(), Role::Leader { .. })
    }

    /// What this broker knows as the leader; none where it does not lead.
    #[must_use]
    pub fn leadership(&self) -> Option<LeaderSpec> {
        self.leader().ok()
    }

    pub(super) fn leader(&self) -> Result<LeaderSpec, AppendError> {
        match *self.role.borrow() {
            Role::Leader { spec, .. } => Ok(spec),
            _ => Err(AppendError::NotLeader),
        }
    }

    /// All positions, as of now.
    #[must_use]
    pub fn offsets(&self) -> Offsets {
        let high_watermark = self.log.high_watermark.get();
        let log_start = self.log.log_start();
        Offsets {
            log_start: Offset(log_start),
            log_end: Offset(self.log.log_end()),
            synced: Offset(self.log.progress().synced),
            high_watermark: Offset(high_watermark),
            last_stable: self.last_stable(),
        }
    }

    fn last_stable(&self) -> Offset {
        let (start, high) = (Offset(self.log.log_start()), Offset(self.log.high_watermark.get()));
        self.log.producers(|producers| producers.last_stable(start, high))
    }

    /// The offset up to which a reader of this kind may see.
    pub(super) fn visible(&self, up_to: ReadBound) -> i64 {
        match up_to {
            ReadBound::LogEnd => self.log.log_end(),
            ReadBound::HighWatermark => self.log.high_watermark.get(),
            ReadBound::LastStable => self.last_stable().0,
        }
    }

    /// Takes in that the log got further or failed, or that the in-sync set did something.
    pub(super) fn on_progress(&self) {
        if self.log.check_open().is_err() {
            self.changed();
            return;
        }
        let durable = match self.cx.rt.planted(Plant::WatermarkFromEnd) {
            true => self.log.log_end(),
            false => self.log.durable_end(),
        };
        let reached = match *self.role.borrow() {
            Role::Leader { spec, others } if spec.isr_count >= spec.min_isr_effective() => {
                match (spec.isr_count, others) {
                    (..=1, _) => durable,
                    (_, Some(others)) => durable.min(others),
                    (_, None) => return,
                }
            }
            _ => return,
        };
        self.raise_high_watermark(reached);
    }

    pub(super) fn raise_high_watermark(&self, to: i64) {
        if to <= self.log.high_watermark.get() {
            return;
        }
        self.log.high_watermark.set(to);
        self.log.producers_mut(|producers| producers.on_high_watermark(Offset(to)));
        self.acks.wake_below(to);
        self.readers[ReadBound::HighWatermark as usize].wake_below(to);
        let stable = self.last_stable().0;
        self.readers[ReadBound::LastStable as usize].wake_below(stable);
    }

    /// Wakes everyone: something other than an offset changed.
    pub(super) fn changed(&self) {
        self.changes.set(self.changes.get() + 1);
        self.acks.wake_all();
        for readers in &self.readers {
            readers.wake_all();
        }
    }

    pub(super) fn check_open(&self) -> Result<(), LogError> {
        self.log.check_open()
    }
}
