//! CreatePartitions: topics only grow.

use std::collections::BTreeMap;

use engine::ids::{BrokerId, PartitionId};
use wire::record::metadata::MetadataRecord;

use super::create::{ALL_FENCED, TOO_MANY};
use super::{Controller, Decision, ErrorKind, NEW_PARTITIONS_MAX, Refusal, Turn, place};
use crate::image::{Topic, partition_record};

/// Topics to grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreatePartitions {
    /// In any order; a name given twice is refused.
    pub topics: Vec<GrowTopic>,
    /// Only say whether it would work.
    pub validate_only: bool,
}

/// A topic to grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrowTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions that it is to have.
    pub count: i32,
    /// Replicas of each new partition, if the caller chooses them.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrowOutcome {
    /// As asked for.
    pub name: String,
    /// Whether it has grown.
    pub result: Result<(), Refusal>,
}

impl Controller {
    /// Adds partitions to topics: to each all or none, all in one batch.
    pub fn create_partitions(
        &mut self,
        turn: &mut Turn<'_>,
        request: &CreatePartitions,
    ) -> Decision<Vec<GrowOutcome>> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *counts.entry(&topic.name).or_default() += 1;
        }
        let mut records = Vec::new();
        let mut outcomes: Vec<GrowOutcome> = Vec::new();
        for topic in &request.topics {
            let result = match counts.insert(&topic.name, 0) {
                Some(1) => self.grow(turn, topic, &mut records),
                Some(0) | None => continue,
                Some(_) => Err(Refusal::new(ErrorKind::InvalidRequest, "Duplicate topic name.")),
            };
            outcomes.push(GrowOutcome { name: topic.name.clone(), result });
        }
        if request.validate_only {
            Decision::unchanged(outcomes)
        } else {
            self.decide(records, outcomes)
        }
    }

    fn grow(
        &self,
        turn: &mut Turn<'_>,
        request: &GrowTopic,
        records: &mut Vec<MetadataRecord>,
    ) -> Result<(), Refusal> {
        let Some(topic) = self.image.topics().named(&request.name) else {
            return Err(Refusal::plain(ErrorKind::UnknownTopicOrPartition));
        };
        let present = topic.partition_count();
        let added = self.added(topic, request)?;
        if added + records.len() > NEW_PARTITIONS_MAX {
            return Err(Refusal::new(ErrorKind::PolicyViolation, TOO_MANY));
        }
        let factor = topic.partitions().next().map_or(1, |(_, part)| part.replicas.len());
        let placed = match &request.assignments {
            Some(assignments) => assignments.clone(),
            None => {
                let factor = i16::try_from(factor).unwrap_or(i16::MAX);
                place::place(&self.usable_brokers(), added, factor, &mut turn.random).map_err(
                    |error| Refusal::new(ErrorKind::InvalidReplicationFactor, error.to_string()),
                )?
            }
        };
        let (mut created, version) = (Vec::new(), self.metadata_version());
        for (index, replicas) in (present..).zip(placed) {
            if request.assignments.is_some() {
                self.check_assignment(&replicas, Some(factor))?;
            }
            let partition = self.new_partition(replicas).ok_or_else(|| {
                if request.assignments.is_some() {
                    Refusal::new(
                        ErrorKind::InvalidReplicaAssignment,
                        format!(
                            "All brokers specified in the manual partition assignment for \
                             partition {index} are fenced or in controlled shutdown."
                        ),
                    )
                } else {
                    Refusal::new(
                        ErrorKind::InvalidReplicationFactor,
                        format!("Unable to replicate the partition {factor} time(s): {ALL_FENCED}"),
                    )
                }
            })?;
            let id = PartitionId(i32::try_from(index).expect("the count asked for is an i32"));
            created.push(partition_record(topic.id, id, &partition, version).into());
        }
        records.append(&mut created);
        Ok(())
    }

    /// How many partitions are to be added; at least one.
    fn added(&self, topic: &Topic, request: &GrowTopic) -> Result<usize, Refusal> {
        let present = topic.partition_count();
        let invalid = |text| Err(Refusal::new(ErrorKind::InvalidPartitions, text));
        let wanted = usize::try_from(request.count).unwrap_or(0);
        if wanted == present {
            return invalid(format!("Topic already has {present} partition(s)."));
        }
        if wanted < present {
            return invalid(format!(
                "The topic {} currently has {present} partition(s); {} would not be an increase.",
                topic.name, request.count
            ));
        }
        let added = wanted - present;
        match request.assignments.as_ref().map(Vec::len) {
            Some(assigned) if assigned != added => Err(Refusal::new(
                ErrorKind::InvalidReplicaAssignment,
                format!(
                    "Attempted to add {added} additional partition(s), but only {assigned} \
                     assignment(s) were specified."
                ),
            )),
            _ => Ok(added),
        }
    }
}
