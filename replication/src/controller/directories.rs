//! AssignReplicasToDirs: a broker with several log directories says which replica is where.

use engine::ids::{BrokerId, PartitionId, TopicId};
use wire::primitives::Uuid;

use super::heartbeat::without;
use super::{Controller, Decision, ErrorKind, Refusal};
use crate::record::MetadataRecord;

/// Where one broker's replicas are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignDirectories {
    /// The broker.
    pub broker: BrokerId,
    /// In which incarnation.
    pub epoch: i64,
    /// Partition and directory.
    pub assignments: Vec<(TopicId, PartitionId, Uuid)>,
}

/// What became of one assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignOutcome {
    /// As asked for.
    pub topic: TopicId,
    /// As asked for.
    pub partition: PartitionId,
    /// As asked for.
    pub directory: Uuid,
    /// Whether it is noted.
    pub result: Result<(), Refusal>,
}

impl Controller {
    /// Notes directories of replicas. One that is not online takes its replica out of the ISR.
    pub fn assign_directories(
        &mut self,
        request: &AssignDirectories,
    ) -> Decision<Result<Vec<AssignOutcome>, Refusal>> {
        if !self.metadata_version().has_directories() {
            return Decision::unchanged(Err(Refusal::new(
                ErrorKind::UnsupportedVersion,
                "Directory assignment is not supported yet.",
            )));
        }
        if let Err(refusal) = self.check_broker_epoch(request.broker, request.epoch) {
            return Decision::unchanged(Err(refusal));
        }
        let mut records = Vec::new();
        let mut offline = Vec::new();
        let mut outcomes = Vec::new();
        for &(topic, partition, directory) in &request.assignments {
            let result = self.assign(request.broker, topic, partition, directory);
            let result = result.map(|record| records.extend(record));
            let broker = self.image.brokers().get(request.broker).expect("its epoch was checked");
            if result.is_ok() && !broker.has_online(directory) {
                offline.push((topic, partition));
            }
            outcomes.push(AssignOutcome { topic, partition, directory, result });
        }
        let id = request.broker;
        let acceptable = |other| other != id && self.image.brokers().is_active(other);
        if !offline.is_empty() {
            self.update_partitions(&acceptable, None, &mut records, |topic, partition, state| {
                let concerned = offline.contains(&(topic, partition)) && state.isr.contains(&id);
                concerned.then(|| without(&state.isr, id))
            });
        }
        self.decide(records, Ok(outcomes)).divisible()
    }

    fn assign(
        &self,
        broker: BrokerId,
        topic: TopicId,
        id: PartitionId,
        directory: Uuid,
    ) -> Result<Option<MetadataRecord>, Refusal> {
        let refuse = |kind| Err(Refusal::plain(kind));
        let Some(of) = self.image.topics().get(topic) else {
            return refuse(ErrorKind::UnknownTopicId);
        };
        let Some(partition) = of.partition(id) else {
            return refuse(ErrorKind::UnknownTopicOrPartition);
        };
        if !partition.replicas.contains(&broker) {
            return refuse(ErrorKind::NotLeaderOrFollower);
        }
        Ok(self.change(topic, id, |change, _| change.directory(broker, directory)))
    }
}
