//! Moments and spans as Kafka's tools take them: ISO 8601.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

/// Unix milliseconds of `YYYY-MM-DDThh:mm[:ss[.sss]]`, in UTC unless `Z`, `±hh`, `±hhmm` or
/// `±hh:mm` follows.
pub(crate) fn moment(text: &str) -> Result<i64> {
    let parts = || {
        let (date, time) = text.split_once('T')?;
        let days = days(date)?;
        let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
        let (time, zone) = time.split_at(zone_at);
        Some(days * DAY_MS + time_of_day(time)? - zone_offset(zone)?)
    };
    parts().with_context(|| format!("{text:?} is not of the form YYYY-MM-DDThh:mm:ss.sss"))
}

/// Milliseconds of `PnDTnHnMnS`, whose parts may be left out; negative where it begins with `-`.
pub(crate) fn span(text: &str) -> Result<i64> {
    let refusal = || format!("{text:?} is not of the form PnDTnHnMnS");
    let upper = text.to_ascii_uppercase();
    let (sign, rest) = match upper.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, upper.as_str()),
    };
    let rest = rest.strip_prefix('P').with_context(refusal)?;
    let (days, clock) = rest.split_once('T').unwrap_or((rest, ""));
    if rest.is_empty() || rest.ends_with('T') {
        bail!(refusal());
    }
    let days = units(days, &[('D', 86_400_000.0)]).with_context(refusal)?;
    let units_of_day = [('H', 3_600_000.0), ('M', 60_000.0), ('S', 1000.0)];
    let clock = units(clock, &units_of_day).with_context(refusal)?;
    Ok((sign * (days + clock)) as i64)
}

/// Unix milliseconds of now.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A sum of numbers with units, each unit at most once and in this order.
fn units(text: &str, units: &[(char, f64)]) -> Option<f64> {
    let (mut rest, mut sum) = (text, 0.0);
    for &(unit, ms) in units {
        if let Some((number, after)) = rest.split_once(unit) {
            sum += number.parse::<f64>().ok().filter(|number| number.is_finite())? * ms;
            rest = after;
        }
    }
    rest.is_empty().then_some(sum)
}

/// Days from 1970-01-01 to `YYYY-MM-DD`.
fn days(date: &str) -> Option<i64> {
    let mut parts = date.splitn(3, '-');
    let year: i64 = number(parts.next()?).filter(|year| *year <= YEAR_MAX)?;
    let month: i64 = number(parts.next()?).filter(|month| (1..=12).contains(month))?;
    let day: i64 = number(parts.next()?).filter(|day| (1..=31).contains(day))?;
    // Years begin in March, so that the leap day is the last one; 400 years have 146 097 days.
    let years = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = years.rem_euclid(400);
    let in_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    Some(years.div_euclid(400) * 146_097 + in_era - 719_468)
}

/// Milliseconds since midnight of `hh:mm[:ss[.sss]]`.
fn time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let hours = number(parts.next()?).filter(|hours| *hours < 24)?;
    let minutes = number(parts.next()?).filter(|minutes| *minutes < 60)?;
    let seconds: f64 = match parts.next() {
        Some(text) if text.starts_with(|c: char| c.is_ascii_digit()) => text.parse().ok()?,
        Some(_) => return None,
        None => 0.0,
    };
    (seconds < 60.0).then_some((hours * 60 + minutes) * 60_000 + (seconds * 1000.0).round() as i64)
}

fn zone_offset(text: &str) -> Option<i64> {
    let sign = match text.chars().next() {
        None => return Some(0),
        Some('Z') => return (text.len() == 1).then_some(0),
        Some('-') => -1,
        Some(_) => 1,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    let (hours, minutes) = (digits.get(..2)?, digits.get(2..)?);
    let minutes = if minutes.is_empty() { 0 } else { number(minutes).filter(|it| *it < 60)? };
    Some(sign * (number(hours)? * 60 + minutes) * 60_000)
}

fn number(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

const DAY_MS: i64 = 86_400_000;
/// Far later than any record, and its milliseconds fit.
const YEAR_MAX: i64 = 999_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_in_utc_unless_they_say() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000", 0),
            ("2000-02-29T12:34:56.789", 951_827_696_789),
            ("2000-02-29T12:34:56.789Z", 951_827_696_789),
            ("2000-02-29T14:34:56.789+02:00", 951_827_696_789),
            ("2000-02-29T10:34:56.789-0200", 951_827_696_789),
            ("2026-11-23T00:00", 1_795_392_000_000),
            ("1969-12-31T23:59:59.999", -1),
        ] {
            assert_eq!(moment(text).expect(text), ms, "{text}");
        }
        for wrong in [
            "garbage",
            "2020-13-01T00:00:00",
            "2020-01-01",
            "2020-01-01T24:00:00",
            "9223372036854775807-01-01T00:00",
            "2020-01-01T00:00+009223372036854775807",
        ] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_are_sums() {
        for (text, ms) in [
            ("PT1H", 3_600_000),
            ("P1DT2H3M4.5S", 93_784_500),
            ("PT0S", 0),
            ("-PT1M", -60_000),
            ("P2D", 172_800_000),
        ] {
            assert_eq!(span(text).expect(text), ms, "{text}");
        }
        for wrong in ["", "P", "PT", "1h", "PT1", "PTS", "PT1S1H"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
