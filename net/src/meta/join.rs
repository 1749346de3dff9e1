//! This broker in its own cluster: born, registered, unfenced, and gone again.

use std::sync::Arc;

use engine::ids::BrokerId;
use replication::features::SUPPORTED;
use replication::quorum::format;
use replication::record::MetadataRecord;
use wire::primitives::Uuid;
use wire::record::metadata::{
    BrokerEndpoint, BrokerFeature, BrokerRegistrationChangeRecord, PartitionChangeRecord,
    PartitionRecord, RegisterBrokerRecord, TopicRecord,
};

use super::{Decision, Desk, Meta};
use crate::boot::{BootError, Dirs, random_id};

impl Meta {
    /// Registers this broker, publishes the metadata to every core, and unfences it.
    pub(super) async fn join(&self, dirs: &Dirs) -> Result<(), BootError> {
        if self.image().is_unborn() {
            self.write(|_| format::bootstrap_levels()).await?;
        }
        self.write(|desk| self.registration(desk, dirs)).await?;
        self.publish().await;
        self.park_strays(dirs).await;
        self.write(|desk| vec![self.unfencing(desk)]).await?;
        self.publish().await;
        Ok(())
    }

    fn registration(&self, desk: &Desk<'_>, dirs: &Dirs) -> Vec<MetadataRecord> {
        let node = Arc::clone(&self.core.node);
        let endpoints = node.listeners.iter().map(|listener| BrokerEndpoint {
            name: listener.name.clone(),
            host: listener.advertised_host.clone(),
            port: listener.advertised_port,
            security_protocol: listener.security.id(),
        });
        let features = SUPPORTED.iter().map(|feature| BrokerFeature {
            name: feature.name.to_owned(),
            min_supported_version: feature.min,
            max_supported_version: feature.max,
        });
        let register = RegisterBrokerRecord {
            broker_id: node.id.0,
            incarnation_id: random_id(&self.core.rt),
            broker_epoch: desk.next.0,
            end_points: endpoints.collect(),
            features: features.collect(),
            rack: node.config.broker_rack.clone(),
            fenced: true,
            log_dirs: dirs.contents.iter().filter_map(|dir| dir.meta.directory_id).collect(),
            cordoned_log_dirs: Some(Vec::new()),
            ..RegisterBrokerRecord::default()
        };
        // A new incarnation leads in a new epoch.
        let led = desk.image.topics().partitions().map(|(topic, partition, _)| {
            MetadataRecord::from(PartitionChangeRecord {
                partition_id: partition.0,
                topic_id: topic.id.0,
                leader: node.id.0,
                ..PartitionChangeRecord::default()
            })
        });
        std::iter::once(register.into()).chain(led).collect()
    }

    fn unfencing(&self, desk: &Desk<'_>) -> MetadataRecord {
        let id = self.core.node.id;
        let epoch = desk.image.brokers().get(id).map_or(-1, |broker| broker.epoch);
        let (broker_id, broker_epoch, fenced) = (id.0, epoch, -1);
        BrokerRegistrationChangeRecord { broker_id, broker_epoch, fenced, ..Default::default() }
            .into()
    }

    /// Commits records outside of the proposer's rounds, before there are any.
    async fn write(
        &self,
        records: impl FnOnce(&Desk<'_>) -> Vec<MetadataRecord>,
    ) -> Result<(), BootError> {
        let image = self.image();
        let records = records(&Desk { image: &image, next: self.log.end() });
        let batch = self.append(records).await.map_err(BootError::Metadata)?;
        self.commit(&[batch]).await.map_err(BootError::Metadata)
    }

    /// Sets directories aside that belong to no topic any more, as Kafka does; nothing is deleted.
    async fn park_strays(&self, dirs: &Dirs) {
        let strays = self.homes.borrow_mut().forget();
        for (dir, topic, partition) in strays {
            let root = &dirs.contents[dir].path;
            let from = root.join(format!("{topic}-{partition}"));
            let unique: String =
                random_id(&self.core.rt).0.iter().map(|byte| format!("{byte:02x}")).collect();
            let suffix = format!("-{partition}.{unique}-stray");
            // A file name has at most 255 bytes.
            let keep = topic.len().min(255 - suffix.len());
            let to = root.join(format!("{}{suffix}", topic.get(..keep).unwrap_or(&topic)));
            let (from_shown, to_shown) = (from.display(), to.display());
            match self.core.rt.rename(&from, &to).await {
                Ok(()) => {
                    tracing::warn!(from = %from_shown, to = %to_shown, "set aside: of no topic")
                }
                Err(error) => tracing::error!(from = %from_shown, "cannot be set aside: {error}"),
            }
        }
    }

    /// Closes the metadata log.
    pub(crate) async fn close(&self) -> Result<(), BootError> {
        self.log.partition().close().await?;
        Ok(())
    }
}

/// Creates a topic with all its partitions on one broker; false where the name is taken.
pub(crate) fn create_topic(
    desk: &Desk<'_>,
    broker: BrokerId,
    id: Uuid,
    name: &str,
    partitions: i32,
) -> Decision<bool> {
    if desk.image.topics().named(name).is_some() {
        return Decision { records: Vec::new(), answer: false };
    }
    let directories = desk.image.brokers().get(broker).map(|broker| &broker.directories);
    let directory = match directories.map(Vec::as_slice) {
        Some([only]) => *only,
        _ => Uuid::ZERO,
    };
    let topic = TopicRecord { name: name.to_owned(), topic_id: id };
    let partition = |partition_id| PartitionRecord {
        partition_id,
        topic_id: id,
        replicas: vec![broker.0],
        isr: vec![broker.0],
        leader: broker.0,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![directory],
        ..PartitionRecord::default()
    };
    let partitions = (0..partitions).map(|index| MetadataRecord::from(partition(index)));
    let records = std::iter::once(topic.into()).chain(partitions).collect();
    Decision { records, answer: true }
}
