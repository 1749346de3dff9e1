//! TCP of the real form: glommio accepts; data moves by system calls that never block, with glommio
//! for readiness.
//!
//! `recv` and `sendmsg` are tried first, with the caller's own buffers; only when the socket has
//! nothing, or no room, does glommio's stream wait for it. The wait moves one byte (or one piece)
//! itself, because glommio has no wait that moves nothing.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    io, mem,
    net::{Shutdown, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use futures_io::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream};
use smallvec::SmallVec;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Core, file::cause, op::Counted};

/// A listening socket.
pub(in crate::rt) struct Listener {
    accepting: Rc<Accepting>,
    local: SocketAddr,
}

/// A listening socket and the task that accepts from it. That task is never cancelled: glommio
/// would lose a connection that arrives meanwhile.
pub(super) struct Accepting {
    tcp: TcpListener,
    /// Owned by `tcp`.
    fd: RawFd,
    state: RefCell<Accepted>,
}

#[derive(Default)]
struct Accepted {
    /// Connections, at the end perhaps an error, that nobody has taken yet.
    queue: VecDeque<io::Result<(Handoff, SocketAddr)>>,
    /// Accept no more before the queue is empty: the last attempt failed.
    failed: bool,
    down: bool,
    /// Waits for a connection.
    taker: Option<Waker>,
    /// The accepting task, waiting for room.
    acceptor: Option<Waker>,
}

/// A connection between two cores.
pub(in crate::rt) struct Handoff {
    fd: OwnedFd,
    local: SocketAddr,
    peer: SocketAddr,
}

/// A connected socket.
pub(in crate::rt) struct Stream {
    /// Owns the descriptor. Borrowed only inside a poll.
    tcp: RefCell<TcpStream>,
    fd: RawFd,
    local: SocketAddr,
    peer: SocketAddr,
    /// The last receive left nothing behind: look again only after waiting.
    drained: Cell<bool>,
    /// SO_RCVLOWAT as it stands.
    low_water: Cell<usize>,
    down: Cell<bool>,
    /// The connection lives on in a handoff.
    moved: bool,
}

impl Core {
    pub(in crate::rt) fn listen(
        self: &Rc<Self>,
        addr: SocketAddr,
        backlog: u32,
    ) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        // Without SO_REUSEPORT: a port that another process listens on must be an error.
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(i32::try_from(backlog.max(1)).unwrap_or(i32::MAX))?;
        let local = address(socket.local_addr()?)?;
        let fd = socket.into_raw_fd();
        // SAFETY: the descriptor is a listening socket that nobody else owns any more.
        let tcp = unsafe { TcpListener::from_raw_fd(fd) };
        let accepting = Rc::new(Accepting { tcp, fd, state: RefCell::default() });
        self.register(&accepting);
        let counted = Counted::new(self);
        let task = Rc::clone(&accepting);
        self.spawn(async move {
            task.run().await;
            drop(counted);
        });
        Ok(Listener { accepting, local })
    }

    pub(in crate::rt) async fn connect(&self, addr: SocketAddr) -> io::Result<Stream> {
        let tcp = TcpStream::connect(addr).await.map_err(io::Error::from)?;
        Stream::new(tcp, None)
    }

    pub(in crate::rt) fn adopt(&self, handoff: Handoff) -> io::Result<Stream> {
        let Handoff { fd, local, peer } = handoff;
        // SAFETY: the descriptor is a connected socket, owned by the handoff until here and by the
        // stream from now on.
        let tcp = unsafe { TcpStream::from_raw_fd(fd.into_raw_fd()) };
        Stream::new(tcp, Some((local, peer)))
    }
}

impl Listener {
    pub(in crate::rt) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(in crate::rt) async fn accept(&self) -> io::Result<(Handoff, SocketAddr)> {
        poll_fn(|cx| self.accepting.poll_take(cx)).await
    }

