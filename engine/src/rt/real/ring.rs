//! The core's own io_uring: disk I/O in our own buffers, and accepts.
//!
//! glommio writes only whole buffers of its own making and allocates a buffer for every read, which
//! would cost a copy for every unfinished chunk and page faults for every cold read. So file
//! contents go through a ring beside glommio's: submitted at once, completions announced by an
//! eventfd that one glommio task reads.
//!
//! An operation owns what the kernel works on until its completion has arrived, whether or not the
//! future is still there: a dropped future abandons its operation, it does not cancel it.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    future::Future,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use io_uring::{IoUring, squeue};

use crate::rt::DmaBuf;

/// A core's ring.
pub(super) struct Ring(RefCell<Inner>);

struct Inner {
    uring: IoUring,
    ops: slab::Slab<Op>,
    /// Operations that the kernel has and has not completed.
    in_flight: usize,
    /// Built, but not given to the kernel: it could not announce so many completions.
    waiting: VecDeque<squeue::Entry>,
}

struct Op {
    state: State,
    keep: Keep,
}

enum State {
    Pending(Option<Waker>),
    Done(i32),
    /// Nobody waits; the completion only frees what was kept.
    Abandoned,
}

/// What must live until the kernel is done.
#[expect(dead_code, reason = "held, not read")]
pub(super) enum Keep {
    /// A file, and the buffer that is written.
    Write(Rc<OwnedFd>, Rc<DmaBuf>),
    /// A file, and the buffer that is read into.
    Read(Rc<OwnedFd>, DmaBuf),
    /// A file.
    File(Rc<OwnedFd>),
    /// A listening socket; the result is a new descriptor.
    Accept(Rc<OwnedFd>),
}

/// Resolves to the completion's result (negative errno or the call's value) and what was kept.
pub(super) struct Completion {
    ring: Rc<Ring>,
    key: usize,
    taken: bool,
}

impl Ring {
    /// Sets the ring up, with completions announced on `eventfd`.
    pub(super) fn new(eventfd: &OwnedFd) -> io::Result<Self> {
        let uring =
            IoUring::builder().setup_cqsize(CQ_ENTRIES).setup_coop_taskrun().build(SQ_ENTRIES);
        // Kernels before 5.19 do not know cooperative task running.
        let uring =
            uring.or_else(|_| IoUring::builder().setup_cqsize(CQ_ENTRIES).build(SQ_ENTRIES))?;
        uring.submitter().register_eventfd(eventfd.as_raw_fd())?;
        let inner = Inner { uring, ops: slab::Slab::new(), in_flight: 0, waiting: VecDeque::new() };
        Ok(Self(RefCell::new(inner)))
    }

    /// Submits an operation.
    ///
    /// # Safety
    /// Every pointer and descriptor in `entry` must be owned by `keep`, and stay where it is while
    /// `keep` is moved.
    pub(super) unsafe fn start(self: &Rc<Self>, entry: squeue::Entry, keep: Keep) -> Completion {
        let key = {
            let mut inner = self.0.borrow_mut();
            let key = inner.ops.insert(Op { state: State::Pending(None), keep });
            inner.waiting.push_back(entry.user_data(key as u64));
            inner.submit();
            key
        };
        Completion { ring: Rc::clone(self), key, taken: false }
    }

    /// Takes in the completions that have arrived, and wakes who waits for them.
    pub(super) fn reap(&self) {
        let (wakers, garbage) = self.0.borrow_mut().reap();
        drop(garbage);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Operations that have not completed.
    pub(super) fn in_flight(&self) -> usize {
        let inner = self.0.borrow();
        inner.in_flight + inner.waiting.len()
    }
}

impl Inner {
    fn submit(&mut self) {
        while self.in_flight < CQ_ENTRIES as usize {
            let Some(entry) = self.waiting.front() else { break };
            // SAFETY: `Ring::start`'s caller promised that the operation's `Keep`, which lives in
            // `ops` until the completion, owns all that the entry points to.
            if unsafe { self.uring.submission().push(entry) }.is_err() {
                // The submission queue is full: what is in it goes first.
                if self.enter().is_err() {
                    return;
                }
                continue;
            }
            self.waiting.pop_front();
            self.in_flight += 1;
        }
        if self.enter().is_err() {
            // The entries stay in the queue; `reap` tries again on every heartbeat.
            tracing::debug!("the kernel is short of memory for disk I/O; trying again");
        }
    }

    fn enter(&self) -> io::Result<()> {
        loop {
            match self.uring.submit() {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn reap(&mut self) -> (Vec<Waker>, Vec<Keep>) {
        let (mut wakers, mut garbage) = (Vec::new(), Vec::new());
        for completion in self.uring.completion() {
            let key = completion.user_data() as usize;
            self.in_flight -= 1;
            let op = &mut self.ops[key];
            match std::mem::replace(&mut op.state, State::Done(completion.result())) {
                State::Pending(waker) => wakers.extend(waker),
                State::Abandoned => {
                    let op = self.ops.remove(key);
                    close_unwanted(&op.keep, completion.result());
                    garbage.push(op.keep);
                }
                State::Done(_) => unreachable!("an operation completes once"),
            }
        }
        let unsubmitted = !self.uring.submission().is_empty();
        if unsubmitted || !self.waiting.is_empty() {
            self.submit();
        }
        (wakers, garbage)
    }
}

impl Future for Completion {
    type Output = (i32, Keep);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let key = self.key;
        let mut inner = self.ring.0.borrow_mut();
        match &mut inner.ops[key].state {
            State::Done(result) => {
                let result = *result;
                let op = inner.ops.remove(key);
                drop(inner);
                self.taken = true;
                Poll::Ready((result, op.keep))
            }
            State::Pending(waker) => {
                match waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waker = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            State::Abandoned => unreachable!("only a dropped future abandons its operation"),
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut inner = self.ring.0.borrow_mut();
        if let State::Done(result) = inner.ops[self.key].state {
            let op = inner.ops.remove(self.key);
            drop(inner);
            close_unwanted(&op.keep, result);
        } else {
            inner.ops[self.key].state = State::Abandoned;
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The kernel may still write into buffers that are about to be freed. An accept would
        // never end by itself: its socket is shut down.
        for (_, op) in &self.ops {
            if let Keep::Accept(listener) = &op.keep {
                super::net::shut_down(listener);
            }
        }
        self.waiting.clear();
        while self.in_flight > 0 {
            match self.uring.submit_and_wait(1) {
                Ok(_) => drop(self.reap()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    tracing::error!(error = %e, "disk I/O can't be awaited; its buffers are leaked");
                    std::mem::forget(std::mem::take(&mut self.ops));
                    return;
                }
            }
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({} in flight)", self.in_flight())
    }
}

/// A connection that arrived for an accept that nobody awaits any more.
fn close_unwanted(keep: &Keep, result: i32) {
    if let Keep::Accept(_) = keep
        && result >= 0
    {
        // SAFETY: a non-negative result of an accept is a descriptor that only we know of.
        drop(unsafe { OwnedFd::from_raw_fd(result) });
    }
}

const SQ_ENTRIES: u32 = 256;

/// As many operations are with the kernel at once: each needs room for its completion.
const CQ_ENTRIES: u32 = 1024;
