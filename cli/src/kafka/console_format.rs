//! How the console consumer prints a message: Kafka's `DefaultMessageFormatter`, and the two that read
//! `__consumer_offsets`.
//!
//! Two things differ from Kafka's, where that is wrong: null is shown as such although there is a
//! deserializer, and the epoch as it is, which Kafka's program loses on the way.

use std::io::{self, Write};

use super::Failed;
use super::properties::Properties;
use crate::cmd::log::records::of_types;
use crate::format::{RecordView, java_double, java_float};

/// What is printed of each message.
#[derive(Debug)]
pub(super) struct RecordFormat {
    what: What,
    timestamp: bool,
    partition: bool,
    offset: bool,
    delivery: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null: String,
    /// Of keys, values and headers.
    kinds: [Kind; 3],
}

/// What a formatter prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// The parts of every message.
    Parts,
    /// Nothing at all: the messages are only counted.
    Nothing,
    /// Records of `__consumer_offsets` of these types, as JSON without a line's end, as in Kafka.
    Types(&'static [i16]),
}

/// What bytes mean, as one of Kafka's deserializers has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Text,
    Bytes,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
    Uuid,
}

impl RecordFormat {
    /// From a formatter's class and its properties, which are taken out.
    pub(super) fn read(class: Option<&str>, properties: &mut Properties) -> Result<Self, Failed> {
        let what = match class.map(|class| class.rsplit('.').next().unwrap_or(class)) {
            None | Some("DefaultMessageFormatter") => What::Parts,
            Some("NoOpMessageFormatter") => What::Nothing,
            Some("OffsetsMessageFormatter") => What::Types(&[0, 1]),
            Some("GroupMetadataMessageFormatter") => What::Types(&[2]),
            Some(_) => {
                let class = class.unwrap_or_default();
                let known = "known are DefaultMessageFormatter, NoOpMessageFormatter, \
                             OffsetsMessageFormatter and GroupMetadataMessageFormatter";
                return Err(format!("Option formatter: {class} is not known here; {known}").into());
            }
        };
        let mut is_on = |key: &str, default: bool| {
            let text = properties.take(key);
            text.map_or(default, |text| text.trim().eq_ignore_ascii_case("true"))
        };
        let [timestamp, partition, offset, delivery, epoch, headers, key] = [
            "print.timestamp",
            "print.partition",
            "print.offset",
            "print.delivery",
            "print.epoch",
            "print.headers",
            "print.key",
        ]
        .map(|key| is_on(key, false));
        let value = is_on("print.value", true);
        let mut text =
            |key: &str, default: &str| properties.take(key).unwrap_or(default.to_owned());
        let (key_separator, line_separator) =
            (text("key.separator", "\t"), text("line.separator", "\n"));
        let (headers_separator, null) =
            (text("headers.separator", ","), text("null.literal", "null"));
        let kinds = [
            kind(properties.take("key.deserializer"))?,
            kind(properties.take("value.deserializer"))?,
            kind(properties.take("headers.deserializer"))?,
        ];
        Ok(Self {
            what,
            timestamp,
            partition,
            offset,
            delivery,
            epoch,
            headers,
            key,
            value,
            key_separator,
            line_separator,
            headers_separator,
            null,
            kinds,
        })
    }

    /// Prints a message; `InvalidData` where its bytes are not what was said of them.
    pub(super) fn write(&self, out: &mut dyn Write, record: &RecordView<'_>) -> io::Result<()> {
        match self.what {
            What::Parts => {}
            What::Nothing => return Ok(()),
            What::Types(kinds) => {
                let told = of_types(kinds, record.key, record.value);
                let told = told.map_err(|error| unreadable(format!("{error:#}")))?;
                return out.write_all(told.unwrap_or_default().as_bytes());
            }
        }
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            let who = if record.appended { "LogAppendTime" } else { "CreateTime" };
            parts.push(match record.timestamp_ms {
                ..0 => b"NO_TIMESTAMP".to_vec(),
                ms => format!("{who}:{ms}").into_bytes(),
            });
        }
        if self.partition {
            parts.push(format!("Partition:{}", record.partition).into_bytes());
        }
        if self.offset {
            parts.push(format!("Offset:{}", record.offset).into_bytes());
        }
        if self.delivery {
            // Only members of share groups are told how often.
            parts.push(b"Delivery:NOT_PRESENT".to_vec());
        }
        if self.epoch {
            parts.push(format!("Epoch:{}", record.leader_epoch).into_bytes());
        }
        let [key, value, header] = self.kinds;
        if self.headers {
            parts.push(self.headers_of(record, header)?);
        }
        if self.key {
            parts.push(self.shown(key, record.key)?);
        }
        if self.value {
            parts.push(self.shown(value, record.value)?);
        }
        let mut line = parts.join(self.key_separator.as_bytes());
        line.extend_from_slice(self.line_separator.as_bytes());
        out.write_all(&line)
    }

    fn headers_of(&self, record: &RecordView<'_>, kind: Kind) -> io::Result<Vec<u8>> {
        if record.headers.is_empty() {
            return Ok(b"NO_HEADERS".to_vec());
        }
        let headers = record.headers.iter().map(|(name, value)| {
            let mut header = format!("{name}:").into_bytes();
            header.extend(self.shown(kind, value.as_deref())?);
            Ok(header)
        });
        let headers = headers.collect::<io::Result<Vec<_>>>()?;
        Ok(headers.join(self.headers_separator.as_bytes()))
    }

    fn shown(&self, kind: Kind, bytes: Option<&[u8]>) -> io::Result<Vec<u8>> {
        match bytes {
            None => Ok(self.null.clone().into_bytes()),
            Some(bytes) => kind.show(bytes).ok_or_else(|| {
                unreadable(format!("the {} bytes of a message are no {kind:?}", bytes.len()))
            }),
        }
    }
}

