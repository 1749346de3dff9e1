//! Puts a new state of the metadata into effect on one core.
//!
//! Core 0 sends every core the same [`Change`] and waits for all before the next, so the steps of
//! two never mix. On each core: new partitions are opened and changed ones take their role, then
//! the image is swapped, then what was deleted goes. A client that sees a topic in the new image
//! can use it at once.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use config::TopicConfig;
use engine::ids::{BrokerId, TopicId};
use engine::partition::{FollowerSpec, LeaderSpec, Partition, PartitionSpec};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use replication::cores::PartitionKey;
use replication::image::{self, ConfigResource, Delta, Image, ResourceKind, Topic};

use crate::core::Core;
use crate::node::Published;
use crate::partitions::{Home, Owned};

/// From one state of the metadata to the next.
pub(crate) struct Change {
    pub(crate) published: Published,
    pub(crate) delta: Delta,
    /// Partitions that are new on this node, and where they go.
    pub(crate) placed: Vec<(PartitionKey, Home)>,
}

/// A change to put into effect.
pub(crate) struct Work(pub(crate) Arc<Change>);

/// What it led to on one core.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Partitions that could not be opened.
    pub(crate) offline: Vec<PartitionKey>,
}

/// Puts a change into effect.
pub(crate) async fn serve(core: Rc<Core>, Work(change): Work) -> Outcome {
    for &(key, home) in &change.placed {
        core.partitions.settle(key, home);
    }
    let outcome = open_new(&core, &change).await;
    let image = &change.published.image;
    for moved in &change.delta.partitions_changed {
        let key = PartitionKey { topic: moved.topic.id, partition: moved.partition };
        if moved.old.is_some()
            && let Some(Owned::Open(partition)) = core.partitions.owned(key)
        {
            take_role(&core, &partition, &moved.new);
        }
    }
    core.set_published(change.published.clone());
    reconfigure(&core, image, &change.delta);
    for topic in &change.delta.topics_deleted {
        delete(&core, topic).await;
    }
    outcome
}

/// Opens what is new and this core's, several at a time.
async fn open_new(core: &Rc<Core>, change: &Change) -> Outcome {
    let image = &change.published.image;
    let mut outcome = Outcome::default();
    let mut opening = FuturesUnordered::new();
    let mut configs = TopicConfigs { change, last: None };
    for &(key, home) in change.placed.iter().filter(|(_, home)| home.core == core.id()) {
        let Some(topic) = image.topics().get(key.topic) else { continue };
        let config = configs.of(topic);
        opening.push(open(core, key, home, Arc::clone(topic), config));
        if opening.len() == OPENING_MAX
            && let Some(Err(key)) = opening.next().await
        {
            outcome.offline.push(key);
        }
        core.rt.turn().await;
    }
    while let Some(opened) = opening.next().await {
        outcome.offline.extend(opened.err());
    }
    outcome
}

/// Computes a topic's configuration once for all its partitions.
struct TopicConfigs<'a> {
    change: &'a Change,
    last: Option<(TopicId, Rc<TopicConfig>)>,
}

impl TopicConfigs<'_> {
    fn of(&mut self, topic: &Topic) -> Rc<TopicConfig> {
        match &self.last {
            Some((id, config)) if *id == topic.id => Rc::clone(config),
            _ => {
                let config = Rc::new(effective(&self.change.published, topic));
                self.last = Some((topic.id, Rc::clone(&config)));
                config
            }
        }
    }
}

/// A topic's configuration under the metadata given.
pub(crate) fn effective(published: &Published, topic: &Topic) -> TopicConfig {
    let overrides = published.image.configs().get(&ConfigResource::topic(&topic.name));
    match overrides {
        Some(overrides) => TopicConfig::effective(&published.config, overrides),
        None => TopicConfig::effective(&published.config, &BTreeMap::new()),
    }
}

async fn open(
    core: &Rc<Core>,
    key: PartitionKey,
    home: Home,
    topic: Arc<Topic>,
    config: Rc<TopicConfig>,
) -> Result<(), PartitionKey> {
    let spec = PartitionSpec {
        topic: topic.name.to_string(),
        topic_id: topic.id,
        partition: key.partition,
        log_dir: Rc::clone(&core.dirs[home.dir]),
        config,
    };
    let opened = Partition::open(&core.engine, spec).await;
    match opened {
        Ok(partition) => {
            if let Some(registered) = topic.partition(key.partition) {
                take_role(core, &partition, registered);
            }
            core.partitions.insert(key, Owned::Open(partition));
            Ok(())
        }
        Err(error) => {
            tracing::error!(topic = &*topic.name, partition = key.partition.0, "offline: {error}");
            core.partitions.insert(key, Owned::Offline(error.to_string().into()));
            Err(key)
        }
    }
}

/// Leads or follows, as the controller says.
fn take_role(core: &Core, partition: &Rc<Partition>, registered: &image::Partition) {
    let epoch = registered.leader_epoch;
    if registered.leader != Some(core.node.id) {
        return partition.become_follower(FollowerSpec { epoch });
    }
    let count = |brokers: &[BrokerId]| u32::try_from(brokers.len()).expect("brokers are few");
    partition.become_leader(LeaderSpec {
        epoch,
        replica_count: count(&registered.replicas),
        isr_count: count(&registered.isr),
        min_isr: partition.config().min_insync_replicas,
    });
}

/// Gives every partition of this core whose topic or broker defaults changed its new settings.
fn reconfigure(core: &Rc<Core>, image: &Arc<Image>, delta: &Delta) {
    let of_broker = |resource: &ConfigResource| resource.kind == ResourceKind::Broker;
    let all = delta.configs_changed.iter().any(|change| of_broker(&change.resource));
    let changed = |topic: &Topic| {
        all || delta.configs_changed.iter().any(|change| {
            change.resource.kind == ResourceKind::Topic && *change.resource.name == *topic.name
        })
    };
    if delta.configs_changed.is_empty() {
        return;
    }
    let published = core.published();
    let mut known: Option<(TopicId, Option<Rc<TopicConfig>>)> = None;
    for (key, partition) in core.partitions.all_open() {
        if known.as_ref().is_none_or(|(id, _)| *id != key.topic) {
            let topic = image.topics().get(key.topic).filter(|topic| changed(topic));
            known = Some((key.topic, topic.map(|topic| Rc::new(effective(&published, topic)))));
        }
        let Some((_, Some(config))) = &known else { continue };
        partition.set_config(config);
        let registered = image.topics().get(key.topic).and_then(|t| t.partition(key.partition));
        if let Some(registered) = registered {
            // `min.insync.replicas` is part of the role.
            take_role(core, &partition, registered);
        }
    }
}

async fn delete(core: &Rc<Core>, topic: &Topic) {
    for (partition, _) in topic.partitions() {
        let key = PartitionKey { topic: topic.id, partition };
        core.partitions.unsettle(key);
        if let Some(Owned::Open(open)) = core.partitions.remove(key)
            && let Err(error) = open.delete().await
        {
            tracing::error!(topic = &*topic.name, partition = partition.0, "not deleted: {error}");
        }
    }
}

/// Partitions opened at a time on one core: enough to keep the disk busy with recovery.
const OPENING_MAX: usize = 32;
