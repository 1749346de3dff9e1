//! What changed between two images, for the broker that puts it into effect.

use std::sync::Arc;

use engine::ids::{BrokerId, PartitionId};

use super::Image;
use super::configs::{ConfigMap, ConfigResource};
use super::shards::Shards;
use super::topics::{Partition, Topic};

/// The difference of two images. Everything of a created or deleted topic is in its own list only.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Delta {
    /// Topics that are new, by id: a topic deleted and created again under its name is both.
    pub topics_created: Vec<Arc<Topic>>,
    /// Topics that are gone, as they were.
    pub topics_deleted: Vec<Arc<Topic>>,
    /// Partitions of topics in both images that are new or changed.
    pub partitions_changed: Vec<PartitionChange>,
    /// Resources with another set of configs.
    pub configs_changed: Vec<ConfigChange>,
    /// Brokers registered, changed or gone.
    pub brokers_changed: Vec<BrokerId>,
    /// Whether feature levels differ.
    pub features_changed: bool,
    /// Whether client quotas differ.
    pub quotas_changed: bool,
    /// Whether access control entries, SCRAM credentials or tokens differ.
    pub security_changed: bool,
}

/// One partition before and after.
#[derive(Clone, Debug)]
pub struct PartitionChange {
    /// Its topic, as it is now.
    pub topic: Arc<Topic>,
    /// Index in the topic.
    pub partition: PartitionId,
    /// `None` if the topic grew.
    pub old: Option<Arc<Partition>>,
    /// As it is now.
    pub new: Arc<Partition>,
}

/// Configs of one resource before and after; `None` where nothing is set.
#[derive(Clone, Debug)]
pub struct ConfigChange {
    /// Whose configs.
    pub resource: ConfigResource,
    /// Before.
    pub old: Option<Arc<ConfigMap>>,
    /// After.
    pub new: Option<Arc<ConfigMap>>,
}

impl Delta {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics_created.is_empty()
            && self.topics_deleted.is_empty()
            && self.partitions_changed.is_empty()
            && self.configs_changed.is_empty()
            && self.brokers_changed.is_empty()
            && !(self.features_changed || self.quotas_changed || self.security_changed)
    }
}

/// The difference between two images, of which `new` came from `old` by records; takes the time
/// of what changed, not of what there is. Unrelated images give the right answer slowly.
#[must_use]
pub fn delta(old: &Image, new: &Image) -> Delta {
    let mut delta = Delta {
        features_changed: differs(&old.features, &new.features),
        quotas_changed: differs(&old.quotas, &new.quotas),
        security_changed: differs(&old.acls, &new.acls)
            || differs(&old.scram, &new.scram)
            || differs(&old.tokens, &new.tokens),
        ..Delta::default()
    };
    topics(old, new, &mut delta);
    configs(old, new, &mut delta);
    brokers(old, new, &mut delta);
    delta
}

fn topics(old: &Image, new: &Image, delta: &mut Delta) {
    if Arc::ptr_eq(&old.topics, &new.topics) {
        return;
    }
    Shards::diff(&old.topics.by_id, &new.topics.by_id, |_, before, after| match (before, after) {
        (Some(before), Some(after)) => partitions(before, after, delta),
        (None, Some(after)) => delta.topics_created.push(Arc::clone(after)),
        (Some(before), None) => delta.topics_deleted.push(Arc::clone(before)),
        (None, None) => {}
    });
}

fn partitions(before: &Arc<Topic>, after: &Arc<Topic>, delta: &mut Delta) {
    // Partitions only ever come, so walking the new ones in step with the old finds everything.
    let mut earlier = before.partitions().peekable();
    for (id, new) in after.partitions() {
        while earlier.next_if(|&(other, _)| other < id).is_some() {}
        let old = earlier.next_if(|&(other, _)| other == id).map(|(_, old)| old);
        if old.is_some_and(|old| Arc::ptr_eq(old, new) || old == new) {
            continue;
        }
        delta.partitions_changed.push(PartitionChange {
            topic: Arc::clone(after),
            partition: id,
            old: old.cloned(),
            new: Arc::clone(new),
        });
    }
}

fn configs(old: &Image, new: &Image, delta: &mut Delta) {
    if Arc::ptr_eq(&old.configs, &new.configs) {
        return;
    }
    let (before, after) = (&old.configs.by_resource, &new.configs.by_resource);
    Shards::diff(before, after, |resource, old, new| {
        if old != new {
            let (old, new) = (old.cloned(), new.cloned());
            delta.configs_changed.push(ConfigChange { resource: resource.clone(), old, new });
        }
    });
}

fn brokers(old: &Image, new: &Image, delta: &mut Delta) {
    if Arc::ptr_eq(&old.brokers, &new.brokers) {
        return;
    }
    let (before, after) = (&old.brokers.by_id, &new.brokers.by_id);
    let changed = after.iter().filter(|(id, broker)| before.get(id) != Some(broker));
    let gone = before.keys().filter(|id| !after.contains_key(id));
    delta.brokers_changed.extend(changed.map(|(id, _)| id).chain(gone));
}

fn differs<T: PartialEq>(old: &Arc<T>, new: &Arc<T>) -> bool {
    !Arc::ptr_eq(old, new) && old != new
}
