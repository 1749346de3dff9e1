//! The simulated form of the runtime: many nodes of several cores each on one thread, under one
//! seed.
//!
//! A [`World`] owns the clock, the disks and the network. Node programs get an [`Rt`] and can't
//! tell the difference. Tests and drivers stand outside: they start cores, let time pass, crash
//! nodes and break things. Nothing here reads a real clock, draws real randomness or depends on
//! memory addresses, so the same seed and the same program give the same history;
//! [`World::trace_hash`] proves it.
//!
//! Not simulated: CPU time beyond a token per poll, memory limits, and threads (blocking work runs
//! in place).

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    rc::Rc,
    time::Duration,
};

use super::{Instant, Rt, RtForm, TaskPanicked, rng::Rng};
use crate::ids::CoreId;

mod core;
pub(super) mod disk;
pub(super) mod net;
mod plant;
mod sched;
#[cfg(test)]
mod tests;

pub(super) use self::core::{Core, Timer, yield_once};
pub use disk::{Crash, DiskOp, DiskOptions};
pub use net::LinkOptions;
pub use plant::Plant;
use sched::{Later, Sched};

/// A simulated machine, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

/// What a world is made of. The defaults are a fast disk and network that misbehave a little;
/// faults are injected by [`World`]'s methods.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Wall clock at the start, in Unix milliseconds.
    pub wall_start_ms: i64,
    /// A poll of a task takes at most this long.
    pub poll_time_max: Duration,
    /// The disk of every new node.
    pub disk: DiskOptions,
    /// The links between nodes that have no other setting.
    pub link: LinkOptions,
    /// A bug to plant in every node.
    pub plant: Option<Plant>,
    /// Task polls after which the simulation gives up with a panic: tasks that wake each other for
    /// ever would let no virtual time pass, and no limit in virtual time would end them.
    pub polls_max: u64,
}

/// A whole simulated cluster.
pub struct World {
    shared: Rc<Shared>,
    client: RefCell<Option<NodeId>>,
}

/// What cores, disks and links share.
pub(super) struct Shared {
    sched: Sched,
    net: RefCell<net::Net>,
    nodes: RefCell<Vec<Node>>,
    panics: RefCell<Vec<(NodeId, TaskPanicked)>>,
    options: SimOptions,
}

struct Node {
    state: NodeState,
    /// How often it was started; tells a live core from one that a crash left behind.
    incarnation: u32,
    cores: Vec<Option<Rc<Core>>>,
    disks: disk::Disks,
    wall_start_ms: i64,
    hash_seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NodeState {
    Running,
    /// The process is gone, the machine answers with resets.
    Killed,
    /// Nothing answers.
    Off,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64, options: SimOptions) -> Self {
        let mut rng = Rng::new(seed);
        let sched = Sched::new(rng.fork(), options.poll_time_max);
        let net = RefCell::new(net::Net::new(options.link.clone()));
        let (nodes, panics) = (RefCell::default(), RefCell::default());
        let shared = Shared { sched, net, nodes, panics, options };
        Self { shared: Rc::new(shared), client: RefCell::default() }
    }

    /// Adds a machine that can run `cores` cores, with an empty disk. It is up.
    pub fn add_node(&self, cores: usize) -> NodeId {
        let mut nodes = self.shared.nodes.borrow_mut();
        let id = NodeId(u16::try_from(nodes.len()).expect("node ids are 16 bits"));
        nodes.push(Node {
            state: NodeState::Running,
            incarnation: 0,
            cores: vec![None; cores],
            disks: disk::Disks::new(self.shared.options.disk.clone()),
            wall_start_ms: self.shared.options.wall_start_ms,
            hash_seed: self.shared.sched.random(Rng::next),
        });
        id
    }

    /// The node's address in the simulated network. Within a node, 127.0.0.1 works too.
    #[must_use]
    pub fn ip(&self, node: NodeId) -> IpAddr {
        ip_of(node).into()
    }

