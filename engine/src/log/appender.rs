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
//! - A chunk that is full goes out whole. One that is not goes out when the device is idle, padded
//!   with zeros to whole blocks; its unfinished last block is copied to the head of the chunk that
//!   follows, whose write then waits for it.
//! - One sync covers everything written when it starts, and overlaps with further writes.
//! - The file grows ahead of the data, never by a write: an append first reserves its room, which
//!   is where a full disk shows, before anything was accepted.
//! - After the first failed write or sync nothing is tried again.
//!
//! What waits for durability waits for an *offset*, by [`Appender::progress`]: which file or
//! journal made it durable is no one else's business.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::buf::{BLOCK, Chunk};
use crate::cache::{SegmentUid, Tail};
use crate::cx::EngineCx;
use crate::error::LogError;
use crate::rt::sim::Plant;
use crate::rt::{File, Instant};
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
}

pub(super) struct State {
    /// Accepts appends.
    pub(super) open: Option<Rc<Chunk>>,
    /// Full, not yet given to the device.
    ready: VecDeque<Rc<Chunk>>,
    /// The chunk before `open`; its unfinished block starts the next one.
    last: Option<Rc<Chunk>>,
    /// Given to the device, in file order.
    flying: SmallVec<[Flight; WRITES_MAX]>,
    pub(super) end: u64,
    /// End of the last chunk that was given to the device or is ready for it.
    submitted: u64,
    pub(super) written: u64,
    pub(super) synced: u64,
    /// Length of the file.
    pub(super) allocated: u64,
    /// Length that an append waits for.
    grow_to: u64,
    /// The file is being made longer now.
    growing: bool,
    /// Until then the file does not grow ahead of its data: the disk was full for that.
    no_growth_ahead_until: Option<Instant>,
    grow_error: Option<LogError>,
    /// Until then appends are refused, since there was no room for one: those that were sent behind
    /// it, and might get some, must not get in before it is sent again.
    refusal: Option<(Instant, LogError)>,
    /// Sync up to here whatever the policy says.
    sync_to: u64,
    /// End position and end offset of each append that is not yet synced.
    marks: VecDeque<Mark>,
    pub(super) progress: Progress,
    last_append: Option<Instant>,
    /// When the oldest unsynced byte was appended.
    unsynced_since: Option<Instant>,
    unsynced_records: u64,
    sync_began: Option<Instant>,
    /// Running mean of the bytes between two submissions: how large a chunk will be filled.
    stride: u64,
    pub(super) failed: Option<LogError>,
    pub(super) running: bool,
    pub(super) closing: bool,
}

struct Flight {
    start: u64,
    /// End of the data, and of the padded write.
    end: u64,
    padded_end: u64,
    chunk: Rc<Chunk>,
    done: bool,
}