    pub(in crate::rt) fn shutdown(&self) {
        self.accepting.shutdown();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Accepting {
    /// Accepts until the socket is shut down.
    async fn run(&self) {
        while poll_fn(|cx| self.poll_room(cx)).await {
            let accepted = self.tcp.shared_accept().await.map_err(cause).and_then(|accepted| {
                let stream = accepted.bind_to_executor();
                // SAFETY: the descriptor is open while `stream` lives, which outlives this borrow.
                let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
                // glommio gives a descriptor away only as a stream of this core.
                fd.try_clone_to_owned().map(Socket::from)
            });
            let taker = match accepted {
                Ok(socket) => match handoff(socket) {
                    Ok(accepted) => self.put(Ok(accepted)),
                    // A peer that is gone already has no address any more.
                    Err(_) => None,
                },
                // The peer gave up before it was accepted.
                Err(e) if is_peers_fault(&e) => None,
                Err(e) => self.put(Err(e)),
            };
            if let Some(taker) = taker {
                taker.wake();
            }
        }
    }

    /// False once the socket is shut down.
    fn poll_room(&self, cx: &Context<'_>) -> Poll<bool> {
        let mut state = self.state.borrow_mut();
        if state.down {
            return Poll::Ready(false);
        }
        let room = if state.failed { 1 } else { ACCEPTED_MAX };
        if state.queue.len() < room {
            state.failed = false;
            return Poll::Ready(true);
        }
        state.acceptor = Some(cx.waker().clone());
        Poll::Pending
    }

    fn put(&self, accepted: io::Result<(Handoff, SocketAddr)>) -> Option<Waker> {
        let mut state = self.state.borrow_mut();
        if state.down {
            return None;
        }
        state.failed = accepted.is_err();
        state.queue.push_back(accepted);
        state.taker.take()
    }

    fn poll_take(&self, cx: &Context<'_>) -> Poll<io::Result<(Handoff, SocketAddr)>> {
        let mut state = self.state.borrow_mut();
        if state.down {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::InvalidInput)));
        }
        let Some(accepted) = state.queue.pop_front() else {
            state.taker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let acceptor = state.acceptor.take();
        drop(state);
        if let Some(acceptor) = acceptor {
            acceptor.wake();
        }
        Poll::Ready(accepted)
    }