    /// The runtime of a node's core in its present incarnation.
    ///
    /// # Panics
    /// When the node is down or has no such core.
    #[must_use]
    pub fn rt(&self, node: NodeId, core: CoreId) -> Rt {
        let found = {
            let nodes = self.shared.nodes.borrow();
            let of = &nodes[usize::from(node.0)];
            assert_eq!(of.state, NodeState::Running, "{node} is down");
            let slot = of.cores.get(core.index());
            let Some(slot) = slot else { panic!("{node} has {} cores", of.cores.len()) };
            slot.clone().ok_or((of.incarnation, of.disks.clone()))
        };
        let core = found.unwrap_or_else(|(incarnation, disks)| {
            let new = Rc::new(Core::new(&self.shared, node, core, incarnation, disks));
            self.shared.nodes.borrow_mut()[usize::from(node.0)].cores[core.index()] =
                Some(Rc::clone(&new));
            new
        });
        Rt(RtForm::Sim(core))
    }

    /// Runs `f` as the first task of a node's core. A panic in it is caught; see
    /// [`World::panics`].
    pub fn start_core<F, Fut>(&self, node: NodeId, core: CoreId, f: F)
    where
        F: FnOnce(Rt) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let rt = self.rt(node, core);
        let main = f(rt.clone());
        rt.spawn("main", main).detach();
    }

    /// The runtime of a machine of its own for clients: one core, not to be crashed.
    #[must_use]
    pub fn client_rt(&self) -> Rt {
        let existing = *self.client.borrow();
        let node = existing.unwrap_or_else(|| {
            let node = self.add_node(1);
            *self.client.borrow_mut() = Some(node);
            node
        });
        self.rt(node, CoreId(0))
    }

    // Time.

    /// Virtual time now.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.sched.now()
    }

    /// Runs everything for `duration` of virtual time.
    pub fn run_for(&self, duration: Duration) {
        let limit = self.now() + duration;
        while self.shared.step(limit) && self.now() < limit {}
        self.shared.sched.advance_to(limit);
    }

    /// Runs until `done` says so, at most `limit` of virtual time; tells whether it did.
    pub fn run_until(&self, limit: Duration, mut done: impl FnMut() -> bool) -> bool {
        let limit = self.now() + limit;
        loop {
            if done() {
                return true;
            }
            if self.now() >= limit || !self.shared.step(limit) {
                return done();
            }
        }
    }

    /// Runs until `f`, a task of the client machine, ends; `None` if that takes longer than `limit`
    /// of virtual time, or if nothing can happen any more.
    ///
    /// # Panics
    /// When `f` panics.
    pub fn block_on<T: 'static>(
        &self,
        limit: Duration,
        f: impl Future<Output = T> + 'static,
    ) -> Option<T> {
        let result = Rc::new(Cell::new(None));
        let task = self.client_rt().spawn("client", f);
        let sink = Rc::clone(&result);
        self.client_rt().spawn("client result", async move { sink.set(Some(task.await)) }).detach();
        let mut got = None;
        self.run_until(limit, || {
            got = result.take();
            got.is_some()
        });
        match got? {
            Ok(value) => Some(value),
            Err(panicked) => panic!("{panicked}"),
        }
    }

    /// Hash over every scheduling decision and event so far: equal for equal histories.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.shared.sched.trace_hash()
    }

    /// Task polls so far: the simulation's measure of work.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.shared.sched.polls()
    }

    /// Tasks that have not ended, on all nodes.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.shared.sched.tasks_alive()
    }

    /// The panics of all tasks so far, oldest first; a driver fails on what it did not provoke.
    #[must_use]
    pub fn panics(&self) -> Vec<(NodeId, TaskPanicked)> {
        self.shared.panics.borrow().clone()
    }

    /// A number from the world's seed, for drivers that make random choices.
    #[must_use]
    pub fn random_u64(&self) -> u64 {
        self.shared.sched.random(Rng::next)
    }

    // Nodes.

    /// Stops a node at once: all its tasks are dropped where they stand.
    pub fn crash(&self, node: NodeId, kind: Crash) {
        let disks = {
            let mut nodes = self.shared.nodes.borrow_mut();
            let of = &mut nodes[usize::from(node.0)];
            of.state = match kind {
                Crash::Kill => NodeState::Killed,
                Crash::PowerLoss => NodeState::Off,
            };
            of.incarnation += 1;
            of.cores.fill(None);
            of.disks.clone()
        };
        self.shared.sched.note(u64::from(node.0) << 8 | 1);
        self.shared.sched.resume(node, true);
        drop(self.shared.sched.take_tasks(Some(node)));
        self.shared.sched.random(|rng| disks.crash(kind, rng));
        self.shared.node_lost(node, kind);
    }

    /// Lets a core stand still for `time`, or until the node crashes, as one does whose process or
    /// machine is stopped for a while: what its tasks wait for comes meanwhile, and they see it all
    /// at once after that.
    pub fn pause(&self, node: NodeId, core: CoreId, time: Duration) {
        let until = self.now() + time;
        self.shared.sched.pause(node, core, until);
        let shared = Rc::clone(&self.shared);
        self.shared.sched.call_at(until, move || shared.sched.resume(node, false));
    }

    /// Brings a crashed node up again, on the same disks; its cores wait to be started.
    ///
    /// # Panics
    /// When the node is up.
    pub fn restart(&self, node: NodeId) {
        let was = {
            let mut nodes = self.shared.nodes.borrow_mut();
            let of = &mut nodes[usize::from(node.0)];
            assert_ne!(of.state, NodeState::Running, "{node} is up");
            std::mem::replace(&mut of.state, NodeState::Running)
        };
        if was == NodeState::Off {
            self.shared.node_back(node);
        }
    }

    /// True unless the node crashed and was not restarted.
    #[must_use]
    pub fn is_up(&self, node: NodeId) -> bool {
        self.shared.incarnation(node).is_some()
    }

    /// Moves the node's wall clock by `by_ms`, either way. The monotonic clock goes on.
    pub fn jump_wall_clock(&self, node: NodeId, by_ms: i64) {
        let mut nodes = self.shared.nodes.borrow_mut();
        let of = &mut nodes[usize::from(node.0)];
        of.wall_start_ms = of.wall_start_ms.saturating_add(by_ms);
    }

    // Disks. A path names the disk it lies on; "/" is the node's first.

    /// Mounts another disk at `path`.
    pub fn add_disk(&self, node: NodeId, path: &Path, options: DiskOptions) {
        self.disks(node).mount(path, options);
    }

    /// Changes size or speed of the disk under `path`.
    pub fn set_disk(&self, node: NodeId, path: &Path, change: impl FnOnce(&mut DiskOptions)) {
        self.disks(node).set_options(path, change);
    }

    /// Lets the next operation of kind `op` on a path at or below `path` fail with `errno`. May be
    /// called several times for several failures.
    pub fn fail_next(&self, node: NodeId, path: &Path, op: DiskOp, errno: i32) {
        self.disks(node).fail_next(path, op, errno);
    }

    /// Forgets the failures that [`World::fail_next`] asked for and that did not come about.
    pub fn clear_faults(&self, node: NodeId) {
        self.disks(node).clear_faults();
    }

    /// Lets every operation on the disk under `path` fail with EIO from now on.
    pub fn kill_disk(&self, node: NodeId, path: &Path) {
        self.disks(node).set_dead(path, true);
    }

    /// Ends [`World::kill_disk`].
    pub fn revive_disk(&self, node: NodeId, path: &Path) {
        self.disks(node).set_dead(path, false);
    }

    /// Flips one bit (0 to 7) of a stored byte, behind the file system's back. Beyond the end of
    /// the file it does nothing.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn flip_bit(&self, node: NodeId, path: &Path, pos: u64, bit: u8) -> io::Result<()> {
        self.disks(node).corrupt(path, pos, |byte| byte ^ (1 << (bit & 7)))
    }

    /// Writes and length changes that a power cut could undo now, over all of the node's files.
    #[must_use]
    pub fn unsynced(&self, node: NodeId) -> usize {
        self.disks(node).unsynced()
    }

    // Links.

    /// Sets delay and splitting between two nodes, both ways.
    pub fn set_link(&self, a: NodeId, b: NodeId, options: &LinkOptions) {
        self.shared.net.borrow_mut().set_link(a, b, options);
    }

    /// Nothing passes from `from` to `to` until healed; what is sent meanwhile waits.
    pub fn cut_one_way(&self, from: NodeId, to: NodeId) {
        self.shared.net.borrow_mut().cut(from, to);
    }

    /// Nothing passes between two nodes until healed.
    pub fn cut(&self, a: NodeId, b: NodeId) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Ends the cuts between two nodes.
    pub fn heal(&self, a: NodeId, b: NodeId) {
        self.shared.heal(Some((a, b)));
    }

    /// Ends all cuts.
    pub fn heal_all(&self) {
        self.shared.heal(None);
    }

    /// Resets all connections between two nodes; new ones can be made.
    pub fn reset_connections(&self, a: NodeId, b: NodeId) {
        self.shared.reset_connections(a, b);
    }

    fn disks(&self, node: NodeId) -> disk::Disks {
        self.shared.nodes.borrow()[usize::from(node.0)].disks.clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Tasks hold the world through their runtimes: take the circle apart. Dropping tasks can
        // make new events, and dropping events can not make tasks.
        for node in self.shared.nodes.borrow_mut().iter_mut() {
            node.state = NodeState::Off;
            node.incarnation += 1;
        }
        drop(self.shared.sched.take_tasks(None));
        drop(self.shared.sched.take_events());
        let cores: Vec<_> = self
            .shared
            .nodes
            .borrow_mut()
            .iter_mut()
            .map(|n| std::mem::take(&mut n.cores))
            .collect();
        drop(cores);
    }
}

