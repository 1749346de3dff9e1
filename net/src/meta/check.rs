//! Whether this node can take its metadata up: judged on what lies on disk, and on what its own
//! controller would answer, before anything there is changed.

use std::time::Duration;

use config::Config;
use engine::ids::{BrokerId, Offset, PartitionId, TopicId};
use engine::partition::Partition;
use engine::rt::Rt;
use replication::controller::brokers::RegisterBroker;
use replication::controller::{Controller, ControllerOptions, Random, SESSION_TIMEOUT, Turn};
use replication::image::Loader;
use replication::quorum::Quorum;
use wire::primitives::Uuid;

use super::files::MetaFiles;
use super::format;
use super::join::{endpoints, supported};
use super::log::quorum_config;
use super::replay::Replayed;
use crate::boot::{BootError, Found, METADATA_TOPIC, random_id};
use crate::node::Listening;

/// What the check read on its way; none for a new cluster.
pub(crate) struct Checked(pub(super) Option<Replayed>);

/// Refuses what this node cannot take up.
pub(crate) async fn check(
    rt: &Rt,
    config: &Config,
    listeners: &[Listening],
    found: &Found,
) -> Result<Checked, BootError> {
    let root = found.metadata_root();
    let files = MetaFiles::below(rt, root);
    let replayed = if files.is_new().await? {
        found.refuse_orphans()?;
        None
    } else {
        Partition::inspect(rt, &files.dir, TopicId(Uuid::ONE)).await?;
        let synced = found.synced(METADATA_TOPIC, PartitionId(0));
        Some(Replayed::from_files(&files, synced).await?)
    };
    let now = Duration::from_nanos(rt.now().as_nanos());
    let mut loader = Loader::default();
    let mut kraft_version = NEW_KRAFT_VERSION;
    if let Some(replayed) = &replayed {
        loader = replayed.loader.clone();
        let directory = found.metadata_directory();
        let config = quorum_config(config, directory, listeners);
        let (quorum, _) = Quorum::start(now, config, replayed.quorum.clone())?;
        kraft_version = quorum.kraft_version();
    }
    let bootstrap = format::bootstrap(rt, root).await?;
    let id = BrokerId(config.node_id);
    let options = ControllerOptions {
        node: id,
        cluster_id: String::new(),
        kraft_version,
        session_timeout: SESSION_TIMEOUT,
        config: config.clone(),
    };
    let next = loader.image().provenance().end.max(Offset::ZERO);
    let (mut controller, _) = Controller::activate(now, options, &loader, next, &bootstrap)?;
    let request = RegisterBroker {
        id,
        cluster_id: String::new(),
        incarnation: random_id(rt),
        endpoints: endpoints(listeners),
        features: supported(),
        rack: config.broker_rack.clone(),
        directories: found.directories(rt),
        previous_epoch: -1,
    };
    let mut bits = || rt.random_u64();
    let mut turn = Turn { now, random: Random::new(&mut bits) };
    let registered = controller.register_broker(&mut turn, &request).outcome;
    registered.map_err(|refusal| BootError::Metadata(refusal.to_string()))?;
    Ok(Checked(replayed))
}

/// That of a cluster that formatting makes.
const NEW_KRAFT_VERSION: i16 = 1;
