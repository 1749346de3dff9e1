//! Connections: one task on one core each, from the socket to the handlers and back.
//!
//! ```text
//! socket ─ read: frames ─ request: header, row of the API table ─ lane: handlers in order ─ write ─▶
//!            │ memory: budget                                        │
//!            └───────────── watch: deadlines, by the core's sweep ───┘
//! ```
//!
//! What a connection is, apart from its buffers, is one `Send` struct ([`Handover`]), so that it can
//! move to the core that most of its traffic goes to.

pub(crate) mod budget;
mod flow;
mod framing;
mod lane;
pub(crate) mod read;
pub(crate) mod reply;
mod request;
mod traffic;
pub(crate) mod watch;
mod write;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use engine::ids::CoreId;
use engine::rt::{Stream, StreamHandoff};

use self::flow::Ending;
use self::framing::BadPrefix;
use self::read::Reader;
use self::reply::Refusal;
use self::traffic::Traffic;
use self::watch::Watch;
use crate::core::Core;
use crate::listen::Seat;
use crate::mesh::{self, Msg};

/// A connection between two cores: its socket, what was received beyond the last request, and all
/// that later requests depend on.
pub(crate) struct Handover {
    pub(crate) stream: StreamHandoff,
    pub(crate) unread: Vec<u8>,
    pub(crate) identity: Identity,
}

/// Who is at the other end, and how they came in.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The peer's address.
    pub(crate) peer: SocketAddr,
    /// Index of the listener in the node's list.
    pub(crate) listener: usize,
    /// Who the peer is to the authorizer.
    pub(crate) principal: Principal,
    /// Library and version, from ApiVersions 3 and later.
    pub(crate) software: Option<(String, String)>,
    /// The connection's place in the limits.
    pub(crate) seat: Seat,
    /// How often it moved to another core; each move makes the next one harder.
    pub(crate) moves: u32,
}

/// A Kafka principal, `type:name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// `User` for all that clients can be.
    pub(crate) kind: &'static str,
    /// The name within the type.
    pub(crate) name: String,
}

impl Principal {
    /// Who has not said who they are.
    pub(crate) fn anonymous() -> Self {
        Self { kind: "User", name: "ANONYMOUS".to_owned() }
    }
}

/// One connection of this core, as its handlers see it.
pub(crate) struct Conn {
    pub(crate) identity: RefCell<Identity>,
    pub(crate) watch: Rc<Watch>,
    pub(crate) traffic: Traffic,
    /// The client id of the latest request; most connections have one for life.
    client_id: RefCell<Rc<str>>,
}

impl Conn {
    fn new(core: &Core, identity: Identity) -> Rc<Self> {
        Rc::new(Self {
            identity: RefCell::new(identity),
            watch: Rc::new(Watch::new()),
            traffic: Traffic::new(core.cores()),
            client_id: RefCell::new(Rc::from("")),
        })
    }

