//! Fetch (1), v4–18: records from the cores that own their partitions.
//!
//! ```text
//! plan: from the request, or the session ── look: what is there, on every owner, no I/O
//!        ┌───────────────────────────────────────▶ │
//!        │ less than min_bytes                     │ enough, an error, or no time left
//!        └─ wait: on the owners, for what is missing, the deadline, or the client to go
//!                                                  ▼
//!      answer ◀── say: what is news to the session ◀── read: what each partition was granted
//! ```
//!
//! Bytes are granted in the request's order, within each partition's limit and the one over all;
//! the first batch of the first partition that has one may exceed both, so that a reader always
//! gets on. When one core owns all partitions, looking and reading are one call. While a fetch
//! waits it holds no records and no request buffer: its plan, a registration with each partition,
//! and one timer.
//!
//! Differently from Kafka, which leaves a connection's later requests in the socket, a long poll
//! ends, with what there is, when a request that may not pass it has arrived behind it, or when
//! others wait for memory of the core; and after five minutes whatever its `max_wait_ms`
//! (`plan::MAX_WAIT`).
//!
//! Replicas (a replica id from 0 on) are told that they are none: partitions have one on this node.

mod answer;
mod owner;
mod plan;
mod wait;

pub(crate) use self::owner::{Outcome, Work, serve};
use self::plan::Plan;
pub(crate) use self::wait::{Wait, wait};
use super::Cx;
use crate::conn::budget::Ticket;
use crate::conn::read::Frame;
use crate::conn::reply::Reply;

pub(super) async fn handle(cx: &Cx, frame: Frame) -> Reply {
    let request = match plan::Request::read(cx, &frame).await {
        Ok(request) => request,
        Err(refusal) => return Reply::Close(refusal),
    };
    drop(frame);
    match Plan::make(cx, request).await {
        Ok(plan) => {
            let (found, memory) = plan.fetch(cx).await;
            plan.answer(cx, found, memory).await
        }
        Err(code) => answer::refusal(cx, code),
    }
}

impl Plan {
    /// Looks until there is enough, then reads. Cached memory that is read is charged to the core
    /// before: at once for what the request may take now, or else in line for what was seen.
    async fn fetch(&self, cx: &Cx) -> (Outcome, Option<Ticket>) {
        let deadline = cx.core.rt.now() + self.max_wait;
        loop {
            let over = cx.core.rt.now() >= deadline || cx.is_hurried();
            let charge = cx.core.pinned.try_acquire(self.max_bytes);
            let found = self.look(cx, over, charge.as_ref().map(Ticket::bytes)).await;
            if over || self.is_enough(&found) {
                return self.read(cx, found, charge).await;
            }
            drop(charge);
            self.wait(cx, &found, deadline).await;
        }
    }
}

#[cfg(test)]
mod tests;
