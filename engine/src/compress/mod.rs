//! The five codecs of Kafka's record batches, as its own clients and librdkafka write them.
//!
//! Everything here works on whole payloads: a batch is bounded by `max.message.bytes`, and what
//! it opens to by the caller's limit. Decompression grows its output in steps and stops at the
//! limit, so a bomb costs at most the limit plus a codec's fixed state (gzip 48 KiB, lz4 two
//! blocks of at most 4 MiB, zstd 160 KiB; a zstd window never costs anything, because the output
//! itself is the window).
//!
//! A [`Codecs`] keeps the reusable state; one per core is enough.

mod lz4;
mod snappy;
mod zstd;

use std::fmt;
use std::io::{self, Read, Write};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// How the records of a batch are compressed: bits 0–2 of its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Not at all.
    None = 0,
    /// RFC 1952, one or more members.
    Gzip = 1,
    /// Raw, or in the framing of snappy-java ("Xerial").
    Snappy = 2,
    /// LZ4 frame.
    Lz4 = 3,
    /// Zstandard (KIP-110).
    Zstd = 4,
}

impl Codec {
    /// Every codec, in the order of their ids.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec with this id, if there is one.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// The id in a batch's attributes.
    #[must_use]
    pub fn id(self) -> u8 {
        self as u8
    }

    /// Kafka's name: what `compression.type` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Levels that Kafka's configuration accepts (KIP-390); `None` for codecs without levels.
    /// Gzip also takes −1, its default.
    #[must_use]
    pub fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Self::None | Self::Snappy => None,
            Self::Gzip => Some(1..=9),
            Self::Lz4 => Some(1..=17),
            Self::Zstd => Some(-131_072..=22),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(name: &str) -> Result<Self, UnknownCodec> {
        let codec = Self::ALL.into_iter().find(|codec| codec.name() == name);
        codec.ok_or_else(|| UnknownCodec(name.to_owned()))
    }
}

/// There is no codec of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression {0:?}: none, gzip, snappy, lz4 or zstd")]
pub struct UnknownCodec(pub String);

/// What to compress to: a codec and how hard it tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    codec: Codec,
    /// `None` = the codec's default.
    level: Option<i32>,
}

impl Compression {
    /// `codec` at its default level.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self { codec, level: None }
    }

    /// `codec` at `level`. The lz4 encoder knows one strength and takes every level as that.
    ///
    /// # Errors
    /// When Kafka's range for the codec does not hold `level`, or the codec has no levels.
    pub fn with_level(codec: Codec, level: i32) -> Result<Self, LevelError> {
        let default = codec == Codec::Gzip && level == -1;
        match codec.levels() {
            _ if default => Ok(Self::new(codec)),
            Some(range) if range.contains(&level) => Ok(Self { codec, level: Some(level) }),
            range => Err(LevelError { codec, level, range }),
        }
    }

    /// The codec.
    #[must_use]
    pub fn codec(self) -> Codec {
        self.codec
    }
}

/// A compression level outside the codec's range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{codec} does not support compression level {level} (range {range:?})")]
pub struct LevelError {
    /// The codec asked for.
    pub codec: Codec,
    /// The level asked for.
    pub level: i32,
    /// What it would take; `None` when the codec has no levels.
    pub range: Option<RangeInclusive<i32>>,
}

/// Why a payload could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecompressError {
    /// The payload opens to more than the caller allows; how much more is not known.
    #[error("{codec} payload opens to more than {limit} bytes")]
    TooLarge {
        /// How it was compressed.
        codec: Codec,
        /// Bytes allowed.
        limit: usize,
    },
    /// The payload is not what its codec writes.
    #[error("{codec} payload is broken: {reason}")]
    Broken {
        /// How it was said to be compressed.
        codec: Codec,
        /// The decoder's complaint.
        reason: io::Error,
    },
}

/// Reusable codec state: contexts that are dear to build. Owned by one core.
#[derive(Default)]
pub struct Codecs {
    zstd: zstd::Contexts,
}

impl Codecs {
    /// Replaces `out` by what `payload` opens to, at most `limit` bytes.
    ///
    /// # Errors
    /// [`DecompressError`]; `out` is empty then.
    pub fn decompress(
        &mut self,
        codec: Codec,
        payload: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), DecompressError> {
        out.clear();
        let outcome = match codec {
            Codec::None => read_bounded(payload, limit, out),
            Codec::Gzip => read_bounded(flate2::bufread::MultiGzDecoder::new(payload), limit, out),
            Codec::Snappy => snappy::decompress(payload, limit, out),
            Codec::Lz4 => read_bounded(lz4_flex::frame::FrameDecoder::new(payload), limit, out),
            Codec::Zstd => self.zstd.decompress(payload, limit, out),
        };
        outcome.map_err(|refusal| {
            out.clear();
            match refusal {
                Refusal::TooLarge => DecompressError::TooLarge { codec, limit },
                Refusal::Broken(reason) => DecompressError::Broken { codec, reason },
            }
        })
    }

    /// Appends the compressed form of `payload` to `out`.
    pub fn compress(&mut self, to: Compression, payload: &[u8], out: &mut Vec<u8>) {
        match to.codec {
            Codec::None => out.extend_from_slice(payload),
            Codec::Gzip => {
                let level = to.level.and_then(|level| u32::try_from(level).ok());
                let level = level.map_or_else(Default::default, flate2::Compression::new);
                let mut encoder = flate2::write::GzEncoder::new(out, level);
                let written = encoder.write_all(payload).and_then(|()| encoder.try_finish());
                written.expect("a Vec takes every byte");
            }
            Codec::Snappy => snappy::compress(payload, out),
            Codec::Lz4 => lz4::compress(payload, out),
            Codec::Zstd => self.zstd.compress(to.level, payload, out),
        }
    }
}

impl fmt::Debug for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codecs").finish_non_exhaustive()
    }
}

/// What the codecs below answer; their caller knows codec and limit.
#[derive(Debug)]
enum Refusal {
    TooLarge,
    Broken(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

fn broken(reason: &'static str) -> Refusal {
    Refusal::Broken(io::Error::new(io::ErrorKind::InvalidData, reason))
}

/// Appends what `source` yields until its end, growing `out` in doublings that never pass
/// `limit`; one byte more than the limit is a refusal.
fn read_bounded(mut source: impl Read, limit: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut filled = 0;
    loop {
        if filled == out.len() {
            if filled == limit {
                let more = source.read(&mut [0])?;
                return if more == 0 { Ok(()) } else { Err(Refusal::TooLarge) };
            }
            let grown = (filled * 2).max(FIRST_STEP_BYTES).min(limit);
            out.reserve_exact(grown - filled);
            out.resize(grown, 0);
        }
        match source.read(&mut out[filled..])? {
            0 => {
                out.truncate(filled);
                return Ok(());
            }
            read => filled += read,
        }
    }
}

/// Where the output starts to grow from: the size of a typical producer's batch.
const FIRST_STEP_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests;
