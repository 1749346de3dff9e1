//! Turns appends to one segment file into device writes and syncs.
//!
//! Appends copy into the open chunk. A task of its own ([`super::flush`]) gives chunks to the
//! device, at most [`WRITES_MAX`] at a time, and syncs what has been written. Three positions move
//! to the right:
//!
//! ```text
//!   synced ≤ written ≤ end          bytes; written and synced are prefixes of completed writes
//! ```
//!
//! - A chunk that is full goes out whole. What one holds that is not goes out when the device is
//!   idle, padded with zeros to whole blocks, from a copy; its unfinished last block goes out again
//!   with what follows, which waits for it, at the head of another chunk if this one is nearly full.
//! - One sync covers everything written when it starts, and overlaps with further writes.
//! - The file grows ahead of the data, never by a write: an append first reserves its room, which
//!   is where a full disk shows, before anything was accepted.
//! - After the first failed write or sync nothing is tried again.
//!
//! What waits for durability waits for an *offset*, by [`Appender::progress`]: which file or
//! journal made it durable is no one else's business.
//!
//! What went to the core's journal ([`super::journal`]) is durable when that is synced, and held
//! back from the file until it is worth a write of its own, or the journal needs its room.

mod device;
mod state;
mod tee;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub(super) use self::device::Write;
pub(super) use self::state::Growth;
use self::state::{Flight, Mark, State};
use super::journal::Seat;
use crate::buf::{BLOCK, Chunk};
use crate::cache::{SegmentUid, Tail};
use crate::cx::EngineCx;
use crate::error::LogError;
use crate::rt::File;
use crate::rt::sim::Plant;
use crate::waiters::{Signal, Waiters};

/// When written data is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlushPolicy {
    /// Sync as soon as something is written; otherwise within the bounds below.
    pub(crate) sync_at_once: bool,
    /// Written but unsynced bytes that start a sync.
    pub(crate) unsynced_bytes: u64,
    /// Age of the oldest unsynced byte that starts a sync.
    pub(crate) unsynced_for: Duration,
    /// Unsynced records that start a sync (`flush.messages`).
    pub(crate) unsynced_records: u64,
}

/// How far an appender got, as offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Every record below is with the device.
    pub(crate) written: i64,
    /// Every record below survives a power loss.
    pub(crate) synced: i64,
    /// Every record below does so in the file alone.
    pub(crate) in_file: i64,
}

/// The write side of one segment file.
pub(crate) struct Appender {
    pub(super) cx: Rc<EngineCx>,
    pub(super) log: Arc<str>,
    pub(super) uid: SegmentUid,
    pub(super) file: File,
    tail: Rc<Tail>,
    pub(super) state: RefCell<State>,
    pub(super) policy: Cell<FlushPolicy>,
    /// Something for the flush task to do.
    pub(super) work: Signal,
    /// Woken when room was reserved, writes completed, or the appender failed.
    pub(super) moved: Waiters,
    /// Called when `progress` grew, and once on failure.
    on_progress: Box<dyn Fn()>,
    /// None where there is no journal.
    seat: Option<Seat>,
}

/// What an appender is made from.
pub(crate) struct AppenderSpec {
    pub(crate) log: Arc<str>,
    pub(crate) uid: SegmentUid,
    pub(crate) file: File,
    pub(crate) tail: Rc<Tail>,
    pub(crate) policy: FlushPolicy,
    /// Where the valid data ends; all of it is synced.
    pub(crate) end: u64,
    pub(crate) end_offset: i64,
    /// Length of the file.
    pub(crate) allocated: u64,
    /// The bytes of the block that `end` lies in, up to `end`.
    pub(crate) last_block: Vec<u8>,
    /// Its place in the core's journal, if it has one.
    pub(crate) seat: Option<Seat>,
}

