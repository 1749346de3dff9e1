//! Sockets as programs see them.

use std::{collections::VecDeque, future::poll_fn, io, net::SocketAddr, rc::Rc, task::Poll};

use super::{EndId, Listening, Net, NodeState, Orphans, Piece, lock, node_ip, wake_all};
use crate::rt::sim::{Core, Later};

/// A simulated listening socket.
pub(in crate::rt) struct Listener {
    core: Rc<Core>,
    addr: SocketAddr,
    id: u64,
}

/// A simulated connected socket.
pub(in crate::rt) struct Stream {
    core: Rc<Core>,
    id: EndId,
    local: SocketAddr,
    peer: SocketAddr,
    /// Set when a handoff took the connection along.
    moved: bool,
}

/// A simulated connection between two cores.
pub(in crate::rt) struct Handoff {
    id: EndId,
    local: SocketAddr,
    peer: SocketAddr,
    orphans: Option<Orphans>,
}

impl Core {
    pub(in crate::rt) fn listen(
        self: &Rc<Self>,
        mut addr: SocketAddr,
        backlog: u32,
    ) -> io::Result<Listener> {
        let node = self.node();
        let own =
            addr.ip().is_loopback() || addr.ip().is_unspecified() || addr.ip() == node_ip(node);
        if !own {
            return Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
        }
        let mut net = self.shared.net.borrow_mut();
        if addr.port() == 0 {
            addr.set_port(net.ephemeral_port(node));
        }
        if net.listeners.contains_key(&(node, addr.port())) {
            return Err(io::Error::from(io::ErrorKind::AddrInUse));
        }
        let id = net.next_conn;
        net.next_conn += 1;
        let backlog = backlog.max(1) as usize;
        let listening = Listening { id, addr, backlog, queue: VecDeque::new(), acceptor: None };
        net.listeners.insert((node, addr.port()), listening);
        Ok(Listener { core: Rc::clone(self), addr, id })
    }

    pub(in crate::rt) async fn connect(self: &Rc<Self>, addr: SocketAddr) -> io::Result<Stream> {
        let Some(to) = self.shared.node_at(self.node(), addr.ip()) else {
            return Err(io::Error::from(io::ErrorKind::HostUnreachable));
        };
        let timeout = self.shared.net.borrow().link(self.node(), to).connect_timeout;
        let deadline = self.now() + timeout;
        loop {
            // There and back again.
            let delay = self.random(|rng| {
                let net = self.shared.net.borrow();
                net.delay(self.node(), to, rng) + net.delay(to, self.node(), rng)
            });
            let (later, deliver) = Later::new();
            self.call_after(delay, move |core| deliver(core.try_connect(to, addr)));
            match later.await {
                Ok(stream) => return Ok(stream),
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
                Err(_) => {}
            }
            let again = self.now() + SYN_RETRY;
            if again >= deadline {
                self.timer(deadline).await;
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            self.timer(again).await;
        }
    }

    /// `WouldBlock` when nobody answers.
    fn try_connect(self: &Rc<Self>, to: super::NodeId, addr: SocketAddr) -> io::Result<Stream> {
        let from = self.node();
        let mut net = self.shared.net.borrow_mut();
        let cut = net.cuts.contains(&(from, to)) || net.cuts.contains(&(to, from));
        match self.shared.state(to) {
            Some(NodeState::Running | NodeState::Killed) if !cut => {}
            _ => return Err(io::Error::from(io::ErrorKind::WouldBlock)),
        }
        let id = net.connect(from, (to, addr), self.now())?;
        let Some(local) = net.end(id).map(|e| e.addr) else {
            return Err(io::Error::from(io::ErrorKind::ConnectionReset));
        };
        Ok(Stream { core: Rc::clone(self), id, local, peer: addr, moved: false })
    }

    pub(in crate::rt) fn adopt(self: &Rc<Self>, mut handoff: Handoff) -> io::Result<Stream> {
        let Handoff { id, local, peer, .. } = handoff;
        handoff.orphans = None;
        Ok(Stream { core: Rc::clone(self), id, local, peer, moved: false })
    }
}

impl Listener {
    pub(in crate::rt) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    pub(in crate::rt) async fn accept(&self) -> io::Result<(Handoff, SocketAddr)> {
        poll_fn(|cx| {
            let mut net = self.core.shared.net.borrow_mut();
            let orphans = Orphans::clone(&net.orphans);
            let Some(listening) = self.listening(&mut net) else {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::InvalidInput)));
            };
            let Some((id, peer)) = listening.queue.pop_front() else {
                listening.acceptor = Some(cx.waker().clone());
                return Poll::Pending;
            };
            let local = net.end(id).map_or(self.addr, |e| e.addr);
            Poll::Ready(Ok((Handoff { id, local, peer, orphans: Some(orphans) }, peer)))
        })
        .await
    }

    pub(in crate::rt) fn shutdown(&self) {
        let mut net = self.core.shared.net.borrow_mut();
        if self.listening(&mut net).is_none() {
            return;
        }
        let listening = net.listeners.remove(&(self.core.node(), self.addr.port()));
        drop(net);
        if let Some(listening) = listening {
            wake_all([listening.acceptor]);
            listening.queue.into_iter().for_each(|(id, _)| self.core.shared.close_end(id));
        }
    }

    fn listening<'a>(&self, net: &'a mut Net) -> Option<&'a mut Listening> {
        let found = net.listeners.get_mut(&(self.core.node(), self.addr.port()));
        found.filter(|l| l.id == self.id)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.core.is_alive() {
            self.shutdown();
        }
    }
}

