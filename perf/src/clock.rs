//! One clock for everything: nanoseconds since 1970 that never go back while the program runs.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall time as of the start, moved on by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    origin_ns: u64,
}

impl Clock {
    /// A clock; copies of it agree.
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), origin_ns: as_ns(since) }
    }

    /// Nanoseconds since 1970.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.origin_ns + as_ns(self.origin.elapsed())
    }
}

fn as_ns(span: Duration) -> u64 {
    span.as_secs() * 1_000_000_000 + u64::from(span.subsec_nanos())
}
