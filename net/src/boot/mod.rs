//! From a configuration to a serving node, and back to nothing in good order.
//!
//! ```text
//! core 0   bind ─ dirs: look ─ check ─ lock, format ─ Begin ─▶ all ─ metadata log ─ publish ─ ready ─ accept
//! others   wait for Begin ─ receive from the mesh ─ open their partitions ─ serve
//! stop     stop listening ─ drain ─ leave the cluster ─ close partitions, metadata log ─ End ─▶ all
//! ```
//!
//! Everything runs on the runtime seam, so a simulated node starts and stops as a real one does;
//! only the threads differ ([`crate::serve`]). Whatever stands in the way is found before anything
//! on disk is changed, and named with its remedy.

mod dirs;
mod error;
pub(crate) mod stop;

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use engine::ids::{BrokerId, CoreId};
use engine::log::ScrubPace;
use engine::rt::{Inbox, InboxSender, Listener, MeshPort, Rt, inbox, mesh};
use futures_util::future::{Either, select};

pub(crate) use self::dirs::{Dirs, Found, METADATA_TOPIC, random_id};
pub use self::error::{BootError, ExitCode};
use crate::admin::{self, Ask, Report};
use crate::adopt::{self, Adoption};
use crate::core::Core;
use crate::loggers::Loggers;
use crate::mesh::Msg;
use crate::meta::{Meta, check};
use crate::node::{Listening, Node};
use crate::{background, listen, moves, positions};

/// What is asked of a running node from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// Finish what was begun, close everything, end.
    Stop,
}

/// A node serves: where, and how long it took to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The cluster's id.
    pub cluster_id: String,
    /// Listener names with the addresses that they are bound to.
    pub listeners: Vec<(String, SocketAddr)>,
    /// Where `/metrics` and `/readyz` are, if anywhere.
    pub admin: Option<SocketAddr>,
    /// Partitions served, and partitions that could not be opened.
    pub partitions: (usize, usize),
    /// From the start of core 0 until now.
    pub took: Duration,
}

/// One core's place in a node that is about to start. Made before the cores, moved to its own.
pub struct Place {
    port: MeshPort<Msg>,
    role: Role,
}

enum Role {
    /// Core 0.
    First {
        config: Config,
        errand: Errand,
        /// What the admin port asks.
        asks: Inbox<Ask>,
    },
    Other,
}

/// What a node is started for.
enum Errand {
    /// To serve until it is told to stop.
    Serve {
        control: Inbox<Control>,
        loggers: Option<Arc<dyn Loggers>>,
        ready: Box<dyn FnOnce(Ready) + Send>,
        /// A test's hand inside.
        #[cfg(test)]
        probe: Option<Probe>,
    },
    /// To take partitions in, listening nowhere.
    Adopt(Adoption),
}

/// Runs on core 0 when the node serves.
#[cfg(test)]
pub(crate) type Probe = Box<dyn FnOnce(Rc<Core>) + Send>;

/// Stops a running node from any thread, and asks it how it is.
#[derive(Clone, Debug)]
pub struct Handle {
    control: InboxSender<Control>,
    asks: InboxSender<Ask>,
}

impl Handle {
    /// Asks the node to stop in order; it does once, however often it is asked.
    pub fn stop(&self) {
        // Full means that it was asked before, closed that it has stopped.
        drop(self.control.try_send(Control::Stop));
    }

    /// Asks core 0; the answer comes when every core has answered, or has not for too long. None
    /// where core 0 has not looked at what was asked before, or has stopped.
    pub(crate) fn ask(&self, counts: bool) -> Option<flume::Receiver<Report>> {
        let (answer, report) = flume::bounded(1);
        self.asks.try_send(Ask { counts, answer }).ok().map(|()| report)
    }
}

/// The places of a node with `cores` cores. `ready` is called when it serves.
#[must_use]
pub fn places(
    config: Config,
    cores: usize,
    ready: impl FnOnce(Ready) + Send + 'static,
) -> (Vec<Place>, Handle) {
    places_with(config, cores, None, ready)
}

/// As [`places`], for a process that lends the node the levels of what it logs.
#[must_use]
pub fn places_with(
    config: Config,
    cores: usize,
    loggers: Option<Arc<dyn Loggers>>,
    ready: impl FnOnce(Ready) + Send + 'static,
) -> (Vec<Place>, Handle) {
    let (sender, control) = inbox(CONTROL_CAPACITY);
    let errand = Errand::Serve {
        control,
        loggers,
        ready: Box::new(ready),
        #[cfg(test)]
        probe: None,
    };
    with_handle(config, cores, errand, sender)
}

/// As [`places_with`], with a test's hand inside.
#[cfg(test)]
pub(crate) fn places_probed(
    config: Config,
    cores: usize,
    loggers: Option<Arc<dyn Loggers>>,
    ready: impl FnOnce(Ready) + Send + 'static,
    probe: Option<Probe>,
) -> (Vec<Place>, Handle) {
    let (sender, control) = inbox(CONTROL_CAPACITY);
    let errand = Errand::Serve { control, loggers, ready: Box::new(ready), probe };
    with_handle(config, cores, errand, sender)
}

