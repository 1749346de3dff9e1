//! What goes to the device, and what came of it: writes, syncs, a longer file.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use super::{Appender, Flight, Growth, NO_GROWTH_AHEAD, PARTIAL_WHILE_BUSY, State, WRITES_MAX};
use crate::buf::BLOCK;
use crate::error::LogError;
use crate::rt::{DmaBuf, Instant};

/// The first `len` bytes of `buf` go to `start`.
pub(in crate::log) struct Write {
    pub(in crate::log) start: u64,
    pub(in crate::log) buf: Rc<DmaBuf>,
    pub(in crate::log) len: usize,
}

impl Appender {
    /// The next write for the device, if one may go now.
    pub(in crate::log) fn next_write(&self) -> Option<Write> {
        let mut state = self.state.borrow_mut();
        if state.failed.is_some() || state.flying.len() >= WRITES_MAX || state.is_held_back() {
            return None;
        }
        let (chunk, is_full) = match state.ready.front() {
            Some(first) => (Rc::clone(first), true),
            None => (Rc::clone(state.open.as_ref()?), false),
        };
        let (end, new_bytes) = (chunk.end(), chunk.end().saturating_sub(state.submitted));
        let from = chunk.start().max(state.submitted - state.submitted % BLOCK as u64);
        let flying_end = state.flying.last().filter(|f| !f.done).map_or(0, |f| f.padded_end);
        let busy = state.flying.iter().any(|flight| !flight.done);
        if from < flying_end
            || end > state.committed()
            || new_bytes == 0
            || (!is_full && busy && new_bytes < PARTIAL_WHILE_BUSY)
        {
            return None;
        }
        if is_full {
            state.ready.pop_front();
        } else if end - chunk.start() > chunk.capacity() as u64 / 8 * 7 {
            state.last = state.open.take();
            chunk.seal();
        }
        let (buf, padded) = match chunk.is_sealed() && from == chunk.start() {
            true => chunk.seal(),
            // Written from a copy, as it would be of any part of a buffer, and so it can be filled
            // further: what is kept of it takes no more memory than it has to.
            false => self.file.copied(chunk.bytes_from(from)),
        };
        state.stride = (state.stride * 3 + new_bytes) / 4;
        state.submitted = end;
        state.flying.push(Flight {
            start: from,
            end,
            padded_end: from + padded as u64,
            chunk,
            done: false,
        });
        Some(Write { start: from, buf, len: padded })
    }

    /// Takes in the end of a write.
    pub(in crate::log) fn wrote(&self, start: u64, result: io::Result<()>) {
        if let Err(error) = result {
            self.fail_io("write failed", &error);
            return;
        }
        {
            let mut state = self.state.borrow_mut();
            if state.failed.is_some() {
                return;
            }
            let state = &mut *state;
            if let Some(flight) = state.flying.iter_mut().find(|f| f.start == start && !f.done) {
                flight.done = true;
            }
            let before = state.written;
            let landed = state.flying.iter().take_while(|flight| flight.done).count();
            for flight in state.flying.drain(..landed) {
                state.written = state.written.max(flight.end);
                self.tail.mark_written(&flight.chunk, flight.end);
            }
            let written = state.offset_at(state.written, state.progress.written);
            state.progress.written = written.max(state.progress.synced);
            self.cx.dirty.remove(state.written - before);
        }
        self.moved.wake_all();
        (self.on_progress)();
    }

    /// Whether to sync now; what is written at this moment will be covered.
    pub(in crate::log) fn next_sync(&self) -> Option<u64> {
        let mut state = self.state.borrow_mut();
        let unsynced = state.written - state.synced;
        if state.failed.is_some() || unsynced == 0 {
            return None;
        }
        let policy = self.policy.get();
        let only_here = state.written > state.journaling;
        let due = (policy.sync_at_once && only_here)
            || state.sync_to > state.synced
            || unsynced >= policy.unsynced_bytes
            || state.unsynced_records >= policy.unsynced_records
            || self.sync_deadline(&state).is_some_and(|at| at <= self.cx.rt.now());
        if !due {
            return None;
        }
        state.sync_began = Some(self.cx.rt.now());
        state.unsynced_records = 0;
        Some(state.written)
    }

    /// When the policy wants a sync, if something waits for one.
    pub(in crate::log) fn deadline(&self) -> Option<Instant> {
        let state = self.state.borrow();
        if state.written == state.synced || state.failed.is_some() {
            return None;
        }
        self.sync_deadline(&state)
    }

    fn sync_deadline(&self, state: &State) -> Option<Instant> {
        state.unsynced_since.map(|since| since + self.policy.get().unsynced_for)
    }

    /// Takes in the end of a sync that covered everything below `covered`.
    pub(in crate::log) fn synced(&self, covered: u64, result: io::Result<()>) {
        if let Err(error) = result {
            self.fail_io("sync failed", &error);
            return;
        }
        {
            let mut state = self.state.borrow_mut();
            let began = state.sync_began.take();
            if state.failed.is_some() || covered <= state.synced {
                return;
            }
            state.note_synced(covered);
            // What was appended before the sync began and is not covered is hardly older.
            state.unsynced_since = began.filter(|_| state.end > covered);
        }
        self.moved.wake_all();
        (self.on_progress)();
    }

    /// Takes in the end of a sync of many logs, which covered everything of this one below `covered`.
    pub(in crate::log) fn synced_with_others(&self, covered: u64, result: &io::Result<()>) {
        if let Err(error) = result {
            self.fail_io("sync failed", error);
            return;
        }
        {
            let mut state = self.state.borrow_mut();
            if state.failed.is_some() || covered <= state.synced {
                return;
            }
            state.note_synced(covered);
            if state.end <= covered {
                (state.unsynced_since, state.unsynced_records) = (None, 0);
            }
        }
        self.moved.wake_all();
        self.work.raise();
        (self.on_progress)();
    }

    /// Length to grow the file to, if an append waits for it or soon will.
    pub(in crate::log) fn next_growth(&self) -> Option<Growth> {
        let mut state = self.state.borrow_mut();
        if state.failed.is_some() || state.grow_error.is_some() {
            return None;
        }
        // Not ahead of the data of a file that is being closed; but an append that waits holds the
        // log's lock, and whoever closes may wait for that.
        let now = self.cx.rt.now();
        let ahead = !state.closing && state.no_growth_ahead_until.is_none_or(|until| until <= now);
        let growth = state.wanted_growth().filter(|growth| growth.need > 0 || ahead)?;
        state.growing = true;
        Some(growth)
    }

    /// Takes in the end of a growth to `length`.
    pub(in crate::log) fn grew(&self, growth: Growth, result: io::Result<u64>) {
        {
            let mut state = self.state.borrow_mut();
            state.growing = false;
            match result {
                Ok(length) => {
                    state.allocated = state.allocated.max(length);
                    state.grow_to = 0;
                }
                Err(error) if crate::error::is_full(&error) => {
                    if growth.need > 0 {
                        let log = Arc::clone(&self.log);
                        self.cx.metrics.disk_full.inc();
                        state.grow_error = Some(LogError::DiskFull { log });
                    }
                    state.no_growth_ahead_until = Some(self.cx.rt.now() + NO_GROWTH_AHEAD);
                }
                Err(error) => {
                    drop(state);
                    self.fail_io("cannot grow the file", &error);
                    return;
                }
            }
        }
        self.moved.wake_all();
    }

    fn fail_io(&self, what: &str, error: &io::Error) {
        let reason = format!("{what}: {error}").into();
        self.fail(LogError::Failed { log: Arc::clone(&self.log), reason });
    }
}
