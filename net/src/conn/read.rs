//! From the socket to frames: which memory holds what a peer has sent so far.
//!
//! ```text
//! idle         256 bytes inside the connection; a frame that fits is copied out of them
//! small        a pooled buffer of 4 to 64 KiB, many frames per receive; each frame is a slice of it
//! large        a frame above 64 KiB: its first 64 KiB, then proof that more comes, then a ticket
//!              for its full size from the core's budget, then a buffer of that size
//! ```
//!
//! A length prefix alone buys nothing: a peer holds memory in step with what it has sent, and full
//! size only while bytes keep coming ([`super::watch`] takes it away otherwise). A connection that
//! has completed a large frame before gets the next one's buffer at once when the budget has room,
//! which saves copying the first 64 KiB.

use std::fmt;
use std::io;
use std::rc::Rc;

use engine::buf::{FrameBuf, FramePool, Slice};
use engine::rt::Stream;

use super::budget::{Budget, Ticket};
use super::framing::{BadPrefix, Prefix};
use super::watch::{Activity, Kinds, Watch};

/// Where the memory for frames comes from, on one core.
pub(crate) struct Memory {
    /// The buffers themselves.
    pub(crate) pool: FramePool,
    /// Bytes of buffers that connections fill with small frames.
    pub(crate) filling: Rc<Budget>,
    /// Bytes of small frames whose requests are being served.
    pub(crate) serving: Rc<Budget>,
    /// Bytes of buffers for the first 64 KiB of larger frames. Apart from `filling`, so that large
    /// frames in line cannot keep small ones out.
    pub(crate) probing: Rc<Budget>,
    /// Bytes of frames above [`SMALL_MAX`], from their ticket until they are answered.
    pub(crate) large: Rc<Budget>,
    /// `socket.request.max.bytes`.
    pub(crate) frame_bytes_max: usize,
}

/// One frame without its length prefix, and what it holds of the core's memory.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Header and body; once the request is read, the body.
    pub(crate) bytes: Slice,
    /// None for a small frame that has not asked yet.
    pub(crate) ticket: Option<Ticket>,
}

/// Why a receive brought nothing.
#[derive(Debug)]
pub(crate) enum ReadEnd {
    /// The peer has closed its direction.
    Closed,
    /// The connection is broken.
    Broken(io::Error),
}

/// The receiving half of a connection.
pub(crate) struct Reader {
    stream: Stream,
    memory: Rc<Memory>,
    inline: [u8; INLINE],
    inline_len: usize,
    buf: Option<Filling>,
    /// Size of the next buffer for small frames; follows the traffic.
    next_size: usize,
    /// A large frame arrived whole before.
    proven: bool,
}

/// A buffer, how much of it is filled, and its ticket.
struct Filling {
    bytes: FrameBuf,
    len: usize,
    ticket: Ticket,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Frames up to [`SMALL_MAX`].
    Small,
    /// The first [`SMALL_MAX`] bytes of a larger frame.
    Probing,
    /// All of a larger frame.
    Large,
}

impl Reader {
    /// A reader that starts with bytes received before, on another core.
    pub(crate) fn new(stream: Stream, memory: Rc<Memory>, unread: &[u8]) -> Self {
        let mut reader = Self {
            stream,
            memory,
            inline: [0; INLINE],
            inline_len: 0,
            buf: None,
            next_size: SMALL_MIN,
            proven: false,
        };
        reader.inline[..unread.len()].copy_from_slice(unread);
        reader.inline_len = unread.len();
        reader
    }

    /// The next whole frame, if it has arrived.
    pub(crate) fn frame(&mut self) -> Result<Option<Frame>, BadPrefix> {
        let Prefix::Frame(len) = Prefix::read(self.pending(), self.memory.frame_bytes_max)? else {
            return Ok(None);
        };
        let whole = PREFIX + len;
        if self.pending().len() < whole {
            return Ok(None);
        }
        let Some(buf) = &mut self.buf else {
            let mut copy = self.memory.pool.take(len);
            copy[..len].copy_from_slice(&self.inline[PREFIX..whole]);
            self.inline.copy_within(whole..self.inline_len, 0);
            self.inline_len -= whole;
            return Ok(Some(Frame { bytes: copy.split_to(len), ticket: None }));
        };
        let _prefix = buf.bytes.split_to(PREFIX);
        let bytes = buf.bytes.split_to(len);
        buf.len -= whole;
        let ticket = if buf.kind == Kind::Large {
            self.proven = true;
            assert_eq!(buf.len, 0, "a large buffer is filled with one frame");
            self.buf.take().map(|buf| buf.ticket)
        } else {
            None
        };
        Ok(Some(Frame { bytes, ticket }))
    }