impl Appender {
    pub(crate) fn new(
        cx: &Rc<EngineCx>,
        spec: AppenderSpec,
        on_progress: impl Fn() + 'static,
    ) -> Rc<Self> {
        let last = (!spec.last_block.is_empty()).then(|| {
            let chunk = cx.chunks.take(BLOCK, spec.end - spec.last_block.len() as u64);
            chunk.extend(&spec.last_block);
            chunk.seal();
            spec.tail.push(spec.uid, &chunk);
            spec.tail.mark_written(&chunk, chunk.end());
            chunk
        });
        let state = RefCell::new(State::new(&spec, last));
        Rc::new(Self {
            cx: Rc::clone(cx),
            log: spec.log,
            uid: spec.uid,
            file: spec.file,
            tail: spec.tail,
            state,
            policy: Cell::new(spec.policy),
            work: Signal::default(),
            moved: Waiters::default(),
            on_progress: Box::new(on_progress),
            seat: spec.seat,
        })
    }

    /// Position behind the last appended byte.
    pub(crate) fn end(&self) -> u64 {
        self.state.borrow().end
    }

    /// Bytes that are in the file, whether synced or not.
    pub(crate) fn written_end(&self) -> u64 {
        self.state.borrow().written
    }

    pub(crate) fn progress(&self) -> Progress {
        self.state.borrow().progress
    }

    pub(crate) fn failure(&self) -> Option<LogError> {
        self.state.borrow().failed.clone()
    }

    pub(crate) fn set_policy(&self, policy: FlushPolicy) {
        self.policy.set(policy);
        self.work.raise();
    }

    /// Waits until `bytes` more may be appended: the file has room for them, and not too much is
    /// waiting for the device. One caller at a time (the holder of the log's append lock).
    ///
    /// # Errors
    /// `DiskFull`, after which nothing has changed; the appender's failure.
    pub(crate) async fn reserve(self: &Rc<Self>, bytes: u64) -> Result<(), LogError> {
        if !self.room_for(bytes)? {
            self.start();
            self.work.raise();
            self.moved
                .until(0, || match self.room_for(bytes) {
                    Ok(false) => None,
                    Ok(true) => Some(Ok(())),
                    Err(error) => Some(Err(error)),
                })
                .await?;
        }
        self.cx.dirty.room().await;
        // That may have taken long.
        self.failure().map_or(Ok(()), Err)?;
        self.choose_way(bytes);
        Ok(())
    }

    /// The same, if there is room already.
    pub(crate) fn reserve_now(&self, bytes: u64) -> bool {
        let has_room = {
            let state = self.state.borrow();
            state.failed.is_none() && state.grow_error.is_none() && state.has_room(bytes)
        };
        if has_room && self.cx.dirty.has_room() {
            self.choose_way(bytes);
            return true;
        }
        false
    }

    fn room_for(&self, bytes: u64) -> Result<bool, LogError> {
        let mut state = self.state.borrow_mut();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        if let Some(error) = state.grow_error.take() {
            state.grow_to = 0;
            return Err(error);
        }
        let need = state.need(bytes);
        if need > state.allocated {
            state.grow_to = state.grow_to.max(need);
        }
        Ok(state.has_room(bytes))
    }

    /// Appends bytes for which [`Appender::reserve`] made room, through `fill`, which is called
    /// with each piece of memory in turn and must fill it whole; `bytes` in all.
    pub(crate) fn append_with(self: &Rc<Self>, bytes: usize, mut fill: impl FnMut(&mut [u8])) {
        assert!(
            (self.state.borrow().end + bytes as u64) <= self.state.borrow().allocated,
            "room is reserved before bytes are appended"
        );
        let seat = self.seat.as_ref().filter(|_| self.state.borrow().tees);
        let mut left = bytes;
        while left > 0 {
            let chunk = self.chunk_for(left);
            let count = chunk.extend_with(|room| {
                let count = room.len().min(left);
                fill(&mut room[..count]);
                if let Some(seat) = seat {
                    seat.extend(&room[..count]);
                }
                count
            });
            left -= count;
            let mut state = self.state.borrow_mut();
            state.end += count as u64;
            if chunk.room() == 0 {
                chunk.seal();
                state.open = None;
                state.ready.push_back(chunk);
            }
        }
        self.cx.dirty.add(bytes as u64);
    }

