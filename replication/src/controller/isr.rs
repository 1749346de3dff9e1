//! AlterPartition: a leader changes the ISR of what it leads.

use engine::ids::{BrokerId, LeaderEpoch, PartitionId, TopicId};
use wire::record::metadata::PartitionChangeRecord;

use super::change::Election;
use super::{Controller, Decision, ErrorKind, Refusal};
use crate::image::{LeaderRecovery, NO_LEADER_CHANGE, Partition};
use crate::record::MetadataRecord;

/// Changes that one leader asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterPartition {
    /// The leader.
    pub broker: BrokerId,
    /// In which incarnation.
    pub epoch: i64,
    /// What it wants.
    pub partitions: Vec<AlterIsr>,
}

/// The ISR of one partition as its leader wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterIsr {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// Epoch in which it leads.
    pub leader_epoch: LeaderEpoch,
    /// State that the change starts from.
    pub partition_epoch: i32,
    /// Members with the broker epoch that they fetched with; −1 if not known.
    pub isr: Vec<(BrokerId, i64)>,
    /// Whether the leader still recovers from an unclean election.
    pub recovery: LeaderRecovery,
}

/// What became of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterIsrOutcome {
    /// As asked for.
    pub topic: TopicId,
    /// As asked for.
    pub partition: PartitionId,
    /// The partition as it is then.
    pub result: Result<Partition, Refusal>,
}

impl Controller {
    /// Changes ISRs; the whole request is refused if the broker's epoch is not the registered one.
    pub fn alter_partition(
        &mut self,
        request: &AlterPartition,
    ) -> Decision<Result<Vec<AlterIsrOutcome>, Refusal>> {
        if let Err(refusal) = self.check_broker_epoch(request.broker, request.epoch) {
            return Decision::unchanged(Err(refusal));
        }
        let mut records = Vec::new();
        let mut results = Vec::new();
        for asked in &request.partitions {
            let result = self.alter_isr(request.broker, asked).map(|record| records.extend(record));
            results.push((asked.topic, asked.partition, result));
        }
        let moved = |record: &PartitionChangeRecord| {
            record.leader != NO_LEADER_CHANGE && record.leader != request.broker.0
        };
        let moved: Vec<_> = records
            .iter()
            .filter_map(|record| match record {
                MetadataRecord::PartitionChange(change) if moved(change) => {
                    Some((TopicId(change.topic_id), PartitionId(change.partition_id)))
                }
                _ => None,
            })
            .collect();
        self.decide(records, ()).map(|()| {
            let outcomes = results.into_iter().map(|(topic, partition, result)| {
                let result = result.and_then(|()| {
                    // The change completed a reassignment that took the leader away.
                    if moved.contains(&(topic, partition)) {
                        return Err(Refusal::plain(ErrorKind::NewLeaderElected));
                    }
                    let now = self.image.topics().partition(topic, partition);
                    Ok(Partition::clone(now.expect("it was just altered")))
                });
                AlterIsrOutcome { topic, partition, result }
            });
            Ok(outcomes.collect())
        })
    }

    fn alter_isr(
        &self,
        leader: BrokerId,
        asked: &AlterIsr,
    ) -> Result<Option<MetadataRecord>, Refusal> {
        let refuse = |kind| Err(Refusal::plain(kind));
        let Some(topic) = self.image.topics().get(asked.topic) else {
            return refuse(ErrorKind::UnknownTopicId);
        };
        let Some(partition) = topic.partition(asked.partition) else {
            return refuse(ErrorKind::UnknownTopicOrPartition);
        };
        check_epochs(leader, asked, partition)?;
        check_isr(leader, asked, partition)?;
        let ineligible = |&(id, epoch): &(BrokerId, i64)| {
            self.image
                .brokers()
                .get(id)
                .is_none_or(|broker| !broker.is_active() || epoch != -1 && epoch != broker.epoch)
        };
        if asked.isr.iter().any(ineligible) {
            return refuse(ErrorKind::IneligibleReplica);
        }
        let isr = asked.isr.iter().map(|&(id, _)| id).collect();
        Ok(self.change(asked.topic, asked.partition, |change, unclean| {
            let change = if unclean { change.election(Election::Unclean) } else { change };
            change.isr(isr).recovery(asked.recovery)
        }))
    }
}

fn check_epochs(leader: BrokerId, asked: &AlterIsr, partition: &Partition) -> Result<(), Refusal> {
    let refuse = |kind| Err(Refusal::plain(kind));
    // A leader that knows more than the controller has found one that is not active any more.
    if asked.leader_epoch > partition.leader_epoch
        || asked.partition_epoch > partition.partition_epoch
    {
        return refuse(ErrorKind::NotController);
    }
    if asked.leader_epoch < partition.leader_epoch {
        return refuse(ErrorKind::FencedLeaderEpoch);
    }
    if partition.leader != Some(leader) {
        return refuse(ErrorKind::InvalidRequest);
    }
    if asked.partition_epoch < partition.partition_epoch {
        return refuse(ErrorKind::InvalidUpdateVersion);
    }
    Ok(())
}

fn check_isr(leader: BrokerId, asked: &AlterIsr, partition: &Partition) -> Result<(), Refusal> {
    let ids: Vec<_> = asked.isr.iter().map(|&(id, _)| id).collect();
    let mut distinct = ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let recovering = LeaderRecovery::Recovering;
    let wrong = ids.is_empty()
        || distinct.len() != ids.len()
        || !ids.iter().all(|id| partition.replicas.contains(id))
        || !ids.contains(&leader)
        || asked.recovery == recovering && ids.len() > 1
        || asked.recovery == recovering && partition.recovery == LeaderRecovery::Recovered;
    if wrong { Err(Refusal::plain(ErrorKind::InvalidRequest)) } else { Ok(()) }
}
