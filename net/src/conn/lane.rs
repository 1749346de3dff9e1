//! The requests of one connection that are being served, in the order in which they arrived.
//!
//! Answers leave in this order. Pipelined requests (Produce) are served side by side, and beside
//! them one serial request (Fetch) at a time; any other request starts when everything before it is
//! answered, and nothing starts before it is.
//!
//! A request is first polled in its turn, so two appends to one partition on one connection keep
//! their order. Its future is never dropped half way: a lane whose connection is gone is run to
//! its end elsewhere ([`Lane::drain`]).

use std::any::Any;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::api::Order;
use crate::conn::reply::Reply;

/// Requests in arrival order; `F` is the future of one.
pub(crate) struct Lane<F> {
    slots: VecDeque<(Order, Slot<F>)>,
    /// The request at the end of the lane must be answered before another starts.
    barrier: bool,
    /// Empty boxes for the next requests.
    spare: Vec<Pin<Box<Option<F>>>>,
    limit: usize,
}

enum Slot<F> {
    Running(Pin<Box<Option<F>>>),
    Done(Reply),
}

impl<F: Future<Output = Reply>> Lane<F> {
    /// A lane for at most `limit` requests at a time.
    pub(crate) fn new(limit: usize) -> Self {
        Self { slots: VecDeque::new(), barrier: false, spare: Vec::new(), limit }
    }

    /// Nothing is being served and nothing waits to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Requests in the lane.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether a request of this order may start now.
    pub(crate) fn admits(&self, order: Order) -> bool {
        match order {
            Order::Pipelined => !self.barrier && self.slots.len() < self.limit,
            Order::Serial => {
                self.admits(Order::Pipelined)
                    && self.slots.iter().all(|(known, _)| *known != Order::Serial)
            }
            Order::Ordered => self.slots.is_empty(),
        }
    }

    /// Adds a request; it starts with the next [`Lane::poll`].
    pub(crate) fn push(&mut self, order: Order, request: F) {
        assert!(self.admits(order), "the caller asked before");
        self.barrier = order == Order::Ordered;
        let future = match self.spare.pop() {
            Some(mut empty) => {
                empty.set(Some(request));
                empty
            }
            None => Box::pin(Some(request)),
        };
        self.slots.push_back((order, Slot::Running(future)));
    }

    /// Moves every request on, in order. Ready when the answer at the head can be sent.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for (_, slot) in &mut self.slots {
            let Slot::Running(future) = slot else { continue };
            let Poll::Ready(reply) = step(future, cx) else { continue };
            let Slot::Running(mut empty) = std::mem::replace(slot, Slot::Done(reply)) else {
                unreachable!("it was running just now")
            };
            empty.set(None);
            self.spare.push(empty);
        }
        if self.is_done() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The answer at the head, if it is there.
    pub(crate) fn pop(&mut self) -> Option<Reply> {
        if !self.is_done() {
            return None;
        }
        let Some((_, Slot::Done(reply))) = self.slots.pop_front() else {
            unreachable!("looked just now")
        };
        if self.slots.is_empty() {
            self.barrier = false;
        }
        Some(reply)
    }

    fn is_done(&self) -> bool {
        matches!(self.slots.front(), Some((_, Slot::Done(_))))
    }

    /// Gives the memory for requests back that a resting connection does not need.
    pub(crate) fn rest(&mut self) {
        self.spare.truncate(SPARE_AT_REST);
        self.spare.shrink_to_fit();
    }

    /// Runs what is left to its end and throws the answers away.
    pub(crate) async fn drain(mut self) {
        while !self.is_empty() {
            poll_fn(|cx| self.poll(cx)).await;
            while self.pop().is_some() {}
        }
    }
}