impl Shared {
    fn step(self: &Rc<Self>, limit: Instant) -> bool {
        self.close_orphans();
        let polls_max = self.options.polls_max;
        assert!(self.sched.polls() < polls_max, "it hangs: {polls_max} polls and no end");
        self.sched.step(limit)
    }

    /// The number of the node's present life; `None` while it is down.
    fn incarnation(&self, node: NodeId) -> Option<u32> {
        let nodes = self.nodes.borrow();
        let of = &nodes[usize::from(node.0)];
        (of.state == NodeState::Running).then_some(of.incarnation)
    }

    fn state(&self, node: NodeId) -> Option<NodeState> {
        self.nodes.borrow().get(usize::from(node.0)).map(|n| n.state)
    }

    fn wall_start_ms(&self, node: NodeId) -> i64 {
        self.nodes.borrow()[usize::from(node.0)].wall_start_ms
    }

    fn hash_seed(&self, node: NodeId) -> u64 {
        self.nodes.borrow()[usize::from(node.0)].hash_seed
    }
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            // 2026-01-01T00:00:00Z
            wall_start_ms: 1_767_225_600_000,
            poll_time_max: Duration::from_micros(2),
            disk: DiskOptions::default(),
            link: LinkOptions::default(),
            plant: None,
            polls_max: u64::MAX,
        }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("sched", &self.shared.sched).finish_non_exhaustive()
    }
}

