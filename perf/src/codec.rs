//! The codecs of record batches, as Kafka's attribute bits number them.

use std::io::{Read, Write};

use anyhow::{Result, bail};

use crate::workload::Codec;

/// Compresses the records of a batch.
pub(crate) fn compress(codec: Codec, records: &[u8]) -> Result<Vec<u8>> {
    Ok(match codec {
        Codec::None => records.to_vec(),
        Codec::Gzip => {
            let level = flate2::Compression::default();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(records)?;
            encoder.finish()?
        }
        // The plain block, as librdkafka sends it, not the Java library's chunks.
        Codec::Snappy => snap::raw::Encoder::new().compress_vec(records)?,
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(records)?;
            encoder.finish()?
        }
        Codec::Zstd => zstd::bulk::compress(records, zstd::DEFAULT_COMPRESSION_LEVEL)?,
    })
}

/// Undoes [`compress`].
pub(crate) fn decompress(codec: Codec, stored: &[u8]) -> Result<Vec<u8>> {
    let mut records = Vec::new();
    match codec {
        Codec::None => records.extend_from_slice(stored),
        Codec::Gzip => {
            flate2::read::GzDecoder::new(stored).take(RECORDS_MAX).read_to_end(&mut records)?;
        }
        Codec::Snappy => records = snap::raw::Decoder::new().decompress_vec(stored)?,
        Codec::Lz4 => {
            lz4_flex::frame::FrameDecoder::new(stored)
                .take(RECORDS_MAX)
                .read_to_end(&mut records)?;
        }
        Codec::Zstd => {
            zstd::Decoder::new(stored)?.take(RECORDS_MAX).read_to_end(&mut records)?;
        }
    }
    Ok(records)
}

/// The codec's bits in a batch's attributes.
pub(crate) fn attribute(codec: Codec) -> i16 {
    match codec {
        Codec::None => 0,
        Codec::Gzip => 1,
        Codec::Snappy => 2,
        Codec::Lz4 => 3,
        Codec::Zstd => 4,
    }
}

/// The codec that attributes name.
pub(crate) fn of_attribute(attributes: i16) -> Result<Codec> {
    Ok(match attributes & ATTRIBUTE_MASK {
        0 => Codec::None,
        1 => Codec::Gzip,
        2 => Codec::Snappy,
        3 => Codec::Lz4,
        4 => Codec::Zstd,
        other => bail!("codec {other} is unknown"),
    })
}

/// The bits of the attributes that name the codec.
pub(crate) const ATTRIBUTE_MASK: i16 = 7;

/// More than any batch this crate writes holds.
const RECORDS_MAX: u64 = 1 << 30;