#[derive(Clone, Copy)]
struct Mark {
    position: u64,
    offset: i64,
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
            spec.tail.mark_written(&chunk);
            chunk
        });
        Rc::new(Self {
            cx: Rc::clone(cx),
            log: spec.log,
            uid: spec.uid,
            file: spec.file,
            tail: spec.tail,
            state: RefCell::new(State {
                open: None,
                ready: VecDeque::new(),
                last,
                flying: SmallVec::new(),
                end: spec.end,
                submitted: spec.end,
                written: spec.end,
                synced: spec.end,
                allocated: spec.allocated,
                grow_to: 0,
                growing: false,
                no_growth_ahead_until: None,
                grow_error: None,
                refusal: None,
                sync_to: 0,
                marks: VecDeque::new(),
                progress: Progress { written: spec.end_offset, synced: spec.end_offset },
                last_append: None,
                unsynced_since: None,
                unsynced_records: 0,
                sync_began: None,
                stride: 0,
                failed: None,
                running: false,
                closing: false,
            }),
            policy: Cell::new(spec.policy),
            work: Signal::default(),
            moved: Waiters::default(),
            on_progress: Box::new(on_progress),
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
        self.failure().map_or(Ok(()), Err)
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
        let need = (state.end + bytes).next_multiple_of(BLOCK as u64);
        if need > state.allocated {
            state.grow_to = state.grow_to.max(need);
            return Ok(false);
        }
        Ok(state.end - state.written < UNWRITTEN_MAX)
    }

    /// Appends bytes for which [`Appender::reserve`] made room, through `fill`, which is called
    /// with each piece of memory in turn and must fill it whole; `bytes` in all.
    pub(crate) fn append_with(self: &Rc<Self>, bytes: usize, mut fill: impl FnMut(&mut [u8])) {
        assert!(
            (self.state.borrow().end + bytes as u64) <= self.state.borrow().allocated,
            "room is reserved before bytes are appended"
        );
        let mut left = bytes;
        while left > 0 {
            let chunk = self.chunk_for(left);
            let count = chunk.extend_with(|room| {
                let count = room.len().min(left);
                fill(&mut room[..count]);
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
            state.marks.push_back(Mark { position, offset: end_offset });
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
        state.end - state.marks.back().map_or(state.synced, |mark| mark.position)
    }

    /// Waits until everything appended so far is synced.
    pub(crate) async fn drain(self: &Rc<Self>) -> Result<(), LogError> {
        self.sync_through(self.end()).await
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
            Some(open) => {
                state.open = Some(Rc::clone(&open));
                return open;
            }
            None => state.last.take().map(|last| (end - end % BLOCK as u64, last)),
        };
        let start = before.as_ref().map_or(end, |(start, _)| *start);
        let head = usize::try_from(end - start).expect("at most one block");
        let want = usize::try_from(state.stride).unwrap_or(CHUNK_MAX).max(head + need);
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

impl Appender {
    /// The next chunk for the device, if one may go now.
    pub(super) fn next_write(&self) -> Option<Rc<Chunk>> {
        let mut state = self.state.borrow_mut();
        if state.failed.is_some() || state.flying.len() >= WRITES_MAX {
            return None;
        }
        let flying_end = state.flying.last().filter(|f| !f.done).map_or(0, |f| f.padded_end);
        let committed = state.marks.back().map_or(state.synced, |mark| mark.position);
        let chunk = match state.ready.front() {
            Some(first) if first.start() < flying_end => return None,
            Some(first) if first.end() > committed => return None,
            Some(_) => state.ready.pop_front()?,
            None => {
                let open = state.open.as_ref()?;
                let new_bytes = open.end().saturating_sub(state.submitted);
                let busy = state.flying.iter().any(|flight| !flight.done);
                if new_bytes == 0
                    || open.start() < flying_end
                    || open.end() > committed
                    || (busy && new_bytes < PARTIAL_WHILE_BUSY)
                {
                    return None;
                }
                let open = state.open.take()?;
                state.last = Some(Rc::clone(&open));
                open
            }
        };
        let (_, padded) = chunk.seal();
        let end = chunk.end();
        state.stride = (state.stride * 3 + (end - state.submitted)) / 4;
        state.submitted = end;
        state.flying.push(Flight {
            start: chunk.start(),
            end,
            padded_end: chunk.start() + padded as u64,
            chunk: Rc::clone(&chunk),
            done: false,
        });
        Some(chunk)
    }

    /// Takes in the end of a write.
    pub(super) fn wrote(&self, start: u64, result: io::Result<()>) {
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
            let mut done = None;
            if let Some(flight) = state.flying.iter_mut().find(|f| f.start == start && !f.done) {
                flight.done = true;
                done = Some(Rc::clone(&flight.chunk));
            }
            let before = state.written;
            let landed = state.flying.iter().take_while(|flight| flight.done).count();
            for flight in state.flying.drain(..landed) {
                state.written = state.written.max(flight.end);
            }
            state.progress.written = state.offset_at(state.written, state.progress.written);
            self.cx.dirty.remove(state.written - before);
            if let Some(chunk) = done {
                self.tail.mark_written(&chunk);
            }
        }
        self.moved.wake_all();
        (self.on_progress)();
    }

    /// Whether to sync now; what is written at this moment will be covered.
    pub(super) fn next_sync(&self) -> Option<u64> {
        let mut state = self.state.borrow_mut();
        let unsynced = state.written - state.synced;
        if state.failed.is_some() || unsynced == 0 {
            return None;
        }
        let policy = self.policy.get();
        let due = policy.sync_at_once
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
    pub(super) fn deadline(&self) -> Option<Instant> {
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
    pub(super) fn synced(&self, covered: u64, result: io::Result<()>) {
        if let Err(error) = result {
            self.fail_io("sync failed", &error);
            return;
        }
        {
            let mut state = self.state.borrow_mut();
            if state.failed.is_some() {
                return;
            }
            state.synced = covered;
            state.progress.synced = state.offset_at(covered, state.progress.synced);
            let passed = state.marks.partition_point(|mark| mark.position <= covered);
            state.marks.drain(..passed);
            // What was appended before the sync began and is not covered is hardly older.
            state.unsynced_since = state.sync_began.take().filter(|_| state.end > covered);
        }
        self.moved.wake_all();
        (self.on_progress)();
    }

    /// Length to grow the file to, if an append waits for it or soon will.
    pub(super) fn next_growth(&self) -> Option<Growth> {
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
    pub(super) fn grew(&self, growth: Growth, result: io::Result<u64>) {
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

impl State {
    /// Nothing waits for the device.
    pub(super) fn is_quiet(&self) -> bool {
        self.synced == self.end && self.flying.is_empty() && self.grow_to <= self.allocated
    }

    fn wanted_growth(&self) -> Option<Growth> {
        let step = (self.end / 2).next_multiple_of(GROWTH_MIN).clamp(GROWTH_MIN, GROWTH_MAX);
        if self.grow_to > self.allocated {
            let wish = self.grow_to.max(self.allocated.next_multiple_of(BLOCK as u64) + step);
            return Some(Growth { need: self.grow_to, wish });
        }
        // Keep ahead of a steady stream, so that its appends never wait here.
        let ahead = self.allocated - self.end.min(self.allocated);
        let steady =
            self.end > GROWTH_MAX && ahead < GROWTH_MAX / 2 && self.stride >= CHUNK_MAX as u64 / 8;
        steady
            .then(|| Growth { need: 0, wish: self.allocated.next_multiple_of(BLOCK as u64) + step })
    }

    fn offset_at(&self, position: u64, before: i64) -> i64 {
        let passed = self.marks.partition_point(|mark| mark.position <= position);
        passed.checked_sub(1).map_or(before, |at| self.marks[at].offset)
    }
}

/// A longer file: what must fit, and what would save the next appends the wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    pub(super) need: u64,
    pub(super) wish: u64,
}

/// Device writes in flight: four of 256 KiB fill the disks this was measured on.
pub(super) const WRITES_MAX: usize = 4;
/// Largest device write.
const CHUNK_MAX: usize = 1 << 20;
/// A chunk that is not full goes out beside other writes from this size on; smaller ones wait and
/// merge.
const PARTIAL_WHILE_BUSY: u64 = 256 * 1024;
/// Bytes of one log that may wait for the device before appends wait.
const UNWRITTEN_MAX: u64 = 8 << 20;
/// As long as requests that a producer sent one behind the other take to arrive, and some.
const REFUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);
/// A full disk is asked for room that nobody needs yet this often.
const NO_GROWTH_AHEAD: Duration = Duration::from_secs(1);
/// Steps in which the file grows: small at first, since many partitions stay small.
const GROWTH_MIN: u64 = 64 * 1024;
const GROWTH_MAX: u64 = 8 << 20;
