//! HdrHistogram's standard log format (V2, compressed): one line a second and load, so that other
//! tools read it, and `perf merge` adds up what several processes or machines measured.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};

use super::{Series, add};

/// Writes the window's seconds of all loads, tagged with their names.
pub(crate) fn write<'a>(
    mut out: impl Write,
    start_ns: u64,
    loads: impl Iterator<Item = (&'a str, &'a Series)>,
) -> Result<()> {
    let start = Duration::from_nanos(start_ns);
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[odradek perf; latencies in nanoseconds, maxima in milliseconds]")
        .with_start_time(UNIX_EPOCH + start)
        .with_base_time(UNIX_EPOCH + start)
        .with_max_value_divisor(1e6)
        .begin_log_with(&mut out, &mut serializer)?;
    let mut lines = BTreeMap::new();
    for (name, series) in loads {
        // Tags end at a comma.
        let name = name.replace([',', ' ', '\n'], "-");
        lines.extend(series.histograms().map(|(second, h)| ((second, name.clone()), h)));
    }
    for ((second, name), histogram) in lines {
        let at = Duration::from_secs(second.unsigned_abs());
        log.write_histogram(histogram, at, Duration::from_secs(1), Tag::new(&name))
            .map_err(|e| anyhow!("{e}"))?;
    }
    Ok(())
}

/// Adds up what log files hold, by tag.
pub(crate) fn merge(
    texts: impl IntoIterator<Item = Vec<u8>>,
) -> Result<BTreeMap<String, Histogram<u64>>> {
    let mut sums: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    let mut deserializer = Deserializer::new();
    for text in texts {
        for entry in IntervalLogIterator::new(&text) {
            let entry = entry.map_err(|e| anyhow!("no histogram log: {e:?}"))?;
            let LogEntry::Interval(interval) = entry else { continue };
            let bytes = base64(interval.encoded_histogram())?;
            let histogram: Histogram<u64> =
                deserializer.deserialize(&mut &bytes[..]).map_err(|e| anyhow!("{e}"))?;
            let tag = interval.tag().map_or("", |tag| tag.as_str()).to_owned();
            match sums.get_mut(&tag) {
                Some(sum) => add(sum, &histogram)?,
                None => {
                    sums.insert(tag, histogram);
                }
            }
        }
    }
    Ok(sums)
}

/// Plain base64 with padding, as the format has it.
fn base64(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes().take_while(|byte| *byte != b'=') {
        let digit = BASE64.iter().position(|digit| *digit == byte);
        bits = bits << 6 | u32::try_from(digit.context("no base64 in a histogram log")?)?;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Ok(out)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Counts, Interval, histogram};

    #[test]
    fn logs_of_two_processes_add_up() {
        let mut logs = Vec::new();
        for process in 1..=2_u64 {
            let mut series = Series::default();
            for second in 0..3 {
                let mut latency = histogram();
                latency.record_n(process * 1_000_000, 100).expect("in bounds");
                let counts = Counts::default();
                series.add(Interval { load: 0, second, counts, latency }).expect("one shape");
            }
            let mut log = Vec::new();
            let loads = [("produce", &series), ("a, b", &series)];
            write(&mut log, 1_700_000_000_000_000_000, loads.into_iter()).expect("to memory");
            logs.push(log);
        }
        let text = String::from_utf8(logs[0].clone()).expect("text");
        assert!(text.contains("#[StartTime: 1700000000.000 (seconds since epoch)]"), "{text}");
        assert!(text.contains("\nTag=produce,0.000,1.000,1.000,HISTFAAA"), "{text}");
        let sums = merge(logs).expect("sound logs");
        assert_eq!(sums.keys().collect::<Vec<_>>(), ["a--b", "produce"]);
        let sum = &sums["produce"];
        assert_eq!(sum.len(), 600);
        assert_eq!(sum.value_at_quantile(0.5) / 1000, 1000);
        assert_eq!(sum.max() / 10_000, 200);
    }

    #[test]
    fn rubbish_is_named() {
        assert!(merge([b"Tag=a,0.0,1.0,1.0,!!!!\n".to_vec()]).is_err());
    }
}
