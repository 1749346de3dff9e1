//! The metadata log on disk: formatted, opened, replayed, appended to.
//!
//! It is one partition like any other, on core 0, in the directory that `log.dirs` names first (or
//! that holds it already). Beside its segments lie Kafka's files: `quorum-state` (what this node
//! must not forget about elections) and the snapshots.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use config::{Config, TopicConfig};
use engine::batch::header::Batches;
use engine::buf::Slice;
use engine::ids::{LeaderEpoch, Offset, PartitionId, TopicId};
use engine::log::dir::TopicPartition;
use engine::partition::{
    Acks, AppendOptions, Appended, FollowerSpec, LeaderSpec, Origin, Partition, PartitionSpec,
    ReadBound, ReadSpec,
};
use engine::rt::Rt;
use replication::image::Loader;
use replication::quorum::retention::StoredSnapshot;
use replication::quorum::snapshot::{self, SnapshotId};
use replication::quorum::{
    DataVersion, ElectionState, QuorumConfig, Recovered, VoterEndpoint, format,
};
use replication::record::{self, Content, MetadataRecord};
use wire::primitives::Uuid;

use crate::boot::{BootError, Dirs, METADATA_TOPIC};
use crate::core::Core;

/// The open log.
pub(super) struct MetaLog {
    rt: Rt,
    /// The partition's directory.
    dir: PathBuf,
    partition: Rc<Partition>,
}

/// What replay found.
pub(super) struct Replayed {
    pub(super) loader: Loader,
    pub(super) quorum: Recovered,
    /// End of the newest snapshot.
    pub(super) snapshot_end: Offset,
    /// Bytes of the log behind it.
    pub(super) bytes_since: u64,
}

