//! CreateTopics.

use std::collections::{BTreeMap, BTreeSet};

use engine::ids::{BrokerId, LeaderEpoch, PartitionId, TopicId};
use wire::record::metadata::{ConfigRecord, MetadataRecord, TopicRecord};

use super::place::{self, UsableBroker};
use super::{Controller, Decision, ErrorKind, NEW_PARTITIONS_MAX, Refusal, Turn, configs, names};
use crate::image::{
    ConfigMap, ConfigResource, LeaderRecovery, Partition, ResourceKind, partition_record,
};

/// Topics to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateTopics {
    /// In any order; a name given twice is refused.
    pub topics: Vec<NewTopic>,
    /// Only say whether it would work.
    pub validate_only: bool,
}

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions; −1 for `num.partitions`, or with `assignments`.
    pub partitions: i32,
    /// Replicas of each; −1 for `default.replication.factor`, or with `assignments`.
    pub replication_factor: i16,
    /// Replicas of each partition, if the caller chooses them.
    pub assignments: Vec<(PartitionId, Vec<BrokerId>)>,
    /// Overrides; null is refused.
    pub configs: Vec<(String, Option<String>)>,
    /// The broker makes it for itself: its overrides may be such as users cannot set yet.
    pub internal: bool,
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicOutcome {
    /// As asked for.
    pub name: String,
    /// What was created, or why nothing was.
    pub result: Result<CreatedTopic, Refusal>,
}

/// A topic created, or that would have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id; also drawn for a validation, as in Kafka.
    pub id: TopicId,
    /// Number of partitions.
    pub partitions: i32,
    /// Replicas of each.
    pub replication_factor: i16,
    /// Its overrides.
    pub configs: ConfigMap,
}