    /// Bytes received that are not handed out as frames yet.
    pub(crate) fn pending(&self) -> &[u8] {
        match &self.buf {
            Some(buf) => &buf.bytes[..buf.len],
            None => &self.inline[..self.inline_len],
        }
    }

    /// Whether a receive now has a point and would need no more memory than is already held. Where
    /// a whole frame is pending there is none: its request would not be seen until bytes come that
    /// the peer may not send before that is answered.
    pub(crate) fn has_room(&self) -> bool {
        if self.missing() == Some(0) {
            return false;
        }
        match &self.buf {
            // Buffers come in powers of two, but a large one takes its own frame only.
            Some(buf) if buf.kind == Kind::Large => true,
            Some(buf) => buf.len < buf.bytes.len(),
            None => self.inline_len < INLINE,
        }
    }

    /// The kind of memory that it keeps now.
    pub(crate) fn keeps(&self) -> Kinds {
        match self.buf.as_ref().map(|buf| buf.kind) {
            None => Kinds::default(),
            Some(Kind::Small) => Kinds { filling: true, ..Kinds::default() },
            Some(Kind::Probing) => Kinds { probing: true, ..Kinds::default() },
            Some(Kind::Large) => Kinds { large: true, ..Kinds::default() },
        }
    }

    /// Gives the pooled buffer back if nothing is in it.
    pub(crate) fn rest(&mut self) {
        if self.buf.as_ref().is_some_and(|buf| buf.len == 0) {
            self.buf = None;
            self.next_size = SMALL_MIN;
        }
    }

    /// Whether what was received beyond the last frame is little enough to be carried along.
    pub(crate) fn is_portable(&self) -> bool {
        self.pending().len() <= INLINE
    }

    /// The socket and what was received beyond the last frame, for another core.
    pub(crate) fn into_parts(self) -> (Stream, Vec<u8>) {
        assert!(self.is_portable(), "the caller asked before");
        let unread = self.pending().to_vec();
        (self.stream, unread)
    }

    /// Receives at least one byte, getting memory first where the frame at the head needs it, and
    /// hands the reader back with the outcome: whether bytes came, or none because the watch
    /// interrupted the wait.
    pub(crate) async fn fill(mut self, watch: Rc<Watch>) -> (Self, Result<bool, ReadEnd>) {
        let outcome = self.fill_in_place(&watch).await;
        watch.enter(Activity::Paused);
        (self, outcome)
    }

    async fn fill_in_place(&mut self, watch: &Watch) -> Result<bool, ReadEnd> {
        let proof = self.make_room(watch).await?;
        if let (Some(byte), Some(buf)) = (proof, &mut self.buf) {
            buf.bytes[buf.len] = byte;
            buf.len += 1;
        }
        let missing = self.missing();
        watch.enter(match &self.buf {
            _ if self.pending().is_empty() => Activity::Idle,
            None => Activity::Inline,
            Some(buf) => match buf.kind {
                Kind::Small => Activity::Filling,
                Kind::Probing => Activity::Probing,
                Kind::Large => Activity::Large,
            },
        });
        let space = match &mut self.buf {
            // Its memory goes to the frame whole, and what follows it begins anew in another buffer.
            Some(buf) if buf.kind == Kind::Large => {
                let missing = missing.expect("a large buffer begins with a frame's length");
                &mut buf.bytes[buf.len..][..missing]
            }
            Some(buf) => &mut buf.bytes[buf.len..],
            None => &mut self.inline[self.inline_len..],
        };
        let space_len = space.len();
        assert!(space_len > 0, "a receive of nothing would look like the peer's end");
        let receive = async {
            match missing {
                Some(missing) if missing > HINT_MIN => {
                    let expect = missing.min(space_len);
                    self.stream.recv_hint(&mut space[..expect], expect).await
                }
                _ => self.stream.recv(space).await,
            }
        };
        let received = match watch.unless_interrupted(receive).await {
            Some(received) => received.map_err(ReadEnd::Broken)?,
            None => return Ok(false),
        };
        if received == 0 {
            return Err(ReadEnd::Closed);
        }
        watch.received(received);
        match &mut self.buf {
            Some(buf) => buf.len += received,
            None => self.inline_len += received,
        }
        if received == space_len && self.next_size < SMALL_MAX {
            self.next_size *= 4;
        }
        Ok(true)
    }

