//! The mesh: bounded mailboxes between the cores of one node, without locks.
//!
//! Every core has one mailbox that all the others write into. Messages from one core to another
//! arrive in the order they were accepted; messages of different senders interleave. The mesh is
//! the same code on a real and on a simulated node: wakers carry the difference.
//!
//! Two cores that each wait for room in the other's full mailbox stand still, so the task that
//! receives must never wait in [`MeshPort::send`] itself: it hands the work to another task, or
//! uses [`MeshPort::try_send`] and keeps what did not fit.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    },
    task::{Context, Poll, Waker},
};

use crossbeam_queue::ArrayQueue;
use futures_util::task::AtomicWaker;

use crate::ids::CoreId;

/// The other core's port is gone: that core has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("core {0} has stopped")]
pub struct MeshClosed(pub CoreId);

/// Why a message was not taken at once; it is handed back.
#[derive(Debug, PartialEq, Eq)]
pub enum TrySendError<M> {
    /// The mailbox is full now.
    Full(M),
    /// The receiver is gone and will not come back.
    Closed(M),
}

/// One core's end of the mesh. Made before the cores start, moved to its core, used only there.
pub struct MeshPort<M: Send + 'static> {
    core: CoreId,
    /// By core, our own among them.
    mailboxes: Arc<[Mailbox<M>]>,
    /// Taken from the mailbox in one go, not yet handed out.
    batch: RefCell<VecDeque<(CoreId, M)>>,
    /// By receiving core: our tasks that wait for room there.
    queues: RefCell<Vec<Queue>>,
}

struct Mailbox<M> {
    messages: ArrayQueue<(CoreId, M)>,
    /// The receiver has found nothing and wants to be woken.
    asleep: AtomicBool,
    receiver: AtomicWaker,
    /// Sending cores that wait for room; at the index of each, the first of its tasks.
    blocked: AtomicUsize,
    senders: Box<[AtomicWaker]>,
    closed: AtomicBool,
    /// Ports that can still send here, without the mailbox's own.
    others: AtomicUsize,
}

/// Tasks of one core that wait for room in one mailbox, in order.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<(u64, Waker)>,
    next_ticket: u64,
    /// This core is counted in the mailbox's `blocked`.
    counted: bool,
}

/// Connects `cores` cores all to all; `capacity` messages fit into each core's mailbox.
///
/// # Panics
/// When there are no cores, more than 65 535, or no capacity.
#[must_use]
pub fn mesh<M: Send + 'static>(cores: usize, capacity: usize) -> Vec<MeshPort<M>> {
    assert!(cores > 0 && capacity > 0, "a mesh of {cores} cores and capacity {capacity}");
    let mailboxes: Arc<[Mailbox<M>]> = (0..cores).map(|_| Mailbox::new(cores, capacity)).collect();
    (0..cores)
        .map(|core| MeshPort {
            core: CoreId(u16::try_from(core).expect("core ids are 16 bits")),
            mailboxes: Arc::clone(&mailboxes),
            batch: RefCell::default(),
            queues: RefCell::new((0..cores).map(|_| Queue::default()).collect()),
        })
        .collect()
}

impl<M: Send + 'static> MeshPort<M> {
    /// The core this port belongs to.
    #[must_use]
    pub fn core(&self) -> CoreId {
        self.core
    }

    /// How many cores the mesh connects.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.mailboxes.len()
    }

    /// Sends, waiting for room; tasks of one core that wait get it in turn. A core may send to
    /// itself. A future that is dropped has not sent.
    ///
    /// # Errors
    /// When the receiving core has stopped; the message is lost.
    pub async fn send(&self, to: CoreId, message: M) -> Result<(), MeshClosed> {
        let mut sending = Sending { port: self, to, message: Some(message), ticket: None };
        poll_fn(|cx| sending.poll(cx)).await
    }

    /// Sends if there is room now and no task of this core waits for it.
    ///
    /// # Errors
    /// With the message, when there is none or the core has stopped.
    pub fn try_send(&self, to: CoreId, message: M) -> Result<(), TrySendError<M>> {
        if self.queues.borrow()[to.index()].waiting.is_empty() {
            self.push(to, message)
        } else {
            Err(TrySendError::Full(message))
        }
    }

    /// The next message and its sender; `None` once all other cores have stopped and the mailbox
    /// is empty, even if this core could still send to itself. A lone core's mailbox stays open.
    /// Cancel-safe. One task receives.
    pub async fn recv(&self) -> Option<(CoreId, M)> {
        poll_fn(|cx| {
            if let Some(next) = self.try_recv() {
                return Poll::Ready(Some(next));
            }
            let own = self.own();
            own.receiver.register(cx.waker());
            own.asleep.store(true, Ordering::Relaxed);
            // A sender either sees us asleep, or we see its message.
            fence(Ordering::SeqCst);
            let alone = self.cores() > 1 && own.others.load(Ordering::Acquire) == 0;
            match self.try_recv() {
                None if !alone => Poll::Pending,
                next => {
                    own.asleep.store(false, Ordering::Relaxed);
                    Poll::Ready(next)
                }
            }
        })
        .await
    }

    /// The next message if one is there.
    pub fn try_recv(&self) -> Option<(CoreId, M)> {
        let mut batch = self.batch.borrow_mut();
        if let Some(next) = batch.pop_front() {
            return Some(next);
        }
        let own = self.own();
        // No more than fit: a fast sender must not keep us here.
        let first = own.messages.pop()?;
        batch.extend(std::iter::from_fn(|| own.messages.pop()).take(own.messages.capacity()));
        drop(batch);
        own.wake_senders();
        Some(first)
    }

    /// Messages that were sent here and not received yet.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.batch.borrow().len() + self.own().messages.len()
    }

    fn push(&self, to: CoreId, message: M) -> Result<(), TrySendError<M>> {
        let mailbox = &self.mailboxes[to.index()];
        if mailbox.closed.load(Ordering::Acquire) {
            return Err(TrySendError::Closed(message));
        }
        mailbox.messages.push((self.core, message)).map_err(|(_, m)| TrySendError::Full(m))?;
        mailbox.wake_receiver();
        Ok(())
    }

    fn own(&self) -> &Mailbox<M> {
        &self.mailboxes[self.core.index()]
    }
}