    /// Appends `bytes` as they are.
    pub(crate) fn append(self: &Rc<Self>, bytes: &[u8]) {
        let mut at = 0;
        self.append_with(bytes.len(), |room| {
            room.copy_from_slice(&bytes[at..at + room.len()]);
            at += room.len();
        });
    }

    /// Declares what was appended so far complete: it ends at `end_offset`. Only from here on may
    /// it reach the device.
    pub(crate) fn commit(self: &Rc<Self>, end_offset: i64, records: u64) {
        {
            let mut state = self.state.borrow_mut();
            let position = state.end;
            state.mark(Mark { position, offset: end_offset });
            if std::mem::take(&mut state.tees)
                && let Some(seat) = &self.seat
            {
                state.journaling = position;
                seat.finish(self, position);
                if self.cx.dirty.is_half_full() {
                    seat.journal.clean_soon();
                }
            }
            state.unsynced_records += records;
            let now = self.cx.rt.now();
            state.last_append = Some(now);
            state.unsynced_since.get_or_insert(now);
        }
        self.start();
        self.work.raise();
    }

    /// Bytes appended since the last commit.
    pub(crate) fn uncommitted(&self) -> u64 {
        let state = self.state.borrow();
        state.end - state.committed()
    }

    /// Waits until everything appended so far is synced.
    pub(crate) async fn drain(self: &Rc<Self>) -> Result<(), LogError> {
        self.sync_through(self.end()).await
    }

    /// Waits until everything below `target` is with the device, or the log has failed.
    pub(super) async fn write_through(self: &Rc<Self>, target: u64) {
        {
            let mut state = self.state.borrow_mut();
            state.write_to = state.write_to.max(target);
        }
        self.start();
        self.work.raise();
        self.moved
            .until(0, || {
                let state = self.state.borrow();
                (state.written >= target || state.failed.is_some()).then_some(())
            })
            .await;
    }

    /// Waits until everything below `target` is synced.
    pub(crate) async fn sync_through(self: &Rc<Self>, target: u64) -> Result<(), LogError> {
        {
            let mut state = self.state.borrow_mut();
            state.sync_to = state.sync_to.max(target);
        }
        self.start();
        self.work.raise();
        self.moved
            .until(0, || {
                let state = self.state.borrow();
                match &state.failed {
                    Some(error) => Some(Err(error.clone())),
                    None => (state.synced >= target).then_some(Ok(())),
                }
            })
            .await
    }

    /// Whether everything is synced, and was for `time`.
    pub(crate) fn is_idle(&self, time: Duration) -> bool {
        let state = self.state.borrow();
        let since = state.last_append.is_none_or(|at| self.cx.rt.now() - at >= time);
        state.failed.is_none() && state.is_quiet() && since
    }

    /// Ends the flush task once nothing is left to do. Appending starts another.
    pub(crate) fn rest(&self) {
        self.state.borrow_mut().closing = true;
        self.work.raise();
    }

    /// Cuts the file to its data and makes that durable; the caller drained before and keeps
    /// appends away. The file does not grow again before the next append.
    pub(crate) async fn trim(&self) -> io::Result<()> {
        {
            let mut state = self.state.borrow_mut();
            state.closing = true;
            // Of an append that was given up.
            state.grow_to = 0;
            state.grow_error = None;
        }
        // A growth under way would make the file longer again once it is cut.
        let still = || {
            let state = self.state.borrow();
            (!state.growing || state.failed.is_some()).then_some(())
        };
        self.moved.until(0, still).await;
        let (end, allocated) = {
            let state = self.state.borrow();
            if let Some(error) = &state.failed {
                return Err(io::Error::other(error.to_string()));
            }
            (state.end, state.allocated)
        };
        if end < allocated {
            self.file.truncate(end).await?;
            self.state.borrow_mut().allocated = end;
            self.file.sync().await?;
        }
        Ok(())
    }

