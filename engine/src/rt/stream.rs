//! TCP streams and listeners.

use std::{fmt, io, net::SocketAddr, rc::Rc};

use super::{Rt, RtForm, real, sim};

/// A listening socket.
#[derive(Clone)]
pub struct Listener(pub(super) ListenerForm);

#[derive(Clone)]
pub(super) enum ListenerForm {
    Real(Rc<real::net::Listener>),
    Sim(Rc<sim::net::Listener>),
}

/// A connected socket on its way to the core that will serve it. Closes the connection if it is
/// dropped before [`Stream::adopt`].
pub struct StreamHandoff(pub(super) HandoffForm);

pub(super) enum HandoffForm {
    Real(real::net::Handoff),
    Sim(sim::net::Handoff),
}

/// A connected socket of this core. Clones share it; the last one closes the connection, both
/// directions at once.
///
/// One task may receive while another sends; not two of a kind.
#[derive(Clone)]
pub struct Stream(pub(super) StreamForm);

#[derive(Clone)]
pub(super) enum StreamForm {
    Real(Rc<real::net::Stream>),
    Sim(Rc<sim::net::Stream>),
}

impl Listener {
    /// The next connection. Cancel-safe; one task accepts.
    ///
    /// # Errors
    /// After `shutdown`; or for lack of file descriptors, after which the caller waits a little and
    /// tries again.
    pub async fn accept(&self) -> io::Result<(StreamHandoff, SocketAddr)> {
        match &self.0 {
            ListenerForm::Real(l) => {
                l.accept().await.map(|(h, peer)| (StreamHandoff(HandoffForm::Real(h)), peer))
            }
            ListenerForm::Sim(l) => {
                l.accept().await.map(|(h, peer)| (StreamHandoff(HandoffForm::Sim(h)), peer))
            }
        }
    }

    /// The bound address, with the port that was chosen for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        match &self.0 {
            ListenerForm::Real(l) => l.local_addr(),
            ListenerForm::Sim(l) => l.local_addr(),
        }
    }

    /// Stops listening: a waiting `accept` and all later ones fail.
    pub fn shutdown(&self) {
        match &self.0 {
            ListenerForm::Real(l) => l.shutdown(),
            ListenerForm::Sim(l) => l.shutdown(),
        }
    }
}

impl Stream {
    /// Takes over a connection on this core.
    ///
    /// # Errors
    /// When the socket is unusable; the connection is closed then.
    pub fn adopt(rt: &Rt, handoff: StreamHandoff) -> io::Result<Self> {
        match (&rt.0, handoff.0) {
            (RtForm::Real(core), HandoffForm::Real(h)) => {
                core.adopt(h).map(|s| Self(StreamForm::Real(Rc::new(s))))
            }
            (RtForm::Sim(core), HandoffForm::Sim(h)) => {
                core.adopt(h).map(|s| Self(StreamForm::Sim(Rc::new(s))))
            }
            _ => unreachable!("a process is real or simulated, not both"),
        }
    }

    /// Lets go of the connection so that another core can adopt it. Nothing may be in flight, and
    /// bytes already received are the caller's to carry along.
    ///
    /// # Errors
    /// When clones exist, or no descriptor is free; the connection is closed then.
    pub fn into_handoff(self) -> io::Result<StreamHandoff> {
        match self.0 {
            StreamForm::Real(stream) => {
                let stream = Rc::try_unwrap(stream).map_err(|_| still_shared())?;
                stream.into_handoff().map(|h| StreamHandoff(HandoffForm::Real(h)))
            }
            StreamForm::Sim(stream) => {
                let stream = Rc::try_unwrap(stream).map_err(|_| still_shared())?;
                Ok(StreamHandoff(HandoffForm::Sim(stream.into_handoff())))
            }
        }
    }

    /// Receives at least one byte into `buf`; 0 means that the peer has closed its direction.
    /// Cancel-safe: a dropped call has taken nothing.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            StreamForm::Real(s) => s.recv(buf, 1).await,
            StreamForm::Sim(s) => s.recv(buf).await,
        }
    }

    /// As [`Stream::recv`] for a reader that needs `expect` bytes before it can go on: it may be
    /// woken once for many of them. It still returns with fewer when the peer closes.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn recv_hint(&self, buf: &mut [u8], expect: usize) -> io::Result<usize> {
        match &self.0 {
            StreamForm::Real(s) => s.recv(buf, expect).await,
            StreamForm::Sim(s) => s.recv(buf).await,
        }
    }

    /// Sends all of `bufs` in order, with as few system calls as the socket's room allows. Not
    /// cancel-safe: a dropped call may have sent any part.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn send(&self, bufs: &[&[u8]]) -> io::Result<()> {
        match &self.0 {
            StreamForm::Real(s) => s.send(bufs).await,
            StreamForm::Sim(s) => s.send(bufs).await,
        }
    }

    /// The other end's address.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        match &self.0 {
            StreamForm::Real(s) => s.peer_addr(),
            StreamForm::Sim(s) => s.peer_addr(),
        }
    }

    /// This end's address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        match &self.0 {
            StreamForm::Real(s) => s.local_addr(),
            StreamForm::Sim(s) => s.local_addr(),
        }
    }

    /// Closes both directions at once; a waiting `recv` returns 0 and a waiting `send` fails.
    pub async fn shutdown(&self) {
        match &self.0 {
            StreamForm::Real(s) => s.shutdown(),
            StreamForm::Sim(s) => s.shutdown(),
        }
    }
}

fn still_shared() -> io::Error {
    io::Error::other("the stream is still shared by another task")
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.local_addr())
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({} to {})", self.local_addr(), self.peer_addr())
    }
}

impl fmt::Debug for StreamHandoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamHandoff")
    }
}
