//! From the committed image to every core.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::Config;
use futures_util::future::join_all;
use replication::image::{self, ConfigResource, Image};

use super::Meta;
use crate::mesh;
use crate::node::Published;
use crate::publish::{self, Change};

impl Meta {
    /// Publishes what is committed to every core and waits until all have it.
    pub(super) async fn publish(&self) {
        let before = self.core.image();
        let image = self.image();
        let delta = image::delta(&before, &image);
        let placed = self.homes.borrow_mut().settle(&delta);
        let moved = !placed.is_empty() || !delta.topics_deleted.is_empty();
        let config = if delta.configs_changed.is_empty() {
            self.core.config()
        } else {
            self.dynamic_config(&image)
        };
        let published = Published { image: Arc::new(image), config };
        let change = Arc::new(Change { published, delta, placed });
        let calls = self
            .core
            .mesh
            .cores()
            .map(|core| mesh::call(&self.core, core, publish::Work(Arc::clone(&change))));
        for (core, outcome) in join_all(calls.collect::<Vec<_>>()).await.into_iter().enumerate() {
            match outcome {
                Ok(outcome) => self.offline.set(self.offline.get() + outcome.offline.len()),
                Err(error) => tracing::error!(core, "does not have the newest metadata: {error}"),
            }
        }
        if moved {
            self.save_homes().await;
        }
    }

    /// Writes the map of cores. It may be lost: places are a matter of speed alone.
    async fn save_homes(&self) {
        let (file, bytes) = self.homes.borrow().file();
        if let Err(error) = self.core.rt.replace_file(&file, &bytes).await {
            let file = file.display();
            tracing::warn!(%file, "the places of partitions are not kept: {error}");
        }
    }

    /// The node's configuration under the dynamic keys of the image.
    pub(super) fn dynamic_config(&self, image: &Image) -> Config {
        let of = |resource: &ConfigResource| -> BTreeMap<String, String> {
            image.configs().get(resource).map(|map| (**map).clone()).unwrap_or_default()
        };
        let cluster = of(&ConfigResource::cluster_default());
        let broker = of(&ConfigResource::broker(self.core.node.id));
        let (config, errors) = self.core.node.config.with_dynamic(&cluster, &broker);
        for error in errors {
            tracing::warn!("a dynamic setting is passed over: {error}");
        }
        config
    }
}
