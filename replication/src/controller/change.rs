//! One change of one partition: who is in the ISR, who leads, who is eligible, which replicas.
//!
//! Callers state targets; [`Change::build`] completes a reassignment that the new ISR allows, keeps
//! the eligible leader replicas (KIP-966), elects a leader, and says the difference as a
//! PartitionChange record: nothing if there is none. The order of the steps is Kafka's, since each
//! sees the result of the ones before.

use std::collections::BTreeSet;

use engine::ids::{BrokerId, PartitionId, TopicId};
use wire::primitives::Uuid;
use wire::record::metadata::PartitionChangeRecord;

use crate::features::MetadataVersion;
use crate::image::{LeaderRecovery, Partition};
use crate::image::{NO_LEADER_CHANGE, ids};

/// How a leader may be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// Keep the leader if it may lead; the ISR, then the ELR.
    Online,
    /// As `Online`, but the first replica is better than the present leader.
    Preferred,
    /// As `Online`, but rather lose records than have no leader.
    Unclean,
}

/// Surroundings of a change.
pub(super) struct Setting<'a> {
    /// Whether a broker may lead this partition.
    pub(super) acceptable: &'a dyn Fn(BrokerId) -> bool,
    /// Directory of a replica that has none.
    pub(super) default_directory: &'a dyn Fn(BrokerId) -> Uuid,
    /// Decides which fields exist.
    pub(super) version: MetadataVersion,
    /// Whether eligible leader replicas are kept.
    pub(super) elr_enabled: bool,
    /// ISR size from which on nobody outside is eligible.
    pub(super) min_isr: usize,
}

/// A change being put together. Targets start as what is.
pub(super) struct Change<'a> {
    setting: Setting<'a>,
    partition: &'a Partition,
    topic: TopicId,
    id: PartitionId,
    election: Election,
    isr: Vec<BrokerId>,
    replicas: Vec<BrokerId>,
    removing: Vec<BrokerId>,
    adding: Vec<BrokerId>,
    elr: Vec<BrokerId>,
    recovery: LeaderRecovery,
    directories: Vec<(BrokerId, Uuid)>,
    unclean_shutdown: Option<BrokerId>,
}

impl<'a> Change<'a> {
    pub(super) fn new(
        setting: Setting<'a>,
        topic: TopicId,
        id: PartitionId,
        partition: &'a Partition,
    ) -> Self {
        let directory = |&replica: &BrokerId| {
            partition.directory_of(replica).map(|directory| (replica, directory))
        };
        Self {
            setting,
            partition,
            topic,
            id,
            election: Election::Online,
            isr: partition.isr.clone(),
            replicas: partition.replicas.clone(),
            removing: partition.removing.clone(),
            adding: partition.adding.clone(),
            elr: partition.elr.clone(),
            recovery: partition.recovery,
            directories: partition.replicas.iter().filter_map(directory).collect(),
            unclean_shutdown: None,
        }
    }

    pub(super) fn election(mut self, election: Election) -> Self {
        self.election = election;
        self
    }

    pub(super) fn isr(mut self, isr: Vec<BrokerId>) -> Self {
        self.isr = isr;
        self
    }

