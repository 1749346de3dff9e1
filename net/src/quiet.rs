//! Log lines that a stranger can cause are rate-limited, so that nobody can fill a disk with them.

use std::cell::Cell;
use std::time::Duration;

use engine::rt::Instant;

/// One kind of log line on one core.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    window_start: Cell<Instant>,
    said: Cell<u32>,
    unsaid: Cell<u64>,
}

/// The kinds of line that are limited.
#[derive(Debug, Default)]
pub(crate) struct QuietLines {
    /// Connections closed for what the peer did.
    pub(crate) refusals: Quiet,
    /// Connections that were not accepted.
    pub(crate) limits: Quiet,
    /// Failures of the accept loop.
    pub(crate) accepts: Quiet,
    /// Answers that cannot be said in the version asked for.
    pub(crate) answers: Quiet,
    /// Failures to serve a partition.
    pub(crate) storage: Quiet,
}

impl Quiet {
    /// Whether to write the line now; if so, how many were left out since the last.
    pub(crate) fn pass(&self, now: Instant) -> Option<u64> {
        if now.since(self.window_start.get()) >= WINDOW || self.window_start.get() == Instant::ZERO
        {
            self.window_start.set(now);
            self.said.set(0);
        }
        if self.said.get() == LINES_PER_WINDOW {
            self.unsaid.set(self.unsaid.get() + 1);
            return None;
        }
        self.said.set(self.said.get() + 1);
        Some(self.unsaid.take())
    }
}

const WINDOW: Duration = Duration::from_secs(10);
/// Enough to see who it is, few enough to read.
const LINES_PER_WINDOW: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_a_few_lines_and_a_count() {
        let quiet = Quiet::default();
        let at = |s: u64| Instant::from_nanos(1 + s * 1_000_000_000);
        let said = (0..1000).filter(|_| quiet.pass(at(0)).is_some()).count();
        assert_eq!(said, 10);
        assert_eq!(quiet.pass(at(9)), None);
        assert_eq!(quiet.pass(at(10)), Some(991));
        assert_eq!(quiet.pass(at(10)), Some(0));
    }
}
