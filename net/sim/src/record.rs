//! Records that know themselves: an id that is used once, filler that follows from it, a checksum.
//!
//! ```text
//! id u64 · filler · a sum over both, u64
//! ```

/// A record's id: the number of its batch, and its index in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RecordId(pub u64);

impl RecordId {
    /// The `index`th record of a batch.
    pub(crate) fn of(batch: usize, index: usize) -> Self {
        assert!(index < 1 << INDEX_BITS, "a batch of the workload is small");
        Self((batch as u64) << INDEX_BITS | index as u64)
    }

    /// The number of its batch.
    pub(crate) fn batch(self) -> usize {
        usize::try_from(self.0 >> INDEX_BITS).expect("a batch number")
    }

    /// The value to send, with so many bytes of filler.
    pub(crate) fn value(self, filler: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(filler + 16);
        value.extend(self.0.to_be_bytes());
        let mut state = self.0 | 1;
        while value.len() < filler + 8 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let some = (filler + 8 - value.len()).min(8);
            value.extend(&(state ^ (state >> 29)).to_be_bytes()[..some]);
        }
        let sum = checksum(&value);
        value.extend(sum.to_be_bytes());
        value
    }

    /// The id in a value that was read; `None` when the value is not one of ours, whole.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let (rest, sum) = value.split_last_chunk::<8>()?;
        let id = rest.first_chunk::<8>()?;
        (checksum(rest) == u64::from_be_bytes(*sum)).then(|| Self(u64::from_be_bytes(*id)))
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash, bytes| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let mixed = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    })
}

const INDEX_BITS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_tells_its_id_and_no_other_bytes_do() {
        let id = RecordId::of(77, 3);
        let mut value = id.value(40);
        assert_eq!(RecordId::read(&value), Some(id));
        assert_eq!(id.batch(), 77);
        value[20] ^= 1;
        assert_eq!(RecordId::read(&value), None);
        assert_eq!(RecordId::read(&[]), None);
    }
}
