//! What a handler leaves behind: an answer, silence, or the end of the connection.

use engine::buf::Slice;
use smallvec::SmallVec;
use wire::writer::{Encoded, Piece};

use crate::conn::budget::Ticket;
use crate::conn::watch::Kinds;

/// The outcome of one request, seen from its connection.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A frame to send.
    Send(Response),
    /// No answer is expected (Produce with acks=0).
    Silent,
    /// The connection is closed after the answers before this one.
    Close(Refusal),
    /// The handler panicked with this message; the connection is closed.
    Panicked(String),
}

/// Why a request gets no answer but the end of its connection, as Kafka does it.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// The header or the body is not what its key and version promise.
    #[error("sent a request that cannot be read: {0}")]
    Malformed(#[from] wire::error::DecodeError),
    /// Longer than any request of its kind needs to be.
    #[error("sent a {api} of {len} bytes; at most {max} are taken")]
    TooLong { api: &'static str, len: usize, max: usize },
    /// An API that this listener does not serve.
    #[error("asked for API key {0}, which this listener does not serve")]
    UnknownApi(i16),
    /// A version outside the advertised range.
    #[error("asked for {api} version {version}; served are {min} to {max}")]
    UnsupportedVersion { api: &'static str, version: i16, min: i16, max: i16 },
    /// A Produce with acks=0 failed, and closing is the only way to say so.
    #[error("sent a Produce with acks=0 that failed: {0}")]
    Unacknowledged(String),
    /// The answer does not fit its version: a defect of this program.
    #[error("could not be answered: {0}")]
    Unanswerable(#[from] wire::error::EncodeError),
}

/// A response frame: the encoded head, and the slices that belong between its pieces.
#[derive(Debug, Default)]
pub(crate) struct Response {
    encoded: Encoded,
    records: Records,
    /// Bytes of the core's working memory.
    claimed: Option<Ticket>,
    /// Bytes of cache that the records keep from being reused.
    _pinned: Option<Ticket>,
}

/// Record bytes of one response. A token of the encoded head names one run of slices.
#[derive(Debug, Default)]
pub(crate) struct Records {
    slices: SmallVec<[Slice; 2]>,
    /// Where each run ends in `slices`.
    ends: SmallVec<[usize; 1]>,
}

impl Response {
    /// The frame in `encoded`, whose splices name runs of `records`.
    pub(crate) fn new(encoded: Encoded, records: Records) -> Self {
        Self { encoded, records, claimed: None, _pinned: None }
    }

    /// Charges memory to the response until it is sent: of what its request claimed, what it takes.
    pub(crate) fn charged(mut self, claimed: Option<Ticket>, pinned: Option<Ticket>) -> Self {
        self.claimed = claimed.map(|mut ticket| {
            ticket.resize(self.encoded.head.capacity());
            ticket
        });
        self._pinned = pinned;
        self
    }

    /// The kinds of memory that it keeps.
    pub(crate) fn keeps(&self) -> Kinds {
        Kinds {
            pinned: !self.records.slices.is_empty(),
            working: self.claimed.is_some(),
            ..Kinds::default()
        }
    }

    /// Bytes on the wire, the length prefix included.
    pub(crate) fn len(&self) -> usize {
        self.encoded.len()
    }

    /// The frame's bytes in order, without copying any.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.encoded.pieces().flat_map(|piece| {
            let (head, run) = match piece {
                Piece::Head(bytes) => (Some(bytes), &[][..]),
                Piece::Splice(splice) => (None, self.records.run(splice.token)),
            };
            head.into_iter().chain(run.iter().map(|slice| &**slice))
        })
    }

    /// The spent buffers, for the next response.
    pub(crate) fn into_spent(self) -> Encoded {
        self.encoded
    }
}

impl Records {
    /// Adds a run of slices and returns its token and length in bytes.
    pub(crate) fn push(&mut self, run: impl IntoIterator<Item = Slice>) -> (u32, u32) {
        let start = self.slices.len();
        self.slices.extend(run);
        self.ends.push(self.slices.len());
        let len: usize = self.slices[start..].iter().map(|slice| slice.len()).sum();
        let token = self.ends.len() - 1;
        (
            u32::try_from(token).expect("a response has fewer runs than bytes"),
            u32::try_from(len).expect("a read is bounded by an i32 of bytes"),
        )
    }

    /// Bytes of cache that the slices keep in memory.
    pub(crate) fn pinned_bytes(&self) -> usize {
        self.slices.iter().map(Slice::region_bytes).sum()
    }

    /// Copies out of the caches what keeps much more of them than it is long, unless all together
    /// keep no more than `bytes_max`.
    pub(crate) fn relieve(&mut self, bytes_max: usize) {
        if self.pinned_bytes() <= bytes_max {
            return;
        }
        for slice in &mut self.slices {
            if slice.len() <= slice.region_bytes() / WORTH_COPYING {
                *slice = Slice::from_vec(slice.to_vec());
            }
        }
    }

    fn run(&self, token: u32) -> &[Slice] {
        let token = token as usize;
        let start = token.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.slices[start..self.ends[token]]
    }
}

/// A slice is copied where it is so much shorter than what it keeps.
const WORTH_COPYING: usize = 4;

#[cfg(test)]
mod tests {
    use wire::writer::Writer;

    use super::*;

    #[test]
    fn pieces_interleave_head_and_records() {
        let mut records = Records::default();
        let (first, len) =
            records.push([Slice::from_vec(b"ab".to_vec()), Slice::from_vec(b"c".to_vec())]);
        assert_eq!(len, 3);
        let (second, _) = records.push([Slice::from_vec(b"xyz".to_vec())]);
        let mut writer = Writer::new();
        writer.bytes(b"<");
        writer.splice(first, 3);
        writer.bytes(b"|");
        writer.splice(second, 3);
        writer.bytes(b">");
        let response = Response::new(writer.finish(), records);
        assert_eq!(response.pieces().collect::<Vec<_>>().concat(), b"<abc|xyz>");
        assert_eq!(response.len(), 9);
    }

    #[test]
    fn short_slices_of_long_regions_are_copied_when_they_keep_too_much() {
        let region = Slice::from_vec(vec![7; 1000]);
        let mut records = Records::default();
        let (token, _) = records.push([region.slice(..10), region.slice(10..800)]);
        assert_eq!(records.pinned_bytes(), 2000);
        records.relieve(2000);
        assert_eq!(records.pinned_bytes(), 2000);
        records.relieve(1999);
        assert_eq!(records.pinned_bytes(), 1010);
        let bytes: Vec<u8> = records.run(token).iter().flat_map(|slice| slice.to_vec()).collect();
        assert_eq!(bytes, vec![7; 800]);
    }
}
