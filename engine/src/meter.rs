//! Metrics: one field in a component's `metrics!` struct is one metric.
//!
//! ```
//! engine::metrics! {
//!     /// What the groups of this core do.
//!     GroupMetrics {
//!         rebalances: Counter "Rebalances started",
//!         members: Gauge "Members now",
//!         join: Histogram "From the first JoinGroup of a generation to its answer",
//!     }
//! }
//! use engine::meter::Metrics;
//!
//! let metrics = GroupMetrics::default();
//! metrics.rebalances.inc();
//! metrics.members.set(3);
//! let shot = metrics.snapshot();
//! assert_eq!(shot.metrics[0].full_name(), "odradek_group_rebalances_total");
//! ```
//!
//! A struct lives on one core (`Rc<GroupMetrics>`), its fields are plain cells: counting costs one
//! add and is never shared. What leaves the core is a [`Snapshot`], which is `Send`; snapshots of
//! the same struct from several cores add up with [`Snapshot::merge`].
//!
//! A struct of which there are several, one for each value of some label, says so: `ApiMetrics by
//! [api] { … }`. Who exports its snapshots knows the values.
//!
//! Names come out as Prometheus wants them: `odradek_<struct without "Metrics">_<field>`, with
//! `_total` after a counter, `_seconds_total` after a time and `_seconds` after a histogram.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

pub use crate::metrics;

/// A struct that `metrics!` declared, seen without its type: what a core registers and collects.
pub trait Metrics {
    /// Every metric of the struct, in declaration order, without a value.
    fn describe(&self) -> &'static [Description];

    /// Every metric of the struct, in declaration order, with its value now.
    fn snapshot(&self) -> Snapshot;
}

/// What a metric is, apart from its value: enough to render the reference page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// The declaring struct, for example `GroupMetrics`.
    pub group: &'static str,
    /// The field, for example `rebalances`.
    pub name: &'static str,
    /// One sentence for the person who reads the dashboard.
    pub help: &'static str,
    /// How values of several cores, and of two moments, relate.
    pub kind: Kind,
    /// What tells the structs of this kind apart; empty where there is one.
    pub labels: &'static [&'static str],
}

impl Description {
    /// The exported name, for example `odradek_group_rebalances_total`.
    #[must_use]
    pub fn full_name(&self) -> String {
        let group = self.group.strip_suffix("Metrics").unwrap_or(self.group);
        let mut name = String::from("odradek_");
        for (at, letter) in group.char_indices() {
            if letter.is_ascii_uppercase() && at > 0 {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name.push('_');
        name.push_str(self.name);
        name.push_str(match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Time => "_seconds_total",
            Kind::Histogram => "_seconds",
        });
        name
    }
}

/// The kinds of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives; cores add up.
    Counter,
    /// A level that goes both ways; cores add up.
    Gauge,
    /// Time spent on something, all in all; cores add up.
    Time,
    /// How long something took; buckets of all cores add up.
    Histogram,
}

/// The values of one `metrics!` struct at one moment; crosses cores.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// In declaration order.
    pub metrics: Vec<Metric>,
}

impl Snapshot {
    /// Adds what the same struct counted on another core.
    ///
    /// # Panics
    /// When the snapshots come from different structs.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.metrics.len(), other.metrics.len(), "snapshots of different structs");
        for (mine, theirs) in self.metrics.iter_mut().zip(&other.metrics) {
            assert_eq!(mine.description, theirs.description, "snapshots of different structs");
            mine.value.add(&theirs.value);
        }
    }
}

/// One metric with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name, help and kind.
    pub description: Description,
    /// The value, of the variant that the kind says.
    pub value: Value,
}

impl Metric {
    /// The exported name; see [`Description::full_name`].
    #[must_use]
    pub fn full_name(&self) -> String {
        self.description.full_name()
    }
}

/// A metric's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Events so far.
    Counter(u64),
    /// The level now.
    Gauge(i64),
    /// The time so far.
    Time(Duration),
    /// The distribution so far.
    Histogram(Box<Distribution>),
}

impl Value {
    fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Counter(mine), Self::Counter(theirs)) => *mine = mine.wrapping_add(*theirs),
            (Self::Gauge(mine), Self::Gauge(theirs)) => *mine = mine.wrapping_add(*theirs),
            (Self::Time(mine), Self::Time(theirs)) => *mine = mine.saturating_add(*theirs),
            (Self::Histogram(mine), Self::Histogram(theirs)) => mine.merge(theirs),
            _ => unreachable!("the caller compared the descriptions, hence the kinds"),
        }
    }
}