    /// Ends listening, also for an accept that is under way.
    pub(super) fn shutdown(&self) {
        let mut state = self.state.borrow_mut();
        if mem::replace(&mut state.down, true) {
            return;
        }
        let wakers = [state.taker.take(), state.acceptor.take()];
        let unwanted = mem::take(&mut state.queue);
        drop(state);
        drop(unwanted);
        // SAFETY: the descriptor is open while `self.tcp` lives, which outlives this borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        if let Err(e) = SockRef::from(&fd).shutdown(Shutdown::Both)
            && e.kind() != io::ErrorKind::NotConnected
        {
            tracing::warn!(error = %e, "a listening socket did not shut down");
        }
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

fn handoff(socket: Socket) -> io::Result<(Handoff, SocketAddr)> {
    let peer = address(socket.peer_addr()?)?;
    let local = address(socket.local_addr()?)?;
    Ok((Handoff { fd: socket.into(), local, peer }, peer))
}

impl Stream {
    fn new(tcp: TcpStream, addresses: Option<(SocketAddr, SocketAddr)>) -> io::Result<Self> {
        let (local, peer) = {
            // SAFETY: the descriptor is open while `tcp` lives, which outlives this borrow.
            let fd = unsafe { BorrowedFd::borrow_raw(tcp.as_raw_fd()) };
            let socket = SockRef::from(&fd);
            socket.set_tcp_nodelay(true)?;
            match addresses {
                Some(both) => both,
                None => (address(socket.local_addr()?)?, address(socket.peer_addr()?)?),
            }
        };
        Ok(Self {
            fd: tcp.as_raw_fd(),
            tcp: RefCell::new(tcp),
            local,
            peer,
            drained: Cell::new(true),
            low_water: Cell::new(1),
            down: Cell::new(false),
            moved: false,
        })
    }

    pub(in crate::rt) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(in crate::rt) fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    pub(in crate::rt) async fn recv(&self, buf: &mut [u8], expect: usize) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut look = !self.drained.get();
        poll_fn(|cx| {
            if std::mem::replace(&mut look, true)
                && let Some(n) = self.recv_now(buf)?
            {
                return Poll::Ready(Ok(n));
            }
            self.set_low_water(expect.min(buf.len()));
            let mut tcp = self.tcp.borrow_mut();
            match Pin::new(&mut *tcp).poll_read(cx, &mut buf[..1]) {
                Poll::Ready(Ok(1)) => {
                    // The byte says that there is more.
                    drop(tcp);
                    self.drained.set(false);
                    let more = self.recv_now(&mut buf[1..])?.unwrap_or(0);
                    Poll::Ready(Ok(1 + more))
                }
                other => other,
            }
        })
        .await
    }

    /// What is there now; `None` if nothing is.
    fn recv_now(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        if buf.is_empty() {
            return Ok(Some(0));
        }
        loop {
            // SAFETY: the kernel writes at most `buf.len()` bytes into `buf`, before it returns.
            let n = unsafe {
                libc::recv(self.fd, buf.as_mut_ptr().cast(), buf.len(), libc::MSG_DONTWAIT)
            };
            if let Ok(n) = usize::try_from(n) {
                self.drained.set(n < buf.len());
                return Ok(Some(n));
            }
            let e = io::Error::last_os_error();
            match e.kind() {
                io::ErrorKind::WouldBlock => {
                    self.drained.set(true);
                    return Ok(None);
                }
                io::ErrorKind::Interrupted => {}
                _ => return Err(e),
            }
        }
    }

    /// Lets the kernel wait for so many bytes before it wakes us, if that is worth a call.
    fn set_low_water(&self, wanted: usize) {
        let low_water = match wanted {
            ..LOW_WATER_FROM => 1,
            _ => wanted.min(LOW_WATER_MAX),
        };
        if low_water == self.low_water.get() {
            return;
        }
        let value = libc::c_int::try_from(low_water).unwrap_or(1);
        // SAFETY: the option takes a C int, which is passed with its size.
        let result = unsafe {
            let size = libc::socklen_t::try_from(size_of_val(&value)).expect("an int is small");
            libc::setsockopt(
                self.fd,
                libc::SOL_SOCKET,
                libc::SO_RCVLOWAT,
                (&raw const value).cast(),
                size,
            )
        };
        // It is a hint: on failure more wake-ups come than need be.
        if result == 0 {
            self.low_water.set(low_water);
        }
    }

    pub(in crate::rt) async fn send(&self, bufs: &[&[u8]]) -> io::Result<()> {
        let mut rest: SmallVec<[libc::iovec; 8]> = bufs
            .iter()
            .filter(|b| !b.is_empty())
            .map(|b| libc::iovec { iov_base: b.as_ptr().cast_mut().cast(), iov_len: b.len() })
            .collect();
        let mut first = 0;
        while first < rest.len() {
            let sent = match self.send_now(&mut rest[first..])? {
                Some(sent) => sent,
                None => self.send_piece(&rest[first]).await?,
            };
            first += advance(&mut rest[first..], sent);
        }
        Ok(())
    }

    /// What fits into the socket now; `None` if nothing does.
    fn send_now(&self, rest: &mut [libc::iovec]) -> io::Result<Option<usize>> {
        let count = rest.len().min(IOV_MAX);
        loop {
            // SAFETY: `msghdr` is plain data for which all zeros is a value. The vectors point to
            // the caller's slices, which the kernel only reads, before it returns.
            let sent = unsafe {
                let mut message = std::mem::zeroed::<libc::msghdr>();
                message.msg_iov = rest.as_mut_ptr();
                message.msg_iovlen = count;
                let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
                libc::sendmsg(self.fd, &raw const message, flags)
            };
            if let Ok(sent) = usize::try_from(sent) {
                return Ok(Some(sent));
            }
            let e = io::Error::last_os_error();
            match e.kind() {
                io::ErrorKind::WouldBlock => return Ok(None),
                io::ErrorKind::Interrupted => {}
                _ => return Err(e),
            }
        }
    }

    /// Waits for room, and sends what then fits of one slice.
    async fn send_piece(&self, piece: &libc::iovec) -> io::Result<usize> {
        // SAFETY: the vector was made from a slice that the caller of `send` borrows meanwhile.
        let piece = unsafe { std::slice::from_raw_parts(piece.iov_base.cast(), piece.iov_len) };
        poll_fn(|cx| Pin::new(&mut *self.tcp.borrow_mut()).poll_write(cx, piece)).await
    }

    pub(in crate::rt) fn shutdown(&self) {
        if !self.down.replace(true) {
            // SAFETY: the descriptor is open while `self.tcp` lives. An error means that the
            // connection is gone already.
            unsafe { libc::shutdown(self.fd, libc::SHUT_RDWR) };
        }
    }

    /// A second descriptor of the connection: the first one is pinned by the reactor, which may
    /// still poll it.
    pub(in crate::rt) fn into_handoff(mut self) -> io::Result<Handoff> {
        self.set_low_water(1);
        // SAFETY: the descriptor is open while `self.tcp` lives, which outlives this borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) }.try_clone_to_owned()?;
        self.moved = true;
        Ok(Handoff { fd, local: self.local, peer: self.peer })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The reactor may hold the socket open until its next turn; the peer should know now.
        if !self.moved {
            self.shutdown();
        }
    }
}

/// Takes `sent` bytes off the front of `rest`; how many vectors are done with.
fn advance(rest: &mut [libc::iovec], mut sent: usize) -> usize {
    let mut done = 0;
    for vector in rest {
        if sent < vector.iov_len {
            vector.iov_base = vector.iov_base.cast::<u8>().wrapping_add(sent).cast();
            vector.iov_len -= sent;
            break;
        }
        sent -= vector.iov_len;
        done += 1;
    }
    done
}

fn address(addr: socket2::SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}

fn is_peers_fault(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO | libc::ENETDOWN | libc::EHOSTUNREACH)
    )
}

/// Below this, waiting for the rest saves no wake-up that matters.
const LOW_WATER_FROM: usize = 64 << 10;

/// Beyond this, the kernel's buffer would rather fill up than be emptied in time.
const LOW_WATER_MAX: usize = 256 << 10;

/// The kernel takes so many vectors per call.
const IOV_MAX: usize = 1024;

/// Connections are accepted so far ahead of whoever takes them; more wait in the kernel's backlog.
const ACCEPTED_MAX: usize = 16;