    pub(super) fn recovery(mut self, recovery: LeaderRecovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Replicas that are to be, and which of them come and go.
    pub(super) fn reassign(
        mut self,
        replicas: Vec<BrokerId>,
        removing: Vec<BrokerId>,
        adding: Vec<BrokerId>,
    ) -> Self {
        (self.replicas, self.removing, self.adding) = (replicas, removing, adding);
        self
    }

    /// A replica that may have lost records: not eligible any more.
    pub(super) fn unclean_shutdown(mut self, broker: Option<BrokerId>) -> Self {
        self.unclean_shutdown = broker;
        self
    }

    /// A replica's directory.
    pub(super) fn directory(mut self, replica: BrokerId, directory: Uuid) -> Self {
        self.directories.retain(|(other, _)| *other != replica);
        self.directories.push((replica, directory));
        self
    }

    /// The record, if anything changes.
    pub(super) fn build(mut self) -> Option<PartitionChangeRecord> {
        let nothing = PartitionChangeRecord {
            partition_id: self.id.0,
            topic_id: self.topic.0,
            ..PartitionChangeRecord::default()
        };
        let mut record = nothing.clone();
        self.complete_reassignment();
        self.keep_eligible();
        self.elect(&mut record);
        // A replica that is taken away must learn that it is no longer one of the leader's.
        let all_stay = self.partition.replicas.iter().all(|old| self.replicas.contains(old));
        if record.leader == NO_LEADER_CHANGE && !all_stay {
            record.leader = code(self.partition.leader);
        }
        self.say_elr(&mut record);
        if record.isr.is_none()
            && (!self.isr.is_empty() || self.setting.elr_enabled)
            && self.isr != self.partition.isr
        {
            record.isr = Some(ids(&self.isr));
        }
        self.bump_on_shrink(&mut record);
        self.say_last_known_leader(&mut record);
        self.say_assignment(&mut record);
        if self.recovery != self.partition.recovery {
            record.leader_recovery_state = self.recovery as i8;
        }
        (record != nothing).then_some(record)
    }

    /// Drops what a reassignment removes, once the ISR can do without it.
    fn complete_reassignment(&mut self) {
        if self.removing.is_empty() && self.adding.is_empty() {
            return;
        }
        let stays = |broker: &BrokerId| !self.removing.contains(broker);
        let isr: Vec<_> = self.isr.iter().copied().filter(stays).collect();
        let replicas: Vec<_> = self.replicas.iter().copied().filter(stays).collect();
        let removes = !self.removing.is_empty();
        if removes && (isr.is_empty() || replicas.is_empty()) {
            return;
        }
        if replicas.iter().all(|replica| isr.contains(replica)) {
            (self.isr, self.replicas) = (isr, replicas);
            self.removing.clear();
            self.adding.clear();
        }
    }

    /// While the ISR is too small, whoever was in it or eligible stays eligible.
    fn keep_eligible(&mut self) {
        if !self.setting.elr_enabled {
            return;
        }
        if self.isr.len() >= self.setting.min_isr {
            self.elr.clear();
            return;
        }
        let candidates: BTreeSet<_> = self.elr.iter().chain(&self.partition.isr).copied().collect();
        let eligible = candidates
            .into_iter()
            .filter(|broker| !self.isr.contains(broker) && Some(*broker) != self.unclean_shutdown);
        self.elr = eligible.collect();
    }

    fn elect(&mut self, record: &mut PartitionChangeRecord) {
        let (leader, unclean) = self.find_leader();
        if leader == self.partition.leader {
            return;
        }
        if let Some(leader) = leader.filter(|leader| self.elr.contains(leader)) {
            self.isr = vec![leader];
            self.elr.retain(|broker| *broker != leader);
        }
        record.leader = code(leader);
        if let Some(leader) = leader.filter(|_| unclean) {
            record.isr = Some(vec![leader.0]);
            if self.partition.recovery == LeaderRecovery::Recovered {
                record.leader_recovery_state = LeaderRecovery::Recovering as i8;
                self.recovery = LeaderRecovery::Recovering;
            }
        }
    }

    /// The leader to be, and whether it may lack acknowledged records.
    fn find_leader(&self) -> (Option<BrokerId>, bool) {
        let valid = |broker: &BrokerId| {
            let candidate =
                self.isr.contains(broker) || self.isr.is_empty() && self.elr.contains(broker);
            candidate && (self.setting.acceptable)(*broker)
        };
        let present = self.partition.leader.filter(valid);
        let preferred = self.replicas.first().copied().filter(valid);
        let first = self.replicas.iter().copied().find(valid);
        let clean = match self.election {
            Election::Preferred => preferred.or(present).or(first),
            Election::Online | Election::Unclean => present.or(first),
        };
        if clean.is_some() {
            return (clean, false);
        }
        if let Some(last) = self.last_known_leader() {
            return (Some(last), true);
        }
        if self.election == Election::Unclean {
            let any =
                self.replicas.iter().copied().find(|broker| (self.setting.acceptable)(*broker));
            return (any, any.is_some());
        }
        (None, false)
    }

    /// Nobody is eligible, but the last leader is back: nobody can have more than it has.
    fn last_known_leader(&self) -> Option<BrokerId> {
        let nobody = self.isr.is_empty() && self.elr.is_empty();
        match self.partition.last_known_elr.as_slice() {
            [last] if self.setting.elr_enabled && nobody => {
                Some(*last).filter(|last| (self.setting.acceptable)(*last))
            }
            _ => None,
        }
    }

    fn say_elr(&mut self, record: &mut PartitionChangeRecord) {
        let clean = record.isr.is_none();
        if !clean || !self.setting.elr_enabled {
            self.elr.clear();
        }
        if self.elr != self.partition.elr {
            record.eligible_leader_replicas = Some(ids(&self.elr));
        }
    }

    fn bump_on_shrink(&self, record: &mut PartitionChangeRecord) {
        let Some(isr) = &record.isr else { return };
        let shrinks = self.partition.isr.iter().any(|old| !isr.contains(&old.0));
        if self.setting.version.bumps_epoch_on_shrink()
            && record.leader == NO_LEADER_CHANGE
            && shrinks
        {
            record.leader = code(self.partition.leader);
        }
    }

    /// The last leader is noted when the ISR empties, and forgotten once there is one again.
    fn say_last_known_leader(&self, record: &mut PartitionChangeRecord) {
        if !self.setting.elr_enabled {
            return;
        }
        let known = &self.partition.last_known_elr;
        let before = self.partition.leader;
        let noted = known.len() == 1 && Some(known[0]) == before;
        if record.isr.as_ref().is_some_and(Vec::is_empty) && !noted {
            // With no leader before either, Kafka writes −1 here; nobody is better.
            record.last_known_elr = Some(before.iter().map(|broker| broker.0).collect());
            if record.last_known_elr.as_deref() == Some(&ids(known)) {
                record.last_known_elr = None;
            }
        } else if (record.leader >= 0 || before.is_some() && record.leader != NO_LEADER)
            && !known.is_empty()
        {
            record.last_known_elr = Some(Vec::new());
        }
    }

    fn say_assignment(&self, record: &mut PartitionChangeRecord) {
        if !self.replicas.is_empty() {
            if self.setting.version.has_directories() {
                let directories: Vec<_> =
                    self.replicas.iter().map(|&replica| self.directory_of(replica)).collect();
                if directories != self.partition.directories {
                    record.directories = Some(directories);
                }
            }
            if self.replicas != self.partition.replicas {
                record.replicas = Some(ids(&self.replicas));
            }
        }
        if self.removing != self.partition.removing {
            record.removing_replicas = Some(ids(&self.removing));
        }
        if self.adding != self.partition.adding {
            record.adding_replicas = Some(ids(&self.adding));
        }
    }

    fn directory_of(&self, replica: BrokerId) -> Uuid {
        let known = self.directories.iter().find(|(broker, _)| *broker == replica);
        known.map_or_else(|| (self.setting.default_directory)(replica), |(_, directory)| *directory)
    }
}

fn code(leader: Option<BrokerId>) -> i32 {
    leader.map_or(NO_LEADER, |leader| leader.0)
}

/// `leader` of a partition without one.
const NO_LEADER: i32 = -1;

#[cfg(test)]
mod tests;
