//! DescribeLogDirs (35), v1–5: what this node's log directories hold, and the room left.
//!
//! Every core says what it owns; the metadata log is not listed, as in Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use engine::ids::PartitionId;
use engine::log::dir::LogDir;
use futures_util::future::join_all;
use replication::cores::PartitionKey;
use wire::error_code::ErrorCode;
use wire::msg::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};

use super::Cx;
use crate::conn::reply::Reply;
use crate::core::Core;

/// Which partitions: all, or these.
#[derive(Clone)]
pub(crate) struct Work(Option<Arc<BTreeSet<PartitionKey>>>);

/// One core's part.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    replicas: Vec<Replica>,
    /// Indices of directories that are offline.
    offline: Vec<usize>,
}

/// One replica on disk.
#[derive(Debug)]
struct Replica {
    topic: String,
    partition: i32,
    dir: usize,
    size_bytes: u64,
    lag: i64,
    /// On its way here.
    is_future: bool,
}

pub(super) async fn handle(cx: &Cx, request: DescribeLogDirsRequest<'_>) -> Reply {
    let image = cx.image();
    let only = request.topics.as_ref().map(|topics| {
        let mut only = BTreeSet::new();
        for asked in topics {
            let Some(topic) = image.topics().named(asked.topic) else { continue };
            only.extend(
                asked
                    .partitions
                    .iter()
                    .map(|index| PartitionKey { topic: topic.id, partition: PartitionId(index) }),
            );
        }
        Arc::new(only)
    });
    let all = || image.topics().iter().map(|topic| topic.partition_count()).sum();
    cx.claim(only.as_ref().map_or_else(all, |only| only.len())).await;
    let cores: Vec<_> = cx.core.mesh.cores().collect();
    let calls = cores.into_iter().map(|core| cx.call(core, Work(only.clone())));
    // A core that cannot answer serves nothing either: what it had is not listed.
    let parts: Vec<Outcome> = join_all(calls.collect::<Vec<_>>())
        .await
        .into_iter()
        .map(Result::unwrap_or_default)
        .collect();
    let dirs = &cx.core.node.dirs;
    let mut found: Vec<BTreeMap<&str, Vec<&Replica>>> = vec![BTreeMap::new(); dirs.len()];
    for replica in parts.iter().flat_map(|part| &part.replicas) {
        found[replica.dir].entry(&replica.topic).or_default().push(replica);
    }
    let paths: Vec<_> = dirs.iter().map(|dir| dir.path.to_string_lossy()).collect();
    let mut results = Vec::new();
    for (index, topics) in found.into_iter().enumerate() {
        let offline = parts.iter().any(|part| part.offline.contains(&index));
        let space = cx.core.rt.space(&dirs[index].path).await.ok().filter(|_| !offline);
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        results.push(DescribeLogDirsResult {
            error_code: match space {
                Some(_) => ErrorCode::NONE,
                None => ErrorCode::KAFKA_STORAGE_ERROR,
            }
            .into(),
            log_dir: &paths[index],
            topics: match space {
                Some(_) => topics.into_iter().map(topic).collect(),
                None => Vec::new().into(),
            },
            total_bytes: space.map_or(-1, |space| bytes(space.total_bytes)),
            usable_bytes: space.map_or(-1, |space| bytes(space.free_bytes)),
            is_cordoned: false,
        });
    }
    cx.reply(&DescribeLogDirsResponse {
        throttle_time_ms: cx.throttle_ms(),
        error_code: ErrorCode::NONE.into(),
        results: results.into(),
    })
}

fn topic<'a>((name, mut replicas): (&'a str, Vec<&Replica>)) -> DescribeLogDirsTopic<'a> {
    replicas.sort_unstable_by_key(|replica| replica.partition);
    let partitions = replicas.into_iter().map(|replica| DescribeLogDirsPartition {
        partition_index: replica.partition,
        partition_size: i64::try_from(replica.size_bytes).unwrap_or(i64::MAX),
        offset_lag: replica.lag,
        is_future_key: replica.is_future,
    });
    DescribeLogDirsTopic { name, partitions: partitions.collect() }
}

/// Every core's side.
pub(crate) async fn serve(core: Rc<Core>, Work(only): Work) -> Outcome {
    let open = core.partitions.all_open().into_iter();
    let wanted = open.filter(|(key, _)| only.as_ref().is_none_or(|only| only.contains(key)));
    let index = |dir: &Rc<LogDir>| core.dirs.iter().position(|other| Rc::ptr_eq(other, dir));
    let replicas = wanted.flat_map(|(key, partition)| {
        let offsets = partition.offsets();
        let replica = |dir, size_bytes, lag: i64, is_future| {
            let (topic, partition) = (partition.topic().to_owned(), key.partition.0);
            Replica { topic, partition, dir, size_bytes, lag: lag.max(0), is_future }
        };
        let lag = offsets.high_watermark.0 - offsets.log_end.0;
        let current =
            index(&partition.log_dir()).map(|dir| replica(dir, partition.size_bytes(), lag, false));
        let future = partition.future().and_then(|future| {
            let lag = offsets.log_end.0 - future.log_end.0;
            Some(replica(index(&future.log_dir)?, future.size_bytes, lag, true))
        });
        [current, future].into_iter().flatten()
    });
    let failed = core.dirs.iter().enumerate().filter(|(_, dir)| dir.failure().is_some());
    Outcome { replicas: replicas.collect(), offline: failed.map(|(index, _)| index).collect() }
}
