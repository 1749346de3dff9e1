//! A core's commit journal in one log directory: many small durable appends, one sync.
//!
//! An append of a few kilobytes pays for a write and a sync of its log's file, and where a hundred
//! logs are appended to, none of that is shared. So small appends go to the journal as well: what
//! all logs of the core append while a frame is being written is the next frame, and that is what
//! acknowledges them. A frame is one synchronous write (`O_DSYNC`): an fdatasync behind each write
//! takes a thread of the kernel, and twice the CPU. The logs' own files take the same bytes later,
//! in larger writes, and are synced when the journal needs its room again. Its own file is made once
//! and never grows, so a write of it has no file system's bookkeeping to wait for: that pays off for
//! one log, too.
//!
//! ```text
//! append ─┬─▶ the log's chunk ─────────────── written when large, or when the half is cleaned ─▶ file
//!         └─▶ frame ─▶ half in use ─────────▶ durable
//!                          │ full, or old: the other half is used
//!                          └─ every log in it synced ─▶ may be used again
//! ```
//!
//! What a crash leaves in the journal is written to the files before any log is opened
//! ([`replay`]). A stop in order leaves nothing in it. Appends that are large go straight to their
//! files: the journal would only write them twice. Nothing waits for room in the journal: while
//! there is none, appends go straight, too.

mod flush;
mod format;
mod replay;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use wire::primitives::Uuid;

use self::format::{FRAME_HEAD_BYTES, HEAD_BYTES, Head, Target};
pub(crate) use self::replay::{check, replay};
use super::appender::Appender;
use crate::cache::SegmentUid;
use crate::error::LogError;
use crate::rt::{DmaBuf, File, Instant, Rt};
use crate::waiters::{Signal, Waiters};

/// How much of a journal there is, and when it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLimits {
    /// Bytes of one core's file in one log directory; 0 for no journal.
    pub bytes: u64,
    /// Largest append that goes to it, at most half of what is written at once: writing twice what
    /// is larger costs more than a sync.
    pub append_bytes_max: u64,
    /// Logs that have to be appended to at about the same time for the journal to be worth it.
    pub logs_min: usize,
}

impl JournalLimits {
    /// No journal.
    pub const OFF: Self = Self { bytes: 0, append_bytes_max: 0, logs_min: 0 };
}

/// Whether a file of this name in a log directory is a core's journal.
#[must_use]
pub fn is_journal(name: &str) -> bool {
    let core = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    core.is_some_and(|core| core.parse::<u16>().is_ok())
}

