//! What compaction may take of a core: memory, disk and time.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::batch::sift::Sieve;
use crate::rt::{Instant, Rt};

/// What one core's compaction may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerLimits {
    /// Memory for the keys of one pass. A log with more of them is cleaned in several.
    pub map_bytes: u64,
    /// Bytes read and written per second.
    pub bytes_per_second: f64,
}

/// One core's compaction: one log at a time.
pub struct Cleaner {
    map_bytes: Cell<u64>,
    pub(super) pace: Pace,
    pub(super) sieve: RefCell<Sieve>,
}

/// How fast a core reads and writes for what nobody waits for.
pub struct Pace {
    rt: Rt,
    bytes_per_second: Cell<f64>,
    /// Of the core's time.
    share: Cell<f64>,
    /// When what was read and written so far is paid for.
    paid_at: Cell<Instant>,
    worked: Cell<Duration>,
}

impl Cleaner {
    /// For the core of `rt`.
    #[must_use]
    pub fn new(rt: &Rt, limits: CleanerLimits) -> Self {
        Self {
            map_bytes: Cell::new(limits.map_bytes),
            pace: Pace::new(rt, limits.bytes_per_second),
            sieve: RefCell::default(),
        }
    }

    /// Changes the limits; a log that is being cleaned keeps its memory.
    pub fn set_limits(&self, limits: CleanerLimits) {
        self.map_bytes.set(limits.map_bytes);
        self.pace.set_rate(limits.bytes_per_second);
    }

    pub(super) fn map_bytes(&self) -> u64 {
        self.map_bytes.get()
    }
}

impl Pace {
    /// For the core of `rt`.
    #[must_use]
    pub fn new(rt: &Rt, bytes_per_second: f64) -> Self {
        Self {
            rt: rt.clone(),
            bytes_per_second: Cell::new(bytes_per_second),
            share: Cell::new(SHARE_MAX),
            paid_at: Cell::new(rt.now()),
            worked: Cell::default(),
        }
    }

    /// Changes the rate.
    pub fn set_rate(&self, bytes_per_second: f64) {
        self.bytes_per_second.set(bytes_per_second);
    }

    /// Takes `share` of the core's time from now on, of the half at most that may go here.
    pub(in crate::log) fn set_share(&self, share: f64) {
        self.share.set(share.clamp(SHARE_MIN, SHARE_MAX));
    }

    /// Lets others have the core, and the disk, as long as is due after `bytes` of input and output
    /// and the work since `began`: no more than the share of the core's time goes here, in slices
    /// that nobody who waits for the core feels.
    pub(in crate::log) async fn breathe(&self, bytes: usize, began: Instant) {
        let now = self.rt.now();
        let price = Duration::try_from_secs_f64(bytes as f64 / self.bytes_per_second.get());
        let paid_at = self.paid_at.get().max(now) + price.unwrap_or(PRICE_MAX).min(PRICE_MAX);
        self.paid_at.set(paid_at);
        let worked = self.worked.get() + now.since(began);
        self.worked.set(worked);
        if worked >= SLICE || paid_at > now + SLICE {
            self.worked.set(Duration::ZERO);
            let rest = worked.mul_f64(1.0 / self.share.get() - 1.0);
            self.rt.sleep_until(paid_at.max(now + rest)).await;
        } else {
            self.rt.turn().await;
        }
    }
}

/// Of a core's time, for what can wait no longer, and where no share is set.
pub(super) const SHARE_MAX: f64 = 0.5;
/// Of a core's time, for what can wait.
pub(super) const SHARE_MIN: f64 = 0.125;
/// Work at a stretch.
const SLICE: Duration = Duration::from_micros(100);
/// A minute for one batch: a rate that is next to nothing is still one.
const PRICE_MAX: Duration = Duration::from_secs(60);
