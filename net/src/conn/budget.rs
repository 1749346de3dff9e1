//! Memory that frames may take on one core: tickets, granted first come, first served.
//!
//! A [`Budget`] is a number of bytes. Who needs some asks for a [`Ticket`] of the full size and
//! waits in line; a ticket that is dropped, also half way through waiting, gives its bytes back. The
//! line is strict, so a large frame is not starved by small ones that keep slipping past it.
//!
//! What a core has of them, each for one kind of memory, so that who is stuck with one kind keeps
//! nobody from another:
//!
//! ```text
//! filling    buffers that small frames arrive in          ┐
//! probing    the first 64 KiB of larger ones              ├ super::read::Memory
//! large      frames above 64 KiB, until they are served   │
//! serving    small frames while they are served           ┘
//! working    what requests become in memory, and answers until they are sent (small, large)
//! pinned     caches that records of unsent answers keep (small, large)
//! ```
//!
//! Whoever holds some and waits for another kind does so in this order, from the top down; what
//! waits for the peer instead gives its memory up when others want it ([`super::watch`]).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

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

/// The memory of caches that unsent answers may keep from being reused, on one core.
///
/// While there is plenty, an answer may take up to a quarter of what is free, within its
/// connection's limit: many hungry readers share, and none takes the last. Once it is short,
/// answers get one batch each, in line; small ones have a reserve, so that a consumer of a quiet
/// topic never waits behind those of large ones. Whoever does not take an answer that others wait
/// for is closed ([`super::watch`]).
#[derive(Debug)]
pub(crate) struct Pinned {
    large: Rc<Budget>,
    small: Rc<Budget>,
    by_connection: usize,
}

/// What requests take on one core while they are worked on, beside their frames, and their answers
/// until they are sent. Small ones have a reserve, as with [`Pinned`].
#[derive(Debug)]
pub(crate) struct Working {
    large: Rc<Budget>,
    small: Rc<Budget>,
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
        let mut woken = SmallVec::<[Waker; 4]>::new();
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

impl Pinned {
    /// `total` bytes, of which one connection may have `by_connection`.
    pub(crate) fn new(total: usize, by_connection: usize) -> Self {
        let small = (total / PINNED_RESERVE).max(1);
        Self {
            large: Budget::new((total - small).max(1)),
            small: Budget::new(small),
            by_connection,
        }
    }

    /// What one connection may have.
    pub(crate) fn by_connection(&self) -> usize {
        self.by_connection
    }

    /// A ticket for an answer of up to `bytes_max`, for less where memory is getting short, or
    /// none where it is.
    pub(crate) fn try_acquire(&self, bytes_max: usize) -> Option<Ticket> {
        let free = self.large.total.saturating_sub(self.large.used());
        let share = (free / PINNED_SHARE).max(PRESSED_BYTES);
        self.large.try_acquire(bytes_max.min(share))
    }

    /// Waits in line for what an answer is known to take.
    pub(crate) fn acquire(&self, bytes: usize) -> Turn {
        if bytes <= SMALL_ANSWER { self.small.acquire(bytes) } else { self.large.acquire(bytes) }
    }

    /// Bytes held now.
    pub(crate) fn used(&self) -> usize {
        self.large.used() + self.small.used()
    }

    /// Whether answers wait for others to be taken.
    pub(crate) fn contended(&self) -> bool {
        self.large.contended() || self.small.contended()
    }
}

impl Working {
    /// `total` bytes.
    pub(crate) fn new(total: usize) -> Self {
        let small = (total / WORKING_RESERVE).max(1);
        Self { large: Budget::new((total - small).max(1)), small: Budget::new(small) }
    }

    /// Waits in line for what a request takes.
    pub(crate) fn acquire(&self, bytes: usize) -> Turn {
        if bytes <= SMALL_WORK { self.small.acquire(bytes) } else { self.large.acquire(bytes) }
    }

    /// Bytes held now.
    pub(crate) fn used(&self) -> usize {
        self.large.used() + self.small.used()
    }

    /// Whether requests wait for others to be answered.
    pub(crate) fn contended(&self) -> bool {
        self.large.contended() || self.small.contended()
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

/// What an answer may take while memory is short, apart from a first batch that is larger: the
/// default of `message.max.bytes`.
pub(crate) const PRESSED_BYTES: usize = 1 << 20;
/// Answers up to this have a reserve: what a consumer of a quiet topic gets.
const SMALL_ANSWER: usize = 64 << 10;
/// Requests up to this have a reserve: a hundred partitions, or so.
const SMALL_WORK: usize = 64 << 10;
/// The reserve's part of the whole.
const WORKING_RESERVE: usize = 2;
/// The reserve's part of the whole.
const PINNED_RESERVE: usize = 8;
/// The part of what is free that one answer may take.
const PINNED_SHARE: usize = 4;

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