fn with_handle(
    config: Config,
    cores: usize,
    errand: Errand,
    control: InboxSender<Control>,
) -> (Vec<Place>, Handle) {
    let (sender, asks) = inbox(ASKS_CAPACITY);
    (places_for(config, cores, errand, asks), Handle { control, asks: sender })
}

/// The places of a node with `cores` cores that takes partitions in, and ends.
pub(crate) fn places_to_adopt(config: Config, cores: usize, adoption: Adoption) -> Vec<Place> {
    // Nobody asks: the other end is dropped.
    let (_, asks) = inbox(ASKS_CAPACITY);
    places_for(config, cores, Errand::Adopt(adoption), asks)
}

fn places_for(config: Config, cores: usize, errand: Errand, asks: Inbox<Ask>) -> Vec<Place> {
    let first = Role::First { config, errand, asks };
    let roles = std::iter::once(first).chain(std::iter::repeat_with(|| Role::Other));
    let ports = mesh(cores, MESH_CAPACITY);
    ports.into_iter().zip(roles).map(|(port, role)| Place { port, role }).collect()
}

/// The life of one core.
///
/// # Errors
/// On core 0, why the node did not start or did not stop in order. The others end with it.
pub async fn run(rt: Rt, place: Place) -> Result<(), BootError> {
    let Place { port, role } = place;
    match role {
        Role::Other => follow(rt, port).await,
        Role::First { config, errand, asks } => {
            let port = Rc::new(port);
            let others = 1..port.cores();
            let outcome = lead(rt, &port, config, errand, asks).await;
            for core in others {
                let core = CoreId(u16::try_from(core).expect("cores are numbered by a u16"));
                // A core that has ended already needs no telling.
                let _ = port.send(core, Msg::End).await;
            }
            outcome
        }
    }
}

/// The life of a core other than the first.
async fn follow(rt: Rt, port: MeshPort<Msg>) -> Result<(), BootError> {
    let Some((_, Msg::Begin(node))) = port.recv().await else { return Ok(()) };
    let core = Core::new(rt, node, Rc::new(port));
    start_tasks(&core);
    crate::mesh::run(core).await;
    Ok(())
}

/// The life of core 0.
async fn lead(
    rt: Rt,
    port: &Rc<MeshPort<Msg>>,
    config: Config,
    errand: Errand,
    asks: Inbox<Ask>,
) -> Result<(), BootError> {
    let started = rt.now();
    // Ports first: a start that a busy port refuses must not have formatted anything.
    let listeners = match &errand {
        Errand::Serve { .. } => bind(&rt, &config).await?,
        Errand::Adopt(_) => Vec::new(),
    };
    let listening = listening(&config, &listeners);
    let found = Found::look(&rt, &config).await?;
    let checked = check::check(&rt, &config, &listening, &found).await?;
    // Nothing is refused from here on, and nothing was changed yet.
    let dirs = found.take(&rt, &config).await?;
    let cores = port.cores();
    let loggers = match &errand {
        Errand::Serve { loggers, .. } => loggers.clone(),
        Errand::Adopt(_) => None,
    };
    let node = Arc::new(Node {
        id: BrokerId(config.node_id),
        cluster_id: dirs.cluster_id.clone(),
        cores,
        listeners: listening,
        loggers,
        dirs: dirs.contents.clone(),
        metadata_dir: dirs.metadata,
        config,
    });
    for core in 1..cores {
        let core = CoreId(u16::try_from(core).expect("cores are numbered by a u16"));
        let _ = port.send(core, Msg::Begin(Arc::clone(&node))).await;
    }
    let core = Core::new(rt.clone(), node, Rc::clone(port));
    start_tasks(&core);
    rt.spawn("mesh", crate::mesh::run(Rc::clone(&core))).detach();
    // What is asked while logs are recovered is answered then.
    let serving = Rc::new(Cell::new(false));
    rt.spawn("admin", admin::answer(Rc::clone(&core), asks, Rc::clone(&serving))).detach();
    let meta = Meta::start(&core, &dirs, checked).await?;
    core.set_meta(&meta);
    let done = match errand {
        Errand::Serve {
            control,
            loggers: _,
            ready,
            #[cfg(test)]
            probe,
        } => {
            #[cfg(test)]
            probe.into_iter().for_each(|probe| probe(Rc::clone(&core)));
            moves::resume(&core).await;
            serving.set(true);
            ready(readiness(&core, &meta, &listeners, rt.now().since(started)));
            serve(&core, &meta, &listeners, control).await
        }
        Errand::Adopt(adoption) => {
            adopt::run(&core, &meta, &dirs, adoption).await.map_err(BootError::from)
        }
    };
    let stopped = stop::in_order(&core, &meta, &listeners).await;
    // The locks go last.
    drop(dirs);
    done?;
    stopped
}

