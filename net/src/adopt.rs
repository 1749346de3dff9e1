//! Taking partitions in that another cluster wrote: `odradek log adopt`.
//!
//! The node starts as it would to serve, but listens nowhere; copies the partitions' directories
//! beside its own; and makes their topics known in one batch of metadata. Opening them is then what
//! it is for any partition after a crash: recovery reads them, sets a torn tail aside, and rebuilds
//! what can be rebuilt.
//!
//! ```text
//! check with the controller ─ copy to <topic>-<p>.<id>-stray, synced ─ rename ─ records ─ opened
//! ```
//!
//! Whatever goes wrong before the records, the source is untouched and the copy is a stray: Kafka's
//! name for a directory of no topic, which both leave alone.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use config::Config;
use engine::ids::{LeaderEpoch, Offset, PartitionId, ProducerId, TopicId};
use engine::rt::{OpenMode, Rt};
use futures_util::TryFutureExt;
use futures_util::future::join_all;
use replication::controller::adopt::{AdoptPartition, AdoptTopic, AdoptTopics};
use replication::cores::PartitionKey;
use wire::primitives::Uuid;

use crate::api::delete_records::delete_before;
use crate::boot::{Dirs, random_id};
use crate::core::Core;
use crate::meta::Meta;

/// What to take in: whole topics, all or none.
#[derive(Clone, Debug, Default)]
pub struct Adoption {
    /// Each name and id once.
    pub topics: Vec<AdoptedTopic>,
    /// Above every producer id in the files; none where they hold none.
    pub producer_id_end: Option<i64>,
}

/// A topic to take in.
#[derive(Clone, Debug)]
pub struct AdoptedTopic {
    /// Its name.
    pub name: String,
    /// Its id; a new one where the files don't say.
    pub id: Option<Uuid>,
    /// Overrides of its configuration.
    pub configs: Vec<(String, String)>,
    /// Its partitions, from 0 on.
    pub partitions: Vec<AdoptedPartition>,
}

/// A partition to take in.
#[derive(Clone, Debug)]
pub struct AdoptedPartition {
    /// Its directory.
    pub path: PathBuf,
    /// The newest leader epoch in it; −1 for none.
    pub last_epoch: i32,
    /// First offset that its broker showed; what lies below was deleted there, and stays so.
    pub log_start: i64,
}

/// Why nothing was taken in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// A directory of that name is there.
    #[error("{path} is there already; it belongs to no topic of this node: move it away")]
    InTheWay {
        /// The directory.
        path: String,
    },
    /// Reading the source or writing the copy failed.
    #[error("cannot copy {path}: {message}")]
    Copy {
        /// File or directory.
        path: String,
        /// The system's words.
        message: String,
    },
    /// The controller refused.
    #[error("{0}")]
    Refused(String),
    /// The metadata could not be written.
    #[error("the metadata was not changed: {0}")]
    Metadata(String),
    /// They are part of the cluster now; this one shows records that were deleted before.
    #[error(
        "{partition} was taken in, but does not start at {start} as it did: {message}; delete the \
         records below with DeleteRecords"
    )]
    Start {
        /// Topic and partition.
        partition: String,
        /// Where it has to start.
        start: i64,
        /// Why it doesn't.
        message: String,
    },
    /// They are part of the cluster now, but not all can be served.
    #[error("{0} partitions were taken in, but can't be opened; the log above says why")]
    Offline(usize),
}

/// Takes topics in on a node that doesn't run, with its own configuration. The caller holds the locks
/// of the directories that the partitions come from, so that nobody writes there.
///
/// # Errors
/// Why not; nothing of the source is ever changed.
pub fn adopt(config: &Config, adoption: Adoption) -> Result<(), crate::serve::ServeError> {
    crate::serve::run_errand(config, adoption)
}

/// The errand itself, on core 0 of a node that has started.
pub(crate) async fn run(
    core: &Rc<Core>,
    meta: &Rc<Meta>,
    dirs: &Dirs,
    adoption: Adoption,
) -> Result<(), AdoptError> {
    let refused = |error: &dyn std::fmt::Display| AdoptError::Refused(error.to_string());
    let request = place(dirs, &adoption);
    let check = request.clone();
    let checked = meta.read(|controller| controller.check_adoption(&check));
    checked.map_err(|error| refused(&error))?.map_err(|refusal| refused(&refusal))?;
    let mut copied = Vec::new();
    for (topic, target) in adoption.topics.iter().zip(&request.topics) {
        for (index, (adopted, place)) in topic.partitions.iter().zip(&target.partitions).enumerate()
        {
            let from = &adopted.path;
            let root = root_of(dirs, place.directory);
            let to = root.join(format!("{}-{index}", topic.name));
            copied.push((copy_partition(&core.rt, from, root, &to).await?, root.to_owned(), to));
        }
    }
    for (stray, root, to) in &copied {
        let moved = core.rt.rename(stray, to).await;
        moved.map_err(|error| copy_error(to, &error))?;
        core.rt.sync_dir(root).await.map_err(|error| copy_error(root, &error))?;
    }
    let offline = meta.partitions().1;
    let adopted =
        meta.propose(move |controller, turn| controller.adopt_topics(turn, &request)).await;
    let adopted = adopted.map_err(|error| AdoptError::Metadata(error.to_string()))?;
    adopted.map_err(|refusal| refused(&refusal))?;
    match meta.partitions().1.saturating_sub(offline) {
        0 => keep_starts(core, &adoption).await,
        lost => Err(AdoptError::Offline(lost)),
    }
}

