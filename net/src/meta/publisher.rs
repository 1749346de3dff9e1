//! From the committed image to every core, by a task of its own: several changes that were
//! committed meanwhile are one step.
//!
//! Who waits for a change is answered when every core has it. What was deleted goes from the disks
//! after that, and before the next step: a topic of the same name finds nothing in its way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use config::Config;
use engine::ids::{PartitionId, TopicId};
use futures_util::future::join_all;
use replication::controller::directories::AssignDirectories;
use replication::image::{self, ConfigResource, Image};
use wire::primitives::Uuid;

use super::Meta;
use super::proposal::Finish;
use crate::mesh;
use crate::node::Published;
use crate::positions;
use crate::publish::{self, Change};

/// Who waits for the publisher. One entry for each request in flight at most.
pub(super) struct Publishes {
    /// None once there is no publisher any more.
    waiting: RefCell<Option<Vec<Finish>>>,
    /// Holds one signal at most.
    wake: flume::Sender<()>,
}

impl Publishes {
    /// Nobody, and the publisher's end.
    pub(super) fn new() -> (Self, flume::Receiver<()>) {
        let (wake, wanted) = flume::bounded(1);
        (Self { waiting: RefCell::new(Some(Vec::new())), wake }, wanted)
    }

    /// Has everything committed until now published, and then these answered.
    pub(super) fn want(&self, answers: Vec<Finish>) {
        // Without a publisher they are dropped, which tells who waits.
        if let Some(waiting) = &mut *self.waiting.borrow_mut() {
            waiting.extend(answers);
        }
        // Full means that it is about to look.
        let _ = self.wake.try_send(());
    }

    fn take(&self) -> Vec<Finish> {
        self.waiting.borrow_mut().as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn close(&self) {
        drop(self.waiting.borrow_mut().take());
    }
}

/// Publishes for ever.
pub(super) async fn run(meta: Rc<Meta>, wanted: flume::Receiver<()>) {
    let ending = Ending(Rc::clone(&meta));
    meta.tell_directories();
    while let Ok(()) = wanted.recv_async().await {
        let answers = meta.publishes.take();
        meta.publish(|| answers.into_iter().for_each(|finish| finish(Ok(())))).await;
        meta.tell_directories();
        meta.snapshot_if_due().await;
    }
    drop(ending);
}

/// Has nobody wait for a publisher that is no more.
struct Ending(Rc<Meta>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.publishes.close();
        self.0.fail();
    }
}

impl Meta {
    /// The role has ended by a defect.
    pub(super) fn fail(&self) {
        // Full means that it was said.
        let _ = self.failed.0.try_send(());
    }

    /// Publishes what is committed to every core; calls `answer` when all have it, and has what was
    /// deleted removed from the disks after that.
    pub(super) async fn publish(&self, answer: impl FnOnce()) {
        let before = self.core.image();
        let image = self.image();
        if before.provenance() == image.provenance() {
            return answer();
        }
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
        if !change.placed.is_empty() {
            self.prepare(&change).await;
        }
        let work = |core| mesh::call(&self.core, core, publish::Work(Arc::clone(&change)));
        let calls: Vec<_> = self.core.mesh.cores().map(work).collect();
        for (core, outcome) in join_all(calls).await.into_iter().enumerate() {
            if let Err(error) = outcome {
                tracing::error!(core, "does not have the newest metadata: {error}");
            }
        }
        answer();
        if !change.delta.topics_deleted.is_empty() {
            let retire = |core| mesh::call(&self.core, core, publish::Retire(Arc::clone(&change)));
            // A core that has stopped has no disk to clear; what is left goes at the next start.
            drop(join_all(self.core.mesh.cores().map(retire).collect::<Vec<_>>()).await);
            positions::forget_deleted(&self.core).await;
        }
        if moved {
            self.save_homes().await;
        }
    }

    /// Tells the controller which directories hold partitions, where it does not know. What fails
    /// is tried again at the next start.
    fn tell_directories(self: &Rc<Self>) {
        let unassigned = self.homes.borrow_mut().take_unassigned();
        if unassigned.is_empty() {
            return;
        }
        let meta = Rc::clone(self);
        let telling = async move {
            for assignments in unassigned.chunks(ASSIGNMENTS_MAX) {
                meta.assign_directories(assignments.to_vec()).await;
            }
        };
        self.core.rt.spawn("directories", telling).detach();
    }

    async fn assign_directories(self: &Rc<Self>, assignments: Vec<(TopicId, PartitionId, Uuid)>) {
        let meta = Rc::clone(self);
        let assigned = self.propose_only(move |desk, _| {
            let (broker, epoch) = (meta.core.node.id, meta.broker_epoch());
            desk.assign_directories(&AssignDirectories { broker, epoch, assignments })
        });
        let refusal = match assigned.await {
            Ok(Ok(_)) => return,
            Ok(Err(refusal)) => refusal.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            "the controller does not know which directories partitions are in: {refusal}"
        );
    }

    /// Has new partitions opened, before any core shows them.
    async fn prepare(&self, change: &Arc<Change>) {
        let open = |core| mesh::call(&self.core, core, publish::Open(Arc::clone(change)));
        let calls: Vec<_> = self.core.mesh.cores().map(open).collect();
        for (core, opened) in join_all(calls).await.into_iter().enumerate() {
            match opened {
                Ok(opened) => self.offline.set(self.offline.get() + opened.offline.len()),
                Err(error) => tracing::error!(core, "opens no new partitions: {error}"),
            }
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

/// Partitions in one request, as in Kafka.
const ASSIGNMENTS_MAX: usize = 2048;
