//! Who waits for what, on one core.
//!
//! Nothing here is shared between cores or holds a borrow while it wakes. A waiting future owns
//! one entry and takes it out again when it is dropped, so a disconnect costs nothing later.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Futures that wait until a growing number passes theirs; woken in the order of their numbers.
#[derive(Default)]
pub(crate) struct Waiters {
    queue: RefCell<BTreeMap<Ticket, Waker>>,
    next: Cell<u64>,
}

/// One registration: the number waited for, and who came first among equals.
pub(crate) type Ticket = (i64, u64);

impl Waiters {
    /// Registers the caller, or renews its waker when `ticket` says it is registered already.
    pub(crate) fn wait(&self, ticket: &mut Option<Ticket>, passes: i64, cx: &Context<'_>) {
        let key = *ticket.get_or_insert_with(|| {
            self.next.set(self.next.get() + 1);
            (passes, self.next.get())
        });
        let mut queue = self.queue.borrow_mut();
        match queue.get_mut(&key) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => drop(queue.insert(key, cx.waker().clone())),
        }
    }

    /// Takes a registration back.
    pub(crate) fn forget(&self, ticket: &mut Option<Ticket>) {
        if let Some(key) = ticket.take() {
            let waker = self.queue.borrow_mut().remove(&key);
            drop(waker);
        }
    }

    /// Wakes everyone whose number is below `reached`.
    pub(crate) fn wake_below(&self, reached: i64) {
        loop {
            let waker = {
                let mut queue = self.queue.borrow_mut();
                match queue.first_entry() {
                    Some(first) if first.key().0 < reached => first.remove(),
                    _ => return,
                }
            };
            waker.wake();
        }
    }

    /// Wakes everyone, since something other than the number changed.
    pub(crate) fn wake_all(&self) {
        self.wake_below(i64::MAX);
    }

    /// Waits until `done` gives a value; asked again at every wake past `passes`.
    pub(crate) async fn until<T>(&self, passes: i64, mut done: impl FnMut() -> Option<T>) -> T {
        let mut entry = Entry { waiters: self, ticket: None };
        poll_fn(|cx| match done() {
            Some(value) => Poll::Ready(value),
            None => {
                entry.waiters.wait(&mut entry.ticket, passes, cx);
                Poll::Pending
            }
        })
        .await
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.borrow().len()
    }
}

struct Entry<'a> {
    waiters: &'a Waiters,
    ticket: Option<Ticket>,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.waiters.forget(&mut self.ticket);
    }
}

/// A lock that is granted strictly in the order in which it was asked for.
#[derive(Default)]
pub(crate) struct FifoLock {
    /// Ticket of the holder.
    holder: Cell<Option<u64>>,
    queue: RefCell<VecDeque<(u64, Waker)>>,
    next: Cell<u64>,
}

/// Holds a [`FifoLock`] until dropped.
pub(crate) struct FifoGuard<'a>(&'a FifoLock);

/// As [`FifoGuard`], together with the lock.
pub(crate) struct OwnedFifoGuard(Rc<FifoLock>);

impl FifoLock {
    /// Waits for the turn. The place in the queue is taken at the first poll.
    pub(crate) fn lock(&self) -> Turn<'_> {
        Turn { lock: self, ticket: None }
    }

    /// The lock, if nobody holds or awaits it.
    pub(crate) fn try_lock(&self) -> Option<FifoGuard<'_>> {
        if self.holder.get().is_some() {
            return None;
        }
        self.holder.set(Some(self.take_ticket()));
        Some(FifoGuard(self))
    }

    /// As [`FifoLock::lock`], for a holder that outlives the caller.
    pub(crate) async fn lock_owned(self: &Rc<Self>) -> OwnedFifoGuard {
        std::mem::forget(self.lock().await);
        OwnedFifoGuard(Rc::clone(self))
    }

    fn take_ticket(&self) -> u64 {
        let ticket = self.next.get();
        self.next.set(ticket + 1);
        ticket
    }

    fn pass_on(&self) {
        let next = self.queue.borrow_mut().pop_front();
        self.holder.set(next.as_ref().map(|(ticket, _)| *ticket));
        if let Some((_, waker)) = next {
            waker.wake();
        }
    }
}

/// A place in a [`FifoLock`]'s queue.
pub(crate) struct Turn<'a> {
    lock: &'a FifoLock,
    ticket: Option<u64>,
}