/// Lets partitions start where they started: files alone still show what was deleted below.
async fn keep_starts(core: &Rc<Core>, adoption: &Adoption) -> Result<(), AdoptError> {
    let image = core.image();
    let mut kept = Vec::new();
    for topic in &adoption.topics {
        let Some(taken) = image.topics().named(&topic.name) else { continue };
        for (partition, adopted) in (0..).zip(&topic.partitions) {
            if adopted.log_start > 0 {
                let key = PartitionKey { topic: taken.id, partition: PartitionId(partition) };
                let deleted = delete_before(core, key, Offset(adopted.log_start));
                kept.push(deleted.map_err(move |message| AdoptError::Start {
                    partition: format!("{}-{partition}", topic.name),
                    start: adopted.log_start,
                    message,
                }));
            }
        }
    }
    // Side by side: one checkpoint holds many of them.
    join_all(kept).await.into_iter().collect()
}

/// Spreads the partitions over the log directories.
fn place(dirs: &Dirs, adoption: &Adoption) -> AdoptTopics {
    let ids = dirs.contents.iter().map(|dir| dir.meta.directory_id.unwrap_or(Uuid::ZERO));
    let mut next = ids.collect::<Vec<_>>().into_iter().cycle();
    let mut partition = |adopted: &AdoptedPartition| AdoptPartition {
        directory: next.next().expect("a node has at least one log directory"),
        last_epoch: LeaderEpoch(adopted.last_epoch),
    };
    let topics = adoption.topics.iter().map(|topic| AdoptTopic {
        name: topic.name.clone(),
        id: topic.id.map(TopicId),
        configs: topic.configs.clone(),
        partitions: topic.partitions.iter().map(&mut partition).collect(),
    });
    AdoptTopics {
        topics: topics.collect(),
        producer_id_end: adoption.producer_id_end.map(ProducerId),
    }
}

fn root_of(dirs: &Dirs, id: Uuid) -> &Path {
    let holder = dirs.contents.iter().find(|dir| dir.meta.directory_id == Some(id));
    &holder.unwrap_or(dirs.metadata_dir()).path
}

/// Copies a partition's directory under a name that nobody opens; returns where it is.
async fn copy_partition(
    rt: &Rt,
    from: &Path,
    root: &Path,
    to: &Path,
) -> Result<PathBuf, AdoptError> {
    if rt.exists(to).await.map_err(|error| copy_error(to, &error))? {
        return Err(AdoptError::InTheWay { path: to.display().to_string() });
    }
    let unique: String = random_id(rt).0.iter().map(|byte| format!("{byte:02x}")).collect();
    let stray = root.join(format!("{unique}-0.{unique}-stray"));
    rt.create_dir_all(&stray).await.map_err(|error| copy_error(&stray, &error))?;
    let entries = rt.list_dir(from).await.map_err(|error| copy_error(from, &error))?;
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        if !is_partition_file(&entry.name.to_string_lossy()) {
            continue;
        }
        let source = from.join(&entry.name);
        let copied = copy_file(rt, &source, &stray.join(&entry.name)).await;
        copied.map_err(|error| copy_error(&source, &error))?;
    }
    rt.sync_dir(&stray).await.map_err(|error| copy_error(&stray, &error))?;
    tracing::info!(from = %from.display(), to = %to.display(), "copied");
    Ok(stray)
}

/// What Kafka's format has; block checksums of ours are made anew for the copy.
fn is_partition_file(name: &str) -> bool {
    let suffixes = [".log", ".index", ".timeindex", ".txnindex", ".snapshot"];
    let plain = ["leader-epoch-checkpoint", "partition.metadata"];
    plain.contains(&name) || suffixes.iter().any(|suffix| name.ends_with(suffix))
}

async fn copy_file(rt: &Rt, from: &Path, to: &Path) -> io::Result<()> {
    let source = rt.open(from, OpenMode::Read).await?;
    let target = rt.open(to, OpenMode::CreateNew).await?;
    let len = source.len().await?;
    let mut at = 0;
    while at < len {
        let read = source.read_at(at, COPY_BYTES).await?;
        if read.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "shorter than it was"));
        }
        let mut buf = rt.alloc(COPY_BYTES);
        buf[..read.len()].copy_from_slice(&read);
        target.write_at(Rc::new(buf), read.len().next_multiple_of(ALIGN), at).await?;
        at += read.len() as u64;
    }
    target.truncate(len).await?;
    target.sync().await?;
    target.close().await?;
    source.close().await
}

fn copy_error(path: &Path, error: &io::Error) -> AdoptError {
    AdoptError::Copy { path: path.display().to_string(), message: error.to_string() }
}

/// Bytes of one read and write.
const COPY_BYTES: usize = 1 << 20;
/// Direct writes go in blocks.
const ALIGN: usize = 4096;