impl<M> Mailbox<M> {
    fn new(cores: usize, capacity: usize) -> Self {
        Self {
            messages: ArrayQueue::new(capacity),
            asleep: AtomicBool::new(false),
            receiver: AtomicWaker::new(),
            blocked: AtomicUsize::new(0),
            senders: (0..cores).map(|_| AtomicWaker::new()).collect(),
            closed: AtomicBool::new(false),
            others: AtomicUsize::new(cores - 1),
        }
    }

    fn wake_receiver(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.receiver.wake();
        }
    }

    fn wake_senders(&self) {
        // A sender either finds the room we made, or we find it waiting.
        fence(Ordering::SeqCst);
        if self.blocked.load(Ordering::Relaxed) > 0 {
            self.senders.iter().for_each(AtomicWaker::wake);
        }
    }
}

/// A send that may have to wait.
struct Sending<'a, M: Send + 'static> {
    port: &'a MeshPort<M>,
    to: CoreId,
    message: Option<M>,
    /// Our place among the waiting tasks.
    ticket: Option<u64>,
}

impl<M: Send + 'static> Sending<'_, M> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<(), MeshClosed>> {
        if self.is_first() {
            match self.try_push() {
                Poll::Pending => {}
                done => return done,
            }
            // Announce that we wait, then look once more: the receiver may have made room.
            self.wait(cx.waker());
            let mailbox = &self.port.mailboxes[self.to.index()];
            mailbox.senders[self.port.core.index()].register(cx.waker());
            fence(Ordering::SeqCst);
            return self.try_push();
        }
        self.wait(cx.waker());
        Poll::Pending
    }

    fn try_push(&mut self) -> Poll<Result<(), MeshClosed>> {
        let message = self.message.take().expect("a finished send is not polled again");
        match self.port.push(self.to, message) {
            Ok(()) => {
                self.leave();
                Poll::Ready(Ok(()))
            }
            Err(TrySendError::Closed(_)) => {
                self.leave();
                Poll::Ready(Err(MeshClosed(self.to)))
            }
            Err(TrySendError::Full(message)) => {
                self.message = Some(message);
                Poll::Pending
            }
        }
    }

    fn is_first(&self) -> bool {
        let queues = self.port.queues.borrow();
        queues[self.to.index()].waiting.front().map(|(ticket, _)| *ticket) == self.ticket
    }

    /// Takes a place in the queue, or keeps it.
    fn wait(&mut self, waker: &Waker) {
        let mut queues = self.port.queues.borrow_mut();
        let queue = &mut queues[self.to.index()];
        match self.ticket {
            Some(ticket) => {
                if let Some((_, old)) = queue.waiting.iter_mut().find(|(t, _)| *t == ticket) {
                    old.clone_from(waker);
                }
            }
            None => {
                self.ticket = Some(queue.next_ticket);
                queue.waiting.push_back((queue.next_ticket, waker.clone()));
                queue.next_ticket += 1;
            }
        }
        if !std::mem::replace(&mut queue.counted, true) {
            self.port.mailboxes[self.to.index()].blocked.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Gives up our place; the next in line tries.
    fn leave(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let next = {
            let mut queues = self.port.queues.borrow_mut();
            let queue = &mut queues[self.to.index()];
            let was_first = queue.waiting.front().is_some_and(|(t, _)| *t == ticket);
            queue.waiting.retain(|(t, _)| *t != ticket);
            if queue.waiting.is_empty() && std::mem::take(&mut queue.counted) {
                self.port.mailboxes[self.to.index()].blocked.fetch_sub(1, Ordering::SeqCst);
            }
            queue.waiting.front().filter(|_| was_first).map(|(_, waker)| waker.clone())
        };
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl<M: Send + 'static> Drop for Sending<'_, M> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<M: Send + 'static> Drop for MeshPort<M> {
    fn drop(&mut self) {
        let own = self.own();
        own.closed.store(true, Ordering::Release);
        // A sender that waits either sees that, or is woken.
        fence(Ordering::SeqCst);
        // What nobody will read is dropped now, with the resources it carries.
        while own.messages.pop().is_some() {}
        own.senders.iter().for_each(AtomicWaker::wake);
        for (to, mailbox) in self.mailboxes.iter().enumerate() {
            if to != self.core.index() && mailbox.others.fetch_sub(1, Ordering::AcqRel) == 1 {
                mailbox.receiver.wake();
            }
        }
    }
}

impl<M: Send + 'static> fmt::Debug for MeshPort<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeshPort({} of {})", self.core, self.cores())
    }
}
