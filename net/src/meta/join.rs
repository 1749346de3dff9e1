//! This broker in its own cluster: born, registered, unfenced, and gone again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::Durability;
use engine::ids::TopicId;
use replication::controller::activate::RegisterController;
use replication::controller::brokers::RegisterBroker;
use replication::controller::heartbeat::{Heartbeat, HeartbeatReply};
use replication::controller::{Controller, Decision, Turn};
use replication::features::SUPPORTED;
use replication::image::{Endpoint, LevelRange};
use replication::quorum::Event;
use wire::primitives::Uuid;

use super::{Meta, format, monotonic};
use crate::boot::{BootError, Dirs, random_id};
use crate::node::{Listening, Published};
use crate::publish;

impl Meta {
    /// Takes office, registers controller and broker, publishes the metadata to every core, and
    /// unfences the broker.
    pub(super) async fn join(
        &self,
        dirs: &Dirs,
        removed: &BTreeMap<String, BTreeSet<TopicId>>,
    ) -> Result<(), BootError> {
        let bootstrap = format::bootstrap(&self.core.rt, &dirs.metadata_dir().path).await?;
        let first = self.activate(&bootstrap)?;
        self.write(first).await?;
        let controller = RegisterController {
            id: self.core.node.id,
            incarnation: self.incarnation,
            endpoints: endpoints(&self.core.node.listeners),
        };
        // A cluster from before controllers registered themselves does without.
        let _ = self.do_now(|desk, _| desk.register_controller(&controller)).await?;
        let request = self.registration(dirs);
        let epoch = self.do_now(|desk, turn| desk.register_broker(turn, &request)).await?;
        let epoch = epoch.map_err(|refusal| BootError::Metadata(refusal.to_string()))?;
        self.broker_epoch.set(epoch);
        self.clear_deleted(removed).await;
        self.publish(|| ()).await;
        self.park_strays(dirs).await;
        let beat = self.heartbeat(false);
        let reply = self.do_now(|desk, turn| desk.heartbeat(turn, &beat)).await?;
        match reply {
            Ok(reply) if !reply.is_fenced => {}
            Ok(_) => return Err(BootError::Metadata("this broker stays fenced".to_owned())),
            Err(refusal) => return Err(BootError::Metadata(refusal.to_string())),
        }
        self.publish(|| ()).await;
        Ok(())
    }

    /// Leaves in order: the broker gives up what it leads, then the quorum its office.
    pub(crate) async fn leave(&self) {
        for _ in 0..LEAVE_TRIES {
            let beat = self.heartbeat(true);
            match self.propose(move |desk, turn| desk.heartbeat(turn, &beat)).await {
                Ok(Ok(HeartbeatReply { should_shut_down: true, .. })) => break,
                Ok(Ok(_)) => {}
                Ok(Err(refusal)) => {
                    tracing::warn!("could not leave in order: {refusal}");
                    break;
                }
                Err(error) => {
                    tracing::warn!("could not leave in order: {error}");
                    break;
                }
            }
        }
        let effects = self.quorum.borrow_mut().handle(monotonic(&self.core), Event::Shutdown);
        *self.controller.borrow_mut() = None;
        if let Err(reason) = self.execute(effects).await {
            tracing::warn!("could not resign in order: {reason}");
        }
    }

    /// Closes the metadata log.
    pub(crate) async fn close(&self) -> Result<(), BootError> {
        self.log.partition().close().await?;
        Ok(())
    }

    /// A sign of life of this broker, which has applied what is published.
    pub(super) fn heartbeat(&self, want_shutdown: bool) -> Heartbeat {
        Heartbeat {
            broker: self.core.node.id,
            epoch: self.broker_epoch.get(),
            metadata_offset: self.core.image().provenance().end.0 - 1,
            want_fence: false,
            want_shutdown,
            offline_directories: self.failed_directories(),
            cordoned_directories: Some(Vec::new()),
        }
    }

    /// A directory of this node has failed, as every core knows.
    pub(crate) fn directory_failed(&self, dir: usize) {
        self.homes.borrow_mut().fail(dir);
    }

    fn failed_directories(&self) -> Vec<Uuid> {
        let failed = self.core.dirs.iter().filter(|dir| dir.failure().is_some());
        failed.filter_map(|dir| dir.contents().meta.directory_id).collect()
    }

    fn registration(&self, dirs: &Dirs) -> RegisterBroker {
        let node = &self.core.node;
        RegisterBroker {
            id: node.id,
            cluster_id: node.cluster_id.clone(),
            incarnation: self.incarnation,
            endpoints: endpoints(&self.core.node.listeners),
            features: supported(),
            rack: node.config.broker_rack.clone(),
            directories: dirs.contents.iter().filter_map(|dir| dir.meta.directory_id).collect(),
            previous_epoch: self.previous_epoch(dirs),
        }
    }

