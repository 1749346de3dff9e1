//! AlterReplicaLogDirs (34), v1–2: moves partitions of this node to other log directories.
//!
//! v2 flexible
//!
//! Answered once a move is begun: DescribeLogDirs tells how far it is. For the directory that a
//! partition is in, whatever move there is is given up. A partition that this node does not have
//! gets REPLICA_NOT_AVAILABLE, and goes to the directory named should it come, as in Kafka.

use std::collections::BTreeMap;
use std::rc::Rc;

use engine::ids::{CoreId, PartitionId};
use futures_util::future::join_all;
use replication::cores::PartitionKey;
use wire::error_code::ErrorCode;
use wire::msg::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};

use super::Cx;
use super::errors::Coded;
use super::scatter::Scatter;
use crate::conn::reply::Reply;
use crate::core::Core;
use crate::meta::Prefer;
use crate::moves;
use crate::partitions::Unserved;

/// Partitions of one core, and the index of the directory that each is to go to.
pub(crate) struct Work(pub(crate) Vec<(PartitionKey, usize)>);

/// What became of each, in their order.
pub(crate) type Outcome = Vec<Result<(), ErrorCode>>;

pub(super) async fn handle(cx: &Cx, request: AlterReplicaLogDirsRequest<'_>) -> Reply {
    // Of a partition that is named twice the last directory counts.
    let mut wanted: BTreeMap<(&str, i32), &str> = BTreeMap::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            wanted.extend(topic.partitions.iter().map(|index| ((topic.name, index), dir.path)));
        }
    }
    cx.claim(wanted.len()).await;
    let mut results = Vec::with_capacity(wanted.len());
    let mut scatter = Scatter::new();
    let mut absent = Vec::new();
    let permitted = cx.permits_cluster();
    let image = cx.image();
    for (slot, (&(topic, index), path)) in wanted.iter().enumerate() {
        let dir = permitted.and_then(|()| find_dir(cx, topic, index, path));
        let key = image
            .topics()
            .named(topic)
            .map(|topic| PartitionKey { topic: topic.id, partition: PartitionId(index) });
        let home = key.and_then(|key| cx.core.partitions.home(key).map(|home| (key, home)));
        results.push(match (dir, home) {
            (Err(code), _) => code,
            (Ok(dir), Some((key, home))) => {
                scatter.add(home.core, slot, (key, dir));
                ErrorCode::NONE
            }
            (Ok(dir), None) => {
                absent.push((topic.to_owned(), index, dir));
                ErrorCode::REPLICA_NOT_AVAILABLE
            }
        });
    }
    if !absent.is_empty() {
        // That a core has stopped is told by what it does not serve.
        let _ = cx.call(CoreId(0), Prefer(absent)).await;
    }
    for (slot, outcome) in scatter.ask(cx, |parts| Work(parts.into_vec())).await {
        let outcome = outcome.unwrap_or_else(|error| Err(error.code()));
        results[slot] = outcome.err().unwrap_or(ErrorCode::NONE);
    }
    let mut topics: BTreeMap<&str, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for ((topic, partition_index), code) in wanted.into_keys().zip(results) {
        let result = AlterReplicaLogDirPartitionResult { partition_index, error_code: code.into() };
        topics.entry(topic).or_default().push(result);
    }
    let results = topics.into_iter().map(|(topic_name, partitions)| {
        AlterReplicaLogDirTopicResult { topic_name, partitions: partitions.into() }
    });
    cx.reply(&AlterReplicaLogDirsResponse {
        throttle_time_ms: cx.throttle_ms(),
        results: results.collect(),
    })
}

/// The directory of this path.
fn find_dir(cx: &Cx, topic: &str, partition: i32, path: &str) -> Result<usize, ErrorCode> {
    // Kafka's name of a copy's directory: a dot, 32 digits, "-future".
    if format!("{topic}-{partition}").len() + 40 > FILE_NAME_MAX {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let found = cx.core.node.dirs.iter().position(|dir| dir.path.to_string_lossy() == path);
    let dir = found.ok_or(ErrorCode::LOG_DIR_NOT_FOUND)?;
    match cx.core.dirs[dir].failure() {
        Some(_) => Err(ErrorCode::KAFKA_STORAGE_ERROR),
        None => Ok(dir),
    }
}

/// The owner's side.
pub(crate) async fn serve(core: Rc<Core>, Work(parts): Work) -> Outcome {
    join_all(parts.into_iter().map(|(key, dir)| alter(&core, key, dir))).await
}

async fn alter(core: &Rc<Core>, key: PartitionKey, dir: usize) -> Result<(), ErrorCode> {
    let partition = core.partitions.open(key).map_err(|error| match error {
        Unserved::NotHere => ErrorCode::REPLICA_NOT_AVAILABLE,
        offline @ Unserved::Offline(_) => offline.code(),
    })?;
    let target = &core.dirs[dir];
    // What is in a directory that is offline might be a copy of this very partition.
    let lost = core.dirs.iter().any(|dir| dir.failure().is_some());
    if lost && !Rc::ptr_eq(&partition.log_dir(), target) {
        return Err(ErrorCode::KAFKA_STORAGE_ERROR);
    }
    match partition.begin_move(target).await {
        Ok(None) => Ok(()),
        Ok(Some(it)) => {
            moves::queue(core, key, it);
            Ok(())
        }
        Err(error) => {
            let (name, path) = (partition.name(), target.path().display());
            tracing::error!(partition = &*name, to = %path, "cannot be moved: {error}");
            Err(ErrorCode::KAFKA_STORAGE_ERROR)
        }
    }
}

/// Of a file system.
const FILE_NAME_MAX: usize = 255;
