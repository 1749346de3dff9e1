//! Randomness lent by the shell, so that the same seed gives the same history.

use engine::ids::TopicId;
use wire::primitives::Uuid;

/// A source of random bits (`Rt::random_u64` in production, a seeded one in simulation and tests).
pub struct Random<'a> {
    next: &'a mut dyn FnMut() -> u64,
}

impl<'a> Random<'a> {
    /// Draws from `next`.
    pub fn new(next: &'a mut dyn FnMut() -> u64) -> Self {
        Self { next }
    }

    /// A random (version 4) id, as Kafka makes them: not a reserved one, and not one whose text
    /// starts with `-`, which command lines would take for an option.
    pub fn uuid(&mut self) -> Uuid {
        loop {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&(self.next)().to_be_bytes());
            bytes[8..].copy_from_slice(&(self.next)().to_be_bytes());
            bytes[6] = bytes[6] & 0x0f | 0x40;
            bytes[8] = bytes[8] & 0x3f | 0x80;
            // 62 is `-` in base64url: the first six bits.
            if bytes[0] >> 2 != 62 {
                return Uuid(bytes);
            }
        }
    }

    /// A new topic's id.
    pub fn topic_id(&mut self) -> TopicId {
        TopicId(self.uuid())
    }

    /// A number below `end`; the bias of the remainder is below 2⁻³² for any list we shuffle.
    ///
    /// # Panics
    /// If `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        assert!(end > 0, "there is no number below 0");
        usize::try_from((self.next)() % end as u64).expect("below a usize")
    }

    /// Shuffles in place (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