impl<'a> Future for Turn<'a> {
    type Output = FifoGuard<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let lock = self.lock;
        let Some(ticket) = self.ticket else {
            if let Some(guard) = lock.try_lock() {
                return Poll::Ready(guard);
            }
            let ticket = lock.take_ticket();
            lock.queue.borrow_mut().push_back((ticket, cx.waker().clone()));
            self.ticket = Some(ticket);
            return Poll::Pending;
        };
        if lock.holder.get() == Some(ticket) {
            self.ticket = None;
            return Poll::Ready(FifoGuard(lock));
        }
        let mut queue = lock.queue.borrow_mut();
        if let Some((_, waker)) = queue.iter_mut().find(|(place, _)| *place == ticket) {
            waker.clone_from(cx.waker());
        }
        Poll::Pending
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        if self.lock.holder.get() == Some(ticket) {
            self.lock.pass_on();
        } else {
            self.lock.queue.borrow_mut().retain(|(place, _)| *place != ticket);
        }
    }
}

impl Drop for FifoGuard<'_> {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

impl Drop for OwnedFifoGuard {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

/// Wakes one task that looks after something. A wake before the wait is not lost.
#[derive(Default)]
pub(crate) struct Signal {
    raised: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    /// Wakes the task, or lets its next wait return at once.
    pub(crate) fn raise(&self) {
        self.raised.set(true);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready once after each run of [`Signal::raise`].
    pub(crate) fn poll_raised(&self, cx: &Context<'_>) -> Poll<()> {
        if self.raised.replace(false) {
            return Poll::Ready(());
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;

    use super::*;

    #[test]
    fn lock_is_granted_in_order_and_skips_those_who_left() {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let lock = FifoLock::default();
        let first = lock.try_lock().expect("free");
        let mut second = Box::pin(lock.lock());
        let mut third = Box::pin(lock.lock());
        let mut fourth = Box::pin(lock.lock());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert!(third.as_mut().poll(&mut cx).is_pending());
        assert!(fourth.as_mut().poll(&mut cx).is_pending());
        drop(third);
        drop(first);
        assert!(lock.try_lock().is_none(), "the turn belongs to the second");
        assert!(fourth.as_mut().poll(&mut cx).is_pending());
        drop(second);
        assert!(fourth.as_mut().poll(&mut cx).is_ready());
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn an_owned_lock_is_one_place_in_the_queue_and_passes_on() {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let lock = Rc::new(FifoLock::default());
        let first = lock.try_lock().expect("free");
        let mut second = Box::pin(lock.lock_owned());
        let mut third = Box::pin(lock.lock());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert!(third.as_mut().poll(&mut cx).is_pending());
        drop(first);
        let Poll::Ready(held) = second.as_mut().poll(&mut cx) else { panic!("its turn") };
        // The guard outlives the future it came from.
        drop(second);
        assert!(third.as_mut().poll(&mut cx).is_pending());
        assert!(lock.try_lock().is_none());
        drop(held);
        assert!(third.as_mut().poll(&mut cx).is_ready());
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn a_wait_for_an_owned_lock_that_is_given_up_leaves_no_trace() {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let lock = Rc::new(FifoLock::default());
        let first = lock.try_lock().expect("free");
        let mut second = Box::pin(lock.lock_owned());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        drop(first);
        // It was granted, but not taken.
        drop(second);
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn waiters_leave_no_trace() {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let waiters = Waiters::default();
        let reached = Cell::new(0);
        let at = |want: i64| {
            let reached = &reached;
            waiters.until(want, move || (reached.get() > want).then_some(want))
        };
        let (mut low, mut high) = (Box::pin(at(3)), Box::pin(at(9)));
        assert!(low.as_mut().poll(&mut cx).is_pending());
        assert!(high.as_mut().poll(&mut cx).is_pending());
        reached.set(4);
        waiters.wake_below(4);
        assert_eq!(waiters.len(), 1);
        assert!(matches!(low.as_mut().poll(&mut cx), Poll::Ready(3)));
        drop(high);
        assert_eq!(waiters.len(), 0);
    }

    #[test]
    fn a_signal_before_the_wait_is_seen() {
        let waker = noop_waker();
        let cx = Context::from_waker(&waker);
        let signal = Signal::default();
        signal.raise();
        assert!(signal.poll_raised(&cx).is_ready());
        assert!(signal.poll_raised(&cx).is_pending());
    }
}
