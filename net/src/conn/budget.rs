//! Memory that frames may take on one core: tickets, granted first come, first served.
//!
//! A [`Budget`] is a number of bytes. Who needs some asks for a [`Ticket`] of the full size and
//! waits in line; a ticket that is dropped, also half way through waiting, gives its bytes back. The
//! line is strict, so a large frame is not starved by small ones that keep slipping past it.
//!
//! A core has two: one for the buffers of small frames, one for frames above 64 KiB, so that however
//! many large frames are stuck, small requests are served.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Bytes to be shared out. Lives on one core.
#[derive(Debug)]
pub(crate) struct Budget {
    total: usize,
    used: Cell<usize>,
    next_turn: Cell<u64>,
    line: RefCell<VecDeque<Waiting>>,
}

/// Bytes held; given back on drop.
#[derive(Debug)]
pub(crate) struct Ticket {
    budget: Rc<Budget>,
    bytes: usize,
}

/// Resolves to a ticket when its turn has come and the bytes are there.
#[derive(Debug)]
pub(crate) struct Turn {
    budget: Rc<Budget>,
    bytes: usize,
    /// The place in line; none before the first poll and after the grant.
    turn: Option<u64>,
}

#[derive(Debug)]
struct Waiting {
    turn: u64,
    bytes: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting(Waker),
    /// The bytes are counted as used already.
    Granted,
}

impl Budget {
    /// A budget of `total` bytes. A ticket above it is granted when everything else is given back,
    /// so a frame is never refused for being larger than the budget, only made to be alone.
    pub(crate) fn new(total: usize) -> Rc<Self> {
        assert!(total > 0, "a budget of nothing serves nobody");
        Rc::new(Self {
            total,
            used: Cell::new(0),
            next_turn: Cell::new(0),
            line: RefCell::default(),
        })
    }

    /// Waits in line for `bytes`.
    pub(crate) fn acquire(self: &Rc<Self>, bytes: usize) -> Turn {
        Turn { budget: Rc::clone(self), bytes, turn: None }
    }

    /// A ticket at once, or none when the bytes are short or others wait.
    pub(crate) fn try_acquire(self: &Rc<Self>, bytes: usize) -> Option<Ticket> {
        (self.line.borrow().is_empty() && self.fits(bytes)).then(|| {
            self.take(bytes);
            Ticket { budget: Rc::clone(self), bytes }
        })
    }