fn readiness(core: &Core, meta: &Meta, listeners: &[Listener], took: Duration) -> Ready {
    let bound = |(listening, listener): (&Listening, &Listener)| {
        (listening.name.clone(), listener.local_addr())
    };
    Ready {
        cluster_id: core.node.cluster_id.clone(),
        listeners: core.node.listeners.iter().zip(listeners).map(bound).collect(),
        // Not a core's: `serve` knows.
        admin: None,
        partitions: meta.partitions(),
        took,
    }
}

/// Accepts connections until asked to stop, or unable to go on.
async fn serve(
    core: &Rc<Core>,
    meta: &Meta,
    listeners: &[Listener],
    control: Inbox<Control>,
) -> Result<(), BootError> {
    let (stop, stopped) = flume::bounded(0);
    let keeper = core.rt.spawn("positions", positions::keep(Rc::clone(core), stopped));
    for (index, listener) in listeners.iter().enumerate() {
        let accept = listen::accept(Rc::clone(core), listener.clone(), index);
        core.rt.spawn("accept", accept).detach();
    }
    let asked = async {
        // The senders are gone only when the thread that watches for signals is: nothing can ask
        // any more, so the node goes on.
        if control.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    };
    let served = match select(pin!(asked), pin!(meta.failed())).await {
        Either::Left(_) => Ok(()),
        Either::Right(_) => {
            tracing::error!("stopping: the metadata can be changed no more, by a defect");
            Err(BootError::Unclean("the metadata role failed; the log says how".to_owned()))
        }
    };
    drop(stop);
    // A panic in it was logged, and leaves nothing half done that sealing does not mend.
    drop(keeper.await);
    served
}

fn start_tasks(core: &Rc<Core>) {
    core.rt.spawn("sweep", background::sweep(Rc::clone(core))).detach();
    let deadlines = Rc::clone(&core.deadlines).watch(core.rt.clone());
    core.rt.spawn("deadlines", deadlines).detach();
    core.rt.spawn("housekeeping", background::housekeep(Rc::clone(core))).detach();
    core.rt.spawn("compaction", background::compact(Rc::clone(core))).detach();
    for dir in &core.dirs {
        let scrub = Rc::clone(dir).scrub_forever(ScrubPace::default());
        core.rt.spawn("scrub", scrub).detach();
    }
}

/// Binds every listener, so that a busy port is found before anything is written.
async fn bind(rt: &Rt, config: &Config) -> Result<Vec<Listener>, BootError> {
    let mut bound = Vec::new();
    for listener in config.listeners() {
        let failed = |reason: String| BootError::Bind { listener: listener.to_string(), reason };
        let addr = resolve(rt, listener.bind_host(), listener.port).await.map_err(failed)?;
        let backlog = config.socket_listen_backlog_size;
        let socket = listen_on(rt, addr, backlog).await;
        bound.push(socket.map_err(|error| failed(error.to_string()))?);
    }
    Ok(bound)
}

/// Binds an address, patiently: the kernel takes io_uring down after the process, so a node that
/// was just killed may hold its port for some milliseconds more.
async fn listen_on(rt: &Rt, addr: SocketAddr, backlog: u32) -> io::Result<Listener> {
    let give_up = rt.now() + BIND_PATIENCE;
    loop {
        match rt.listen(addr, backlog).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && rt.now() < give_up => {
                rt.sleep(BIND_RETRY).await;
            }
            outcome => return outcome,
        }
    }
}

async fn resolve(rt: &Rt, host: &str, port: u16) -> Result<SocketAddr, String> {
    if let Ok(ip) = host.parse() {
        return Ok(SocketAddr::new(ip, port));
    }
    let name = (host.to_owned(), port);
    let resolved = rt.blocking(move || name.to_socket_addrs()).await;
    let mut addresses = resolved
        .map_err(|panicked| panicked.to_string())?
        .map_err(|error| format!("cannot resolve {host}: {error}"))?;
    addresses.next().ok_or_else(|| format!("{host} has no address"))
}

/// The listeners with the ports that they are bound to; with the configured ones on an errand.
fn listening(config: &Config, bound: &[Listener]) -> Vec<Listening> {
    let all = config.listeners().iter().zip(config.advertised()).enumerate();
    all.map(|(index, (listener, advertised))| Listening {
        name: listener.name.clone(),
        security: listener.security,
        advertised_host: advertised.host.clone(),
        advertised_port: advertised
            .port_or(bound.get(index).map_or(listener.port, |bound| bound.local_addr().port())),
    })
    .collect()
}

const BIND_PATIENCE: Duration = Duration::from_secs(2);
const BIND_RETRY: Duration = Duration::from_millis(10);
/// Asked to stop more often than this before it looks: once is enough.
const CONTROL_CAPACITY: usize = 4;
/// The admin port asks one question at a time, but may give one up.
const ASKS_CAPACITY: usize = 2;
/// Messages between two looks of a busy core.
const MESH_CAPACITY: usize = 1024;

#[cfg(test)]
mod refusals;
#[cfg(test)]
mod tests;