impl MetaLog {
    /// Opens the log, formatting it if this is a new cluster, and replays it.
    pub(super) async fn open(
        core: &Core,
        dirs: &Dirs,
        quorum: &QuorumConfig,
    ) -> Result<(Self, Replayed), BootError> {
        let home = dirs.metadata_dir();
        let dir = home.path.join(format!("{METADATA_TOPIC}-0"));
        let rt = core.rt.clone();
        if is_new(&rt, &dir).await? {
            refuse_orphans(dirs)?;
            write_format(&rt, dirs, &dir, quorum).await?;
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
        let log = Self { rt, dir, partition };
        let replayed = log.replay().await?;
        Ok((log, replayed))
    }

    /// Replays the newest snapshot and the log behind it.
    async fn replay(&self) -> Result<Replayed, BootError> {
        let mut quorum = Recovered::default();
        quorum.election = self.election().await?;
        let offsets = self.partition.offsets();
        let mut loader = Loader::default();
        let mut from = Offset::ZERO;
        if let Some(id) = self.snapshots().await?.pop() {
            let bytes = self.read(&id.to_string()).await?;
            let read = snapshot::decode(id, &bytes)
                .map_err(|error| BootError::Metadata(format!("{}: {error}", self.dir.display())))?;
            let at =
                if id == SnapshotId::EMPTY_LOG { format::BEFORE_LOG } else { Offset(id.end.0 - 1) };
            read.voters.iter().for_each(|voters| quorum.observe(at, voters));
            loader = Loader::new(read.image);
            quorum.last_epoch = id.epoch;
            from = id.end;
        }
        if from < offsets.log_start || from > offsets.log_end {
            return Err(BootError::Metadata(format!(
                "{}: the newest snapshot ends at {from}, but the log goes from {} to {}: a file was \
                 lost; restore the directory from a copy",
                self.dir.display(),
                offsets.log_start,
                offsets.log_end
            )));
        }
        let snapshot_end = from;
        let mut bytes_since = 0;
        while from < offsets.log_end {
            let spec = ReadSpec {
                from,
                max_bytes: READ_BYTES,
                at_least_one: true,
                up_to: ReadBound::LogEnd,
            };
            let read = self.partition.read(spec).await;
            let read = read.map_err(|error| BootError::Metadata(error.to_string()))?;
            let bytes: Vec<u8> =
                read.slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            bytes_since += bytes.len() as u64;
            let end = apply(&bytes, from, &mut loader, &mut quorum)?;
            if end == from {
                return Err(BootError::Metadata(format!("nothing can be read at offset {from}")));
            }
            from = end;
            self.rt.turn().await;
        }
        quorum.log_end = offsets.log_end;
        Ok(Replayed { loader, quorum, snapshot_end, bytes_since })
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

    /// Makes an election's state durable. Nothing that depends on it may leave the node before.
    pub(super) async fn persist(
        &self,
        state: &ElectionState,
        version: DataVersion,
    ) -> io::Result<()> {
        let text = state.encode(version);
        self.rt.replace_file(&self.dir.join(QUORUM_STATE), text.as_bytes()).await
    }

    /// Writes a snapshot file, durably.
    pub(super) async fn write_snapshot(&self, id: SnapshotId, bytes: &[u8]) -> io::Result<()> {
        self.rt.replace_file(&self.dir.join(id.to_string()), bytes).await
    }

    /// The snapshots that exist, oldest first.
    pub(super) async fn snapshots(&self) -> Result<Vec<SnapshotId>, BootError> {
        let entries =
            self.rt.list_dir(&self.dir).await.map_err(|error| failed(&self.dir, &error))?;
        let names = entries.iter().map(|entry| entry.name.to_string_lossy());
        let mut ids: Vec<_> = names.filter_map(|name| SnapshotId::parse(&name)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// The snapshots that exist, with what decides how long they stay.
    pub(super) async fn stored_snapshots(&self) -> Result<Vec<StoredSnapshot>, BootError> {
        let mut stored = Vec::new();
        for id in self.snapshots().await? {
            let bytes = self.read(&id.to_string()).await?;
            let read = snapshot::decode(id, &bytes);
            let read = read.map_err(|error| BootError::Metadata(error.to_string()))?;
            let timestamp_ms = read.image.provenance().timestamp_ms;
            stored.push(StoredSnapshot { id, bytes: bytes.len() as u64, timestamp_ms });
            self.rt.turn().await;
        }
        Ok(stored)
    }

    /// Removes a snapshot.
    pub(super) async fn remove_snapshot(&self, id: SnapshotId) -> io::Result<()> {
        self.rt.remove_file(&self.dir.join(id.to_string())).await
    }

    /// Moves the log's start, durably; segments below it go.
    pub(super) async fn start_at(&self, start: Offset) -> Result<(), String> {
        let moved = self.partition.delete_records(start).await;
        moved.map_err(|error| error.to_string())?;
        let kept = self.partition.housekeep(self.rt.wall_ms()).await;
        kept.map_err(|error| error.to_string())
    }

    async fn election(&self) -> Result<Option<ElectionState>, BootError> {
        let path = self.dir.join(QUORUM_STATE);
        let bytes = match self.rt.read_file(&path, SMALL_FILE_MAX).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, &error)),
        };
        let named = |what: String| BootError::Metadata(format!("{}: {what}", path.display()));
        let text = std::str::from_utf8(&bytes).map_err(|_| named("not text".to_owned()))?;
        let state = ElectionState::decode(text).map_err(|error| named(error.to_string()))?;
        Ok(Some(state))
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, BootError> {
        let path = self.dir.join(name);
        self.rt.read_file(&path, SNAPSHOT_MAX).await.map_err(|error| failed(&path, &error))
    }
}

/// Takes in the whole batches of `bytes`; returns the offset behind the last.
fn apply(
    bytes: &[u8],
    from: Offset,
    loader: &mut Loader,
    quorum: &mut Recovered,
) -> Result<Offset, BootError> {
    let mut end = from;
    for batch in Batches::new(bytes) {
        let batch = batch.map_err(|error| BootError::Metadata(error.to_string()))?;
        let opened =
            record::open(&batch).map_err(|error| BootError::Metadata(error.to_string()))?;
        match opened.content {
            Content::Metadata(records) => loader.apply_records(opened.info, &records)?,
            Content::Control(records) => {
                records.iter().for_each(|(at, record)| quorum.observe(*at, record));
                loader.skip_control(opened.info, opened.end);
            }
        }
        quorum.last_epoch = opened.info.epoch;
        end = opened.end;
    }
    Ok(end)
}

/// Whether there is neither a log nor a snapshot yet.
async fn is_new(rt: &Rt, dir: &Path) -> Result<bool, BootError> {
    match rt.list_dir(dir).await {
        Ok(entries) => Ok(!entries.iter().any(|entry| {
            let name = entry.name.to_string_lossy();
            name.ends_with(".checkpoint") || name.ends_with(".log")
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed(dir, &error)),
    }
}

/// A cluster is only made where there is no data: topics without the metadata that names them
/// would be set aside.
fn refuse_orphans(dirs: &Dirs) -> Result<(), BootError> {
    // A format that was cut short leaves the metadata log's directory with nothing in it.
    let is_data = |(topic, _): &TopicPartition| topic != METADATA_TOPIC;
    let with_data = dirs.contents.iter().find(|dir| dir.partitions.iter().any(is_data));
    with_data.map_or(Ok(()), |dir| {
        Err(BootError::Mismatch(format!(
            "{} holds partitions, but no log directory holds {METADATA_TOPIC}-0: restore it, or add \
             the directory that has it to log.dirs",
            dir.path.display()
        )))
    })
}

/// Writes what a new cluster starts from. What a formatting before left stays as it is: Kafka's may
/// hold an older level, or credentials.
async fn write_format(
    rt: &Rt,
    dirs: &Dirs,
    dir: &Path,
    quorum: &QuorumConfig,
) -> Result<(), BootError> {
    let now_ms = rt.wall_ms();
    let encoded = |error: wire::error::EncodeError| BootError::Metadata(error.to_string());
    let bootstrap = match read_bootstrap(rt, dirs).await? {
        Some(found) => found,
        None => format::bootstrap_checkpoint(now_ms).map_err(encoded)?,
    };
    for home in &dirs.contents {
        let path = home.path.join(BOOTSTRAP);
        if !rt.exists(&path).await.map_err(|error| failed(&path, &error))? {
            rt.replace_file(&path, &bootstrap).await.map_err(|error| failed(&path, &error))?;
        }
    }
    rt.create_dir_all(dir).await.map_err(|error| failed(dir, &error))?;
    let path = dir.join(SnapshotId::EMPTY_LOG.to_string());
    let first = format::empty_log_checkpoint(quorum, now_ms).map_err(encoded)?;
    rt.replace_file(&path, &first).await.map_err(|error| failed(&path, &error))?;
    let root = &dirs.metadata_dir().path;
    rt.sync_dir(root).await.map_err(|error| failed(root, &error))
}

/// The first records of a new cluster, as `bootstrap.checkpoint` has them.
pub(super) async fn bootstrap(rt: &Rt, dirs: &Dirs) -> Result<Vec<MetadataRecord>, BootError> {
    let Some(bytes) = read_bootstrap(rt, dirs).await? else {
        return Ok(format::bootstrap_levels());
    };
    match snapshot::decode(SnapshotId::EMPTY_LOG, &bytes) {
        Ok(read) => Ok(read.image.snapshot_records()),
        Err(error) => {
            let path = dirs.metadata_dir().path.join(BOOTSTRAP);
            Err(BootError::Metadata(format!("{}: {error}", path.display())))
        }
    }
}

async fn read_bootstrap(rt: &Rt, dirs: &Dirs) -> Result<Option<Vec<u8>>, BootError> {
    let path = dirs.metadata_dir().path.join(BOOTSTRAP);
    match rt.read_file(&path, SNAPSHOT_MAX).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&path, &error)),
    }
}

/// The node as a voter.
pub(super) fn quorum_config(core: &Core, dirs: &Dirs) -> Result<QuorumConfig, BootError> {
    let home = dirs.metadata_dir();
    let directory = home.meta.directory_id.ok_or_else(|| {
        BootError::Metadata(format!("{} has no directory.id", home.path.display()))
    })?;
    let first = &core.node.listeners[0];
    let endpoint = VoterEndpoint {
        name: CONTROLLER_LISTENER.into(),
        host: first.advertised_host.as_str().into(),
        port: first.advertised_port,
    };
    Ok(QuorumConfig { node: core.node.id, directory, endpoints: vec![endpoint] })
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

fn failed(path: &Path, error: &io::Error) -> BootError {
    BootError::Metadata(format!("{}: {error}", path.display()))
}

const QUORUM_STATE: &str = "quorum-state";
const BOOTSTRAP: &str = "bootstrap.checkpoint";
/// Name of the listener by which other controllers would reach this one.
const CONTROLLER_LISTENER: &str = "CONTROLLER";
const SMALL_FILE_MAX: usize = 64 << 10;
/// Metadata of a few million partitions.
const SNAPSHOT_MAX: usize = 2 << 30;
const READ_BYTES: usize = 1 << 20;
/// Kafka's limit on a batch of the metadata log.
const BATCH_BYTES_MAX: usize = 8 << 20;
