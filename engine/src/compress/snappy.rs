//! Snappy in its two shapes: raw, as librdkafka and Go write it, and in snappy-java's framing.
//!
//! Framing: 16 bytes of header (8 of magic, version, oldest compatible version), then blocks of
//! {i32 length, raw snappy}. A header may come again where a length is due: streams may be
//! concatenated. snappy-java reads raw payloads too, so both shapes are understood everywhere;
//! we write the framed one, as Kafka's broker does.

use super::{Refusal, broken};

pub(super) fn decompress(payload: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut decoder = snap::raw::Decoder::new();
    if !payload.starts_with(MAGIC) {
        return block(&mut decoder, payload, limit, out);
    }
    let mut rest = payload;
    while !rest.is_empty() {
        if rest.starts_with(MAGIC) {
            rest = header(rest)?;
            continue;
        }
        let (len, after) = rest.split_first_chunk().ok_or_else(|| broken("cut inside a length"))?;
        let len = usize::try_from(i32::from_be_bytes(*len));
        let len = len.map_err(|_| broken("negative block length"))?;
        let (raw, after) =
            after.split_at_checked(len).ok_or_else(|| broken("cut inside a block"))?;
        block(&mut decoder, raw, limit, out)?;
        rest = after;
    }
    Ok(())
}

pub(super) fn compress(payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    let mut scratch = vec![0; snap::raw::max_compress_len(BLOCK_BYTES.min(payload.len()))];
    for plain in payload.chunks(BLOCK_BYTES) {
        let len = encoder.compress(plain, &mut scratch).expect("the scratch holds the worst case");
        let prefix = i32::try_from(len).expect("a block is far below 2 GiB");
        out.extend_from_slice(&prefix.to_be_bytes());
        out.extend_from_slice(&scratch[..len]);
    }
}

/// Appends one raw block to `out`, which may hold `limit` bytes in all.
fn block(
    decoder: &mut snap::raw::Decoder,
    raw: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let invalid =
        |error| Refusal::Broken(std::io::Error::new(std::io::ErrorKind::InvalidData, error));
    let plain_len = snap::raw::decompress_len(raw).map_err(invalid)?;
    if plain_len > limit - out.len() {
        return Err(Refusal::TooLarge);
    }
    // Checked before memory is taken for a length that the bytes cannot fill.
    if plain_len / EXPANSION_MAX > raw.len() {
        return Err(broken("its length is beyond what its bytes can yield"));
    }
    let start = out.len();
    out.resize(start + plain_len, 0);
    let written = decoder.decompress(raw, &mut out[start..]).map_err(invalid)?;
    out.truncate(start + written);
    Ok(())
}

/// Checks a stream header and returns what follows it.
fn header(stream: &[u8]) -> Result<&[u8], Refusal> {
    let (header, rest) =
        stream.split_first_chunk::<16>().ok_or_else(|| broken("cut inside the header"))?;
    let (_, compatible) = header.split_last_chunk::<4>().expect("16 bytes have a last 4");
    if i32::from_be_bytes(*compatible) > VERSION {
        return Err(broken("framing is of a newer version"));
    }
    Ok(rest)
}

const MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

/// Version and oldest compatible version that snappy-java writes.
const VERSION: i32 = 1;

/// snappy-java's block size.
const BLOCK_BYTES: usize = 32 * 1024;

/// The densest element of the format, a copy of 64 bytes, takes three bytes.
const EXPANSION_MAX: usize = 22;
