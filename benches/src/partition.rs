//! A partition to benchmark, in a directory of its own, on either form of the runtime.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use config::TopicConfig;
use engine::cx::{EngineCx, EngineLimits};
use engine::ids::{LeaderEpoch, PartitionId, TopicId};
use engine::log::dir::{DirContents, LogDir, MetaProperties};
use engine::partition::{LeaderSpec, Partition, PartitionSpec};
use engine::rt::Rt;
use wire::primitives::Uuid;

/// Opens a partition in the new directory `root`, and leads it alone.
///
/// # Panics
/// When the directory cannot be used.
pub async fn lead(
    rt: &Rt,
    root: &Path,
    config: TopicConfig,
    limits: EngineLimits,
) -> Rc<Partition> {
    let meta = MetaProperties {
        cluster_id: "benchmarks".to_owned(),
        node_id: 1,
        directory_id: Some(Uuid([9; 16])),
    };
    DirContents::format(rt, root, &meta).await.expect("formatted");
    let contents = DirContents::read(rt, root).await.expect("readable");
    contents.begin(rt).await.expect("begun");
    let spec = PartitionSpec {
        topic: "t".to_owned(),
        topic_id: TopicId(Uuid([7; 16])),
        partition: PartitionId(0),
        log_dir: LogDir::attach(rt, &Arc::new(contents)),
        config: Rc::new(config),
    };
    let cx = EngineCx::new(rt.clone(), limits);
    let partition = Partition::open(&cx, spec).await.expect("opened");
    partition.become_leader(LeaderSpec {
        epoch: LeaderEpoch(1),
        replica_count: 1,
        isr_count: 1,
        min_isr: 1,
    });
    partition
}