/// Counts events; never goes down.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// One more.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// `n` more.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.set(self.0.get().wrapping_add(n));
    }

    /// Events so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// A level: how many, how much, now.
#[derive(Debug, Default)]
pub struct Gauge(Cell<i64>);

impl Gauge {
    /// The level is now `level`.
    #[inline]
    pub fn set(&self, level: i64) {
        self.0.set(level);
    }

    /// The level moves by `delta`.
    #[inline]
    pub fn add(&self, delta: i64) {
        self.0.set(self.0.get().wrapping_add(delta));
    }

    /// One more.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// One fewer.
    #[inline]
    pub fn dec(&self) {
        self.add(-1);
    }

    /// The level now.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.get()
    }
}

/// Time spent on something, all in all; never goes down.
#[derive(Debug, Default)]
pub struct Time(Cell<Duration>);

impl Time {
    /// All of it so far, as somebody else counts it.
    #[inline]
    pub fn set(&self, all: Duration) {
        self.0.set(all);
    }

    /// All of it so far.
    #[must_use]
    pub fn get(&self) -> Duration {
        self.0.get()
    }
}

/// How long something took: log-linear buckets of at most 12.5 % width, from 128 ns to 68 s.
///
/// Its size is fixed ([`BUCKETS`] words), whatever is recorded: 1 024 ns and less fall into eight
/// linear buckets, every doubling above into eight more, everything past the top into the last.
pub struct Histogram {
    buckets: [Cell<u64>; BUCKETS],
    sum_ns: Cell<u64>,
    max_ns: Cell<u64>,
}

impl Histogram {
    /// One event that took `took`.
    #[inline]
    pub fn record(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = &self.buckets[bucket_of(ns)];
        bucket.set(bucket.get() + 1);
        self.sum_ns.set(self.sum_ns.get().saturating_add(ns));
        self.max_ns.set(self.max_ns.get().max(ns));
    }

    /// The distribution so far.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        Distribution {
            buckets: self.buckets.iter().map(Cell::get).collect(),
            sum_ns: self.sum_ns.get(),
            max_ns: self.max_ns.get(),
        }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [const { Cell::new(0) }; BUCKETS],
            sum_ns: Cell::new(0),
            max_ns: Cell::new(0),
        }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.distribution().fmt(f)
    }
}

/// What a [`Histogram`] held at one moment, of one core or merged from several.
#[derive(Clone, PartialEq, Eq)]
pub struct Distribution {
    /// [`BUCKETS`] counts.
    buckets: Vec<u64>,
    sum_ns: u64,
    max_ns: u64,
}

impl Distribution {
    /// Events.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Time of all events together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// The longest event, exactly.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// The time that the share `q` (0.0 to 1.0) of the events did not exceed, rounded up to the
    /// end of its bucket; `None` without events.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        // Rank 1 is the smallest event; a u64 count survives the float to within a bucket.
        let rank = ((count as f64 * q.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, events) in self.buckets.iter().enumerate() {
            seen += events;
            if seen >= rank {
                return Some(Duration::from_nanos(bucket_end_ns(bucket).min(self.max_ns)));
            }
        }
        Some(self.max())
    }

    /// Non-empty buckets as (inclusive upper end, events inside), ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let filled = self.buckets.iter().enumerate().filter(|(_, events)| **events > 0);
        filled.map(|(bucket, events)| (Duration::from_nanos(bucket_end_ns(bucket)), *events))
    }

    /// For each of [`LADDER`]'s times the events that took no longer, but for those past the last.
    pub fn ladder(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let mut buckets = self.buckets.iter().enumerate().peekable();
        let mut events = 0;
        LADDER.map(move |bits| {
            let top_ns = 1_u64 << bits;
            while let Some((_, more)) = buckets.next_if(|(at, _)| bucket_end_ns(*at) < top_ns) {
                events += more;
            }
            (Duration::from_nanos(top_ns), events)
        })
    }

    /// Adds another core's events.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Distribution")
            .field("count", &self.count())
            .field("sum", &self.sum())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max())
            .finish()
    }
}

/// A field type of a `metrics!` struct. Sealed by use: only the macro needs it.
#[doc(hidden)]
pub trait Instrument {
    const KIND: Kind;
    fn value(&self) -> Value;
}

impl Instrument for Counter {
    const KIND: Kind = Kind::Counter;

    fn value(&self) -> Value {
        Value::Counter(self.get())
    }
}

impl Instrument for Gauge {
    const KIND: Kind = Kind::Gauge;