    /// Bytes held now.
    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }

    /// Whether somebody waits in line: holders without progress must then make room.
    pub(crate) fn contended(&self) -> bool {
        self.line.borrow().iter().any(|waiting| matches!(waiting.state, State::Waiting(_)))
    }

    fn fits(&self, bytes: usize) -> bool {
        self.used.get() == 0 || self.used.get() + bytes <= self.total
    }

    fn take(&self, bytes: usize) {
        self.used.set(self.used.get() + bytes);
    }

    fn give_back(&self, bytes: usize) {
        self.used.set(self.used.get().checked_sub(bytes).expect("a ticket is given back once"));
        self.grant();
    }

    /// Grants from the head of the line as far as the bytes go.
    fn grant(&self) {
        let mut woken = Vec::new();
        for waiting in self.line.borrow_mut().iter_mut() {
            let State::Waiting(waker) = &waiting.state else { continue };
            if !self.fits(waiting.bytes) {
                break;
            }
            woken.push(waker.clone());
            self.take(waiting.bytes);
            waiting.state = State::Granted;
        }
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Ticket {
    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds `bytes` from here on. More than before is taken without waiting: the memory is
    /// already in use, and what comes later waits for it.
    pub(crate) fn resize(&mut self, bytes: usize) {
        self.budget.take(bytes);
        self.budget.give_back(std::mem::replace(&mut self.bytes, bytes));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

impl Future for Turn {
    type Output = Ticket;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ticket> {
        let this = &mut *self;
        let Some(turn) = this.turn else {
            if let Some(ticket) = this.budget.try_acquire(this.bytes) {
                return Poll::Ready(ticket);
            }
            let turn = this.budget.next_turn.get();
            this.budget.next_turn.set(turn + 1);
            let state = State::Waiting(cx.waker().clone());
            this.budget.line.borrow_mut().push_back(Waiting { turn, bytes: this.bytes, state });
            this.turn = Some(turn);
            return Poll::Pending;
        };
        let mut line = this.budget.line.borrow_mut();
        let place = place_of(&line, turn);
        match &mut line[place].state {
            State::Waiting(waker) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            State::Granted => {
                line.remove(place);
                this.turn = None;
                Poll::Ready(Ticket { budget: Rc::clone(&this.budget), bytes: this.bytes })
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turn) = self.turn else { return };
        let left = {
            let mut line = self.budget.line.borrow_mut();
            let place = place_of(&line, turn);
            line.remove(place).expect("the place was just found")
        };
        match left.state {
            State::Granted => self.budget.give_back(left.bytes),
            // The next in line may fit where this one did not.
            State::Waiting(_) => self.budget.grant(),
        }
    }
}

/// Turns are handed out in rising order and appended, so the line is sorted by them.
fn place_of(line: &VecDeque<Waiting>, turn: u64) -> usize {
    line.binary_search_by_key(&turn, |waiting| waiting.turn)
        .expect("in line until taken or dropped")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn bytes_come_back_when_a_ticket_is_dropped() {
        let budget = Budget::new(100);
        let first = budget.try_acquire(60).expect("free");
        assert!(budget.try_acquire(60).is_none());
        drop(first);
        assert_eq!(budget.used(), 0);
        assert!(budget.try_acquire(60).is_some());
    }

    #[test]
    fn the_line_is_strict() {
        let budget = Budget::new(100);
        let held = budget.try_acquire(50).expect("free");
        let mut large = budget.acquire(80);
        assert!((&mut large).now_or_never().is_none());
        let mut small = budget.acquire(10);
        assert!((&mut small).now_or_never().is_none(), "would fit, but is behind the large one");
        assert!(budget.try_acquire(1).is_none(), "nobody overtakes the line");
        assert!(budget.contended());
        drop(held);
        let large = (&mut large).now_or_never().expect("granted");
        let small = (&mut small).now_or_never().expect("granted");
        assert!(!budget.contended());
        assert_eq!(budget.used(), 90);
        drop((large, small));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn leaving_the_line_lets_the_next_one_in() {
        let budget = Budget::new(100);
        let _held = budget.try_acquire(50).expect("free");
        let mut large = budget.acquire(80);
        let mut small = budget.acquire(10);
        assert!((&mut large).now_or_never().is_none());
        assert!((&mut small).now_or_never().is_none());
        drop(large);
        assert!((&mut small).now_or_never().is_some());
    }

    #[test]
    fn a_grant_that_nobody_took_is_given_back() {
        let budget = Budget::new(100);
        let held = budget.try_acquire(100).expect("free");
        let mut waiting = budget.acquire(100);
        assert!((&mut waiting).now_or_never().is_none());
        drop(held);
        assert_eq!(budget.used(), 100, "granted, not yet taken");
        drop(waiting);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_ticket_follows_what_is_really_held() {
        let budget = Budget::new(100);
        let mut ticket = budget.try_acquire(80).expect("free");
        let mut waiting = budget.acquire(60);
        assert!((&mut waiting).now_or_never().is_none());
        ticket.resize(30);
        assert!((&mut waiting).now_or_never().is_some());
        ticket.resize(200);
        assert_eq!(budget.used(), 200);
        drop(ticket);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn more_than_the_budget_is_granted_alone() {
        let budget = Budget::new(100);
        let held = budget.try_acquire(1).expect("free");
        assert!(budget.try_acquire(1000).is_none());
        drop(held);
        let _whole = budget.try_acquire(1000).expect("alone");
        assert!(budget.try_acquire(1).is_none());
    }
}
