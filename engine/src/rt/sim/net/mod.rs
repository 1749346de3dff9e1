//! The simulated network: connections as two directed pipes over links that delay, split, cut and
//! reset. `socket` holds what programs see of it.
//!
//! A direction delivers pieces in order. A cut link holds them until it heals, as retransmission
//! would; a machine without power swallows them, and answers with a reset once it is back: until
//! then its peers' connections are half open. A killed process's kernel closes its connections.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::{Arc, Mutex},
    task::Waker,
    time::Duration,
};

use super::{Crash, NodeId, NodeState, Shared};
use crate::rt::{Instant, rng::Rng};

mod socket;

use super::ip_of as node_ip;
pub(in crate::rt) use socket::{Handoff, Listener, Stream};

/// How a link between two nodes behaves.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// Shortest one-way delay of a piece.
    pub delay_min: Duration,
    /// Longest one-way delay.
    pub delay_max: Duration,
    /// Longest piece that arrives at once, in bytes.
    pub piece_bytes_max: usize,
    /// One piece in so many is only 1 to 16 bytes long; 0 for none.
    pub tiny_one_in: u64,
    /// One piece in so many resets the connection instead of arriving; 0 for none.
    pub reset_one_in: u64,
    /// How long a connect attempt goes unanswered before it fails.
    pub connect_timeout: Duration,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            delay_min: Duration::from_micros(50),
            delay_max: Duration::from_micros(500),
            piece_bytes_max: 64 << 10,
            tiny_one_in: 20,
            reset_one_in: 0,
            connect_timeout: Duration::from_secs(20),
        }
    }
}

/// All connections, listeners and links of a world.
pub(super) struct Net {
    conns: BTreeMap<u64, Conn>,
    listeners: BTreeMap<(NodeId, u16), Listening>,
    links: BTreeMap<(NodeId, NodeId), LinkOptions>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    default: LinkOptions,
    next_conn: u64,
    next_port: BTreeMap<NodeId, u16>,
    orphans: Orphans,
}

/// Ends whose handoff was dropped, maybe inside a task's drop.
type Orphans = Arc<Mutex<Vec<EndId>>>;

struct Listening {
    id: u64,
    addr: SocketAddr,
    backlog: usize,
    queue: VecDeque<(EndId, SocketAddr)>,
    acceptor: Option<Waker>,
}

/// A connection: end 0 connected, end 1 was accepted.
struct Conn {
    ends: [End; 2],
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EndId {
    conn: u64,
    side: usize,
}

struct End {
    node: NodeId,
    addr: SocketAddr,
    /// Arrived and not yet read.
    inbox: VecDeque<u8>,
    /// Sent towards this end and not yet arrived.
    coming: usize,
    /// No piece arrives before an earlier one.
    last_arrival: Instant,
    /// Arrived at a cut.
    held: VecDeque<Piece>,
    fin: bool,
    reset: bool,
    /// The program closed it, or is gone.
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

enum Piece {
    Data(Vec<u8>),
    Fin,
    Reset,
}

impl Net {
    pub(super) fn new(default: LinkOptions) -> Self {
        Self {
            conns: BTreeMap::new(),
            listeners: BTreeMap::new(),
            links: BTreeMap::new(),
            cuts: BTreeSet::new(),
            default,
            next_conn: 0,
            next_port: BTreeMap::new(),
            orphans: Orphans::default(),
        }
    }

    pub(super) fn set_link(&mut self, a: NodeId, b: NodeId, options: &LinkOptions) {
        self.links.insert((a, b), options.clone());
        self.links.insert((b, a), options.clone());
    }

    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    fn link(&self, from: NodeId, to: NodeId) -> &LinkOptions {
        self.links.get(&(from, to)).unwrap_or(&self.default)
    }

    fn delay(&self, from: NodeId, to: NodeId, rng: &mut Rng) -> Duration {
        let link = self.link(from, to);
        let spread = link.delay_max.saturating_sub(link.delay_min).as_nanos() as u64;
        let delay = link.delay_min + Duration::from_nanos(rng.below(spread + 1));
        // The loopback is quicker than any wire.
        if from == to { delay / 16 } else { delay }
    }

    fn end(&mut self, id: EndId) -> Option<&mut End> {
        self.conns.get_mut(&id.conn).map(|c| &mut c.ends[id.side])
    }

    fn ephemeral_port(&mut self, node: NodeId) -> u16 {
        let next = self.next_port.entry(node).or_insert(FIRST_EPHEMERAL_PORT);
        loop {
            let port = *next;
            *next = port.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
            if !self.listeners.contains_key(&(node, port)) {
                return port;
            }
        }
    }

