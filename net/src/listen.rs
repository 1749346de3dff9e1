//! Listening: core 0 accepts for all cores, counts, and hands each connection to the core with the
//! fewest.
//!
//! Few connections hash unevenly over several listening sockets, and the limits on connections need
//! one place that counts; a connection is accepted once and then lives elsewhere, so one core can
//! do it for all.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use engine::ids::CoreId;
use engine::rt::{Listener, StreamHandoff};

use crate::conn::{Handover, Identity, Principal};
use crate::core::Core;
use crate::mesh::{self, Msg};

/// A connection's place in the limits; given back to core 0 when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    ip: IpAddr,
}

#[cfg(test)]
impl Seat {
    /// A seat that nobody counts.
    pub(crate) fn of(ip: IpAddr) -> Self {
        Self { ip }
    }
}

/// The seats of the node; kept by core 0.
#[derive(Debug)]
pub(crate) struct Seats {
    taken: Cell<usize>,
    by_ip: RefCell<BTreeMap<IpAddr, usize>>,
    /// A core that ends a connection may be heard before the one that it came from: a count is
    /// below zero for a moment then.
    by_core: RefCell<Vec<isize>>,
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("max.connections = {0} is reached")]
    Node(usize),
    #[error("max.connections.per.ip = {0} is reached")]
    Ip(usize),
}

impl Seats {
    /// No connection yet.
    pub(crate) fn new(cores: usize) -> Self {
        Self {
            taken: Cell::new(0),
            by_ip: RefCell::default(),
            by_core: RefCell::new(vec![0; cores]),
        }
    }

    /// A seat for a connection from `ip`, and the core to serve it.
    fn take(&self, ip: IpAddr, node_max: usize, ip_max: usize) -> Result<(Seat, CoreId), Full> {
        if self.taken.get() >= node_max {
            return Err(Full::Node(node_max));
        }
        let mut by_ip = self.by_ip.borrow_mut();
        let from_ip = by_ip.get(&ip).copied().unwrap_or(0);
        if from_ip >= ip_max {
            return Err(Full::Ip(ip_max));
        }
        by_ip.insert(ip, from_ip + 1);
        self.taken.set(self.taken.get() + 1);
        let mut by_core = self.by_core.borrow_mut();
        let (core, count) = by_core
            .iter_mut()
            .enumerate()
            .min_by_key(|(_, count)| **count)
            .expect("at least one core");
        *count += 1;
        Ok((Seat { ip }, CoreId(u16::try_from(core).expect("cores are numbered by a u16"))))
    }

    /// A connection of `core` ended.
    pub(crate) fn free(&self, core: CoreId, seat: &Seat) {
        self.taken.set(self.taken.get().checked_sub(1).expect("a seat is freed once"));
        let mut by_ip = self.by_ip.borrow_mut();
        let from_ip = by_ip.get_mut(&seat.ip).expect("a seat is freed once");
        *from_ip -= 1;
        if *from_ip == 0 {
            by_ip.remove(&seat.ip);
        }
        self.by_core.borrow_mut()[core.index()] -= 1;
    }

    /// A connection went from one core to another.
    pub(crate) fn moved(&self, from: CoreId, to: CoreId) {
        let mut by_core = self.by_core.borrow_mut();
        by_core[from.index()] -= 1;
        by_core[to.index()] += 1;
    }
}

/// Accepts on core 0 until the listener is shut down.
pub(crate) async fn accept(core: Rc<Core>, listener: Listener, index: usize) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(&core, index, stream, peer),
            Err(_) if core.is_draining() => return,
            Err(error) => {
                if let Some(unsaid) = core.quiet.accepts.pass(core.rt.now()) {
                    tracing::warn!(
                        unsaid,
                        "cannot accept connections: {error}; is the limit on open files (ulimit -n) reached?"
                    );
                }
                core.rt.sleep(ACCEPT_PAUSE).await;
            }
        }
        core.rt.turn().await;
    }
}

fn admit(core: &Rc<Core>, listener: usize, stream: StreamHandoff, peer: SocketAddr) {
    let config = core.config();
    let (node_max, ip_max) =
        (config.max_connections as usize, config.max_connections_per_ip as usize);
    let (seat, to) = match core.seats.take(peer.ip(), node_max, ip_max) {
        Ok(taken) => taken,
        Err(full) => {
            core.metrics.connections_over_limit.inc();
            if let Some(unsaid) = core.quiet.limits.pass(core.rt.now()) {
                tracing::warn!(%peer, unsaid, "connection not accepted: {full}");
            }
            return;
        }
    };
    core.metrics.connections_accepted.inc();
    let identity = Identity {
        peer,
        listener,
        principal: Principal::anonymous(),
        software: None,
        seat,
        moves: 0,
    };
    let handover = Handover { stream, unread: Vec::new(), identity };
    if to == core.id() {
        crate::conn::adopt(core, handover);
    } else {
        mesh::tell(core, to, Msg::Adopt(Box::new(handover)));
    }
}

/// Wait after a failed accept: descriptors come back as connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn connections_spread_over_cores() {
        let seats = Seats::new(3);
        let cores: Vec<_> = (0..6).map(|_| seats.take(HERE, 9, 9).expect("room").1.0).collect();
        assert_eq!(cores, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn limits_hold_and_seats_come_back() {
        let seats = Seats::new(2);
        let (seat, core) = seats.take(HERE, 2, 1).expect("room");
        assert_eq!(seats.take(HERE, 2, 1), Err(Full::Ip(1)));
        let other = seats.take(THERE, 2, 1).expect("room for another");
        assert_eq!(seats.take(THERE, 2, 2), Err(Full::Node(2)));
        seats.free(core, &seat);
        assert!(seats.take(HERE, 2, 1).is_ok());
        seats.moved(other.1, CoreId(0));
        seats.free(CoreId(0), &other.0);
    }

    #[test]
    fn an_end_may_be_heard_before_the_move() {
        let seats = Seats::new(2);
        let (seat, core) = seats.take(HERE, 9, 9).expect("room");
        assert_eq!(core, CoreId(0));
        seats.free(CoreId(1), &seat);
        seats.moved(CoreId(0), CoreId(1));
        assert_eq!(*seats.by_core.borrow(), [0, 0]);
        let cores: Vec<_> = (0..4).map(|_| seats.take(HERE, 9, 9).expect("room").1.0).collect();
        assert_eq!(cores, [0, 1, 0, 1]);
    }
}
