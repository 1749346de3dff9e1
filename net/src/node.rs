//! What all cores of a node share from the start, and what is published to them later.

use std::sync::Arc;

use config::Config;
use config::listener::ListenerSecurity;
use engine::ids::BrokerId;
use engine::log::dir::DirContents;
use replication::image::Image;

use crate::loggers::Loggers;

/// The node: fixed from the start of its cores on.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: BrokerId,
    /// The cluster's id as Kafka writes it.
    pub(crate) cluster_id: String,
    /// As started: file, command line and defaults. What changes while running is in [`Published`].
    pub(crate) config: Config,
    /// Threads that serve.
    pub(crate) cores: usize,
    /// In the order of `listeners`, as bound.
    pub(crate) listeners: Vec<Listening>,
    /// Levels of what the process logs; none where nothing can change them.
    pub(crate) loggers: Option<Arc<dyn Loggers>>,
    /// In the order of `log.dirs`.
    pub(crate) dirs: Vec<Arc<DirContents>>,
    /// Index of the one that holds the metadata log.
    pub(crate) metadata_dir: usize,
}

/// A listener that is bound.
#[derive(Clone, Debug)]
pub(crate) struct Listening {
    pub(crate) name: String,
    pub(crate) security: ListenerSecurity,
    /// What clients that came in by it are told to connect to.
    pub(crate) advertised_host: String,
    pub(crate) advertised_port: u16,
}

/// The metadata that a core works with; swapped whole.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) image: Arc<Image>,
    /// The node's configuration with the dynamic keys of the image.
    pub(crate) config: Config,
}