/// Whether a core's journal may hold records that their logs do not have, as after a crash.
///
/// # Errors
/// When it cannot be read.
pub fn may_hold_records(mut file: impl Read + Seek) -> io::Result<bool> {
    let half = file.seek(SeekFrom::End(0))? / 2;
    for start in [0, half] {
        let mut block = Vec::with_capacity(HEAD_BYTES);
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut block)?;
        if Head::decode(&block).is_ok_and(|head| head.in_use) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The journal of one core in one log directory.
pub(crate) struct Journal {
    rt: Rt,
    path: PathBuf,
    directory: Uuid,
    limits: Cell<JournalLimits>,
    state: RefCell<State>,
    /// Something for the flush task to do.
    work: Signal,
    /// Woken when a frame was written, a half is clean, or the journal failed.
    moved: Waiters,
}

/// A log's place in its core's journal, for one of its segments.
pub(crate) struct Seat {
    pub(crate) journal: Rc<Journal>,
    /// Of the partition's directory.
    pub(crate) name: Arc<str>,
    pub(crate) topic_id: Uuid,
    pub(crate) partition: i32,
    /// Base offset of the segment.
    pub(crate) base: i64,
    /// Window in which it was counted last.
    window: Cell<u64>,
}

#[derive(Default)]
struct State {
    stage: Stage,
    file: Option<File>,
    /// Takes entries.
    open: Option<Frame>,
    /// Full, in order.
    ready: VecDeque<Frame>,
    /// Memory for the next ones: the pool may have none, and fresh memory costs more than to fill it.
    spare: Vec<DmaBuf>,
    halves: [Half; 2],
    /// Index of the half in use.
    active: usize,
    /// Of the half in use, the highest so far.
    generation: u64,
    /// Frames begun, and written.
    begun: u64,
    written: u64,
    /// The half in use shall be cleaned although there is room in it.
    clean_now: bool,
    running: bool,
    company: Company,
    /// Appends that the journal would have been for before it was made.
    unused: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Not used since the start.
    #[default]
    Unused,
    /// Its file is being made.
    Making,
    Ready,
    /// Empty and closed.
    Closed,
    /// Something failed: it is not written any more, and what is in it stays.
    Failed,
}

/// One half of the file.
#[derive(Default)]
struct Half {
    frames: u64,
    /// Where in the half the next frame goes; 0 while it is not in use.
    end: u64,
    /// When its first frame was written.
    since: Option<Instant>,
    /// Which logs have bytes in it, and up to which position.
    owners: BTreeMap<SegmentUid, (Rc<Appender>, u64)>,
    /// Its logs are being synced.
    cleaning: bool,
}

/// Entries that are written and synced together.
struct Frame {
    buf: DmaBuf,
    /// Bytes filled, the room for its head included.
    len: usize,
    entries: u32,
    /// Where an entry began that is not complete.
    unfinished: Option<usize>,
    /// Who is to be told, and how far each came.
    owners: Vec<(Rc<Appender>, u64)>,
}

/// How many logs were appended to in the last while.
#[derive(Default)]
struct Company {
    window: u64,
    ends: Option<Instant>,
    before: usize,
    now: usize,
}

impl Journal {
    /// The journal of `rt`'s core at `path`; no file is made before it is used.
    pub(crate) fn new(rt: &Rt, path: PathBuf, directory: Uuid) -> Rc<Self> {
        Rc::new(Self {
            rt: rt.clone(),
            path,
            directory,
            limits: Cell::new(JournalLimits::OFF),
            state: RefCell::default(),
            work: Signal::default(),
            moved: Waiters::default(),
        })
    }

    pub(crate) fn set_limits(&self, limits: JournalLimits) {
        self.limits.set(limits);
    }

    /// The name of a core's file.
    pub(crate) fn file_name(core: u16) -> String {
        format!("{PREFIX}{core}{SUFFIX}")
    }

    /// Bytes of each half.
    fn half_bytes(&self) -> u64 {
        let half = self.limits.get().bytes / 2;
        (half - half % FRAME_BYTES as u64).max(HALF_BYTES_MIN)
    }

    /// Bytes that are in use: their logs' files may not have them yet.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.state.borrow().halves.iter().map(|half| half.end).sum()
    }

    /// Lets go of all logs: nobody will write any more.
    pub(crate) fn forget(&self) {
        let mut state = self.state.borrow_mut();
        let (ready, open) = (std::mem::take(&mut state.ready), state.open.take());
        let halves = std::mem::take(&mut state.halves);
        state.stage = Stage::Closed;
        drop(state);
        drop((ready, open, halves));
    }

    /// Cleans the half in use soon: memory runs short.
    pub(crate) fn clean_soon(&self) {
        let mut state = self.state.borrow_mut();
        if state.stage == Stage::Ready && !state.clean_now {
            state.clean_now = true;
            drop(state);
            self.work.raise();
        }
    }

    /// Sees to it that nothing of a log that is in the journal now is replayed: its end is about to
    /// be cut off. The caller has everything of it synced.
    ///
    /// # Errors
    /// When it could not be noted; then it must not be cut.
    pub(crate) async fn void(self: &Rc<Self>, seat: &Seat) -> Result<(), LogError> {
        if matches!(self.state.borrow().stage, Stage::Unused | Stage::Making | Stage::Closed) {
            return Ok(());
        }
        let frame = self.begin(seat, 0, 0, true);
        self.state.borrow_mut().finish_entry();
        self.start();
        self.moved
            .until(0, || {
                let state = self.state.borrow();
                match state.stage {
                    Stage::Failed => Some(Err(LogError::Closed)),
                    _ => (state.written >= frame).then_some(Ok(())),
                }
            })
            .await
    }

    /// Leaves the journal empty: the logs are closed.
    ///
    /// # Errors
    /// When something of a log that could not be synced is in it, or it cannot be written.
    pub(crate) async fn close(self: &Rc<Self>) -> Result<(), LogError> {
        match self.state.borrow().stage {
            Stage::Unused | Stage::Closed => return Ok(()),
            Stage::Failed => return Err(LogError::Closed),
            Stage::Making | Stage::Ready => {}
        }
        self.empty().await
    }

    /// Begins an entry; answers the number of its frame.
    fn begin(&self, seat: &Seat, position: u64, bytes: usize, is_void: bool) -> u64 {
        let mut state = self.state.borrow_mut();
        let need = format::entry_bytes(&seat.name) + bytes;
        let frame = state.frame_for(&self.rt, need);
        let at = frame.len;
        let target = Target {
            name: &seat.name,
            topic_id: seat.topic_id,
            partition: seat.partition,
            base: seat.base,
            position,
        };
        target.encode(is_void, &mut frame.buf[at..]);
        frame.unfinished = Some(at);
        frame.len += format::entry_bytes(&seat.name);
        state.begun
    }
}

