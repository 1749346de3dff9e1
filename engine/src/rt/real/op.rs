//! Operations that run to their end.
//!
//! Who drops a future of a file operation is done with it; the kernel may not be, and glommio's
//! cancelling would lose a descriptor that an open is about to return. So an operation that has
//! begun is not cancelled: when its future is dropped, a task of the core finishes it. A core waits
//! for its operations before it ends ([`Core::settle`]): the kernel writes into the memory of a
//! read, whoever that belongs to by then.

use std::{
    cell::Cell,
    future::Future,
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::Core;

/// Counts the operations of a core that have not ended.
#[derive(Default)]
pub(super) struct InFlight {
    count: Cell<usize>,
    /// The executor is about to go, and runs no more tasks.
    ending: Cell<bool>,
}

/// One operation that has not ended.
pub(super) struct Counted(Rc<Core>);

/// An operation, and who finishes it.
struct Finishing<F: Future + 'static> {
    core: Rc<Core>,
    /// Boxed so that it can go on elsewhere. Absent once it has ended.
    op: Option<Pin<Box<F>>>,
    begun: bool,
}

impl InFlight {
    pub(super) fn count(&self) -> usize {
        self.count.get()
    }

    pub(super) fn end(&self) {
        self.ending.set(true);
    }
}

impl Counted {
    pub(super) fn new(core: &Rc<Core>) -> Self {
        let count = &core.in_flight().count;
        count.set(count.get() + 1);
        Self(Rc::clone(core))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let count = &self.0.in_flight().count;
        count.set(count.get() - 1);
    }
}

impl Core {
    /// Runs `op`; once it has begun, it ends even if nobody waits.
    pub(super) fn finish<F>(self: &Rc<Self>, op: F) -> impl Future<Output = F::Output> + use<F>
    where
        F: Future + 'static,
    {
        let core = Rc::clone(self);
        let counting = Rc::clone(self);
        let op = Box::pin(async move {
            let _counted = Counted::new(&counting);
            op.await
        });
        Finishing { core, op: Some(op), begun: false }
    }
}

impl<F: Future + 'static> Future for Finishing<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.begun = true;
        // Taken out, so that a panic leaves nothing to finish.
        let mut op = self.op.take().expect("an operation that has ended is not polled again");
        let polled = op.as_mut().poll(cx);
        if polled.is_pending() {
            self.op = Some(op);
        }
        polled
    }
}

impl<F: Future + 'static> Drop for Finishing<F> {
    fn drop(&mut self) {
        match self.op.take() {
            Some(op) if !self.begun => drop(op),
            // Nothing runs any more, so the kernel may not be done: its memory stays.
            Some(op) if self.core.in_flight().ending.get() => mem::forget(op),
            Some(op) => self.core.spawn(async move { drop(op.await) }),
            None => {}
        }
    }
}
