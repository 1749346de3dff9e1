//! The seconds of a load put together.

use std::collections::BTreeMap;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{Counts, Interval, add, histogram};

/// Latency in nanoseconds at the usual percentiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Percentiles {
    pub count: u64,
    pub mean: f64,
    pub min: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub p9999: u64,
    pub max: u64,
}

/// Latency in nanoseconds by percentile, ascending: enough points to draw.
pub type Curve = Vec<(f64, u64)>;

/// One second of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// From the window's start.
    pub second: i64,
    /// Answered in it.
    pub requests: u64,
    /// Records of these.
    pub records: u64,
    /// Bytes of these, as stored.
    pub bytes: u64,
    /// Of what was answered in it.
    pub latency: Percentiles,
}

/// A load's intervals while they come in.
#[derive(Debug, Default)]
pub(crate) struct Series {
    seconds: BTreeMap<i64, (Counts, Option<Histogram<u64>>)>,
}

impl Series {
    /// Adds what one thread saw in one second.
    pub(crate) fn add(&mut self, interval: Interval) -> Result<()> {
        let (counts, latency) = self.seconds.entry(interval.second).or_default();
        counts.add(&interval.counts);
        match latency {
            Some(sum) => add(sum, &interval.latency)?,
            None => *latency = Some(interval.latency),
        }
        Ok(())
    }

    /// Sums over the window.
    pub(crate) fn total(&self) -> Result<(Counts, Histogram<u64>)> {
        let mut sum = (Counts::default(), histogram());
        for (counts, latency) in self.seconds.range(0..).map(|(_, second)| second) {
            sum.0.add(counts);
            if let Some(latency) = latency {
                add(&mut sum.1, latency)?;
            }
        }
        Ok(sum)
    }

    /// The seconds of the window.
    pub(crate) fn seconds(&self) -> Vec<Second> {
        let window = self.seconds.range(0..);
        window.map(|(&second, (counts, latency))| summary(second, counts, latency)).collect()
    }

    /// The histograms of the window, by second.
    pub(crate) fn histograms(&self) -> impl Iterator<Item = (i64, &Histogram<u64>)> {
        self.seconds.range(0..).filter_map(|(&s, (_, latency))| Some((s, latency.as_ref()?)))
    }

    /// One second, of the warm-up too.
    pub(crate) fn second(&self, second: i64) -> Option<Second> {
        self.seconds.get(&second).map(|(counts, latency)| summary(second, counts, latency))
    }
}

fn summary(second: i64, counts: &Counts, latency: &Option<Histogram<u64>>) -> Second {
    Second {
        second,
        requests: counts.requests,
        records: counts.records,
        bytes: counts.bytes,
        latency: latency.as_ref().map(Percentiles::of).unwrap_or_default(),
    }
}

impl Percentiles {
    /// Reads them off a histogram.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            mean: histogram.mean(),
            min: histogram.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max(),
        }
    }
}

/// The percentile curve of a histogram, denser towards 100.
pub(crate) fn curve(histogram: &Histogram<u64>) -> Curve {
    if histogram.is_empty() {
        return Curve::new();
    }
    let mut points = Curve::new();
    for step in 0..=60 {
        // 0, then ten points for every further nine.
        let quantile = 1.0 - 10_f64.powf(-f64::from(step) / 10.0);
        points.push((quantile * 100.0, histogram.value_at_quantile(quantile)));
        if (1.0 - quantile) * (histogram.len() as f64) < 1.0 {
            break;
        }
    }
    points
}