impl Stream {
    pub(in crate::rt) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(in crate::rt) fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    pub(in crate::rt) async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| {
            let mut net = self.core.shared.net.borrow_mut();
            let Some(end) = net.end(self.id) else { return Poll::Ready(Ok(0)) };
            if end.reset {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionReset)));
            }
            if end.closed || (end.inbox.is_empty() && end.fin) || buf.is_empty() {
                return Poll::Ready(Ok(0));
            }
            if end.inbox.is_empty() {
                end.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let n = end.inbox.len().min(buf.len());
            for (to, byte) in buf.iter_mut().zip(end.inbox.drain(..n)) {
                *to = byte;
            }
            let writer = net.end(self.id.peer()).and_then(|peer| peer.writer.take());
            drop(net);
            wake_all([writer]);
            Poll::Ready(Ok(n))
        })
        .await
    }

    pub(in crate::rt) async fn send(&self, bufs: &[&[u8]]) -> io::Result<()> {
        for buf in bufs {
            let mut sent = 0;
            while sent < buf.len() {
                sent += self.send_some(&buf[sent..]).await?;
            }
        }
        Ok(())
    }

    async fn send_some(&self, bytes: &[u8]) -> io::Result<usize> {
        let room = poll_fn(|cx| {
            let mut net = self.core.shared.net.borrow_mut();
            let Some(end) = net.end(self.id) else {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::BrokenPipe)));
            };
            if end.reset {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::ConnectionReset)));
            }
            if end.closed {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::BrokenPipe)));
            }
            match net.end(self.id.peer()).map_or(0, |peer| peer.room()) {
                0 => {
                    if let Some(end) = net.end(self.id) {
                        end.writer = Some(cx.waker().clone());
                    }
                    Poll::Pending
                }
                room => Poll::Ready(Ok(room)),
            }
        })
        .await?;
        let n = room.min(bytes.len()).min(self.piece_len());
        self.core.shared.send_piece(self.id.peer(), Piece::Data(bytes[..n].to_vec()));
        Ok(n)
    }

    fn piece_len(&self) -> usize {
        let mut net = self.core.shared.net.borrow_mut();
        let to = net.end(self.id.peer()).map_or(self.core.node(), |e| e.node);
        let link = net.link(self.core.node(), to);
        self.core.random(|rng| {
            let tiny = link.tiny_one_in > 0 && rng.below(link.tiny_one_in) == 0;
            let max = if tiny { 16 } else { link.piece_bytes_max };
            match rng.below(2) {
                0 => max,
                _ => 1 + rng.index(max.max(1)),
            }
        })
    }

    pub(in crate::rt) fn shutdown(&self) {
        self.core.shared.close_end(self.id);
    }

    pub(in crate::rt) fn into_handoff(mut self) -> Handoff {
        self.moved = true;
        let orphans = Orphans::clone(&self.core.shared.net.borrow().orphans);
        Handoff { id: self.id, local: self.local, peer: self.peer, orphans: Some(orphans) }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.moved && self.core.is_alive() {
            self.shutdown();
        }
    }
}

impl Drop for Handoff {
    fn drop(&mut self) {
        if let Some(orphans) = &self.orphans {
            lock(orphans).push(self.id);
        }
    }
}

/// How often an unanswered connect attempt is repeated.
const SYN_RETRY: std::time::Duration = std::time::Duration::from_secs(1);
