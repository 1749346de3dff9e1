//! The metadata log on disk: formatted, opened, appended to.
//!
//! It is one partition like any other, on core 0, in the directory that `log.dirs` names first (or
//! that holds it already). Beside its segments lie Kafka's files: see [`MetaFiles`].

use std::collections::BTreeMap;
use std::rc::Rc;

use config::{Config, TopicConfig};
use engine::buf::Slice;
use engine::ids::{BrokerId, LeaderEpoch, Offset, PartitionId, TopicId};
use engine::partition::{
    Acks, AppendOptions, Appended, FollowerSpec, LeaderSpec, Origin, Partition, PartitionSpec,
};
use replication::quorum::{QuorumConfig, VoterEndpoint};
use wire::primitives::Uuid;

use super::check::Checked;
use super::files::MetaFiles;
use super::format;
use super::replay::Replayed;
use crate::boot::{BootError, Dirs, METADATA_TOPIC};
use crate::core::Core;
use crate::node::Listening;

/// The open log.
pub(super) struct MetaLog {
    pub(super) files: MetaFiles,
    partition: Rc<Partition>,
}

impl MetaLog {
    /// Opens the log, formatting it if this is a new cluster. What was replayed when it was checked
    /// holds, unless recovery ends the log elsewhere.
    pub(super) async fn open(
        core: &Core,
        dirs: &Dirs,
        quorum: &QuorumConfig,
        Checked(replayed): Checked,
    ) -> Result<(Self, Replayed), BootError> {
        let files = MetaFiles::below(&core.rt, &dirs.metadata_dir().path);
        if replayed.is_none() {
            format::write(&files, dirs, quorum).await?;
        }
        let spec = PartitionSpec {
            topic: METADATA_TOPIC.to_owned(),
            topic_id: TopicId(Uuid::ONE),
            partition: PartitionId(0),
            log_dir: Rc::clone(&core.dirs[dirs.metadata]),
            config: Rc::new(topic_config(&core.node.config)),
        };
        let partition = Partition::open(&core.engine, spec).await?;
        partition.become_follower(FollowerSpec { epoch: LeaderEpoch::NONE });
        let end = partition.offsets().log_end;
        let replayed = match replayed.filter(|replayed| replayed.end() == end) {
            Some(replayed) => replayed,
            None => Replayed::from_log(&files, &partition).await?,
        };
        Ok((Self { files, partition }, replayed))
    }

    /// Whether the log has stopped for good.
    pub(super) fn has_failed(&self) -> bool {
        self.partition.failure().is_some()
    }

    /// Takes the lead of `epoch`: later appends carry it.
    pub(super) fn lead(&self, epoch: LeaderEpoch) {
        let spec = LeaderSpec { epoch, replica_count: 1, isr_count: 1, min_isr: 1 };
        self.partition.become_leader(spec);
    }

    /// Appends a batch whose offsets and epoch are set. In memory only: see [`MetaLog::durable`].
    pub(super) async fn append(&self, batch: Vec<u8>) -> Result<Appended, String> {
        let options = AppendOptions {
            acks: Acks::All,
            origin: Origin::Controller,
            ..AppendOptions::default()
        };
        let appended = self.partition.append_as_leader(Slice::from_vec(batch), options).await;
        appended.map_err(|error| error.to_string())
    }

    /// Waits until everything up to and including `last` is on disk.
    pub(super) async fn durable(&self, last: Offset) -> Result<(), String> {
        self.partition.acked(last).await.map_err(|error| error.to_string())
    }

    /// Where the next record goes.
    pub(super) fn end(&self) -> Offset {
        self.partition.offsets().log_end
    }

    /// The partition, for reads.
    pub(super) fn partition(&self) -> &Rc<Partition> {
        &self.partition
    }

    /// Moves the log's start, durably; segments below it go.
    pub(super) async fn start_at(&self, start: Offset) -> Result<(), String> {
        let moved = self.partition.delete_records(start).await;
        moved.map_err(|error| error.to_string())?;
        let kept = self.partition.housekeep(self.files.rt.wall_ms()).await;
        kept.map_err(|error| error.to_string())
    }
}

/// The node as a voter, in the directory of this id.
pub(super) fn quorum_config(
    config: &Config,
    directory: Uuid,
    listeners: &[Listening],
) -> QuorumConfig {
    let first = &listeners[0];
    let endpoint = VoterEndpoint {
        name: CONTROLLER_LISTENER.into(),
        host: first.advertised_host.as_str().into(),
        port: first.advertised_port,
    };
    QuorumConfig { node: BrokerId(config.node_id), directory, endpoints: vec![endpoint] }
}

/// The metadata log keeps everything that no snapshot stands for, and syncs every batch.
fn topic_config(config: &Config) -> TopicConfig {
    let set = [
        ("segment.bytes", config.metadata_log_segment_bytes.to_string()),
        ("segment.ms", config.metadata_log_segment_ms.to_string()),
        ("retention.ms", "-1".to_owned()),
        ("retention.bytes", "-1".to_owned()),
        ("max.message.bytes", BATCH_BYTES_MAX.to_string()),
        ("compression.type", "producer".to_owned()),
        ("odradek.durability", "sync".to_owned()),
    ];
    let set: BTreeMap<_, _> = set.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    TopicConfig::effective(&Config::default(), &set)
}

/// Name of the listener by which other controllers would reach this one.
const CONTROLLER_LISTENER: &str = "CONTROLLER";
/// Kafka's limit on a batch of the metadata log.
const BATCH_BYTES_MAX: usize = 8 << 20;
