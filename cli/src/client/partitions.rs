//! Partitions by name, and the shape in which requests carry them.

use std::collections::BTreeMap;
use std::fmt;

/// A partition of a topic; shown as Kafka shows it, `topic-0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicPartition {
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

impl TopicPartition {
    pub(crate) fn new(topic: impl Into<String>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// One entry a topic: requests that name a topic twice are refused or misread.
pub(crate) fn by_topic<'a, T>(
    entries: impl IntoIterator<Item = (&'a TopicPartition, T)>,
) -> BTreeMap<&'a str, Vec<(i32, T)>> {
    let mut topics: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (at, value) in entries {
        topics.entry(&at.topic).or_default().push((at.partition, value));
    }
    topics
}

/// `topic:0,1;other:2`, as Kafka's tool shows what a member has.
pub(crate) fn in_short(partitions: &[TopicPartition]) -> String {
    let topics = by_topic(partitions.iter().map(|at| (at, ())));
    let topics = topics.iter().map(|(topic, partitions)| {
        let ids: Vec<_> = partitions.iter().map(|(id, ())| id.to_string()).collect();
        format!("{topic}:{}", ids.join(","))
    });
    topics.collect::<Vec<_>>().join(";")
}
