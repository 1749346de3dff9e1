//! Frames: a big-endian i32 length, then that many bytes.
//!
//! A receive buffer holds any number of whole frames and the beginning of one more:
//!
//! ```
//! use wire::frame::{Frame, next};
//!
//! let received = b"\0\0\0\x02hi\0\0\0\x05hel";
//! let (mut at, mut frames) = (0, Vec::new());
//! let needed = loop {
//!     match next(&received[at..], 1024).unwrap() {
//!         Frame::Whole { body, total } => {
//!             frames.push(&received[at..][body]);
//!             at += total;
//!         }
//!         Frame::Partial { missing } => break missing,
//!     }
//! };
//! assert_eq!((frames, needed), (vec![&b"hi"[..]], 2));
//! ```

use std::ops::Range;

/// The frame at the start of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// All of it is there.
    Whole {
        /// Where its content is, from the start of the buffer.
        body: Range<usize>,
        /// Bytes of the buffer it takes, prefix included.
        total: usize,
    },
    /// At least `missing` more bytes are needed: the rest of the prefix, or of the frame.
    Partial {
        /// Never 0.
        missing: usize,
    },
}

/// The peer's length prefix cannot be served; the connection is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A length below zero.
    #[error("frame length {0} is negative")]
    Negative(i32),
    /// A length over `socket.request.max.bytes`.
    #[error("frame of {len} bytes is over the limit of {limit}")]
    TooLarge {
        /// The declared length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

/// Looks at the start of `buffer`. `limit` is the most bytes a frame's content may have.
pub fn next(buffer: &[u8], limit: usize) -> Result<Frame, FrameError> {
    let Some((prefix, content)) = buffer.split_first_chunk::<PREFIX_LEN>() else {
        return Ok(Frame::Partial { missing: PREFIX_LEN - buffer.len() });
    };
    let declared = i32::from_be_bytes(*prefix);
    let len = usize::try_from(declared).map_err(|_| FrameError::Negative(declared))?;
    if len > limit {
        return Err(FrameError::TooLarge { len, limit });
    }
    let total = PREFIX_LEN + len;
    Ok(match len.checked_sub(content.len()) {
        Some(missing) if missing > 0 => Frame::Partial { missing },
        _ => Frame::Whole { body: PREFIX_LEN..total, total },
    })
}

/// Bytes of the length prefix.
pub const PREFIX_LEN: usize = size_of::<i32>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_frames_say_what_is_missing() {
        assert_eq!(next(b"", 9), Ok(Frame::Partial { missing: 4 }));
        assert_eq!(next(b"\0\0\0", 9), Ok(Frame::Partial { missing: 1 }));
        assert_eq!(next(b"\0\0\0\x09abc", 9), Ok(Frame::Partial { missing: 6 }));
        assert_eq!(next(b"\0\0\0\0", 9), Ok(Frame::Whole { body: 4..4, total: 4 }));
        assert_eq!(next(b"\0\0\0\x01ab", 9), Ok(Frame::Whole { body: 4..5, total: 5 }));
    }

    #[test]
    fn bad_lengths_are_refused_before_their_bytes_come() {
        assert_eq!(next(b"\xff\xff\xff\xff", 9), Err(FrameError::Negative(-1)));
        assert_eq!(next(b"\0\0\0\x0a", 9), Err(FrameError::TooLarge { len: 10, limit: 9 }));
    }
}
