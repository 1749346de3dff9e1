//! The task that moves an appender's data to the device.
//!
//! One per log that has something to write; it ends when the log has been idle. All operations on
//! the file that change it come from here (or from a caller who drained and holds the append lock).

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{Fuse, FusedFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::appender::{Appender, Growth, Write};
use crate::error::LogError;
use crate::rt::{File, Instant, Timer};

impl Appender {
    /// Starts the flush task unless it runs.
    pub(super) fn start(self: &Rc<Self>) {
        {
            let mut state = self.state.borrow_mut();
            state.closing = false;
            if state.running || state.failed.is_some() {
                return;
            }
            state.running = true;
        }
        self.cx.rt.spawn("log flush", run(Rc::clone(self))).detach();
    }

    fn may_end(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let end = state.failed.is_some() || (state.closing && state.is_quiet());
        if end {
            state.running = false;
        }
        end
    }
}

async fn run(appender: Rc<Appender>) {
    let _guard = Guard(Rc::clone(&appender));
    let mut writes = FuturesUnordered::new();
    let mut sync = pin!(Fuse::terminated());
    let mut growth = pin!(Fuse::terminated());
    let mut alarm = Alarm::default();
    loop {
        while let Some(Write { start, buf, len }) = appender.next_write() {
            let file = appender.file.clone();
            appender.cx.metrics.device_writes.inc();
            appender.cx.metrics.device_bytes.add(len as u64);
            writes.push(async move { (start, file.write_at(buf, len, start).await) });
        }
        if sync.is_terminated()
            && let Some(covered) = appender.next_sync()
        {
            appender.cx.metrics.syncs.inc();
            sync.set(sync_file(Rc::clone(&appender), covered).fuse());
        }
        if growth.is_terminated()
            && let Some(wanted) = appender.next_growth()
        {
            growth.set(grow(appender.file.clone(), wanted).fuse());
        }
        let busy = !writes.is_empty() || !sync.is_terminated() || !growth.is_terminated();
        if !busy && appender.may_end() {
            return;
        }
        alarm.set(&appender, if sync.is_terminated() { appender.deadline() } else { None });
        poll_fn(|cx| {
            let mut moved = appender.work.poll_raised(cx).is_ready();
            while let Poll::Ready(Some((start, result))) = writes.poll_next_unpin(cx) {
                appender.wrote(start, result);
                moved = true;
            }
            if let Poll::Ready((covered, result)) = poll_fused(sync.as_mut(), cx) {
                appender.synced(covered, result);
                moved = true;
            }
            if let Poll::Ready((wanted, result)) = poll_fused(growth.as_mut(), cx) {
                appender.grew(wanted, result);
                moved = true;
            }
            if moved || alarm.poll(cx).is_ready() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

async fn sync_file(appender: Rc<Appender>, covered: u64) -> (u64, io::Result<()>) {
    let (rt, began) = (&appender.cx.rt, appender.cx.rt.now());
    let result = appender.file.sync().await;
    appender.cx.metrics.sync_time.record(rt.now() - began);
    (covered, result)
}

/// Grows the file as far as wished, or as far as needed when the disk is nearly full.
async fn grow(file: File, growth: Growth) -> (Growth, io::Result<u64>) {
    let result = match file.allocate(growth.wish).await {
        Err(error) if crate::error::is_full(&error) && growth.need > 0 => {
            file.allocate(growth.need).await.map(|()| growth.need)
        }
        other => other.map(|()| growth.wish),
    };
    (growth, result)
}

fn poll_fused<F: FusedFuture>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    if future.is_terminated() { Poll::Pending } else { future.poll(cx) }
}

/// The timer of a policy that lets data lie unsynced for a while.
#[derive(Default)]
struct Alarm(Option<(Instant, Timer)>);

impl Alarm {
    fn set(&mut self, appender: &Appender, deadline: Option<Instant>) {
        match (deadline, &self.0) {
            (Some(at), Some((set, _))) if *set == at => {}
            (Some(at), _) => self.0 = Some((at, appender.cx.rt.sleep_until(at))),
            (None, _) => self.0 = None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((_, timer)) = &mut self.0 else { return Poll::Pending };
        let poll = Pin::new(timer).poll(cx);
        if poll.is_ready() {
            self.0 = None;
        }
        poll
    }
}

/// A panic in the flush task stops the log, loudly.
struct Guard(Rc<Appender>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "the flush task panicked".into();
            self.0.fail(LogError::Failed { log: Arc::clone(&self.0.log), reason });
        }
    }
}
