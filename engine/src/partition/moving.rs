//! A partition on its way to another log directory of its core.

use std::rc::Rc;

use super::Partition;
use crate::error::LogError;
use crate::ids::Offset;
use crate::log::Pace;
use crate::log::dir::LogDir;
use crate::log::relocate::{Ended, Relocation, forget_note};

/// A move that was begun; whoever holds it runs it.
#[must_use]
pub struct Move {
    partition: Rc<Partition>,
    to: Rc<Relocation>,
}

/// The copy of a partition that moves.
#[derive(Clone)]
pub struct FutureReplica {
    /// Where it is.
    pub log_dir: Rc<LogDir>,
    /// Bytes that it has.
    pub size_bytes: u64,
    /// Offset below which it has everything.
    pub log_end: Offset,
}

/// How a move ended.
#[derive(Clone)]
pub enum MoveOutcome {
    /// The partition is there. What its old directory noted of it is to be
    /// [forgotten](LogDir::forget) once the controller knows.
    Moved {
        /// Where it was.
        from: Rc<LogDir>,
    },
    /// Nobody wanted it any more.
    Cancelled,
    /// The partition was closed first; a start finds what there is of the copy.
    Interrupted,
}

impl Partition {
    /// The copy that the partition is about to move to, if there is one.
    #[must_use]
    pub fn future(&self) -> Option<FutureReplica> {
        let moving = self.moving.borrow();
        let to = moving.as_ref()?;
        let (log_dir, log_end) = (to.target(), Offset(to.end()));
        Some(FutureReplica { log_dir, size_bytes: to.size_bytes(), log_end })
    }

    /// Begins to move the partition to `target`, which is known to later starts when this returns;
    /// whatever move there was is cancelled. `None` where there is nothing to do: it is there, or
    /// on its way.
    ///
    /// # Errors
    /// When the copy cannot be made, or the log is closed.
    pub async fn begin_move(
        self: &Rc<Self>,
        target: &Rc<LogDir>,
    ) -> Result<Option<Move>, LogError> {
        self.check_open()?;
        if self.moving.borrow().as_ref().is_some_and(|to| Rc::ptr_eq(&to.target(), target)) {
            return Ok(None);
        }
        self.call_off_move().await;
        if Rc::ptr_eq(&self.log_dir(), target) {
            return Ok(None);
        }
        let to = Relocation::begin(&self.log, target).await?;
        if Rc::ptr_eq(&self.log_dir(), target) {
            // Another move to there was about to end.
            discard(&to).await;
            return Ok(None);
        }
        // Others may have asked meanwhile: the last one counts.
        self.call_off_move().await;
        *self.moving.borrow_mut() = Some(Rc::clone(&to));
        self.log.moving.set(true);
        Ok(Some(Move { partition: Rc::clone(self), to }))
    }

    /// Gives up the move that is under way, if there is one, for good: no later start goes on with
    /// it. One that is at its last step comes to its end first.
    pub async fn call_off_move(&self) {
        let Some(to) = self.cancel_move() else { return };
        drop(self.log.turn.lock().await);
        discard(&to).await;
    }

    /// Gives up the move that is under way, if there is one. The copy goes if it can, and else is
    /// found by the next start.
    pub fn interrupt_move(&self) {
        drop(self.cancel_move());
    }

    pub(super) fn cancel_move(&self) -> Option<Rc<Relocation>> {
        let to = self.moving.take()?;
        to.cancel();
        self.log.moving.set(false);
        Some(to)
    }
}

impl Move {
    /// The partition that moves.
    #[must_use]
    pub fn partition(&self) -> &Rc<Partition> {
        &self.partition
    }

    /// Moves the partition, at `pace`, while it is served.
    ///
    /// # Errors
    /// The partition is where it was, and serves on there but after [`LogError::Failed`].
    pub async fn run(self, pace: &Pace) -> Result<MoveOutcome, LogError> {
        let Self { partition, to } = self;
        let from = partition.log_dir();
        let ended = partition.log.relocate(&to, pace).await;
        // Another move may have been begun.
        let is_mine = partition.moving.borrow().as_ref().is_some_and(|mine| Rc::ptr_eq(mine, &to));
        if is_mine {
            partition.moving.take();
            partition.log.moving.set(false);
        }
        match ended {
            Ok(Ended::Moved) => {
                keep(&partition).await;
                Ok(MoveOutcome::Moved { from })
            }
            Ok(Ended::Cancelled) => {
                discard(&to).await;
                Ok(MoveOutcome::Cancelled)
            }
            Err(LogError::Closed) => Ok(MoveOutcome::Interrupted),
            // Where the log failed, the next start begins again.
            Err(error @ LogError::Failed { .. }) => Err(error),
            Err(error) => {
                discard(&to).await;
                Err(error)
            }
        }
    }
}

/// Has the new directory know what the note says, which then goes.
pub(super) async fn keep(partition: &Partition) {
    let (dir, place) = (partition.log_dir(), partition.log.site.path());
    let kept = match dir.checkpoint().await {
        Ok(()) => forget_note(&partition.cx.rt, &place).await,
        Err(error) => Err(error),
    };
    match kept {
        Ok(()) | Err(LogError::Closed) => {}
        Err(error) => {
            let name = &*partition.name();
            tracing::warn!(partition = name, "what was noted of its move stays: {error}");
        }
    }
}

pub(super) async fn discard(to: &Relocation) {
    if let Err(error) = to.discard().await {
        tracing::warn!("the copy of a move that did not come about stays: {error}");
    }
}