/// Runs one future on a one-core node with default options until it ends: for unit tests.
///
/// # Panics
/// When the future panics, or waits for something that can't happen any more.
pub fn run<T, F, Fut>(seed: u64, f: F) -> T
where
    T: 'static,
    F: FnOnce(Rt) -> Fut + 'static,
    Fut: Future<Output = T> + 'static,
{
    let world = World::new(seed, SimOptions::default());
    let node = world.add_node(1);
    let rt = world.rt(node, CoreId(0));
    let result = Rc::new(Cell::new(None));
    let (main, sink) = (rt.spawn("main", f(rt.clone())), Rc::clone(&result));
    rt.spawn("main result", async move { sink.set(Some(main.await)) }).detach();
    drop(rt);
    let mut got = None;
    let limit = Duration::from_secs(86_400 * 365);
    world.run_until(limit, || {
        got = result.take();
        got.is_some()
    });
    match got {
        Some(Ok(value)) => value,
        Some(Err(panicked)) => panic!("seed {seed}: {panicked}"),
        None => {
            panic!("seed {seed}: stands still at {:?}, {} tasks wait", world.now(), world.tasks())
        }
    }
}

/// The IPv4 address of a node: 10.77.x.y.
fn ip_of(node: NodeId) -> Ipv4Addr {
    let [high, low] = node.0.to_be_bytes();
    Ipv4Addr::new(10, 77, high, low)
}
