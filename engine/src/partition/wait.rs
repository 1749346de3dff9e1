//! Futures of those who wait for a partition. Each holds one registration and no memory else;
//! dropping one takes it back.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::Partition;
use super::read::ReadBound;
use super::state::Role;
use crate::error::AckError;
use crate::ids::{LeaderEpoch, Offset};
use crate::waiters::Ticket;

/// Resolves when everything through an offset is acknowledged under the leadership that was in
/// force when the future was made, or cannot be any more.
///
/// Many appends of one partition are best awaited by one future for the last of them.
#[must_use]
pub struct AckFuture {
    partition: Rc<Partition>,
    through: i64,
    epoch: LeaderEpoch,
    ticket: Option<Ticket>,
}

/// Resolves when there is something to read from an offset on, or when the caller should look
/// again: another role, another log start, a failed or closed log.
#[must_use]
pub struct ReadableFuture {
    partition: Rc<Partition>,
    from: i64,
    up_to: ReadBound,
    changes: u64,
    ticket: Option<Ticket>,
}

impl Partition {
    /// Waits for the acknowledgement of `acks=all`: the high watermark passes `through`.
    pub fn acked(self: &Rc<Self>, through: Offset) -> AckFuture {
        let epoch = self.leader_epoch();
        AckFuture { partition: Rc::clone(self), through: through.0, epoch, ticket: None }
    }

    /// Waits for a record at `from` or later that a reader up to `up_to` may see.
    pub fn readable(self: &Rc<Self>, from: Offset, up_to: ReadBound) -> ReadableFuture {
        let (partition, changes) = (Rc::clone(self), self.changes.get());
        ReadableFuture { partition, from: from.0, up_to, changes, ticket: None }
    }

    fn ack(&self, through: i64, epoch: LeaderEpoch) -> Option<Result<(), AckError>> {
        if let Err(error) = self.check_open() {
            return Some(Err(error.into()));
        }
        let spec = match *self.role.borrow() {
            Role::Leader { spec, .. } if spec.epoch == epoch => spec,
            _ => return Some(Err(AckError::NotLeader)),
        };
        if self.log.high_watermark.get() <= through {
            return None;
        }
        let (isr, min) = (spec.isr_count, spec.min_isr_effective());
        Some(if isr >= min { Ok(()) } else { Err(AckError::NotEnoughReplicas { isr, min }) })
    }
}

impl Future for AckFuture {
    type Output = Result<(), AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match this.partition.ack(this.through, this.epoch) {
            Some(result) => Poll::Ready(result),
            None => {
                this.partition.acks.wait(&mut this.ticket, this.through, cx);
                Poll::Pending
            }
        }
    }
}

impl Drop for AckFuture {
    fn drop(&mut self) {
        self.partition.acks.forget(&mut self.ticket);
    }
}

impl Future for ReadableFuture {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let partition = &this.partition;
        if partition.visible(this.up_to) > this.from || partition.changes.get() != this.changes {
            return Poll::Ready(());
        }
        partition.readers[this.up_to as usize].wait(&mut this.ticket, this.from, cx);
        Poll::Pending
    }
}

impl Drop for ReadableFuture {
    fn drop(&mut self) {
        self.partition.readers[self.up_to as usize].forget(&mut self.ticket);
    }
}