    /// Ends of live connections that lie on `node`.
    fn ends_on(&self, node: NodeId) -> Vec<EndId> {
        let ends = self.conns.iter().flat_map(|(conn, c)| {
            c.ends.iter().enumerate().map(|(side, e)| (EndId { conn: *conn, side }, e))
        });
        ends.filter(|(_, e)| e.node == node && !e.closed).map(|(id, _)| id).collect()
    }
}

impl Shared {
    /// Sends a piece to `to`; it arrives after the link's delay, behind all earlier ones.
    fn send_piece(self: &Rc<Self>, to: EndId, piece: Piece) {
        let now = self.sched.now();
        let mut net = self.net.borrow_mut();
        let Some(from_node) = net.end(to.peer()).map(|e| e.node) else { return };
        let Some(to_node) = net.end(to).map(|e| e.node) else { return };
        let (delay, lost) = self.sched.random(|rng| {
            let one_in = net.link(from_node, to_node).reset_one_in;
            (net.delay(from_node, to_node, rng), one_in > 0 && rng.below(one_in) == 0)
        });
        let Some(end) = net.end(to) else { return };
        let piece = if lost && matches!(piece, Piece::Data(_)) { Piece::Reset } else { piece };
        if let Piece::Data(bytes) = &piece {
            end.coming += bytes.len();
        }
        let at = (now + delay).max(end.last_arrival);
        end.last_arrival = at;
        drop(net);
        let shared = Rc::clone(self);
        self.sched.call_at(at, move || shared.arrive(to, piece));
    }

    fn arrive(self: &Rc<Self>, to: EndId, piece: Piece) {
        let mut net = self.net.borrow_mut();
        let Some(from_node) = net.end(to.peer()).map(|e| e.node) else { return };
        let Some(to_node) = net.end(to).map(|e| e.node) else { return };
        let cut = net.cuts.contains(&(from_node, to_node));
        let Some(end) = net.end(to) else { return };
        if cut || !end.held.is_empty() {
            end.held.push_back(piece);
            return;
        }
        if self.state(to_node) == Some(NodeState::Off) {
            return;
        }
        let mut refused = false;
        match piece {
            Piece::Data(bytes) => {
                // What was on its way when the machine came back is not counted any more.
                end.coming = end.coming.saturating_sub(bytes.len());
                refused = end.closed;
                if !end.closed && !end.reset {
                    end.inbox.extend(bytes);
                }
            }
            Piece::Fin => end.fin = true,
            Piece::Reset => {
                end.reset = true;
                end.inbox.clear();
            }
        }
        let mut wakers = vec![end.reader.take()];
        if end.reset {
            wakers.push(end.writer.take());
        }
        net.forget_if_closed(to.conn);
        drop(net);
        wake_all(wakers);
        if refused {
            self.send_piece(to.peer(), Piece::Reset);
        }
    }

    /// The program closed its end, both directions.
    fn close_end(self: &Rc<Self>, id: EndId) {
        let mut net = self.net.borrow_mut();
        let Some(end) = net.end(id) else { return };
        if end.closed {
            return;
        }
        end.closed = true;
        // Unread bytes make the kernel tell the peer that they were lost.
        let last = if end.inbox.is_empty() { Piece::Fin } else { Piece::Reset };
        end.inbox = VecDeque::new();
        let was_reset = end.reset;
        let wakers = vec![end.reader.take(), end.writer.take()];
        net.forget_if_closed(id.conn);
        drop(net);
        wake_all(wakers);
        if !was_reset {
            self.send_piece(id.peer(), last);
        }
    }

    pub(super) fn close_orphans(self: &Rc<Self>) {
        let orphans = Arc::clone(&self.net.borrow().orphans);
        let ends = std::mem::take(&mut *lock(&orphans));
        ends.into_iter().for_each(|id| self.close_end(id));
    }

    /// A node stopped: its sockets are gone.
    pub(super) fn node_lost(self: &Rc<Self>, node: NodeId, kind: Crash) {
        let ends = {
            let mut net = self.net.borrow_mut();
            net.listeners.retain(|(of, _), _| *of != node);
            net.ends_on(node)
        };
        for id in ends {
            match kind {
                Crash::Kill => self.close_end(id),
                Crash::PowerLoss => {
                    let mut net = self.net.borrow_mut();
                    if let Some(end) = net.end(id) {
                        end.closed = true;
                        end.inbox = VecDeque::new();
                    }
                    net.forget_if_closed(id.conn);
                }
            }
        }
    }

    /// A machine that was off answers again: who still sends to its old connections learns that
    /// they are gone.
    pub(super) fn node_back(self: &Rc<Self>, node: NodeId) {
        let waiting: Vec<EndId> = {
            let mut net = self.net.borrow_mut();
            let conns = net.conns.iter_mut().flat_map(|(conn, c)| {
                let ends = c.ends.iter_mut().enumerate();
                ends.map(|(side, e)| (EndId { conn: *conn, side }, e))
            });
            conns
                .filter(|(_, e)| e.node == node && e.closed && e.coming > 0)
                .map(|(id, e)| {
                    e.coming = 0;
                    id
                })
                .collect()
        };
        waiting.into_iter().for_each(|id| self.send_piece(id.peer(), Piece::Reset));
    }

