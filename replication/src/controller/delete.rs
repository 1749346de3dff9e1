//! DeleteTopics, by name or by id.

use std::collections::BTreeSet;

use engine::ids::TopicId;
use wire::record::metadata::{MetadataRecord, RemoveTopicRecord};

use super::{Controller, Decision, ErrorKind, Refusal};

/// How a request names a topic; both or neither are the client's mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicRef {
    /// By name.
    pub name: Option<String>,
    /// By id.
    pub id: Option<TopicId>,
}

/// What became of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// Name, where it is known and may be told.
    pub name: Option<String>,
    /// Id, where it is known.
    pub id: Option<TopicId>,
    /// Whether it is gone.
    pub result: Result<(), Refusal>,
}

impl Controller {
    /// Deletes topics. A topic named twice, in whichever way, is not deleted.
    pub fn delete_topics(&mut self, topics: &[TopicRef]) -> Decision<Vec<DeleteOutcome>> {
        if !self.config.delete_topic_enable {
            let disabled = |topic: &TopicRef| DeleteOutcome {
                name: topic.name.clone(),
                id: topic.id,
                result: Err(Refusal::plain(ErrorKind::TopicDeletionDisabled)),
            };
            return Decision::unchanged(topics.iter().map(disabled).collect());
        }
        let mut outcomes = Vec::new();
        let mut gone = BTreeSet::new();
        let mut told = Vec::new();
        for (index, topic) in topics.iter().enumerate() {
            if told.contains(topic) {
                continue;
            }
            let twice = topics[index + 1..].contains(topic);
            if twice {
                told.push(topic.clone());
            }
            let result = if twice { Err(duplicate(topic)) } else { self.resolve(topic) };
            match result {
                Ok(id) if gone.insert(id) => outcomes.push(self.deleted(id)),
                Ok(id) => {
                    gone.remove(&id);
                    outcomes.retain(|outcome: &DeleteOutcome| outcome.id != Some(id));
                    let text = "The provided topic name maps to an ID that was already supplied.";
                    let result = Err(Refusal::new(ErrorKind::InvalidRequest, text));
                    outcomes.push(DeleteOutcome { result, ..self.deleted(id) });
                }
                Err(refusal) => outcomes.push(DeleteOutcome {
                    name: topic.name.clone(),
                    id: topic.id,
                    result: Err(refusal),
                }),
            }
        }
        let remove = |id: TopicId| RemoveTopicRecord { topic_id: id.0 };
        let records = gone.into_iter().map(remove).map(MetadataRecord::from).collect();
        self.decide(records, outcomes)
    }

    fn resolve(&self, topic: &TopicRef) -> Result<TopicId, Refusal> {
        let invalid = |text| Err(Refusal::new(ErrorKind::InvalidRequest, text));
        match (&topic.name, topic.id.filter(|id| !id.0.is_zero())) {
            (None, None) => invalid("Neither topic name nor id were specified."),
            (Some(_), Some(_)) => invalid("You may not specify both topic name and topic id."),
            (Some(name), None) => {
                let found = self.image.topics().named(name);
                let found = found.map(|topic| topic.id);
                found.ok_or_else(|| Refusal::plain(ErrorKind::UnknownTopicOrPartition))
            }
            (None, Some(id)) => {
                let found = self.image.topics().get(id).map(|topic| topic.id);
                found.ok_or_else(|| Refusal::plain(ErrorKind::UnknownTopicId))
            }
        }
    }

    fn deleted(&self, id: TopicId) -> DeleteOutcome {
        let name = Some(self.topic(id).name.to_string());
        DeleteOutcome { name, id: Some(id), result: Ok(()) }
    }
}

fn duplicate(topic: &TopicRef) -> Refusal {
    let text = if topic.name.is_some() { "Duplicate topic name." } else { "Duplicate topic id." };
    Refusal::new(ErrorKind::InvalidRequest, text)
}
