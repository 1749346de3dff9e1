//! The metadata as groups see it: what topics there are now, and what is set for single groups.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use config::{Config, GroupConfig};
use engine::group::{Pace, TopicSource};
use engine::ids::{PartitionId, TopicId};
use replication::image::{ConfigResource, Image, ResourceKind};
use wire::primitives::Uuid;

use crate::node::Published;

/// The metadata of this core, which changes.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    image: RefCell<Arc<Image>>,
    config: RefCell<Config>,
}

impl Topics {
    pub(super) fn set(&self, published: &Published) {
        drop(self.image.replace(Arc::clone(&published.image)));
        drop(self.config.replace(published.config.clone()));
    }

    pub(super) fn image(&self) -> Arc<Image> {
        Arc::clone(&self.image.borrow())
    }

    pub(super) fn version_of(image: &Image) -> i64 {
        image.provenance().end.0
    }
}

impl TopicSource for Topics {
    fn version(&self) -> i64 {
        Self::version_of(&self.image.borrow())
    }

    fn find(&self, name: &str) -> Option<(Uuid, i32)> {
        let image = self.image.borrow();
        let topic = image.topics().named(name)?;
        Some((topic.id.0, i32::try_from(topic.partition_count()).unwrap_or(i32::MAX)))
    }

    fn name(&self, id: Uuid) -> Option<Arc<str>> {
        self.image.borrow().topics().get(TopicId(id)).map(|topic| Arc::clone(&topic.name))
    }

    fn racks(&self, topic: Uuid, partition: i32) -> Vec<Arc<str>> {
        let image = self.image.borrow();
        let partition = image.topics().partition(TopicId(topic), PartitionId(partition));
        let replicas = partition.into_iter().flat_map(|partition| &partition.replicas);
        let racks = replicas.filter_map(|broker| image.brokers().get(*broker)?.rack.clone());
        let mut racks: Vec<_> = racks.collect();
        racks.sort();
        racks.dedup();
        racks
    }

    fn pace(&self, group: &str) -> Option<Pace> {
        let image = self.image.borrow();
        let own = image.configs().get(&ConfigResource::new(ResourceKind::Group, group))?;
        let own = GroupConfig::effective(&self.config.borrow(), own);
        let (session_ms, heartbeat_ms) = (own.session_timeout_ms, own.heartbeat_interval_ms);
        Some(pace(session_ms, heartbeat_ms, own.assignment_interval_ms))
    }
}

/// As the engine takes what is configured.
pub(super) fn pace(session_ms: i64, heartbeat_ms: i64, assignment_interval_ms: i64) -> Pace {
    Pace {
        session_timeout: Duration::from_millis(u64::try_from(session_ms).unwrap_or(0)),
        heartbeat_interval_ms: i32::try_from(heartbeat_ms).unwrap_or(i32::MAX),
        assignment_interval_ms,
    }
}
