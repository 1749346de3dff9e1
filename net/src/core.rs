//! One core of the node: everything its tasks share, passed to them explicitly.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use config::Config;
use engine::buf::FramePool;
use engine::cx::{EngineCx, EngineLimits};
use engine::ids::CoreId;
use engine::log::dir::{DirContents, LogDir};
use engine::log::journal::JournalLimits;
use engine::producer::ProducerLimits;
use engine::rt::{MeshPort, Rt};
use futures_util::lock::Mutex;
use replication::cores::PartitionKey;
use replication::image::Image;
use slab::Slab;
use wire::writer::{Encoded, Writer};

use crate::api::authz::Authorizer;
use crate::api::init_producer_id::ProducerIds;
use crate::conn::budget::{Budget, Pinned, Working};
use crate::conn::read::Memory;
use crate::conn::watch::Watch;
use crate::deadlines::Deadlines;
use crate::groups::Groups;
use crate::listen::Seats;
use crate::mesh::{Mesh, Msg};
use crate::meta::Meta;
use crate::metrics::{NetMetrics, Requests};
use crate::moves::Moves;
use crate::node::{Node, Published};
use crate::partitions::Partitions;
use crate::quiet::QuietLines;
use crate::session::Sessions;

/// One core.
pub(crate) struct Core {
    pub(crate) rt: Rt,
    pub(crate) node: Arc<Node>,
    pub(crate) mesh: Mesh,
    /// Memory for what sockets receive.
    pub(crate) memory: Rc<Memory>,
    /// Memory that requests take while they are worked on, and answers until they are sent.
    pub(crate) working: Working,
    /// Memory of caches that answers keep until they are sent.
    pub(crate) pinned: Pinned,
    /// Buffers for answers.
    pub(crate) writers: Writers,
    /// The connections of this core, for its sweep.
    pub(crate) conns: RefCell<Slab<Rc<Watch>>>,
    /// What requests of this core wait for at most.
    pub(crate) deadlines: Rc<Deadlines>,
    /// Core 0's count of all connections.
    pub(crate) seats: Seats,
    pub(crate) metrics: NetMetrics,
    /// What comes of requests, by API.
    pub(crate) requests: Requests,
    pub(crate) quiet: QuietLines,
    /// Whose turn it is to write the offset files, on core 0.
    pub(crate) offset_files: Mutex<()>,
    pub(crate) authorizer: Authorizer,
    pub(crate) producer_ids: ProducerIds,
    /// The storage side of this core.
    pub(crate) engine: Rc<EngineCx>,
    /// This core's hold on each of `log.dirs`, in their order.
    pub(crate) dirs: Vec<Rc<LogDir>>,
    pub(crate) partitions: Partitions,
    /// Of logs that are due for compaction, bytes that were never compacted; as it looked last.
    pub(crate) uncompacted: RefCell<BTreeMap<PartitionKey, u64>>,
    /// Partitions on their way to other log directories.
    pub(crate) moves: Moves,
    /// The groups whose partitions of `__consumer_offsets` this core owns.
    pub(crate) groups: Groups,
    /// The fetch sessions that this core opened.
    pub(crate) sessions: RefCell<Sessions>,
    /// Core 0's metadata role, once it has begun.
    meta: OnceCell<Weak<Meta>>,
    published: RefCell<Published>,
    draining: Cell<bool>,
}

impl Core {
    /// A core that serves nothing yet.
    pub(crate) fn new(rt: Rt, node: Arc<Node>, port: Rc<MeshPort<Msg>>) -> Rc<Self> {
        let share = node.config.core_memory(node.cores);
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let frame_bytes_max = size(node.config.socket_request_max_bytes);
        let memory = Memory {
            pool: FramePool::new(part(FRAMES_KEPT, node.cores)),
            filling: Budget::new(part(FILLING_BYTES, node.cores)),
            serving: Budget::new(part(SERVING_BYTES, node.cores)),
            probing: Budget::new(part(PROBING_BYTES, node.cores)),
            large: Budget::new(size(share.requests)),
            frame_bytes_max,
        };
        let session_slots = node.config.max_incremental_fetch_session_cache_slots as usize;
        let published = Published { image: Arc::default(), config: node.config.clone() };
        // Readers of old records need a few windows each: of a small cache that is a larger part.
        let cold = (share.cache / 8).max(COLD_BYTES_MIN.min(share.cache / 4));
        let engine_limits = EngineLimits {
            tail_bytes: size(share.cache - cold),
            cold_bytes: size(cold),
            // What the journal holds back stays in memory: as much as the tail may wait with.
            dirty_bytes: size((share.cache - cold) / 2).max(EngineLimits::default().dirty_bytes),
            ..EngineLimits::default()
        };
        let engine = EngineCx::new(rt.clone(), engine_limits);
        engine.set_producer_limits(producer_limits(&node.config));
        Rc::new(Self {
            engine,
            dirs: node.dirs.iter().map(|dir| attach(&rt, &node, dir)).collect(),
            partitions: Partitions::new(&rt),
            uncompacted: RefCell::default(),
            moves: Moves::default(),
            groups: Groups::new(&node.config, node.cores),
            sessions: RefCell::new(Sessions::new(rt.core(), node.cores, session_slots)),
            meta: OnceCell::new(),
            mesh: Mesh::new(&rt, port),
            memory: Rc::new(memory),
            working: Working::new(part(WORKING_BYTES, node.cores)),
            pinned: Pinned::new(size(share.pinned), size(share.pinned_by_connection)),
            writers: Writers::default(),
            conns: RefCell::default(),
            deadlines: Rc::default(),
            seats: Seats::new(node.cores),
            metrics: NetMetrics::default(),
            requests: Requests::new(),
            quiet: QuietLines::default(),
            offset_files: Mutex::new(()),
            authorizer: Authorizer,
            producer_ids: ProducerIds::default(),
            published: RefCell::new(published),
            draining: Cell::new(false),
            node,
            rt,
        })
    }

