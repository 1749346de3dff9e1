//! The metadata as groups see it: what topics there are now.

use std::cell::RefCell;
use std::sync::Arc;

use engine::group::TopicSource;
use engine::ids::{PartitionId, TopicId};
use replication::image::Image;
use wire::primitives::Uuid;

/// The topics of this core's image, which changes.
#[derive(Debug, Default)]
pub(crate) struct Topics(RefCell<Arc<Image>>);

impl Topics {
    pub(super) fn set(&self, image: &Arc<Image>) {
        drop(self.0.replace(Arc::clone(image)));
    }

    pub(super) fn image(&self) -> Arc<Image> {
        Arc::clone(&self.0.borrow())
    }

    pub(super) fn version_of(image: &Image) -> i64 {
        image.provenance().end.0
    }
}

impl TopicSource for Topics {
    fn version(&self) -> i64 {
        Self::version_of(&self.0.borrow())
    }

    fn find(&self, name: &str) -> Option<(Uuid, i32)> {
        let image = self.0.borrow();
        let topic = image.topics().named(name)?;
        Some((topic.id.0, i32::try_from(topic.partition_count()).unwrap_or(i32::MAX)))
    }

    fn name(&self, id: Uuid) -> Option<Arc<str>> {
        self.0.borrow().topics().get(TopicId(id)).map(|topic| Arc::clone(&topic.name))
    }

    fn racks(&self, topic: Uuid, partition: i32) -> Vec<Arc<str>> {
        let image = self.0.borrow();
        let partition = image.topics().partition(TopicId(topic), PartitionId(partition));
        let replicas = partition.into_iter().flat_map(|partition| &partition.replicas);
        let racks = replicas.filter_map(|broker| image.brokers().get(*broker)?.rack.clone());
        let mut racks: Vec<_> = racks.collect();
        racks.sort();
        racks.dedup();
        racks
    }
}