    fn value(&self) -> Value {
        Value::Gauge(self.get())
    }
}

impl Instrument for Time {
    const KIND: Kind = Kind::Time;

    fn value(&self) -> Value {
        Value::Time(self.get())
    }
}

impl Instrument for Histogram {
    const KIND: Kind = Kind::Histogram;

    fn value(&self) -> Value {
        Value::Histogram(Box::new(self.distribution()))
    }
}

/// Declares a struct of metrics: `metrics! { Name { field: Kind "Help", … } }`, where `Kind` is
/// `Counter`, `Gauge`, `Time` or `Histogram`. `Name by [label, …]` is one of which there are
/// several. The struct and its fields are `pub` unless a visibility stands before the name; it
/// implements `Default`, `Debug` and [`Metrics`](crate::meter::Metrics).
#[macro_export]
macro_rules! metrics {
    ($(#[$meta:meta])* $name:ident $(by [$($label:ident),+])? { $($body:tt)* }) => {
        $crate::metrics! { $(#[$meta])* pub $name $(by [$($label),+])? { $($body)* } }
    };
    (
        $(#[$meta:meta])*
        $vis:vis $name:ident $(by [$($label:ident),+])? { $($field:ident : $kind:ident $help:literal),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name {
            $(#[doc = $help] $vis $field: $crate::meter::$kind,)+
        }

        impl $name {
            const LABELS: &'static [&'static str] = &[$($(stringify!($label)),+)?];

            /// Every metric of the struct, in declaration order.
            $vis const DESCRIPTIONS: &'static [$crate::meter::Description] = &[
                $($crate::meter::Description {
                    group: stringify!($name),
                    name: stringify!($field),
                    help: $help,
                    kind: <$crate::meter::$kind as $crate::meter::Instrument>::KIND,
                    labels: Self::LABELS,
                },)+
            ];
        }

        impl $crate::meter::Metrics for $name {
            fn describe(&self) -> &'static [$crate::meter::Description] {
                Self::DESCRIPTIONS
            }

            fn snapshot(&self) -> $crate::meter::Snapshot {
                let values = [$($crate::meter::Instrument::value(&self.$field),)+];
                let metrics = Self::DESCRIPTIONS.iter().zip(values).map(|(description, value)| {
                    $crate::meter::Metric { description: *description, value }
                });
                $crate::meter::Snapshot { metrics: metrics.collect() }
            }
        }
    };
}

#[inline]
fn bucket_of(ns: u64) -> usize {
    let units = ns >> UNIT_BITS;
    // The position of the highest bit, at least that of the linear range's last.
    let octave = (63 - (units | (SUB_BUCKETS - 1)).leading_zeros()).max(SUB_BITS - 1);
    let shift = octave.saturating_sub(SUB_BITS);
    let bucket = u64::from(shift) * SUB_BUCKETS + (units >> shift);
    usize::try_from(bucket).map_or(BUCKETS - 1, |bucket| bucket.min(BUCKETS - 1))
}

/// The largest value that falls into `bucket`.
fn bucket_end_ns(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let (shift, sub) = if bucket < 2 * SUB_BUCKETS {
        (0, bucket)
    } else {
        (bucket / SUB_BUCKETS - 1, bucket % SUB_BUCKETS + SUB_BUCKETS)
    };
    (((sub + 1) << shift) << UNIT_BITS) - 1
}

/// Finest distinction: 128 ns, less than what reading a clock twice costs.
const UNIT_BITS: u32 = 7;

/// Eight buckets to a doubling: no bucket is wider than 12.5 % of what it holds.
const SUB_BITS: u32 = 3;
const SUB_BUCKETS: u64 = 1 << SUB_BITS;

/// Doublings from 1 µs on: the last ends at 2³⁶ ns = 68 s, above every timeout of the protocol
/// that is worth a distribution.
const OCTAVES: usize = 26;

/// The times of [`Distribution::ladder`], as powers of two of nanoseconds: from 16 µs, below which
/// nothing that crosses a socket is answered, to 34 s. Each is the end of a bucket, so the ladder
/// is exact; a quantile between two of its rungs is known to within a doubling.
pub const LADDER: std::ops::RangeInclusive<u32> = 14..=35;

/// Buckets of a [`Histogram`].
pub const BUCKETS: usize = (OCTAVES + 1) * SUB_BUCKETS as usize;

#[cfg(test)]
mod tests {
    use super::*;

    metrics! {
        /// For the tests below.
        pub(crate) FetchPathMetrics {
            requests: Counter "Requests",
            waiting: Gauge "Waiting now",
            took: Histogram "How long",
        }
    }

    #[test]
    fn a_struct_enumerates_itself() {
        let metrics = FetchPathMetrics::default();
        metrics.requests.add(2);
        metrics.waiting.inc();
        metrics.waiting.add(-3);
        metrics.took.record(Duration::from_micros(5));
        let shot = metrics.snapshot();
        let names: Vec<String> = shot.metrics.iter().map(Metric::full_name).collect();
        assert_eq!(
            names,
            [
                "odradek_fetch_path_requests_total",
                "odradek_fetch_path_waiting",
                "odradek_fetch_path_took_seconds"
            ]
        );
        assert_eq!(shot.metrics[0].value, Value::Counter(2));
        assert_eq!(shot.metrics[1].value, Value::Gauge(-2));
        assert_eq!(metrics.describe()[2].help, "How long");
    }

    #[test]
    fn cores_add_up() {
        let (one, two) = (FetchPathMetrics::default(), FetchPathMetrics::default());
        one.requests.inc();
        two.requests.add(4);
        two.waiting.set(7);
        one.took.record(Duration::from_millis(1));
        two.took.record(Duration::from_secs(1));
        let mut all = one.snapshot();
        let other = std::thread::spawn(move || two.snapshot()).join().expect("no panic");
        all.merge(&other);
        assert_eq!(all.metrics[0].value, Value::Counter(5));
        assert_eq!(all.metrics[1].value, Value::Gauge(7));
        let Value::Histogram(took) = &all.metrics[2].value else { panic!("a histogram") };
        assert_eq!((took.count(), took.max()), (2, Duration::from_secs(1)));
    }

    #[test]
    fn structs_of_which_there_are_several_name_their_labels() {
        metrics! {
            /// For this test.
            pub(crate) LaneMetrics by [from, to] {
                busy: Time "Busy",
            }
        }
        let metrics = LaneMetrics::default();
        metrics.busy.set(Duration::from_millis(1500));
        let shot = metrics.snapshot();
        assert_eq!(shot.metrics[0].full_name(), "odradek_lane_busy_seconds_total");
        assert_eq!(shot.metrics[0].description.labels, ["from", "to"]);
        assert_eq!(shot.metrics[0].value, Value::Time(Duration::from_millis(1500)));
        assert!(FetchPathMetrics::DESCRIPTIONS[0].labels.is_empty());
    }

    #[test]
    fn the_ladder_is_exact() {
        let histogram = Histogram::default();
        for ns in [0, 1, (1 << 14) - 1, 1 << 14, (1 << 20) - 1, 1 << 20, 1 << 35, 1 << 36] {
            histogram.record(Duration::from_nanos(ns));
        }
        let all = histogram.distribution();
        let ladder: Vec<_> = all.ladder().collect();
        assert_eq!(ladder.len(), 22);
        assert_eq!(ladder[0], (Duration::from_nanos(1 << 14), 3));
        assert_eq!(ladder[1], (Duration::from_nanos(1 << 15), 4));
        assert_eq!(ladder[6], (Duration::from_nanos(1 << 20), 5));
        assert_eq!(ladder[7].1, 6);
        assert_eq!(ladder[21], (Duration::from_nanos(1 << 35), 6));
        assert_eq!(all.count(), 8);
    }

    #[test]
    fn buckets_tile_the_range() {
        let mut start = 0;
        for bucket in 0..BUCKETS {
            let end = bucket_end_ns(bucket);
            assert_eq!(bucket_of(start), bucket, "first of {bucket}");
            assert_eq!(bucket_of(end), bucket, "last of {bucket}");
            if start >= 1 << (UNIT_BITS + SUB_BITS) {
                assert!((end - start + 1) * 8 <= start, "bucket {bucket} is too wide");
            }
            start = end + 1;
        }
        assert_eq!(start, 1 << 36);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_within_a_bucket() {
        let histogram = Histogram::default();
        assert_eq!(histogram.distribution().quantile(0.5), None);
        for ms in 1..=1000 {
            histogram.record(Duration::from_millis(ms));
        }
        let all = histogram.distribution();
        for (q, exact) in [(0.5, 500.0), (0.99, 990.0), (0.0, 1.0), (1.0, 1000.0)] {
            let got = all.quantile(q).expect("events").as_secs_f64() * 1000.0;
            assert!(got >= exact && got <= exact * 1.13, "{q}: {got} of {exact}");
        }
        assert_eq!(all.buckets().map(|(_, events)| events).sum::<u64>(), 1000);
    }
}