    /// This core.
    pub(crate) fn id(&self) -> CoreId {
        self.rt.core()
    }

    /// Cores of the node.
    pub(crate) fn cores(&self) -> usize {
        self.node.cores
    }

    /// The metadata as published last.
    pub(crate) fn image(&self) -> Arc<Image> {
        Arc::clone(&self.published.borrow().image)
    }

    /// Image and configuration as published last.
    pub(crate) fn published(&self) -> Published {
        self.published.borrow().clone()
    }

    /// The node's configuration now, dynamic keys included.
    pub(crate) fn config(&self) -> Config {
        self.published.borrow().config.clone()
    }

    /// Swaps the metadata.
    pub(crate) fn set_published(&self, published: Published) {
        self.engine.set_producer_limits(producer_limits(&published.config));
        self.groups.set_published(&published);
        drop(self.published.replace(published));
    }

    /// Core 0's metadata role, while it lasts.
    pub(crate) fn meta(&self) -> Option<Rc<Meta>> {
        self.meta.get().and_then(Weak::upgrade)
    }

    /// Core 0's metadata role has begun. It holds the core, so it is not held here: whoever drops a
    /// node, as a simulation does, gets all of it back.
    pub(crate) fn set_meta(&self, meta: &Rc<Meta>) {
        drop(self.meta.set(Rc::downgrade(meta)));
    }

    /// Whether the core finishes what it has and takes nothing new.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Starts to drain: every connection ends once it has answered what it has received.
    pub(crate) fn start_draining(&self) {
        self.draining.set(true);
        let conns: Vec<_> = self.conns.borrow().iter().map(|(_, watch)| Rc::clone(watch)).collect();
        conns.iter().for_each(|watch| watch.wake());
    }
}

fn producer_limits(config: &Config) -> ProducerLimits {
    ProducerLimits {
        expiration_ms: config.producer_id_expiration_ms,
        entries_max: config.odradek_partition_producers_max as usize,
    }
}

/// Buffers that answers were encoded into, for the next ones.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    spent: RefCell<Vec<Encoded>>,
}

impl Writers {
    /// An empty writer, with the memory of an earlier one if there is any.
    pub(crate) fn take(&self) -> Writer {
        self.spent.borrow_mut().pop().map_or_else(Writer::new, Writer::recycle)
    }

    /// Takes a sent answer's memory back.
    pub(crate) fn give_back(&self, encoded: Encoded) {
        let mut spent = self.spent.borrow_mut();
        if spent.len() < WRITERS_KEPT && encoded.head.capacity() <= WRITER_BYTES_KEPT {
            spent.push(encoded);
        }
    }
}

fn attach(rt: &Rt, node: &Node, contents: &Arc<DirContents>) -> Rc<LogDir> {
    let dir = LogDir::attach(rt, contents);
    dir.set_journal(JournalLimits {
        bytes: node.config.odradek_journal_bytes,
        append_bytes_max: node.config.odradek_journal_append_max_bytes,
        logs_min: node.config.odradek_journal_partitions_min as usize,
    });
    dir
}

/// A core's part of what all cores share, but enough to do its work.
fn part(bytes: usize, cores: usize) -> usize {
    (bytes / cores).clamp(bytes / PARTS_MAX, bytes / 2)
}

/// From here on more cores mean more memory.
const PARTS_MAX: usize = 16;
/// Over all cores: frame buffers kept for reuse, enough for a few producers' pipelines of 1 MiB.
const FRAMES_KEPT: usize = 16 << 20;
/// Buffers of small frames being received: 8192 half-sent requests of a page each.
const FILLING_BYTES: usize = 32 << 20;
/// Small requests in service.
const SERVING_BYTES: usize = 64 << 20;
/// First 64 KiB of large frames: 128 of them prove themselves at a time.
const PROBING_BYTES: usize = 8 << 20;
/// What requests become while they are worked on, and answers.
const WORKING_BYTES: usize = 48 << 20;
/// Of the cache, for readers of old records: windows of 256 KiB, of which each reader has a few.
const COLD_BYTES_MIN: u64 = 8 << 20;
const WRITERS_KEPT: usize = 64;
const WRITER_BYTES_KEPT: usize = 64 << 10;