    /// Bytes that the frame at the head lacks, once its length is known.
    fn missing(&self) -> Option<usize> {
        let pending = self.pending();
        match Prefix::read(pending, self.memory.frame_bytes_max) {
            Ok(Prefix::Frame(len)) => Some((PREFIX + len).saturating_sub(pending.len())),
            _ => None,
        }
    }

    /// After this there is room for at least one byte. Returns the byte that was received to see
    /// whether more comes, if there was need for that.
    async fn make_room(&mut self, watch: &Watch) -> Result<Option<u8>, ReadEnd> {
        let held = self.pending().len();
        let whole = self.missing().map_or(PREFIX, |missing| held + missing);
        let room = match &self.buf {
            Some(buf) => buf.bytes.len(),
            None => INLINE,
        };
        let nearly_full = self.buf.as_ref().is_some_and(|buf| {
            let few = buf.bytes.capacity() / 4;
            buf.kind == Kind::Small && held < few && room - held < few
        });
        if held < room && (whole <= room || whole > SMALL_MAX) && !nearly_full {
            return Ok(None);
        }
        if whole <= SMALL_MAX {
            self.make_room_small(whole, watch).await;
            return Ok(None);
        }
        if self.proven
            && let Some(ticket) = self.memory.large.try_acquire(whole)
        {
            self.replace(whole, ticket, Kind::Large);
            return Ok(None);
        }
        if held < SMALL_MAX {
            watch.enter(self.in_line());
            let ticket = self.memory.probing.acquire(SMALL_MAX).await;
            self.replace(SMALL_MAX, ticket, Kind::Probing);
            return Ok(None);
        }
        let mut proof = [0];
        watch.enter(Activity::Probing);
        if self.stream.recv(&mut proof).await.map_err(ReadEnd::Broken)? == 0 {
            return Err(ReadEnd::Closed);
        }
        watch.received(proof.len());
        watch.enter(Activity::InLine);
        let ticket = self.memory.large.acquire(whole).await;
        self.replace(whole, ticket, Kind::Large);
        Ok(Some(proof[0]))
    }

    /// Moves what is pending into a buffer for small frames, the one at the head being `whole`
    /// bytes long. The ticket goes over to the new buffer: the old one's memory belongs to the
    /// frames cut from it, which are charged for it while they are served.
    async fn make_room_small(&mut self, whole: usize, watch: &Watch) {
        let least = whole.max(SMALL_MIN).next_power_of_two();
        let held =
            self.buf.as_ref().filter(|buf| buf.kind == Kind::Small).map(|buf| buf.ticket.bytes());
        let wanted = least.max(self.next_size);
        if held != Some(wanted)
            && let Some(ticket) = self.memory.filling.try_acquire(wanted)
        {
            return self.replace(wanted, ticket, Kind::Small);
        }
        if held.is_some_and(|held| held >= least) {
            let old = self.buf.take().expect("it is held");
            let mut bytes = self.memory.pool.take(old.ticket.bytes());
            bytes[..old.len].copy_from_slice(&old.bytes[..old.len]);
            self.buf = Some(Filling { bytes, ..old });
            return;
        }
        watch.enter(self.in_line());
        let ticket = self.memory.filling.acquire(least).await;
        self.replace(least, ticket, Kind::Small);
    }

    fn in_line(&self) -> Activity {
        if self.buf.is_some() { Activity::InLineHolding } else { Activity::InLine }
    }

    fn replace(&mut self, size: usize, ticket: Ticket, kind: Kind) {
        let mut bytes = self.memory.pool.take(size);
        let len = self.pending().len();
        bytes[..len].copy_from_slice(self.pending());
        self.inline_len = 0;
        self.buf = Some(Filling { bytes, len, ticket, kind });
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("pending", &self.pending().len()).finish_non_exhaustive()
    }
}

/// Bytes of the length prefix.
const PREFIX: usize = size_of::<i32>();
/// What an idle connection can receive without a pooled buffer; most requests of idle clients
/// (ApiVersions, Metadata, Heartbeat) fit.
const INLINE: usize = 256;
/// Smallest pooled buffer: a page.
const SMALL_MIN: usize = 4 << 10;
/// Largest buffer for small frames, and what a larger frame gets without a ticket.
const SMALL_MAX: usize = 64 << 10;
/// Bytes missing from which the socket is told not to wake for less.
const HINT_MIN: usize = 64 << 10;
