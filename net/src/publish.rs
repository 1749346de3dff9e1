//! Puts a new state of the metadata into effect on one core.
//!
//! Core 0 sends every core the same [`Change`] and waits for all before the next, so the steps of
//! two never mix. First new partitions are opened ([`Open`]); when they are on all cores, changed
//! ones take their role and the image is swapped, core by core. A client that sees a topic in the
//! new image can use it at once, whichever core it asks. When all cores have it, what was deleted
//! goes ([`Retire`]).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use config::TopicConfig;
use engine::error::LogError;
use engine::ids::{BrokerId, PartitionId, TopicId};
use engine::partition::{FollowerSpec, LeaderSpec, Partition, PartitionSpec};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use replication::cores::PartitionKey;
use replication::image::{self, ConfigResource, Delta, Image, ResourceKind, Topic};

use crate::core::Core;
use crate::node::Published;
use crate::partitions::{Holder, Home, Owned};

/// From one state of the metadata to the next.
pub(crate) struct Change {
    pub(crate) published: Published,
    pub(crate) delta: Delta,
    /// Partitions that are new on this node, and where they go.
    pub(crate) placed: Vec<(PartitionKey, Home)>,
}

/// Partitions that a change adds, to be opened before anyone sees them.
pub(crate) struct Open(pub(crate) Arc<Change>);

/// What opening them led to on one core.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// Partitions that could not be opened.
    pub(crate) offline: Vec<PartitionKey>,
}

/// Opens what is new.
pub(crate) async fn prepare(core: Rc<Core>, Open(change): Open) -> Opened {
    for &(key, home) in &change.placed {
        core.partitions.settle(key, home);
    }
    open_new(&core, &change).await
}

/// A change to put into effect.
pub(crate) struct Work(pub(crate) Arc<Change>);

/// Puts a change into effect.
pub(crate) async fn serve(core: Rc<Core>, Work(change): Work) {
    let image = &change.published.image;
    for moved in &change.delta.partitions_changed {
        let key = PartitionKey { topic: moved.topic.id, partition: moved.partition };
        if moved.old.is_some()
            && let Some(Owned::Open(partition)) = core.partitions.owned(key)
        {
            take_role(&core, &partition, &moved.new);
            core.groups.follow(&core, &partition);
        }
    }
    core.set_published(change.published.clone());
    reconfigure(&core, image, &change.delta);
}

/// The partitions of topics that a change, which every core has, deletes: they go from the disk.
pub(crate) struct Retire(pub(crate) Arc<Change>);

/// Lets them go.
pub(crate) async fn retire(core: Rc<Core>, Retire(change): Retire) {
    let _turn = core.partitions.turn.lock().await;
    for topic in &change.delta.topics_deleted {
        core.groups.topic_deleted(&topic.name, topic.id.0);
        delete(&core, topic).await;
    }
}