/// One step of one request. A panic costs the connection, not the requests beside it.
fn step<F: Future<Output = Reply>>(
    future: &mut Pin<Box<Option<F>>>,
    cx: &mut Context<'_>,
) -> Poll<Reply> {
    let running = future.as_mut().as_pin_mut().expect("a running slot holds its future");
    catch_unwind(AssertUnwindSafe(|| running.poll(cx)))
        .unwrap_or_else(|payload| Poll::Ready(Reply::Panicked(message(payload.as_ref()))))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
        .to_owned()
}

/// Boxes kept while a connection rests: its next request finds one.
const SPARE_AT_REST: usize = 1;

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;

    type Job = Pin<Box<dyn Future<Output = Reply>>>;

    fn poll(lane: &mut Lane<Job>) -> Poll<()> {
        lane.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn at_once() -> Job {
        Box::pin(async { Reply::Silent })
    }

    fn when(gate: &Rc<Cell<bool>>) -> Job {
        let gate = Rc::clone(gate);
        Box::pin(poll_fn(
            move |_| if gate.get() { Poll::Ready(Reply::Silent) } else { Poll::Pending },
        ))
    }

    #[test]
    fn answers_leave_in_order() {
        let gate = Rc::new(Cell::new(false));
        let mut lane = Lane::new(8);
        lane.push(Order::Pipelined, when(&gate));
        lane.push(Order::Pipelined, at_once());
        assert!(poll(&mut lane).is_pending(), "the second one is done, but waits behind the first");
        assert!(lane.pop().is_none());
        gate.set(true);
        assert!(poll(&mut lane).is_ready());
        assert!(lane.pop().is_some() && lane.pop().is_some() && lane.pop().is_none());
    }

    #[test]
    fn an_ordered_request_waits_and_makes_wait() {
        let mut lane = Lane::new(8);
        lane.push(Order::Pipelined, at_once());
        assert!(lane.admits(Order::Pipelined) && !lane.admits(Order::Ordered));
        assert!(poll(&mut lane).is_ready());
        assert!(!lane.admits(Order::Ordered), "its answer is not sent yet");
        drop(lane.pop());
        lane.push(Order::Ordered, at_once());
        assert!(!lane.admits(Order::Pipelined));
        assert!(poll(&mut lane).is_ready());
        drop(lane.pop());
        assert!(lane.admits(Order::Pipelined));
    }

    #[test]
    fn one_serial_request_runs_beside_pipelined_ones() {
        let gate = Rc::new(Cell::new(false));
        let mut lane = Lane::new(8);
        lane.push(Order::Serial, when(&gate));
        assert!(lane.admits(Order::Pipelined) && !lane.admits(Order::Serial));
        lane.push(Order::Pipelined, when(&gate));
        gate.set(true);
        assert!(poll(&mut lane).is_ready());
        assert!(!lane.admits(Order::Serial), "its answer is not sent yet");
        drop(lane.pop());
        assert!(lane.admits(Order::Serial));
    }

    #[test]
    fn the_lane_is_bounded() {
        let gate = Rc::new(Cell::new(false));
        let mut lane = Lane::new(2);
        lane.push(Order::Pipelined, when(&gate));
        lane.push(Order::Pipelined, when(&gate));
        assert!(!lane.admits(Order::Pipelined));
    }

    #[test]
    fn requests_start_in_order() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let mut lane: Lane<Job> = Lane::new(8);
        for n in 0..5 {
            let seen = Rc::clone(&seen);
            lane.push(
                Order::Pipelined,
                Box::pin(async move {
                    seen.borrow_mut().push(n);
                    Reply::Silent
                }),
            );
        }
        assert!(poll(&mut lane).is_ready());
        assert_eq!(*seen.borrow(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_panic_stays_in_its_slot() {
        let mut lane: Lane<Job> = Lane::new(8);
        lane.push(Order::Pipelined, Box::pin(async { panic!("on purpose") }));
        lane.push(Order::Pipelined, at_once());
        assert!(poll(&mut lane).is_ready());
        assert!(matches!(lane.pop(), Some(Reply::Panicked(text)) if text == "on purpose"));
        assert!(matches!(lane.pop(), Some(Reply::Silent)));
    }
}
