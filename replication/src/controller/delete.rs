//! DeleteTopics, by name or by id.

use std::collections::{BTreeMap, BTreeSet};

use engine::ids::TopicId;
use wire::record::metadata::{MetadataRecord, RemoveTopicRecord};

use super::{Controller, Decision, ErrorKind, Refusal};

/// How a request names a topic; both or neither are the client's mistakes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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
        let mut counts: BTreeMap<&TopicRef, usize> = BTreeMap::new();
        for topic in topics {
            *counts.entry(topic).or_default() += 1;
        }
        let mut outcomes: Vec<DeleteOutcome> = Vec::new();
        // Where the outcome of a topic is, and the topics that are to go.
        let (mut places, mut gone) = (BTreeMap::new(), BTreeSet::new());
        for topic in topics {
            let result = match counts.insert(topic, 0) {
                Some(1) => self.resolve(topic),
                Some(0) | None => continue,
                Some(_) => Err(duplicate(topic)),
            };
            match result {
                Ok(id) => match places.get(&id) {
                    None => {
                        gone.insert(id);
                        places.insert(id, outcomes.len());
                        outcomes.push(self.deleted(id));
                    }
                    Some(&place) => {
                        gone.remove(&id);
                        let text =
                            "The provided topic name maps to an ID that was already supplied.";
                        outcomes[place].result = Err(Refusal::new(ErrorKind::InvalidRequest, text));
                    }
                },
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
