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

/// What a run of bytes of a known length does to the checksum of whatever stands before it.
///
/// Lets a changed header take a new checksum without reading its payload again: making one costs
/// a few hundred nanoseconds whatever the length, using it a few tens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// x^(8 · length) modulo the polynomial, bits reflected.
    power: u32,
}

impl Behind {
    /// The effect of `len` bytes.
    #[must_use]
    pub fn of(len: usize) -> Self {
        let mut power = X_TO_0;
        let (mut rest, mut exponent) = (len, 3_usize);
        while rest != 0 {
            if rest & 1 == 1 {
                power = multiply(X_TO_2_TO[exponent % 31], power);
            }
            rest >>= 1;
            exponent += 1;
        }
        Self { power }
    }

    /// The CRC-32C of `a ++ b` from those of `a` and `b`, where `b` has this length.
    #[must_use]
    pub fn combine(self, a: u32, b: u32) -> u32 {
        multiply(self.power, a) ^ b
    }
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

/// `a · b` modulo the polynomial of CRC-32C; bit 31 is x⁰.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let (mut product, mut bit) = (0, X_TO_0);
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        bit >>= 1;
        b = (b >> 1) ^ (POLYNOMIAL & (b & 1).wrapping_neg());
    }
    product
}

const fn powers() -> [u32; 31] {
    let mut powers = [X_TO_0 >> 1; 31];
    let mut exponent = 1;
    while exponent < 31 {
        powers[exponent] = multiply(powers[exponent - 1], powers[exponent - 1]);
        exponent += 1;
    }
    powers
}

/// Castagnoli's polynomial, bits reflected.
const POLYNOMIAL: u32 = 0x82F6_3B78;

const X_TO_0: u32 = 1 << 31;

/// x^(2^i). The polynomial is x + 1 times one of order 2³¹ − 1, so squaring comes round in 31 steps.
const X_TO_2_TO: [u32; 31] = powers();

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
        let bytes: Vec<u8> =
            (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for (cut, end) in [(0, 0), (0, 9), (4, 17), (40, 40), (40, 41), (40, 65_536), (99, 100_000)]
        {
            let (a, b) = bytes[..end].split_at(cut);
            let combined = Behind::of(b.len()).combine(crc32c(a), crc32c(b));
            assert_eq!(combined, crc32c(&bytes[..end]), "{cut} of {end}");
            assert_eq!(crc32c_append(crc32c(a), b), combined);
        }
        assert_eq!(Behind::of(usize::MAX), Behind { power: slow_power(usize::MAX) });
    }

    fn slow_power(len: usize) -> u32 {
        let (mut power, mut square, mut rest) = (X_TO_0, X_TO_2_TO[3], len);
        while rest != 0 {
            if rest & 1 == 1 {
                power = multiply(power, square);
            }
            square = multiply(square, square);
            rest >>= 1;
        }
        power
    }
}