impl Seat {
    pub(crate) fn new(
        journal: &Rc<Journal>,
        name: &Arc<str>,
        topic_id: Uuid,
        partition: i32,
        base: i64,
    ) -> Self {
        let (journal, name) = (Rc::clone(journal), Arc::clone(name));
        Self { journal, name, topic_id, partition, base, window: Cell::new(0) }
    }

    /// Whether an append of so many bytes goes to the journal, too; if so its entry is begun, at
    /// `position` of the segment. It takes `before` bytes first, which precede the append and are
    /// not durable: what is in the journal of a log follows on what is durable of it.
    pub(crate) fn begin(&self, position: u64, before: u64, bytes: u64) -> bool {
        let journal = &self.journal;
        let limits = journal.limits.get();
        if limits.bytes == 0 || bytes > limits.append_bytes_max.min(FRAME_BYTES as u64 / 2) {
            return false;
        }
        {
            let mut state = journal.state.borrow_mut();
            let has_company = limits.logs_min <= 1
                || state.company.count(journal.rt.now(), &self.window) >= limits.logs_min;
            let is_full = state.ready.len() >= READY_MAX;
            match state.stage {
                Stage::Ready if has_company && !is_full && before <= CATCH_UP_MAX => {}
                Stage::Unused if has_company => {
                    state.unused += 1;
                    if state.unused > limits.bytes / BYTES_PER_UNUSED {
                        drop(state);
                        journal.make();
                    }
                    return false;
                }
                _ => return false,
            }
        }
        let need = usize::try_from(before + bytes).expect("checked above");
        journal.begin(self, position, need, false);
        true
    }

    /// More bytes of the entry.
    pub(crate) fn extend(&self, bytes: &[u8]) {
        let mut state = self.journal.state.borrow_mut();
        let frame = state.open.as_mut().expect("an entry is begun");
        frame.buf[frame.len..][..bytes.len()].copy_from_slice(bytes);
        frame.len += bytes.len();
    }

