//! Taking topics in whose partitions another cluster wrote: no API of Kafka's, but what its
//! operators do with `kafka-storage`, a copy and a hand-written metadata batch.
//!
//! Topics keep their ids, so that clients which know them go on. Leader epochs continue above what
//! the files hold, and producer ids are handed out only above it: neither may ever come twice.

use std::time::Duration;

use engine::ids::{LeaderEpoch, PartitionId, ProducerId, TopicId};
use wire::primitives::Uuid;
use wire::record::metadata::{MetadataRecord, ProducerIdsRecord, TopicRecord};

use super::create::{ALL_FENCED, TOO_MANY};
use super::{Controller, Decision, ErrorKind, NEW_PARTITIONS_MAX, Random, Refusal, Turn, names};
use crate::image::partition_record;

/// Topics to take in: all or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdoptTopics {
    /// Each name and id once.
    pub topics: Vec<AdoptTopic>,
    /// Above every producer id that their files hold.
    pub producer_id_end: Option<ProducerId>,
}

/// A topic to take in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdoptTopic {
    /// Its name.
    pub name: String,
    /// Its id; a new one where the files are from before topics had ids.
    pub id: Option<TopicId>,
    /// Overrides.
    pub configs: Vec<(String, String)>,
    /// All of its partitions, from 0 on.
    pub partitions: Vec<AdoptPartition>,
}

/// A partition to take in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdoptPartition {
    /// Id of the log directory of this node in which it lies.
    pub directory: Uuid,
    /// The newest epoch in its files; `LeaderEpoch::NONE` where they hold none.
    pub last_epoch: LeaderEpoch,
}

impl Controller {
    /// Takes topics in that lie in this node's log directories.
    pub fn adopt_topics(
        &mut self,
        turn: &mut Turn<'_>,
        request: &AdoptTopics,
    ) -> Decision<Result<Vec<TopicId>, Refusal>> {
        match self.adopt(turn, request) {
            Ok((records, ids)) => self.decide(records, Ok(ids)),
            Err(refusal) => Decision::unchanged(Err(refusal)),
        }
    }

    /// Whether [`Controller::adopt_topics`] would take them now.
    ///
    /// # Errors
    /// Why not.
    pub fn check_adoption(&self, request: &AdoptTopics) -> Result<(), Refusal> {
        let mut ids = 0..;
        let mut next = || ids.next().expect("endless");
        let mut turn = Turn { now: Duration::ZERO, random: Random::new(&mut next) };
        self.adopt(&mut turn, request).map(|_| ())
    }

    fn adopt(
        &self,
        turn: &mut Turn<'_>,
        request: &AdoptTopics,
    ) -> Result<(Vec<MetadataRecord>, Vec<TopicId>), Refusal> {
        let partitions: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
        if partitions > NEW_PARTITIONS_MAX {
            return Err(Refusal::new(ErrorKind::PolicyViolation, TOO_MANY));
        }
        let (mut records, mut ids) = (Vec::new(), Vec::new());
        for topic in &request.topics {
            let id = topic.id.unwrap_or_else(|| turn.random.topic_id());
            if ids.contains(&id)
                || request.topics.iter().filter(|t| t.name == topic.name).count() > 1
            {
                return Err(Refusal::new(ErrorKind::InvalidRequest, "Duplicate topic name or id."));
            }
            self.adopt_topic(id, topic, &mut records)?;
            ids.push(id);
        }
        if let Some(end) = request.producer_id_end
            && self.image.next_producer_id().is_none_or(|next| next < end)
        {
            let broker = self.options.node;
            let epoch = self.image.brokers().get(broker).map_or(-1, |broker| broker.epoch);
            let (broker_id, next_producer_id) = (broker.0, end.0);
            let record = ProducerIdsRecord { broker_id, broker_epoch: epoch, next_producer_id };
            records.push(record.into());
        }
        Ok((records, ids))
    }

    fn adopt_topic(
        &self,
        id: TopicId,
        topic: &AdoptTopic,
        records: &mut Vec<MetadataRecord>,
    ) -> Result<(), Refusal> {
        self.check_name(&topic.name)?;
        if let Some(known) = self.image.topics().get(id) {
            return Err(Refusal::new(
                ErrorKind::TopicAlreadyExists,
                format!(
                    "Topic '{}' has the id {}, which is {}'s here.",
                    topic.name, id.0, known.name
                ),
            ));
        }
        let sent = topic.configs.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
        let internal = names::is_internal(&topic.name);
        let configs = self.check_configs(&sent.collect::<Vec<_>>(), internal)?;
        records.push(TopicRecord { name: topic.name.clone(), topic_id: id.0 }.into());
        self.write_configs(&topic.name, &configs, records);
        let version = self.metadata_version();
        for (index, adopted) in (0..).zip(&topic.partitions) {
            let mut partition = self
                .new_partition(vec![self.options.node])
                .ok_or_else(|| Refusal::new(ErrorKind::InvalidReplicaAssignment, ALL_FENCED))?;
            partition.directories = vec![adopted.directory];
            partition.leader_epoch = LeaderEpoch(adopted.last_epoch.0 + 1);
            records.push(partition_record(id, PartitionId(index), &partition, version).into());
        }
        Ok(())
    }
}