    /// Why there was no room a moment ago.
    pub(crate) fn refuses(&self) -> Option<LogError> {
        let state = self.state.borrow();
        let (until, error) = state.refusal.as_ref()?;
        (self.cx.rt.now() < *until).then(|| error.clone())
    }

    /// Notes that there was no room for an append.
    pub(crate) fn refuse_for_a_while(&self, error: &LogError) {
        let until = self.cx.rt.now() + REFUSE_AFTER_FAILURE;
        self.state.borrow_mut().refusal = Some((until, error.clone()));
    }

    /// The file now ends with the data.
    pub(crate) fn was_cut(&self) {
        let mut state = self.state.borrow_mut();
        state.allocated = state.end;
    }

    /// Gives up for good.
    pub(crate) fn fail(&self, error: LogError) {
        {
            let mut state = self.state.borrow_mut();
            if state.failed.is_some() {
                return;
            }
            tracing::error!(log = &*self.log, %error, "a log stopped serving");
            self.cx.metrics.logs_failed.inc();
            state.failed = Some(error);
            self.cx.dirty.remove(state.end - state.written);
        }
        self.moved.wake_all();
        self.work.raise();
        (self.on_progress)();
    }

    /// The chunk that takes the next byte, of a size that fits `need` and the traffic.
    fn chunk_for(&self, need: usize) -> Rc<Chunk> {
        let mut state = self.state.borrow_mut();
        let end = state.end;
        let before = match state.open.take() {
            // A small start of a large append moves to a chunk of the right size.
            Some(open) if open.room() < need && open.end() - open.start() <= BLOCK as u64 => {
                Some((open.start(), open))
            }
            Some(open) if !open.is_sealed() => {
                state.open = Some(Rc::clone(&open));
                return open;
            }
            // The cache let go of one that was written as far as it was filled.
            evicted => {
                let last = evicted.or_else(|| state.last.take());
                last.map(|last| (end - end % BLOCK as u64, last))
            }
        };
        let start = before.as_ref().map_or(end, |(start, _)| *start);
        let head = usize::try_from(end - start).expect("at most one block");
        // What is held back goes out in one piece, or a few.
        let backlog = if state.is_held_back() { end - state.submitted } else { 0 };
        let stride = state.stride.max(backlog);
        let want = usize::try_from(stride).unwrap_or(CHUNK_MAX).max(head + need);
        let size = want.min(CHUNK_MAX).next_power_of_two().max(BLOCK);
        let chunk = self.cx.chunks.take(size, start);
        if let Some((_, before)) = before.filter(|_| head > 0) {
            match self.cx.rt.planted(Plant::TailNotCopied) {
                true => chunk.extend(&[0; BLOCK][..head]),
                false => chunk.extend(&before.bytes_from(start)[..head]),
            };
        }
        self.tail.push(self.uid, &chunk);
        state.open = Some(Rc::clone(&chunk));
        chunk
    }
}

/// Device writes in flight: four of 256 KiB fill the disks this was measured on.
pub(super) const WRITES_MAX: usize = 4;
/// Largest device write.
const CHUNK_MAX: usize = 1 << 20;
/// A chunk that is not full goes out beside other writes from this size on; smaller ones wait and
/// merge.
const PARTIAL_WHILE_BUSY: u64 = 256 * 1024;
/// As long as requests that a producer sent one behind the other take to arrive, and some.
const REFUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);
/// A full disk is asked for room that nobody needs yet this often.
const NO_GROWTH_AHEAD: Duration = Duration::from_secs(1);
