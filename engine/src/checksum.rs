//! Checksums: CRC-32C for everything that Kafka's formats cover, CRC-32 for our own blocks.
//!
//! Two polynomials on purpose: a block that passes the sidecar's CRC-32 and a batch that passes
//! its CRC-32C cannot both be fooled by one weakness of one code.

/// CRC-32C (Castagnoli) of `bytes`, as record batches and producer snapshots carry it.
#[inline]
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// Continues `seed`, the CRC-32C of what came before, over `bytes`; 0 starts anew.
#[inline]
#[must_use]
pub fn crc32c_append(seed: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(seed, bytes)
}

/// The CRC-32C of `a ++ b` from the CRC-32C of each and the length of `b`.
///
/// Lets a changed header take a new checksum without reading its payload again.
#[inline]
#[must_use]
pub fn crc32c_combine(a: u32, b: u32, b_len: usize) -> u32 {
    crc32c::crc32c_combine(a, b, b_len)
}

/// Copies `src` to `dst` and continues `seed` over it, reading memory once: each strip is summed
/// right after it was copied, while the nearest cache still holds it.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn copy_crc32c(dst: &mut [u8], src: &[u8], seed: u32) -> u32 {
    assert_eq!(dst.len(), src.len(), "a copy needs equal lengths");
    let mut crc = seed;
    for (to, from) in dst.chunks_mut(STRIP_BYTES).zip(src.chunks(STRIP_BYTES)) {
        to.copy_from_slice(from);
        crc = crc32c::crc32c_append(crc, from);
    }
    crc
}

/// CRC-32 (IEEE) of one block, as the sidecar keeps it per block of a segment file.
#[inline]
#[must_use]
pub fn block_crc32(block: &[u8]) -> u32 {
    crc32fast::hash(block)
}

/// Well inside the second-level cache, mostly inside the first, and a whole number of the
/// three-lane steps (3 × 8 KiB) in which the CRC instruction reaches its full rate.
const STRIP_BYTES: usize = 24 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomials_are_the_right_ones() {
        // The check values of the two codes' catalogue entries.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(block_crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn copy_equals_sum_and_copy() {
        let src: Vec<u8> =
            (0..70_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for len in [0, 1, 7, 8, 63, STRIP_BYTES - 1, STRIP_BYTES, STRIP_BYTES + 1, 70_000] {
            for start in [0, 1, 3] {
                let src = &src[start.min(len)..len];
                let mut dst = vec![0xAA; src.len()];
                let crc = copy_crc32c(&mut dst, src, 77);
                assert_eq!(dst, src);
                assert_eq!(crc, crc32c_append(77, src), "{start}..{len}");
            }
        }
    }

    #[test]
    fn parts_combine() {
        let (a, b) = (b"head".as_slice(), b"and a payload".as_slice());
        let whole = [a, b].concat();
        assert_eq!(crc32c_combine(crc32c(a), crc32c(b), b.len()), crc32c(&whole));
        assert_eq!(crc32c_append(crc32c(a), b), crc32c(&whole));
    }
}
