//! How `consume` prints a record: a format string, or JSON.

use std::io::{self, Write};

use anyhow::{Result, bail};
use serde_json::json;

/// One record with where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordView<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    /// Whether the broker set the timestamp, when it appended the record.
    pub(crate) appended: bool,
    pub(crate) leader_epoch: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [(String, Option<Vec<u8>>)],
}

/// What to print of each record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Pieces(Vec<Piece>),
}

/// A part of a format string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(Vec<u8>),
    Key,
    Value,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
}

impl Format {
    /// Reads a format string: `%k %v %t %p %o %T %h %%`, and `\n \t \\ \0`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let piece = match c {
                '%' => match chars.next() {
                    Some('k') => Piece::Key,
                    Some('v') => Piece::Value,
                    Some('t') => Piece::Topic,
                    Some('p') => Piece::Partition,
                    Some('o') => Piece::Offset,
                    Some('T') => Piece::Timestamp,
                    Some('h') => Piece::Headers,
                    Some('%') => {
                        plain.push(b'%');
                        continue;
                    }
                    Some(other) => {
                        bail!("--format: %{other} is not one of %k %v %t %p %o %T %h %%")
                    }
                    None => bail!("--format ends with a lone %; write %% for a percent sign"),
                },
                '\\' => {
                    plain.push(match chars.next() {
                        Some('n') => b'\n',
                        Some('t') => b'\t',
                        Some('0') => 0,
                        Some('\\') => b'\\',
                        other => bail!(
                            "--format: \\{} is not one of \\n \\t \\0 \\\\",
                            other.map(String::from).unwrap_or_default()
                        ),
                    });
                    continue;
                }
                c => {
                    plain.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self::Pieces(pieces))
    }

    /// Prints one record.
    pub(crate) fn write(
        &self,
        out: &mut (impl Write + ?Sized),
        record: &RecordView<'_>,
    ) -> io::Result<()> {
        match self {
            Self::Json => write_json(out, record),
            Self::Pieces(pieces) => {
                for piece in pieces {
                    write_piece(out, piece, record)?;
                }
                Ok(())
            }
        }
    }
}

fn write_piece(
    out: &mut (impl Write + ?Sized),
    piece: &Piece,
    record: &RecordView<'_>,
) -> io::Result<()> {
    match piece {
        Piece::Text(text) => out.write_all(text),
        Piece::Key => out.write_all(record.key.unwrap_or_default()),
        Piece::Value => out.write_all(record.value.unwrap_or_default()),
        Piece::Topic => out.write_all(record.topic.as_bytes()),
        Piece::Partition => write!(out, "{}", record.partition),
        Piece::Offset => write!(out, "{}", record.offset),
        Piece::Timestamp => write!(out, "{}", record.timestamp_ms),
        Piece::Headers => {
            for (i, (name, value)) in record.headers.iter().enumerate() {
                if i > 0 {
                    out.write_all(b",")?;
                }
                write!(out, "{name}=")?;
                out.write_all(value.as_deref().unwrap_or_default())?;
            }
            Ok(())
        }
    }
}

/// One line of JSON. Bytes that are not UTF-8 are given as `{"base16": "…"}`, so that nothing is
/// lost and text stays readable.
fn write_json(out: &mut (impl Write + ?Sized), record: &RecordView<'_>) -> io::Result<()> {
    let headers: Vec<_> = record
        .headers
        .iter()
        .map(|(name, value)| json!({"key": name, "value": bytes_json(value.as_deref())}))
        .collect();
    let line = json!({
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "key": bytes_json(record.key),
        "value": bytes_json(record.value),
        "headers": headers,
    });
    writeln!(out, "{line}")
}

fn bytes_json(bytes: Option<&[u8]>) -> serde_json::Value {
    match bytes.map(|b| (b, std::str::from_utf8(b))) {
        None => serde_json::Value::Null,
        Some((_, Ok(text))) => text.into(),
        Some((raw, Err(_))) => {
            let hex: String = raw.iter().map(|b| format!("{b:02x}")).collect();
            json!({ "base16": hex })
        }
    }
}

/// Bytes as Kafka's JSON has them.
pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A number as Java's `Double.toString` shows it.
pub(crate) fn java_double(number: f64) -> String {
    java_number(number.abs(), format!("{number:?}"), format!("{number:e}"))
}

/// A number as Java's `Float.toString` shows it.
pub(crate) fn java_float(number: f32) -> String {
    java_number(number.abs().into(), format!("{number:?}"), format!("{number:e}"))
}

/// Plain between a thousandth and ten millions, else with an exponent; always with a point.
fn java_number(size: f64, plain: String, exponent: String) -> String {
    if size.is_infinite() {
        return if plain.starts_with('-') { "-Infinity" } else { "Infinity" }.to_owned();
    }
    if size == 0.0 || size.is_nan() || (1e-3..1e7).contains(&size) {
        return plain;
    }
    let (digits, exponent) = exponent.split_once('e').unwrap_or((&exponent, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}E{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(headers: &'a [(String, Option<Vec<u8>>)]) -> RecordView<'a> {
        RecordView {
            topic: "t",
            partition: 2,
            offset: 40,
            timestamp_ms: 1_700_000_000_000,
            appended: false,
            leader_epoch: 3,
            key: Some(b"k"),
            value: Some(b"\xff\x00"),
            headers,
        }
    }

    fn printed(format: &Format, record: &RecordView<'_>) -> String {
        let mut out = Vec::new();
        format.write(&mut out, record).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_format_names_each_part_once() {
        let headers = [("a".to_owned(), Some(b"1".to_vec())), ("b".to_owned(), None)];
        let format = Format::parse("%t-%p@%o %T %k [%h] 100%%\\n").unwrap();
        assert_eq!(printed(&format, &record(&headers)), "t-2@40 1700000000000 k [a=1,b=] 100%\n");
    }

    #[test]
    fn numbers_are_javas() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (12.5, "12.5"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (-1.25e-10, "-1.25E-10"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(java_double(number), text);
        }
        assert_eq!((&*java_float(0.1), &*java_float(1e10)), ("0.1", "1.0E10"));
    }

    #[test]
    fn a_wrong_format_says_what_is_allowed() {
        assert!(Format::parse("%x").unwrap_err().to_string().contains("%k %v"));
        assert!(Format::parse("50%").unwrap_err().to_string().contains("%%"));
    }

    #[test]
    fn json_keeps_bytes_that_are_not_text() {
        let line: serde_json::Value =
            serde_json::from_str(&printed(&Format::Json, &record(&[]))).unwrap();
        assert_eq!(line["value"]["base16"], "ff00");
        assert_eq!(line["key"], "k");
        assert_eq!(line["offset"], 40);
    }
}
