//! AlterPartitionReassignments and ListPartitionReassignments.
//!
//! A reassignment is a state of the partition: replicas = target + those to be removed, and what
//! is coming and going beside. It completes by itself once the ISR holds everything that comes.

use std::collections::BTreeSet;

use engine::ids::{BrokerId, PartitionId};

use super::change::Election;
use super::{Controller, Decision, ErrorKind, Refusal};
use crate::image::{Partition, Topic};
use crate::record::MetadataRecord;

/// Partitions to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterReassignments {
    /// In order of the request.
    pub partitions: Vec<Reassign>,
    /// Whether another number of replicas is fine (version 1; always so in version 0).
    pub allow_replication_factor_change: bool,
}

/// A partition to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassign {
    /// Its topic.
    pub topic: String,
    /// Its index.
    pub partition: PartitionId,
    /// Replicas that it is to have; `None` cancels.
    pub replicas: Option<Vec<BrokerId>>,
}

/// What became of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReassignOutcome {
    /// As asked for.
    pub topic: String,
    /// As asked for.
    pub partition: PartitionId,
    /// Whether it is moving.
    pub result: Result<(), Refusal>,
}

/// A partition that is moving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ongoing {
    /// Its topic.
    pub topic: String,
    /// Its index.
    pub partition: PartitionId,
    /// All replicas that it has or gets.
    pub replicas: Vec<BrokerId>,
    /// Those that come.
    pub adding: Vec<BrokerId>,
    /// Those that go.
    pub removing: Vec<BrokerId>,
}

impl Controller {
    /// Starts, changes or cancels reassignments.
    pub fn alter_reassignments(
        &mut self,
        request: &AlterReassignments,
    ) -> Decision<Vec<ReassignOutcome>> {
        let mut records = Vec::new();
        let mut outcomes = Vec::new();
        for asked in &request.partitions {
            let result = self.reassign(asked, request.allow_replication_factor_change);
            let result = result.map(|record| records.extend(record));
            let (topic, partition) = (asked.topic.clone(), asked.partition);
            outcomes.push(ReassignOutcome { topic, partition, result });
        }
        self.decide(records, outcomes)
    }

    /// Reassignments under way: of the given partitions, or of all.
    #[must_use]
    pub fn list_reassignments(&self, partitions: Option<&[(String, PartitionId)]>) -> Vec<Ongoing> {
        let ongoing = |topic: &Topic, id: PartitionId, partition: &Partition| Ongoing {
            topic: topic.name.to_string(),
            partition: id,
            replicas: partition.replicas.clone(),
            adding: partition.adding.clone(),
            removing: partition.removing.clone(),
        };
        let topics = self.image.topics();
        match partitions {
            None => topics
                .partitions()
                .filter(|(_, _, partition)| partition.is_reassigning())
                .map(|(topic, id, partition)| ongoing(topic, id, partition))
                .collect(),
            Some(chosen) => chosen
                .iter()
                .filter_map(|(name, id)| {
                    let topic = topics.named(name)?;
                    let partition = topic.partition(*id)?;
                    partition.is_reassigning().then(|| ongoing(topic, *id, partition))
                })
                .collect(),
        }
    }

    fn reassign(
        &self,
        asked: &Reassign,
        allow_factor_change: bool,
    ) -> Result<Option<MetadataRecord>, Refusal> {
        let unknown = |text| Refusal::new(ErrorKind::UnknownTopicOrPartition, text);
        let (name, id) = (&asked.topic, asked.partition);
        let topic = self.image.topics().named(name);
        let topic =
            topic.ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
        let partition = topic
            .partition(id)
            .ok_or_else(|| unknown(format!("Unable to find partition {name}:{id}.")))?;
        match &asked.replicas {
            Some(target) => self.move_to(topic, id, partition, target, allow_factor_change),
            None => self.cancel(topic, id, partition),
        }
    }

    fn move_to(
        &self,
        topic: &Topic,
        id: PartitionId,
        partition: &Partition,
        target: &[BrokerId],
        allow_factor_change: bool,
    ) -> Result<Option<MetadataRecord>, Refusal> {
        self.check_assignment(target, None)?;
        let present = original_replicas(partition).len();
        if !allow_factor_change && target.len() != present {
            return Err(Refusal::new(
                ErrorKind::InvalidReplicationFactor,
                format!("The replication factor is changed from {present} to {}", target.len()),
            ));
        }
        let minus = |a: &[BrokerId], b: &[BrokerId]| -> Vec<BrokerId> {
            a.iter()
                .copied()
                .filter(|x| !b.contains(x))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect()
        };
        let removing = minus(&partition.replicas, target);
        let adding = minus(target, &partition.replicas);
        let replicas = [target, &removing].concat();
        Ok(self.change(topic.id, id, |change, _| {
            // What an earlier reassignment brings or takes goes on unless this one says otherwise.
            let removing = if removing.is_empty() { partition.removing.clone() } else { removing };
            let adding = if adding.is_empty() { partition.adding.clone() } else { adding };
            change.reassign(replicas, removing, adding)
        }))
    }

    fn cancel(
        &self,
        topic: &Topic,
        id: PartitionId,
        partition: &Partition,
    ) -> Result<Option<MetadataRecord>, Refusal> {
        if !partition.is_reassigning() {
            return Err(Refusal::plain(ErrorKind::NoReassignmentInProgress));
        }
        let invalid = |text: String| Refusal::new(ErrorKind::InvalidReplicaAssignment, text);
        let replicas = original_replicas(partition);
        let stays = |broker: &BrokerId| !partition.adding.contains(broker);
        let mut isr: Vec<_> = partition.isr.iter().copied().filter(stays).collect();
        let unclean_allowed = self.election_rules(topic).unclean;
        if isr.is_empty() {
            let first = *replicas.first().ok_or_else(|| {
                invalid(
                    "Invalid replica assignment: addingReplicas contains all replicas.".to_owned(),
                )
            })?;
            if !unclean_allowed {
                return Err(invalid(format!(
                    "Unable to revert partition assignment for {}:{id} because it would require \
                     an unclean leader election.",
                    topic.name
                )));
            }
            isr.push(first);
        }
        Ok(self.change(topic.id, id, |change, unclean| {
            let change = if unclean { change.election(Election::Unclean) } else { change };
            change.isr(isr).reassign(replicas, Vec::new(), Vec::new())
        }))
    }
}

/// Replicas before the reassignment.
fn original_replicas(partition: &Partition) -> Vec<BrokerId> {
    let replicas = partition.replicas.iter().copied();
    replicas.filter(|broker| !partition.adding.contains(broker)).collect()
}
