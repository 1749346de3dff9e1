//! Where an appender is with the bytes of its file.

use std::collections::VecDeque;
use std::rc::Rc;

use smallvec::SmallVec;

use super::{AppenderSpec, CHUNK_MAX, Progress, WRITES_MAX};
use crate::buf::{BLOCK, Chunk};
use crate::error::LogError;
use crate::rt::Instant;

pub(in crate::log) struct State {
    /// Accepts appends.
    pub(in crate::log) open: Option<Rc<Chunk>>,
    /// Full, not yet given to the device.
    pub(super) ready: VecDeque<Rc<Chunk>>,
    /// The chunk before `open`; its unfinished block starts the next one.
    pub(super) last: Option<Rc<Chunk>>,
    /// Given to the device, in file order.
    pub(super) flying: SmallVec<[Flight; WRITES_MAX]>,
    pub(in crate::log) end: u64,
    /// End of the last chunk that was given to the device or is ready for it.
    pub(super) submitted: u64,
    pub(in crate::log) written: u64,
    pub(in crate::log) synced: u64,
    /// Everything between `synced` and here was given to the journal, and is durable there.
    pub(super) journaling: u64,
    pub(super) journaled: u64,
    /// What is appended until the next commit goes to the journal, too.
    pub(super) tees: bool,
    /// Length of the file.
    pub(in crate::log) allocated: u64,
    /// Length that an append waits for.
    pub(super) grow_to: u64,
    /// The file is being made longer now.
    pub(super) growing: bool,
    /// Until then the file does not grow ahead of its data: the disk was full for that.
    pub(super) no_growth_ahead_until: Option<Instant>,
    pub(super) grow_error: Option<LogError>,
    /// Until then appends are refused, since there was no room for one: those that were sent behind
    /// it, and might get some, must not get in before it is sent again.
    pub(super) refusal: Option<(Instant, LogError)>,
    /// Hold nothing back up to here.
    pub(super) write_to: u64,
    /// Sync up to here whatever the policy says.
    pub(super) sync_to: u64,
    /// End position and end offset of each append that is not yet synced.
    pub(super) marks: VecDeque<Mark>,
    pub(in crate::log) progress: Progress,
    pub(super) last_append: Option<Instant>,
    /// When the oldest unsynced byte was appended.
    pub(super) unsynced_since: Option<Instant>,
    pub(super) unsynced_records: u64,
    pub(super) sync_began: Option<Instant>,
    /// Running mean of the bytes between two submissions: how large a chunk will be filled.
    pub(super) stride: u64,
    pub(in crate::log) failed: Option<LogError>,
    pub(in crate::log) running: bool,
    pub(in crate::log) closing: bool,
}

pub(super) struct Flight {
    pub(super) start: u64,
    /// End of the data, and of the padded write.
    pub(super) end: u64,
    pub(super) padded_end: u64,
    pub(super) chunk: Rc<Chunk>,
    pub(super) done: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Mark {
    pub(super) position: u64,
    pub(super) offset: i64,
}

impl State {
    /// All of the file is synced, and `last` holds its unfinished block.
    pub(super) fn new(spec: &AppenderSpec, last: Option<Rc<Chunk>>) -> Self {
        Self {
            open: None,
            ready: VecDeque::new(),
            last,
            flying: SmallVec::new(),
            end: spec.end,
            submitted: spec.end,
            written: spec.end,
            synced: spec.end,
            journaling: spec.end,
            journaled: spec.end,
            tees: false,
            allocated: spec.allocated,
            grow_to: 0,
            growing: false,
            no_growth_ahead_until: None,
            grow_error: None,
            refusal: None,
            write_to: 0,
            sync_to: 0,
            marks: VecDeque::new(),
            progress: Progress {
                written: spec.end_offset,
                synced: spec.end_offset,
                in_file: spec.end_offset,
            },
            last_append: None,
            unsynced_since: None,
            unsynced_records: 0,
            sync_began: None,
            stride: 0,
            failed: None,
            running: false,
            closing: false,
        }
    }

    /// Nothing waits for the device.
    pub(in crate::log) fn is_quiet(&self) -> bool {
        self.synced == self.end && self.flying.is_empty() && self.grow_to <= self.allocated
    }

    pub(super) fn wanted_growth(&self) -> Option<Growth> {
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

    /// The highest offset that is known to end at or before `position`, but not below `before`.
    pub(super) fn offset_at(&self, position: u64, before: i64) -> i64 {
        let passed = self.marks.partition_point(|mark| mark.position <= position);
        passed.checked_sub(1).map_or(before, |at| self.marks[at].offset.max(before))
    }

    /// Notes where an append ends. Of those that are durable already one in a while is enough: they
    /// tell only how far the file is, and there may be many until it is written.
    pub(super) fn mark(&mut self, mark: Mark) {
        let durable = self.synced.max(self.journaled);
        let count = self.marks.len();
        let thin = count >= 2
            && self.marks[count - 1].position <= durable
            && mark.position - self.marks[count - 2].position < MARK_DISTANCE;
        if thin {
            self.marks.pop_back();
        }
        self.marks.push_back(mark);
    }

    /// Everything below `covered` is synced in the file.
    pub(super) fn note_synced(&mut self, covered: u64) {
        self.synced = covered;
        self.progress.in_file = self.offset_at(covered, self.progress.in_file);
        self.note_durable();
        let passed = self.marks.partition_point(|mark| mark.position <= covered);
        self.marks.drain(..passed);
    }

    pub(super) fn note_durable(&mut self) {
        let durable = self.synced.max(self.journaled);
        self.progress.synced = self.offset_at(durable, self.progress.synced);
        self.progress.written = self.progress.written.max(self.progress.synced);
    }

    /// Length of the file with `bytes` more.
    pub(super) fn need(&self, bytes: u64) -> u64 {
        (self.end + bytes).next_multiple_of(BLOCK as u64)
    }

    /// Whether the file has room for `bytes` more, and not too much waits for the device.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.need(bytes) <= self.allocated && self.end - self.written < UNWRITTEN_MAX
    }

    /// Where the last complete append ends.
    pub(super) fn committed(&self) -> u64 {
        self.marks.back().map_or(self.synced, |mark| mark.position)
    }

    /// Whether everything that the device might be given is in the journal, and can wait to be
    /// written together with more.
    pub(super) fn is_held_back(&self) -> bool {
        let committed = self.committed();
        self.journaling >= committed
            && self.sync_to.max(self.write_to) <= self.submitted
            && committed.saturating_sub(self.submitted) < HELD_BACK_MAX
    }
}

/// A longer file: what must fit, and what would save the next appends the wait.
#[derive(Clone, Copy, Debug)]
pub(in crate::log) struct Growth {
    pub(in crate::log) need: u64,
    pub(in crate::log) wish: u64,
}

/// What the journal has of a log is written to its file from here on: enough for one good write.
const HELD_BACK_MAX: u64 = 256 << 10;
/// Appends of a log that is held back are told apart this far apart.
const MARK_DISTANCE: u64 = 64 << 10;
/// Bytes of one log that may wait for the device before appends wait.
const UNWRITTEN_MAX: u64 = 8 << 20;
/// Steps in which the file grows: small at first, since many partitions stay small.
const GROWTH_MIN: u64 = 64 * 1024;
const GROWTH_MAX: u64 = 8 << 20;