    fn previous_epoch(&self, dirs: &Dirs) -> i64 {
        let stops = dirs.contents.iter().map(|dir| dir.clean.map(|clean| clean.broker_epoch));
        let image = self.image();
        let config = self.dynamic_config(&image);
        let published = Published { image: Arc::new(image), config };
        let cached = published.image.topics().iter().any(|topic| {
            let config = publish::effective(&published, topic);
            config.odradek_durability == Durability::WriteCache
        });
        let known = published.image.brokers().get(self.core.node.id).map(|known| known.epoch);
        whole_epoch(stops, known.filter(|_| !cached))
    }

    /// Decides and commits outside of the proposer's rounds, before there are any.
    async fn do_now<T>(
        &self,
        decide: impl FnOnce(&mut Controller, &mut Turn<'_>) -> Decision<T>,
    ) -> Result<T, BootError> {
        let mut outcome = None;
        let decided = self.decide(|desk, turn| decide(desk, turn).map(|it| outcome = Some(it)));
        self.write(decided.expect("the controller is in office")).await?;
        Ok(outcome.expect("a decision has an outcome"))
    }

    async fn write(&self, decision: Decision<()>) -> Result<(), BootError> {
        let mut batches = Vec::new();
        let appended = self.append(decision, &mut batches).await;
        appended.map_err(|error| BootError::Metadata(error.to_string()))?;
        self.commit(&batches).await.map_err(BootError::Metadata)
    }

    /// Deletes what the last process did not come to: directories of topics that were deleted, as
    /// the log that was replayed says, and what was renamed to be removed.
    async fn clear_deleted(&self, removed: &BTreeMap<String, BTreeSet<TopicId>>) {
        self.core.dirs.iter().for_each(|dir| dir.doom_leftovers());
        let found = self.homes.borrow().found(|topic| removed.contains_key(topic));
        let image = self.image();
        for (dir, topic, partition) in found {
            let log_dir = &self.core.dirs[dir];
            let Some(id) = log_dir.topic_of(&topic, partition).await else { continue };
            if !removed[&topic].contains(&id) || image.topics().get(id).is_some() {
                continue;
            }
            match log_dir.discard(&topic, partition).await {
                Ok(()) => self.homes.borrow_mut().lose(&topic, partition),
                Err(error) => tracing::error!(topic, partition, "not deleted: {error}"),
            }
        }
    }

    /// Sets directories aside that belong to no topic any more, as Kafka does; nothing is deleted.
    async fn park_strays(&self, dirs: &Dirs) {
        let strays = self.homes.borrow_mut().forget();
        for (dir, topic, partition) in strays {
            let root = &dirs.contents[dir].path;
            let from = root.join(format!("{topic}-{partition}"));
            let unique = random_id(&self.core.rt).0;
            let unique: String = unique.iter().map(|byte| format!("{byte:02x}")).collect();
            let suffix = format!("-{partition}.{unique}-stray");
            // A file name has at most 255 bytes.
            let keep = topic.len().min(255 - suffix.len());
            let to = root.join(format!("{}{suffix}", topic.get(..keep).unwrap_or(&topic)));
            let (shown, aside) = (from.display(), to.display());
            match self.core.rt.rename(&from, &to).await {
                Ok(()) => tracing::warn!(from = %shown, to = %aside, "set aside: of no topic"),
                Err(error) => tracing::error!(from = %shown, "cannot be set aside: {error}"),
            }
        }
    }
}

/// The listeners as a registration names them.
pub(super) fn endpoints(listeners: &[Listening]) -> Vec<Endpoint> {
    let named = listeners.iter().map(|listener| Endpoint {
        name: listener.name.as_str().into(),
        host: listener.advertised_host.as_str().into(),
        port: listener.advertised_port,
        security_protocol: listener.security.id(),
    });
    named.collect()
}

/// The feature levels that this program supports.
pub(super) fn supported() -> Vec<(String, LevelRange)> {
    let ranges = SUPPORTED.iter().map(|feature| {
        (feature.name.to_owned(), LevelRange { min: feature.min, max: feature.max })
    });
    ranges.collect()
}

/// Epoch of the incarnation before, if that one lost nothing of what it had acknowledged: it marked
/// every directory as it stopped in order, or everything it acknowledged was `synced`, whatever
/// became of it. −1 otherwise.
pub(super) fn whole_epoch(
    mut stops: impl Iterator<Item = Option<i64>>,
    synced: Option<i64>,
) -> i64 {
    let first = stops.next().flatten();
    first.filter(|_| stops.all(|other| other == first)).or(synced).unwrap_or(-1)
}

/// Heartbeats until a broker may stop: one starts the shutdown, the next finds it done.
const LEAVE_TRIES: usize = 5;
