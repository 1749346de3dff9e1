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
//! waits it holds no records and no request buffer: a registration with each partition, and one
//! timer.
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
use crate::conn::reply::{Charge, Reply};

pub(super) async fn handle(cx: &Cx, frame: Frame) -> Reply {
    let request = match plan::Request::read(cx, &frame) {
        Ok(request) => request,
        Err(error) => return Reply::Close(error.into()),
    };
    drop(frame);
    // One after the other on each connection, as Kafka serves them: what a client that does not
    // read keeps of the caches is one answer, and a session's requests come in order.
    let turn = cx.conn.fetching.acquire(1).await;
    match Plan::make(cx, request).await {
        Ok(plan) => {
            let (found, memory) = plan.fetch(cx).await;
            plan.answer(cx, found, Charge::new(memory, turn)).await
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
            let over = cx.core.rt.now() >= deadline || lost(cx);
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

/// Whether nobody is left to wait for: the client has gone, or the node wants to stop.
fn lost(cx: &Cx) -> bool {
    cx.conn.watch.is_gone() || cx.core.is_draining()
}

#[cfg(test)]
mod tests;