impl Controller {
    /// Creates topics: each whole or not at all, all in one batch.
    pub fn create_topics(
        &mut self,
        turn: &mut Turn<'_>,
        request: &CreateTopics,
    ) -> Decision<Vec<TopicOutcome>> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *counts.entry(&topic.name).or_default() += 1;
        }
        let named_once = || request.topics.iter().filter(|topic| counts[&*topic.name] == 1);
        let too_many = self.new_partitions(named_once()) > NEW_PARTITIONS_MAX as u64;
        let mut records = Vec::new();
        let mut outcomes = Vec::new();
        let mut seen = BTreeSet::new();
        for topic in &request.topics {
            if !seen.insert(&*topic.name) {
                continue;
            }
            let result = if counts[&*topic.name] > 1 {
                Err(Refusal::new(ErrorKind::InvalidRequest, "Duplicate topic name."))
            } else if too_many {
                Err(Refusal::new(ErrorKind::PolicyViolation, TOO_MANY))
            } else {
                self.create_topic(turn, topic, &mut records)
            };
            outcomes.push(TopicOutcome { name: topic.name.clone(), result });
        }
        if request.validate_only {
            Decision::unchanged(outcomes)
        } else {
            self.decide(records, outcomes)
        }
    }

    fn create_topic(
        &self,
        turn: &mut Turn<'_>,
        topic: &NewTopic,
        records: &mut Vec<MetadataRecord>,
    ) -> Result<CreatedTopic, Refusal> {
        self.check_name(&topic.name)?;
        let configs = self.check_configs(&topic.configs, topic.internal)?;
        let partitions = if topic.assignments.is_empty() {
            self.place_new_topic(turn, topic)?
        } else {
            self.assigned(topic)?
        };
        let id = turn.random.topic_id();
        records.push(TopicRecord { name: topic.name.clone(), topic_id: id.0 }.into());
        self.write_configs(&topic.name, &configs, records);
        let version = self.metadata_version();
        for (index, partition) in (0..).zip(&partitions) {
            records.push(partition_record(id, PartitionId(index), partition, version).into());
        }
        let replicas = partitions.first().map_or(0, |partition| partition.replicas.len());
        Ok(CreatedTopic {
            id,
            partitions: i32::try_from(partitions.len()).expect("at most 10 000"),
            replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
            configs,
        })
    }

    /// Partitions that the request asks for, counted as Kafka does: before anything is checked.
    fn new_partitions<'t>(&self, topics: impl Iterator<Item = &'t NewTopic>) -> u64 {
        let count = |topic: &NewTopic| match topic.partitions {
            -1 if !topic.assignments.is_empty() => topic.assignments.len() as u64,
            -1 => u64::from(self.config.num_partitions),
            count => u64::try_from(count).unwrap_or(0),
        };
        topics.map(count).sum()
    }

    pub(super) fn check_name(&self, name: &str) -> Result<(), Refusal> {
        let invalid = |text| Err(Refusal::new(ErrorKind::InvalidTopic, text));
        if name == names::CLUSTER_METADATA {
            return Err(Refusal::new(
                ErrorKind::InvalidRequest,
                format!("Creation of internal topic {name} is prohibited."),
            ));
        }
        if let Some(text) = names::refusal(name) {
            return invalid(text);
        }
        let topics = self.image.topics();
        if topics.named(name).is_some() {
            return Err(Refusal::new(
                ErrorKind::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            ));
        }
        match names::collision(name, |from| topics.names_from(from).next().map(|name| &**name)) {
            Some(other) => invalid(format!("Topic '{name}' collides with existing topic: {other}")),
            None => Ok(()),
        }
    }

    pub(super) fn check_configs(
        &self,
        sent: &[(String, Option<String>)],
        internal: bool,
    ) -> Result<ConfigMap, Refusal> {
        let nulls: Vec<&str> =
            sent.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| key.as_str()).collect();
        if !nulls.is_empty() {
            return Err(Refusal::new(
                ErrorKind::InvalidConfig,
                format!("Null value not supported for topic configs: {}", nulls.join(",")),
            ));
        }
        let set = sent.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        let map: ConfigMap = set.collect();
        configs::check_lengths(&map)?;
        let checked = match internal {
            true => config::validate_internal_overrides(&map),
            false => config::validate_topic_overrides(&map),
        };
        checked.map_err(|error| Refusal::new(ErrorKind::InvalidConfig, error.to_string()))?;
        Ok(map)
    }

    /// Config records of a new topic. What an image that Kafka wrote may still hold of an earlier
    /// topic of that name is deleted first.
    pub(super) fn write_configs(
        &self,
        name: &str,
        configs: &ConfigMap,
        records: &mut Vec<MetadataRecord>,
    ) {
        let none = ConfigMap::new();
        let stale = self.image.configs().get(&ConfigResource::topic(name));
        let stale = stale.map_or(&none, |map| &**map).keys();
        let gone = stale.filter(|key| !configs.contains_key(*key)).map(|key| (key, None));
        let set = configs.iter().map(|(key, value)| (key, Some(value.clone())));
        records.extend(gone.chain(set).map(|(key, value)| {
            let record = ConfigRecord {
                resource_type: ResourceKind::Topic.code(),
                resource_name: name.to_owned(),
                name: key.clone(),
                value,
            };
            MetadataRecord::from(record)
        }));
    }

    fn place_new_topic(
        &self,
        turn: &mut Turn<'_>,
        topic: &NewTopic,
    ) -> Result<Vec<Partition>, Refusal> {
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            return Err(Refusal::new(
                ErrorKind::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
        if topic.partitions < -1 || topic.partitions == 0 {
            return Err(Refusal::new(
                ErrorKind::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.",
            ));
        }
        let count = match topic.partitions {
            -1 => usize::try_from(self.config.num_partitions).unwrap_or(1),
            count => usize::try_from(count).expect("positive"),
        };
        let factor = match topic.replication_factor {
            -1 => i16::try_from(self.config.default_replication_factor).unwrap_or(i16::MAX),
            factor => factor,
        };
        let unable = |why: &dyn std::fmt::Display| {
            Refusal::new(
                ErrorKind::InvalidReplicationFactor,
                format!("Unable to replicate the partition {factor} time(s): {why}"),
            )
        };
        let placed = place::place(&self.usable_brokers(), count, factor, &mut turn.random);
        let placed = placed.map_err(|error| unable(&error))?;
        placed
            .into_iter()
            .map(|replicas| self.new_partition(replicas).ok_or_else(|| unable(&ALL_FENCED)))
            .collect()
    }

    /// Partitions as the caller assigns them.
    fn assigned(&self, topic: &NewTopic) -> Result<Vec<Partition>, Refusal> {
        let request = |text| Err(Refusal::new(ErrorKind::InvalidRequest, text));
        if topic.replication_factor != -1 {
            return request(
                "A manual partition assignment was specified, but replication factor was not set \
                 to -1.",
            );
        }
        if topic.partitions != -1 {
            return request(
                "A manual partition assignment was specified, but numPartitions was not set to -1.",
            );
        }
        let invalid = |text: String| Refusal::new(ErrorKind::InvalidReplicaAssignment, text);
        let mut partitions = BTreeMap::new();
        let mut factor = None;
        for (id, replicas) in &topic.assignments {
            if partitions.contains_key(id) {
                return Err(invalid(format!(
                    "Found multiple manual partition assignments for partition {id}"
                )));
            }
            self.check_assignment(replicas, factor)?;
            factor = Some(replicas.len());
            let partition = self.new_partition(replicas.clone()).ok_or_else(|| {
                invalid(format!(
                    "All brokers specified in the manual partition assignment for partition {id} \
                     are fenced or in controlled shutdown."
                ))
            })?;
            partitions.insert(*id, partition);
        }
        if !partitions.keys().map(|id| id.0).eq((0..).take(partitions.len())) {
            return Err(invalid(
                "partitions should be a consecutive 0-based integer sequence".to_owned(),
            ));
        }
        Ok(partitions.into_values().collect())
    }

    /// Whether replicas that a caller chose make sense: registered, distinct, as many as before.
    pub(super) fn check_assignment(
        &self,
        replicas: &[BrokerId],
        factor: Option<usize>,
    ) -> Result<(), Refusal> {
        let invalid = |text: String| {
            Err(Refusal::new(
                ErrorKind::InvalidReplicaAssignment,
                format!("The manual partition assignment includes {text}"),
            ))
        };
        if replicas.is_empty() {
            return invalid("an empty replica list.".to_owned());
        }
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        let mut before = None;
        for id in sorted {
            if self.image.brokers().get(id).is_none() {
                return invalid(format!("broker {id}, but no such broker is registered."));
            }
            if before == Some(id) {
                return invalid(format!("the broker {id} more than once."));
            }
            before = Some(id);
        }
        match factor {
            Some(factor) if factor != replicas.len() => invalid(format!(
                "a partition with {} replica(s), but this is not consistent with previous \
                 partitions, which have {factor} replica(s).",
                replicas.len()
            )),
            _ => Ok(()),
        }
    }

    /// A partition's first state; `None` if no replica may lead.
    pub(super) fn new_partition(&self, replicas: Vec<BrokerId>) -> Option<Partition> {
        let active = |broker: &BrokerId| self.image.brokers().is_active(*broker);
        let isr: Vec<_> = replicas.iter().copied().filter(active).collect();
        let leader = *isr.first()?;
        Some(Partition {
            directories: replicas.iter().map(|&id| self.default_directory(id)).collect(),
            replicas,
            isr,
            leader: Some(leader),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            recovery: LeaderRecovery::Recovered,
            ..Partition::default()
        })
    }

    pub(super) fn usable_brokers(&self) -> Vec<UsableBroker> {
        let brokers = self.image.brokers().iter();
        let usable = brokers
            .filter(|broker| !broker.in_controlled_shutdown && broker.has_open_directory())
            .map(|broker| UsableBroker {
                id: broker.id,
                rack: broker.rack.as_ref().map(ToString::to_string),
                fenced: broker.fenced,
            });
        usable.collect()
    }
}

/// Said when more than [`NEW_PARTITIONS_MAX`] partitions are asked for at once.
pub(super) const TOO_MANY: &str = "Excessively large number of partitions per request.";

/// Said when a placement has no replica that may lead.
pub(super) const ALL_FENCED: &str = "All brokers are currently fenced or in controlled shutdown.";
