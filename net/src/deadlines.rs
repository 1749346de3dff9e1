//! Deadlines that are hardly ever reached.
//!
//! Every acks=all waits with one. A timer of the runtime for each would be set and cancelled again
//! a moment later, tens of thousands of times a second; here a request leaves its waker in a list,
//! and one task looks at the list every [`TICK`] while there is anything in it. So a deadline is
//! kept to a tick, never early.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use engine::rt::{Instant, Rt};
use slab::Slab;

/// The deadlines of one core.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    waiting: RefCell<Slab<Waiting>>,
    /// The task that looks, when there is nothing to look at.
    parked: RefCell<Option<Waker>>,
}

#[derive(Debug)]
struct Waiting {
    at: Instant,
    waker: Option<Waker>,
}

/// Resolves a tick after its time at the latest.
#[derive(Debug)]
pub(crate) struct Deadline {
    of: Rc<Deadlines>,
    at: Instant,
    /// The place in the list; none before the first poll and once it is over.
    place: Option<usize>,
    over: bool,
}

impl Deadlines {
    /// A deadline; it costs nothing before it is first polled.
    pub(crate) fn at(self: &Rc<Self>, at: Instant) -> Deadline {
        Deadline { of: Rc::clone(self), at, place: None, over: false }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Watches over the list, for ever.
    pub(crate) async fn watch(self: Rc<Self>, rt: Rt) {
        loop {
            poll_fn(|cx| match self.waiting.borrow().is_empty() {
                true => {
                    self.parked.replace(Some(cx.waker().clone()));
                    Poll::Pending
                }
                false => Poll::Ready(()),
            })
            .await;
            rt.sleep(TICK).await;
            let now = rt.now();
            // Waking a task runs nothing, so the list stands still meanwhile.
            for (_, waiting) in self.waiting.borrow_mut().iter_mut() {
                if waiting.at <= now
                    && let Some(waker) = waiting.waker.take()
                {
                    waker.wake();
                }
            }
        }
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.over {
            return Poll::Ready(());
        }
        let of = Rc::clone(&self.of);
        let mut list = of.waiting.borrow_mut();
        match self.place {
            None => {
                let waiting = Waiting { at: self.at, waker: Some(cx.waker().clone()) };
                self.place = Some(list.insert(waiting));
                drop(list);
                if let Some(watcher) = of.parked.take() {
                    watcher.wake();
                }
                Poll::Pending
            }
            Some(place) => match &mut list[place].waker {
                Some(waker) => {
                    waker.clone_from(cx.waker());
                    Poll::Pending
                }
                // Taken when the time had come.
                None => {
                    list.remove(place);
                    self.place = None;
                    self.over = true;
                    Poll::Ready(())
                }
            },
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.of.waiting.borrow_mut().remove(place);
        }
    }
}

/// How late a deadline may be noticed.
const TICK: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use engine::rt::sim;

    use super::*;

    #[test]
    fn deadlines_are_kept_to_a_tick_and_never_early() {
        sim::run(1, |rt| async move {
            let deadlines = Rc::new(Deadlines::default());
            rt.spawn("deadlines", Rc::clone(&deadlines).watch(rt.clone())).detach();
            for ms in [0, 1, 19, 20, 21, 1000] {
                let at = rt.now() + Duration::from_millis(ms);
                deadlines.at(at).await;
                assert!(rt.now() >= at && rt.now().since(at) <= 2 * TICK, "{ms} ms");
            }
            let early = deadlines.at(rt.now() + Duration::from_secs(60));
            let late = deadlines.at(rt.now() + Duration::from_secs(1));
            let started = rt.now();
            futures_util::future::select(early, late).await;
            assert!(rt.now().since(started) < Duration::from_secs(2));
            assert!(deadlines.waiting.borrow().is_empty());
        });
    }
}
