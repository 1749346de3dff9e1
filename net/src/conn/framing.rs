//! Where one frame ends and the next begins, and what arrived when it is no Kafka frame at all.
//!
//! A frame is a big-endian `i32` length and that many bytes. The four length bytes are also the
//! first bytes of whatever a lost client speaks, so an impossible length is looked at once more to
//! name the mistake: a TLS hello or an HTTP request on a plaintext listener are the usual ones.

use std::fmt;

/// What the bytes at the head of a connection's stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    /// Fewer than four bytes so far.
    Incomplete,
    /// A frame of this many bytes follows the prefix; at most the limit.
    Frame(usize),
}

/// The length prefix cannot belong to a Kafka request: the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadPrefix {
    /// The length is below zero.
    Negative(i32),
    /// The length is above `socket.request.max.bytes`.
    TooLarge { len: usize, max: usize },
    /// The peer speaks TLS to a plaintext listener.
    Tls,
    /// The peer speaks HTTP.
    Http,
    /// The peer speaks SSH.
    Ssh,
}

impl Prefix {
    /// Reads the prefix at the head of `bytes`; `max` is `socket.request.max.bytes`.
    pub(crate) fn read(bytes: &[u8], max: usize) -> Result<Self, BadPrefix> {
        let Some(prefix) = bytes.first_chunk::<4>() else {
            return Ok(Self::Incomplete);
        };
        let len = i32::from_be_bytes(*prefix);
        match usize::try_from(len) {
            Ok(len) if len <= max => Ok(Self::Frame(len)),
            Ok(len) => {
                Err(BadPrefix::recognise(prefix).unwrap_or(BadPrefix::TooLarge { len, max }))
            }
            Err(_) => Err(BadPrefix::Negative(len)),
        }
    }
}

impl BadPrefix {
    /// Every protocol below starts with a byte that makes the length exceed 352 MiB, so a real
    /// frame is mistaken for one of them only where the limit was raised that far, and then the
    /// length is inside the limit and this is not asked.
    fn recognise(prefix: &[u8; 4]) -> Option<Self> {
        match prefix {
            [0x16, 0x03, 0x00..=0x04, _] => Some(Self::Tls),
            b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" | b"DELE" | b"PATC" | b"CONN"
            | b"TRAC" | b"PRI " => Some(Self::Http),
            b"SSH-" => Some(Self::Ssh),
            _ => None,
        }
    }
}

impl fmt::Display for BadPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Negative(len) => write!(f, "a frame length of {len}; this is no Kafka client"),
            Self::TooLarge { len, max } => {
                write!(f, "a frame of {len} bytes, above socket.request.max.bytes = {max}")
            }
            Self::Tls => f.write_str(
                "a TLS hello on a plaintext listener; set security.protocol=PLAINTEXT in the client",
            ),
            Self::Http => f.write_str("an HTTP request on a Kafka listener; this port speaks the Kafka protocol"),
            Self::Ssh => f.write_str("an SSH greeting on a Kafka listener"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 100 << 20;

    #[test]
    fn a_prefix_needs_four_bytes() {
        for len in 0..4 {
            assert_eq!(Prefix::read(&[0xff; 4][..len], MAX), Ok(Prefix::Incomplete));
        }
        assert_eq!(Prefix::read(&[0, 0, 0, 7, 9], MAX), Ok(Prefix::Frame(7)));
        assert_eq!(Prefix::read(&[0, 0, 0, 0], MAX), Ok(Prefix::Frame(0)));
    }

    #[test]
    fn the_limit_is_inclusive() {
        let at = i32::try_from(MAX).expect("fits").to_be_bytes();
        assert_eq!(Prefix::read(&at, MAX), Ok(Prefix::Frame(MAX)));
        let above = i32::try_from(MAX + 1).expect("fits").to_be_bytes();
        assert_eq!(Prefix::read(&above, MAX), Err(BadPrefix::TooLarge { len: MAX + 1, max: MAX }));
        assert_eq!(Prefix::read(&(-2i32).to_be_bytes(), MAX), Err(BadPrefix::Negative(-2)));
    }

    #[test]
    fn foreign_protocols_are_named() {
        assert_eq!(Prefix::read(&[0x16, 3, 1, 2, 0], MAX), Err(BadPrefix::Tls));
        assert_eq!(Prefix::read(b"GET / HTTP/1.1\r\n", MAX), Err(BadPrefix::Http));
        assert_eq!(Prefix::read(b"PRI * HTTP/2.0\r\n", MAX), Err(BadPrefix::Http));
        assert_eq!(Prefix::read(b"SSH-2.0-OpenSSH_9.9\r\n", MAX), Err(BadPrefix::Ssh));
    }
}