/// Opens what is new and this core's, several at a time.
async fn open_new(core: &Rc<Core>, change: &Change) -> Opened {
    let image = &change.published.image;
    let mut outcome = Opened::default();
    let mut opening = FuturesUnordered::new();
    let mut configs = TopicConfigs { change, last: None };
    for &(key, home) in change.placed.iter().filter(|(_, home)| home.core == core.id()) {
        let Some(topic) = image.topics().get(key.topic) else { continue };
        let config = configs.of(topic);
        let topic = Arc::clone(topic);
        opening.push(async move { open(core, key, home, &topic, config).await.map_err(|_| key) });
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

/// Tries again to open what is offline for want of room.
pub(crate) async fn open_lacking(core: &Rc<Core>) {
    for key in core.partitions.lacking_room() {
        let _turn = core.partitions.turn.lock().await;
        let is_offline = matches!(core.partitions.owned(key), Some(Owned::Offline { .. }));
        let published = core.published();
        let (Some(home), Some(topic)) =
            (core.partitions.home(key), published.image.topics().get(key.topic))
        else {
            continue;
        };
        if !is_offline || core.is_draining() {
            continue;
        }
        let config = Rc::new(effective(&published, topic));
        if open(core, key, home, topic, config).await.is_ok() {
            tracing::info!(topic = &*topic.name, partition = key.partition.0, "online");
            catch_up(core, key);
        }
    }
}

/// Gives a partition what the metadata says now, which may have changed while it was opened.
fn catch_up(core: &Core, key: PartitionKey) {
    let published = core.published();
    if let Some(Owned::Open(partition)) = core.partitions.owned(key)
        && let Some(topic) = published.image.topics().get(key.topic)
        && let Some(registered) = topic.partition(key.partition)
    {
        partition.set_config(&Rc::new(effective(&published, topic)));
        take_role(core, &partition, registered);
        core.groups.follow(core, &partition);
    }
}

async fn open(
    core: &Rc<Core>,
    key: PartitionKey,
    home: Home,
    topic: &Topic,
    config: Rc<TopicConfig>,
) -> Result<(), ()> {
    let refuse = |reason: String, lacks_room| {
        let offline = Owned::Offline { reason: reason.as_str().into(), lacks_room };
        if core.partitions.insert(key, offline).is_none() {
            tracing::error!(topic = &*topic.name, partition = key.partition.0, "offline: {reason}");
        }
        Err(())
    };
    if let Some(reason) = twice_here(core, topic, key) {
        return refuse(reason, false);
    }
    let dir = match home.holder {
        Holder::Dir(dir) => dir,
        Holder::Missing(id) => {
            let reason = format!(
                "its log directory, of directory.id {id}, is none of log.dirs: put it back; only \
                 deleting the topic gives its records up"
            );
            return refuse(reason, false);
        }
    };
    let spec = PartitionSpec {
        topic: topic.name.to_string(),
        topic_id: topic.id,
        partition: key.partition,
        log_dir: Rc::clone(&core.dirs[dir]),
        config,
    };
    let opened = Partition::open(&core.engine, spec).await;
    match opened {
        Ok(partition) => {
            if let Some(registered) = topic.partition(key.partition) {
                take_role(core, &partition, registered);
            }
            core.partitions.insert(key, Owned::Open(Rc::clone(&partition)));
            core.groups.follow(core, &partition);
            Ok(())
        }
        Err(error) => refuse(error.to_string(), error.lacks_room()),
    }
}

/// Which directories a partition is in, if there are several: nobody can tell which one is right.
fn twice_here(core: &Core, topic: &Topic, key: PartitionKey) -> Option<String> {
    let (name, number) = (&*topic.name, key.partition.0);
    let holders: Vec<_> =
        core.dirs.iter().filter(|dir| dir.contents().holds(name, number)).collect();
    let [one, other, ..] = holders[..] else { return None };
    for dir in &holders {
        dir.leave_unopened(name, key.topic, key.partition);
    }
    let (one, other) = (one.path().display(), other.path().display());
    Some(format!("{name}-{number} is in {one} and in {other}; move the one that is wrong away"))
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
        let home = core.partitions.home(key);
        core.partitions.unsettle(key);
        let deleted = match (core.partitions.remove(key), home) {
            (Some(Owned::Open(open)), _) => open.delete().await,
            (Some(Owned::Offline { .. }), Some(home)) => {
                discard(core, home, topic, partition).await
            }
            _ => Ok(()),
        };
        if let Err(error) = deleted {
            let topic = &*topic.name;
            let partition = partition.0;
            tracing::error!(topic, partition, "deleted at the next start: {error}");
        }
    }
}

/// Deletes what could not be opened, if it is the topic's.
async fn discard(
    core: &Rc<Core>,
    home: Home,
    topic: &Topic,
    partition: PartitionId,
) -> Result<(), LogError> {
    let Holder::Dir(dir) = home.holder else { return Ok(()) };
    let dir = &core.dirs[dir];
    let is_its_own = match dir.topic_of(&topic.name, partition.0).await {
        Some(found) => found == topic.id,
        None => dir.is_bare(&topic.name, partition.0).await,
    };
    match is_its_own {
        true => dir.discard(&topic.name, partition.0).await,
        false => Ok(()),
    }
}

/// Partitions opened at a time on one core: enough to keep the disk busy with recovery.
const OPENING_MAX: usize = 32;