    pub(super) fn heal(self: &Rc<Self>, pair: Option<(NodeId, NodeId)>) {
        let mut net = self.net.borrow_mut();
        let healed =
            |x: NodeId, y: NodeId| pair.is_none_or(|(a, b)| (a, b) == (x, y) || (b, a) == (x, y));
        net.cuts.retain(|(from, to)| !healed(*from, *to));
        let mut released = Vec::new();
        for (conn, c) in &mut net.conns {
            let between = healed(c.ends[0].node, c.ends[1].node);
            for (side, end) in c.ends.iter_mut().enumerate().filter(|_| between) {
                let held = std::mem::take(&mut end.held);
                released.extend(held.into_iter().map(|p| (EndId { conn: *conn, side }, p)));
            }
        }
        drop(net);
        for (to, piece) in released {
            let mut net = self.net.borrow_mut();
            if let (Some(end), Piece::Data(bytes)) = (net.end(to), &piece) {
                end.coming = end.coming.saturating_sub(bytes.len());
            }
            drop(net);
            self.send_piece(to, piece);
        }
    }

    pub(super) fn reset_connections(self: &Rc<Self>, a: NodeId, b: NodeId) {
        let net = self.net.borrow();
        let ids: Vec<u64> = net
            .conns
            .iter()
            .filter(|(_, c)| {
                let nodes = [c.ends[0].node, c.ends[1].node];
                nodes == [a, b] || nodes == [b, a]
            })
            .map(|(conn, _)| *conn)
            .collect();
        drop(net);
        for conn in ids {
            for side in [0, 1] {
                self.send_piece(EndId { conn, side }, Piece::Reset);
            }
        }
    }

    /// The node with this address as seen from `from`.
    fn node_at(&self, from: NodeId, ip: IpAddr) -> Option<NodeId> {
        if ip.is_loopback() || ip.is_unspecified() {
            return Some(from);
        }
        let nodes = self.nodes.borrow().len();
        (0..u16::try_from(nodes).expect("node ids are 16 bits"))
            .map(NodeId)
            .find(|n| IpAddr::V4(node_ip(*n)) == ip)
    }
}

impl Net {
    fn forget_if_closed(&mut self, conn: u64) {
        // An end without power keeps its connection while the peer lives: half open.
        if self.conns.get(&conn).is_some_and(|c| c.ends.iter().all(|e| e.closed)) {
            self.conns.remove(&conn);
        }
    }

    fn connect(
        &mut self,
        from: NodeId,
        to: (NodeId, SocketAddr),
        now: Instant,
    ) -> io::Result<EndId> {
        let (to_node, to_addr) = to;
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let listening = self.listeners.get(&(to_node, to_addr.port())).ok_or_else(refused)?;
        if !listening.takes(to_addr.ip(), from == to_node) {
            return Err(refused());
        }
        if listening.queue.len() >= listening.backlog {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        let ip = if to_addr.ip().is_loopback() { to_addr.ip() } else { node_ip(from).into() };
        let own = SocketAddr::new(ip, self.ephemeral_port(from));
        let conn = self.next_conn;
        self.next_conn += 1;
        self.conns.insert(
            conn,
            Conn { ends: [End::new(from, own, now), End::new(to_node, to_addr, now)] },
        );
        let listening = self.listeners.get_mut(&(to_node, to_addr.port())).ok_or_else(refused)?;
        listening.queue.push_back((EndId { conn, side: 1 }, own));
        let acceptor = listening.acceptor.take();
        wake_all([acceptor]);
        Ok(EndId { conn, side: 0 })
    }
}

impl Listening {
    fn takes(&self, ip: IpAddr, same_node: bool) -> bool {
        let own = self.addr.ip();
        match own.is_loopback() {
            true => same_node && ip.is_loopback(),
            false => own.is_unspecified() || own == ip,
        }
    }
}

impl EndId {
    fn peer(self) -> Self {
        Self { conn: self.conn, side: 1 - self.side }
    }
}

impl End {
    fn new(node: NodeId, addr: SocketAddr, now: Instant) -> Self {
        Self {
            node,
            addr,
            inbox: VecDeque::new(),
            coming: 0,
            last_arrival: now,
            held: VecDeque::new(),
            fin: false,
            reset: false,
            closed: false,
            reader: None,
            writer: None,
        }
    }

    /// Bytes that the peer may send now.
    fn room(&self) -> usize {
        WINDOW_BYTES.saturating_sub(self.inbox.len() + self.coming)
    }
}

fn wake_all(wakers: impl IntoIterator<Item = Option<Waker>>) {
    wakers.into_iter().flatten().for_each(Waker::wake);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What a connection holds between two programs, like both kernels' buffers together.
const WINDOW_BYTES: usize = 256 << 10;

const FIRST_EPHEMERAL_PORT: u16 = 49_152;
