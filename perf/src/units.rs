//! Sizes and spans of time as people write them: `64KiB`, `1.5s`; and as people read them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes: a plain number, or one with `B`, `KB`, `MB`, `GB` (powers of 1000) or `KiB`,
/// `MiB`, `GiB` (powers of 1024) behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A span of time: a number with `ns`, `us`, `ms`, `s`, `m` or `h` behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// The text is not a number with one of the units of its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitError {
    text: String,
    units: &'static [(&'static str, f64)],
}

impl Bytes {
    /// As `usize`, which on every machine this runs on is 64 bits wide.
    #[must_use]
    pub fn len(self) -> usize {
        usize::try_from(self.0).expect("64-bit machines only")
    }

    /// Whether this is zero.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Span {
    /// In nanoseconds.
    #[must_use]
    pub fn ns(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, BYTE_UNITS).map(|value| Self(value.round() as u64))
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let seconds = scaled(text, TIME_UNITS)?;
        Duration::try_from_secs_f64(seconds)
            .map(Self)
            .map_err(|_| UnitError { text: text.to_owned(), units: TIME_UNITS })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match exact.into_iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&nanos(self.ns()))
    }
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units: Vec<&str> = self.units.iter().map(|(name, _)| *name).collect();
        write!(f, "{:?} is not a number with one of {}", self.text, units.join(", "))
    }
}

impl std::error::Error for UnitError {}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity("bytes, as in \"64KiB\"")).map(Self)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number of bytes, plain or as text.
struct Quantity(&'static str);

impl de::Visitor<'_> for Quantity {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
        u64::try_from(value).map_err(|_| E::custom("a number of bytes is not negative"))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        text.parse::<Bytes>().map(|bytes| bytes.0).map_err(E::custom)
    }
}

/// A span for people: three digits and a unit.
#[must_use]
pub fn nanos(ns: u64) -> String {
    let ns = ns as f64;
    let (value, unit) = match ns {
        _ if ns < 1e3 => return format!("{ns:.0}ns"),
        _ if ns < 1e6 => (ns / 1e3, "us"),
        _ if ns < 1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{}{unit}", digits(value))
}

/// A number for people: three digits, and thousands set apart.
#[must_use]
pub fn digits(value: f64) -> String {
    match value {
        _ if value == 0.0 => "0".to_owned(),
        _ if value.abs() < 10.0 => trimmed(format!("{value:.2}")),
        _ if value.abs() < 100.0 => trimmed(format!("{value:.1}")),
        _ => grouped(value.round() as i64),
    }
}

/// A whole number with thousands set apart by a narrow gap.
fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if value < 0 {
        out.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

fn trimmed(text: String) -> String {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn scaled(text: &str, units: &'static [(&'static str, f64)]) -> Result<f64, UnitError> {
    let refused = || UnitError { text: text.to_owned(), units };
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim();
    let bare = if units.iter().any(|(name, _)| *name == "B") { "B" } else { "" };
    let unit = if unit.is_empty() { bare } else { unit };
    let scale = units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
    let value: f64 = number.trim().parse().map_err(|_| refused())?;
    let value = value * scale.ok_or_else(refused)?;
    if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(refused()) }
}

const BYTE_UNITS: &[(&str, f64)] = &[
    ("B", 1.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
];

const TIME_UNITS: &[(&str, f64)] =
    &[("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_shown() {
        assert_eq!("64KiB".parse(), Ok(Bytes(65_536)));
        assert_eq!("1.5 MB".parse(), Ok(Bytes(1_500_000)));
        assert_eq!("100".parse(), Ok(Bytes(100)));
        assert_eq!("1500us".parse(), Ok(Span(Duration::from_micros(1500))));
        assert_eq!("2m".parse(), Ok(Span(Duration::from_secs(120))));
        for wrong in ["", "KiB", "-1B", "1 parsec", "nanB"] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong:?}");
        }
        assert!("10".parse::<Span>().is_err(), "ten of what?");
        assert_eq!(Bytes(65_536).to_string(), "64KiB");
        assert_eq!(nanos(1_234_567), "1.23ms");
        assert_eq!(nanos(250_000_000), "250ms");
        assert_eq!(digits(1_234_567.0), "1 234 567");
        assert_eq!(digits(0.25), "0.25");
    }
}
