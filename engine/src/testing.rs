//! What tests of several parts share.

use crate::rt::split_mix;

/// A model test's own choices: the same seed gives the same, and they disturb no simulated world's.
pub(crate) struct Choices(pub(crate) u64);

impl Choices {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        split_mix(&mut self.0) % bound
    }

    pub(crate) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}
