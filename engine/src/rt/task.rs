//! Tasks: the handle to one, and the fence that keeps its panics inside.

use std::{
    any::Any,
    cell::RefCell,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// The task panicked; the panic was caught and logged where it happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {name} panicked: {message}")]
pub struct TaskPanicked {
    /// The name given to [`super::Rt::spawn`].
    pub name: &'static str,
    /// The panic's message.
    pub message: String,
}

/// The closure given to [`super::Rt::blocking`] panicked; the pool's thread lives on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("blocking work panicked: {message}")]
pub struct BlockingPanicked {
    /// The panic's message.
    pub message: String,
}

/// Awaits a spawned task's result. Dropping it detaches the task, which runs on.
///
/// There is no cancelling: a task is asked to stop through what it waits on.
#[must_use = "a task runs without its handle; write `drop(..)` or `.detach()` to say so"]
pub struct JoinHandle<T>(Rc<RefCell<Join<T>>>);

struct Join<T> {
    result: Option<Result<T, TaskPanicked>>,
    waiter: Option<Waker>,
}

impl<T: 'static> JoinHandle<T> {
    /// Lets the task run on by itself.
    pub fn detach(self) {}

    /// True once the task has ended and its result waits to be taken.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.borrow().result.is_some()
    }

    /// The handle, and the future to run as the task: `f` with its panics caught and its result
    /// handed to the handle. A panic is logged and told to `witness`.
    pub(super) fn pair(
        name: &'static str,
        f: impl Future<Output = T> + 'static,
        witness: impl FnOnce(&TaskPanicked) + 'static,
    ) -> (Self, impl Future<Output = ()> + 'static) {
        let join = Rc::new(RefCell::new(Join { result: None, waiter: None }));
        let handle = Self(Rc::clone(&join));
        let task = async move {
            let result = Fenced::new(f).await.map_err(|message| {
                tracing::error!(task = name, panic = message, "a task panicked");
                let panicked = TaskPanicked { name, message };
                witness(&panicked);
                panicked
            });
            let waiter = {
                let mut join = join.borrow_mut();
                join.result = Some(result);
                join.waiter.take()
            };
            if let Some(waiter) = waiter {
                waiter.wake();
            }
        };
        (handle, task)
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, TaskPanicked>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut join = self.0.borrow_mut();
        match join.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                join.waiter = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").finish_non_exhaustive()
    }
}

/// Runs a closure with its panic caught, for work that leaves the executor's thread.
pub(super) fn fenced_call<R>(f: impl FnOnce() -> R) -> Result<R, BlockingPanicked> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let message = panic_message(payload.as_ref());
        tracing::error!(panic = message, "blocking work panicked");
        BlockingPanicked { message }
    })
}

/// A panic's message, as far as it is text.
pub(super) fn panic_message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "panic without a message".to_owned()
    }
}

/// A future whose panics, also those of its drop, become its output.
///
/// Boxed so that it can be dropped inside the fence; tasks are spawned per connection and per
/// partition, not per request.
struct Fenced<F>(Option<Pin<Box<F>>>);

impl<F: Future> Fenced<F> {
    fn new(f: F) -> Self {
        Self(Some(Box::pin(f)))
    }

    fn discard(&mut self) -> Result<(), String> {
        let inner = self.0.take();
        catch_unwind(AssertUnwindSafe(|| drop(inner))).map_err(|p| panic_message(p.as_ref()))
    }
}

impl<F: Future> Future for Fenced<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = self.0.as_mut().expect("a finished task is not polled again");
        match catch_unwind(AssertUnwindSafe(|| inner.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(self.discard().map(|()| output)),
            Err(payload) => {
                let message = panic_message(payload.as_ref());
                if let Err(again) = self.discard() {
                    tracing::error!(panic = again, "a panicked task panicked again when dropped");
                }
                Poll::Ready(Err(message))
            }
        }
    }
}

impl<F> Drop for Fenced<F> {
    fn drop(&mut self) {
        let inner = self.0.take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(inner))) {
            let message = panic_message(payload.as_ref());
            tracing::error!(panic = message, "a dropped task panicked");
        }
    }
}
