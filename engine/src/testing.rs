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

/// Runs a test with seeds 0 to `count`, or with `ODRADEK_SEEDS` of them from `ODRADEK_SEED` on; what
/// each returned. One that fails prints its seed.
pub(crate) fn for_seeds<T>(
    count: u64,
    run: impl Fn(u64) -> T + std::panic::RefUnwindSafe,
) -> Vec<T> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("ODRADEK_SEED").unwrap_or(0);
    let count = number("ODRADEK_SEEDS").unwrap_or(count);
    let told = |seed| match std::panic::catch_unwind(|| run(seed)) {
        Ok(result) => result,
        Err(_) => panic!("failed with ODRADEK_SEED={seed}"),
    };
    (first..first + count).map(told).collect()
}
