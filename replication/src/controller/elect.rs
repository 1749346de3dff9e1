//! ElectLeaders, and the elections that the controller holds by itself.

use engine::ids::{PartitionId, TopicId};

use super::change::Election;
use super::{Controller, Decision, ErrorKind, Refusal};
use crate::image::Partition;
use crate::record::MetadataRecord;

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionKind {
    /// The first replica leads again.
    Preferred,
    /// Some replica leads, whatever it lacks.
    Unclean,
}

impl ElectionKind {
    /// From Kafka's number.
    ///
    /// # Errors
    /// Kafka's refusal of an unknown one.
    pub fn from_code(code: i8) -> Result<Self, Refusal> {
        match code {
            0 => Ok(Self::Preferred),
            1 => Ok(Self::Unclean),
            _ => Err(Refusal::new(
                ErrorKind::InvalidRequest,
                format!("Unknown election type {code}"),
            )),
        }
    }
}

/// What became of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectionOutcome {
    /// As asked for.
    pub topic: String,
    /// As asked for.
    pub partition: PartitionId,
    /// Whether a leader was elected.
    pub result: Result<(), Refusal>,
}

impl Controller {
    /// Elects leaders of the given partitions, or (with `None`) of all, of which those that need
    /// no election are left out of the answer.
    pub fn elect_leaders(
        &mut self,
        kind: ElectionKind,
        partitions: Option<&[(String, PartitionId)]>,
    ) -> Decision<Vec<ElectionOutcome>> {
        let mut records = Vec::new();
        let mut outcomes = Vec::new();
        let all: Vec<_>;
        let chosen = if let Some(chosen) = partitions {
            chosen
        } else {
            let topics = self.image.topics().iter();
            all = topics
                .flat_map(|topic| topic.partitions().map(|(id, _)| (topic.name.to_string(), id)))
                .collect();
            &all
        };
        for (topic, partition) in chosen {
            let result = self.elect_leader(kind, topic, *partition, &mut records);
            let unneeded =
                matches!(&result, Err(Refusal { kind: ErrorKind::ElectionNotNeeded, .. }));
            if partitions.is_some() || !unneeded {
                let (topic, partition) = (topic.clone(), *partition);
                outcomes.push(ElectionOutcome { topic, partition, result });
            }
        }
        self.decide(records, outcomes).divisible()
    }

    /// Gives up to `max` partitions back to their preferred leaders: the periodic balancing
    /// (`auto.leader.rebalance.enable`). The outcome is whether there may be more to do.
    pub fn balance_leaders(&mut self, max: usize) -> Decision<bool> {
        self.elect_where(max, Election::Preferred, |_, _, partition| {
            partition.leader.is_some() && !partition.has_preferred_leader()
        })
    }

    /// Elects uncleanly up to `max` leaderless partitions of topics that allow it. The outcome is
    /// whether there may be more to do.
    pub fn elect_leaderless(&mut self, max: usize) -> Decision<bool> {
        self.elect_where(max, Election::Unclean, |controller, topic, partition| {
            partition.leader.is_none() && controller.election_rules(controller.topic(topic)).unclean
        })
    }

    fn elect_where(
        &mut self,
        max: usize,
        election: Election,
        concerned: impl Fn(&Self, TopicId, &Partition) -> bool,
    ) -> Decision<bool> {
        let records: Vec<_> = self
            .image
            .topics()
            .partitions()
            .filter(|(topic, _, partition)| concerned(self, topic.id, partition))
            .filter_map(|(topic, id, _)| self.change(topic.id, id, |c, _| c.election(election)))
            .take(max)
            .collect();
        let more = records.len() == max;
        self.decide(records, more).divisible()
    }

    fn elect_leader(
        &self,
        kind: ElectionKind,
        topic: &str,
        id: PartitionId,
        records: &mut Vec<MetadataRecord>,
    ) -> Result<(), Refusal> {
        let unknown = |text| Refusal::new(ErrorKind::UnknownTopicOrPartition, text);
        let Some(found) = self.image.topics().named(topic) else {
            return Err(unknown(format!("No such topic as {topic}")));
        };
        let Some(partition) = found.partition(id) else {
            return Err(unknown(format!("No such partition as {topic}-{id}")));
        };
        let (unneeded, election, none) = match kind {
            ElectionKind::Preferred => (
                partition.has_preferred_leader(),
                Election::Preferred,
                ErrorKind::PreferredLeaderNotAvailable,
            ),
            ElectionKind::Unclean => (
                partition.leader.is_some(),
                Election::Unclean,
                ErrorKind::EligibleLeadersNotAvailable,
            ),
        };
        if unneeded {
            return Err(Refusal::plain(ErrorKind::ElectionNotNeeded));
        }
        let record = self.change(found.id, id, |change, _| change.election(election));
        records.push(record.ok_or_else(|| Refusal::plain(none))?);
        Ok(())
    }
}