    /// The client id, shared with the requests before that had the same.
    pub(crate) fn intern_client_id(&self, client_id: &str) -> Rc<str> {
        let mut known = self.client_id.borrow_mut();
        if **known != *client_id {
            *known = Rc::from(client_id);
        }
        Rc::clone(&known)
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloseReason {
    /// The peer closed it.
    #[error("closed by the peer")]
    Peer,
    /// The network did.
    #[error("broken: {0}")]
    Broken(io::Error),
    /// Nothing was asked for `connections.max.idle.ms`.
    #[error("idle for connections.max.idle.ms")]
    Idle,
    /// A frame began and did not go on.
    #[error("stopped sending in the middle of a request")]
    StalledFrame,
    /// No buffer became free for its request.
    #[error("found no room for its request: too many connections send at once")]
    NoMemory,
    /// An answer was not taken.
    #[error("did not take its answer for odradek.response.progress.timeout.ms")]
    SlowReader,
    /// The peer does not speak Kafka's protocol.
    #[error("sent {0}")]
    BadPrefix(BadPrefix),
    /// A request that is answered by closing.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// A handler panicked.
    #[error("a handler panicked: {0}")]
    Panicked(String),
    /// This core cannot use the socket.
    #[error("the socket could not be taken over: {0}")]
    Adoption(io::Error),
    /// The node stops.
    #[error("the node stops")]
    Stopping,
}

/// How loud a close is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    /// Part of normal life.
    Quiet,
    /// Somebody may want to know, within a rate limit.
    Notable,
    /// A defect of this program.
    Defect,
}

impl CloseReason {
    fn severity(&self) -> Severity {
        match self {
            Self::Peer | Self::Broken(_) | Self::Idle | Self::Stopping => Severity::Quiet,
            Self::StalledFrame
            | Self::NoMemory
            | Self::SlowReader
            | Self::BadPrefix(_)
            | Self::Adoption(_)
            | Self::Refused(_) => Severity::Notable,
            Self::Panicked(_) => Severity::Defect,
        }
    }
}

/// Serves a connection on this core from here on.
pub(crate) fn adopt(core: &Rc<Core>, handover: Handover) {
    let Handover { stream, unread, identity } = handover;
    let stream = match Stream::adopt(&core.rt, stream) {
        Ok(stream) => stream,
        Err(error) => {
            report(core, &identity, &CloseReason::Adoption(error));
            return mesh::tell(core, CoreId(0), Msg::Closed(identity.seat));
        }
    };
    let conn = Conn::new(core, identity);
    let reader = Reader::new(stream.clone(), Rc::clone(&core.memory), &unread);
    let entry = core.conns.borrow_mut().insert(Rc::clone(&conn.watch));
    core.metrics.connections.inc();
    let task =
        serve(Rc::clone(core), conn, stream, reader, Registered { core: Rc::clone(core), entry });
    drop(core.rt.spawn("connection", task));
}

/// A connection's entry in the core's list; leaves it also when the task panics.
struct Registered {
    core: Rc<Core>,
    entry: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.core.conns.borrow_mut().remove(self.entry);
        self.core.metrics.connections.dec();
    }
}

async fn serve(core: Rc<Core>, conn: Rc<Conn>, stream: Stream, reader: Reader, _entry: Registered) {
    let seat =
        SeatReturn { core: Rc::clone(&core), seat: Some(conn.identity.borrow().seat.clone()) };
    match flow::run(&core, &conn, stream, reader).await {
        Ending::Closed(reason) => report(&core, &conn.identity.borrow(), &reason),
        Ending::Moved(to, handover) => {
            core.metrics.connections_moved.inc();
            let peer = conn.identity.borrow().peer;
            tracing::debug!(%peer, from = core.id().0, to = to.0, "connection moved");
            seat.keep();
            mesh::tell(&core, CoreId(0), Msg::Moved(to));
            mesh::tell(&core, to, Msg::Adopt(handover));
        }
    }
}

/// Gives a connection's place in the limits back, also when its task panics.
struct SeatReturn {
    core: Rc<Core>,
    seat: Option<Seat>,
}

impl SeatReturn {
    fn keep(mut self) {
        self.seat = None;
    }
}

impl Drop for SeatReturn {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            mesh::tell(&self.core, CoreId(0), Msg::Closed(seat));
        }
    }
}

fn report(core: &Core, identity: &Identity, reason: &CloseReason) {
    core.metrics.connections_closed.inc();
    let peer = identity.peer;
    let listener = &core.node.listeners[identity.listener].name;
    match reason.severity() {
        Severity::Quiet => tracing::debug!(%peer, listener, "connection closed: {reason}"),
        Severity::Notable => {
            core.metrics.connections_refused.inc();
            if let Some(unsaid) = core.quiet.refusals.pass(core.rt.now()) {
                tracing::warn!(%peer, listener, unsaid, "connection closed: the client {reason}");
            }
        }
        Severity::Defect => tracing::error!(%peer, listener, "connection closed: {reason}"),
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests;
