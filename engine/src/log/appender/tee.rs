//! What goes to the core's journal beside the file, and what follows from that.

use std::rc::Rc;

use super::Appender;
use crate::error::LogError;
use crate::log::journal::Seat;

impl Appender {
    /// Decides whether the next `bytes` go to the journal, too. Only what follows on what is synced
    /// or went there is durable by it; so what went straight until now and is under way goes there
    /// once more.
    pub(super) fn choose_way(&self, bytes: u64) {
        let Some(seat) = &self.seat else { return };
        let mut state = self.state.borrow_mut();
        let from = state.journaling.max(state.synced);
        state.tees = self.policy.get().sync_at_once
            && state.committed() == state.end
            && seat.begin(from, state.end - from, bytes)
            && self.catch_up(seat, from, state.end);
    }

    /// Puts what was appended from `from` to `to` into the entry that was begun; false if not all of
    /// it is in memory.
    fn catch_up(&self, seat: &Seat, from: u64, to: u64) -> bool {
        let mut at = from;
        while at < to {
            let Some(chunk) = self.tail.find(self.uid, at) else { return false };
            let bytes = chunk.bytes_from(at);
            seat.extend(bytes);
            at += bytes.len() as u64;
        }
        true
    }

    /// Everything below `end` is durable in the journal.
    pub(in crate::log) fn journaled(&self, end: u64) {
        {
            let mut state = self.state.borrow_mut();
            if state.failed.is_some() || end <= state.journaled {
                return;
            }
            state.journaled = end;
            state.note_durable();
        }
        self.moved.wake_all();
        (self.on_progress)();
    }

    /// The journal takes nothing any more: what it has not synced, and what it has, goes to the
    /// file.
    pub(in crate::log) fn without_journal(self: &Rc<Self>) {
        {
            let mut state = self.state.borrow_mut();
            state.journaling = state.journaled;
            state.sync_to = state.end;
        }
        self.start();
        self.work.raise();
    }

    /// Has nothing of this log that the journal has written to the file again after a crash. The
    /// caller drained before.
    pub(crate) async fn leave_journal(&self) -> Result<(), LogError> {
        match &self.seat {
            Some(seat) => seat.journal.void(seat).await,
            None => Ok(()),
        }
    }
}