    /// The entry is complete: it ends at position `end` of `owner`, which is told when it is
    /// durable.
    pub(crate) fn finish(&self, owner: &Rc<Appender>, end: u64) {
        let mut state = self.journal.state.borrow_mut();
        state.finish_entry();
        let frame = state.open.as_mut().expect("an entry was finished");
        match frame.owners.last_mut() {
            Some((last, at)) if Rc::ptr_eq(last, owner) => *at = end,
            _ => frame.owners.push((Rc::clone(owner), end)),
        }
        drop(state);
        self.journal.start();
    }
}

impl State {
    /// The frame that takes the next entry of `need` bytes.
    fn frame_for(&mut self, rt: &Rt, need: usize) -> &mut Frame {
        self.drop_unfinished();
        if let Some(full) = self.open.take_if(|open| open.len + need > FRAME_BYTES) {
            self.ready.push_back(full);
        }
        if self.open.is_none() {
            self.begun += 1;
        }
        let Self { open, spare, .. } = self;
        open.get_or_insert_with(|| Frame {
            buf: spare.pop().unwrap_or_else(|| rt.alloc(FRAME_BYTES)),
            len: FRAME_HEAD_BYTES,
            entries: 0,
            unfinished: None,
            owners: Vec::new(),
        })
    }

    /// Takes the memory of a frame back that was written.
    fn keep(&mut self, mut buf: DmaBuf) {
        if self.spare.len() < SPARE_MAX && !buf.is_shared() {
            self.spare.push(buf);
        }
    }

    fn finish_entry(&mut self) {
        let frame = self.open.as_mut().expect("an entry is begun");
        let at = frame.unfinished.take().expect("an entry is begun");
        let name_bytes = usize::from(frame.buf[at + 1]);
        let count = frame.len - at - format::ENTRY_HEAD_BYTES - name_bytes;
        format::set_data_bytes(&mut frame.buf[at..], count);
        frame.entries += 1;
    }

    /// The next frame to write.
    fn next_frame(&mut self) -> Option<Frame> {
        self.drop_unfinished();
        self.ready.pop_front().or_else(|| self.open.take_if(|open| open.entries > 0))
    }

    /// Takes the entry back of an append that was given up: those that are not come to their end
    /// before anybody else has a turn.
    fn drop_unfinished(&mut self) {
        if let Some(open) = &mut self.open
            && let Some(at) = open.unfinished.take()
        {
            open.len = at;
        }
    }
}

impl Company {
    /// Counts a log in, and answers how many there are.
    fn count(&mut self, now: Instant, window: &Cell<u64>) -> usize {
        if self.ends.is_none_or(|ends| now >= ends) {
            let recent = self.ends.is_some_and(|ends| now < ends + WINDOW);
            self.before = if recent { self.now } else { 0 };
            (self.now, self.ends) = (0, Some(now + WINDOW));
            self.window += 1;
        }
        if window.replace(self.window) != self.window {
            self.now += 1;
        }
        self.now.max(self.before)
    }
}

const PREFIX: &str = "odradek-core-";
const SUFFIX: &str = ".journal";
/// Largest frame: what is appended during one sync, mostly.
const FRAME_BYTES: usize = 256 << 10;
/// One is filled while one is written.
const SPARE_MAX: usize = 2;
/// What a log that went straight has at most under way when it turns to the journal: that is written
/// a second time.
const CATCH_UP_MAX: u64 = FRAME_BYTES as u64 * 7 / 16;
/// Full frames that wait for the device; more appends go straight to their files.
const READY_MAX: usize = 8;
/// A journal is made after one append for this many of its bytes: who writes little needs none.
const BYTES_PER_UNUSED: u64 = 64 << 10;
/// Smallest half: a few frames.
const HALF_BYTES_MIN: u64 = HEAD_BYTES as u64 + 4 * FRAME_BYTES as u64;
/// Time in which appends keep each other company.
const WINDOW: Duration = Duration::from_millis(100);
/// Age at which a half is cleaned, so that a start after a crash has little to replay, and logs
/// that are not appended to any more come to rest.
const HALF_AGE: Duration = Duration::from_secs(10);