fn unreadable(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Kind {
    /// None where the bytes are not of this kind.
    fn show(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let text = match self {
            Self::Plain => return Some(bytes.to_vec()),
            Self::Text => String::from_utf8_lossy(bytes).into_owned(),
            Self::Bytes => bytes.iter().map(|byte| escaped(*byte)).collect(),
            Self::Short => i16::from_be_bytes(bytes.try_into().ok()?).to_string(),
            Self::Integer => i32::from_be_bytes(bytes.try_into().ok()?).to_string(),
            Self::Long => i64::from_be_bytes(bytes.try_into().ok()?).to_string(),
            Self::Float => java_float(f32::from_be_bytes(bytes.try_into().ok()?)),
            Self::Double => java_double(f64::from_be_bytes(bytes.try_into().ok()?)),
            Self::Boolean => match bytes {
                [0] => "false".to_owned(),
                [1] => "true".to_owned(),
                _ => return None,
            },
            Self::Uuid => uuid(std::str::from_utf8(bytes).ok()?)?,
        };
        Some(text.into_bytes())
    }
}

/// As Kafka's `Bytes` shows itself.
fn escaped(byte: u8) -> String {
    match byte {
        b'\\' => "\\x5C".to_owned(),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02X}"),
    }
}

/// Java's `UUID`, which is text also where it is serialized.
fn uuid(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('-').collect();
    let widths = [8, 4, 4, 4, 12];
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = |(part, width): (&&str, usize)| (1..=width).contains(&part.len()) && is_hex(part);
    if parts.len() != widths.len() || !parts.iter().zip(widths).all(fits) {
        return None;
    }
    let padded = parts.iter().zip(widths).map(|(part, width)| format!("{part:0>width$}"));
    Some(padded.collect::<Vec<_>>().join("-").to_ascii_lowercase())
}

fn kind(class: Option<String>) -> Result<Kind, Failed> {
    let Some(class) = class else { return Ok(Kind::Plain) };
    let name = class.strip_prefix("org.apache.kafka.common.serialization.").unwrap_or(&class);
    match name {
        "ByteArrayDeserializer" => Ok(Kind::Plain),
        "StringDeserializer" => Ok(Kind::Text),
        "BytesDeserializer" => Ok(Kind::Bytes),
        "ShortDeserializer" => Ok(Kind::Short),
        "IntegerDeserializer" => Ok(Kind::Integer),
        "LongDeserializer" => Ok(Kind::Long),
        "FloatDeserializer" => Ok(Kind::Float),
        "DoubleDeserializer" => Ok(Kind::Double),
        "BooleanDeserializer" => Ok(Kind::Boolean),
        "UUIDDeserializer" => Ok(Kind::Uuid),
        _ => Err(format!("the deserializer {class} is not known here").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(properties: &[&str]) -> Result<String, Failed> {
        let properties: Vec<_> = properties.iter().map(|&it| it.to_owned()).collect();
        let mut read = Properties::new("--formatter-property");
        read.add(&properties)?;
        let format = RecordFormat::read(None, &mut read)?;
        read.refuse_rest()?;
        let headers = [("h".to_owned(), Some(b"v".to_vec())), ("i".to_owned(), None)];
        let record = RecordView {
            topic: "t",
            partition: 2,
            offset: 40,
            timestamp_ms: 17,
            appended: false,
            leader_epoch: 3,
            key: Some(b"\0\0\0\x07"),
            value: None,
            headers: &headers,
        };
        let mut out = Vec::new();
        format.write(&mut out, &record).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn parts_come_in_kafkas_order() {
        let all = ["timestamp", "partition", "offset", "delivery", "epoch", "headers", "key"];
        let all = all.map(|part| format!("print.{part}=true"));
        let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
        all.push("key.deserializer=org.apache.kafka.common.serialization.IntegerDeserializer");
        let line = printed(&all).expect("all");
        assert_eq!(
            line,
            "CreateTime:17\tPartition:2\tOffset:40\tDelivery:NOT_PRESENT\tEpoch:3\th:v,i:null\t7\tnull\n"
        );
        let line = printed(&["null.literal=NIL", "line.separator=|"]).expect("a value");
        assert_eq!(line, "NIL|");
        let wrong = ["print.key=true", "key.deserializer=LongDeserializer"];
        assert!(printed(&wrong).expect_err("4 bytes").0.contains("Long"));
        assert!(printed(&["nonsense=1"]).is_err());
    }

    #[test]
    fn bytes_are_shown_as_their_deserializer_does() {
        for (kind, bytes, text) in [
            (Kind::Plain, &b"a\xff"[..], Some(&b"a\xff"[..])),
            (Kind::Text, b"a\xff", Some("a\u{fffd}".as_bytes())),
            (Kind::Bytes, b"a \x00\xab\\", Some(br"a \x00\xAB\x5C")),
            (Kind::Float, b"abcd", Some(b"2.6100788E20")),
            (Kind::Boolean, b"\x02", None),
            (Kind::Uuid, b"1-2-3-4-AbC", Some(b"00000001-0002-0003-0004-000000000abc")),
            (Kind::Uuid, b"abcd", None),
        ] {
            assert_eq!(kind.show(bytes).as_deref(), text, "{kind:?}");
        }
    }
}
