//! Messages as the JSON that Kafka's own tools print: names in camel case, ids as text, bytes in
//! base64, tagged fields only where they were written.
//!
//! A declaration as data says how the bytes read, so that one function prints every record.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use wire::cursor::Cursor;
use wire::schema::{At, Shape, Spec, StructShape};

use crate::format::{base64, java_double};

/// Prints messages.
#[derive(Debug, Default)]
pub(super) struct Printer {
    /// What members of classic groups tell each other is taken apart.
    opens_members: bool,
    /// The members of the group in hand speak the protocol of consumers.
    of_consumers: bool,
}

impl Printer {
    /// One that takes apart, too, what members of classic groups of consumers tell each other.
    pub(super) fn of_members() -> Self {
        Self { opens_members: true, ..Self::default() }
    }

    /// The message at the cursor.
    pub(super) fn print(&mut self, shape: &Shape, cur: &mut Cursor<'_>, at: At) -> Result<String> {
        let mut text = String::new();
        self.value(&mut text, shape, cur, at)?;
        Ok(text)
    }

    fn value(
        &mut self,
        text: &mut String,
        shape: &Shape,
        cur: &mut Cursor<'_>,
        at: At,
    ) -> Result<()> {
        match shape {
            Shape::Bool => write!(text, "{}", cur.bool()?)?,
            Shape::I8 => write!(text, "{}", cur.i8()?)?,
            Shape::I16 => write!(text, "{}", cur.i16()?)?,
            Shape::U16 => write!(text, "{}", cur.u16()?)?,
            Shape::I32 => write!(text, "{}", cur.i32()?)?,
            Shape::U32 => write!(text, "{}", cur.u32()?)?,
            Shape::I64 => write!(text, "{}", cur.i64()?)?,
            Shape::F64 => text.push_str(&java_double(cur.f64()?)),
            Shape::Uuid => write!(text, "\"{}\"", cur.uuid()?)?,
            Shape::Str | Shape::Bytes | Shape::Records | Shape::List(_) => {
                let len = length(shape, cur, at)?.context("null where none may be")?;
                self.sized(text, shape, len, cur, at)?;
            }
            Shape::Struct(of) => self.fields(text, of, cur, at)?,
            Shape::Nullable(Shape::Struct(_)) if cur.i8()? < 0 => text.push_str("null"),
            Shape::Nullable(Shape::Struct(of)) => self.fields(text, of, cur, at)?,
            Shape::Nullable(inner) => match length(inner, cur, at)? {
                None => text.push_str("null"),
                Some(len) => self.sized(text, inner, len, cur, at)?,
            },
        }
        Ok(())
    }

    /// What has a length, which was read.
    fn sized(
        &mut self,
        text: &mut String,
        shape: &Shape,
        len: usize,
        cur: &mut Cursor<'_>,
        at: At,
    ) -> Result<()> {
        match shape {
            Shape::Str => quote(text, std::str::from_utf8(cur.take(len)?)?),
            Shape::List(element) => {
                text.push('[');
                for index in 0..len {
                    if index > 0 {
                        text.push(',');
                    }
                    self.value(text, element, cur, at)?;
                }
                text.push(']');
            }
            _ => write!(text, "\"{}\"", base64(cur.take(len)?))?,
        }
        Ok(())
    }

    fn fields(
        &mut self,
        text: &mut String,
        of: &StructShape,
        cur: &mut Cursor<'_>,
        at: At,
    ) -> Result<()> {
        let mut written: BTreeMap<&str, String> = BTreeMap::new();
        for (spec, shape) in of.fields.iter().filter(|(spec, _)| spec.tag.is_none()) {
            if spec.present(at) {
                written.insert(spec.name, self.field(of, spec, shape, cur, at)?);
            }
        }
        if at.flexible {
            for _ in 0..cur.uvarint()? {
                let tag = cur.uvarint()?;
                let size = cur.uvarint()?;
                let mut value = cur.sub(size as usize)?;
                let known = of.fields.iter().find(|(spec, _)| spec.tag == Some(tag));
                if let Some((spec, shape)) = known.filter(|(spec, _)| spec.present(at)) {
                    written.insert(spec.name, self.tagged(shape, &mut value, at)?);
                }
            }
        }
        let mut names: Vec<&str> = of.fields.iter().map(|(spec, _)| spec.name).collect();
        if of.name == "PartitionChangeRecord" {
            // Kafka declares them after a field of a higher tag.
            names.sort_by_key(|name| ELR.contains(name));
        }
        let parts = names.iter().filter_map(|name| {
            let value = written.get(name)?;
            Some(format!("\"{}\":{value}", field_name(of.name, name)))
        });
        write!(text, "{{{}}}", parts.collect::<Vec<_>>().join(","))?;
        Ok(())
    }

    fn field(
        &mut self,
        of: &StructShape,
        spec: &Spec,
        shape: &Shape,
        cur: &mut Cursor<'_>,
        at: At,
    ) -> Result<String> {
        let protocol = match (of.name, spec.name) {
            ("MemberMetadata", "subscription") => Some(&SUBSCRIPTION),
            ("MemberMetadata", "assignment") => Some(&ASSIGNMENT),
            _ => None,
        };
        if let Some(protocol) = protocol.filter(|_| self.opens_members && self.of_consumers) {
            let len = length(shape, cur, at)?.unwrap_or(0);
            return self.of_a_member(protocol, cur.take(len)?);
        }
        let value = self.print(shape, cur, at)?;
        if of.name == "GroupMetadataValue" && spec.name == "protocol_type" {
            self.of_consumers = value == "\"consumer\"";
        }
        Ok(value)
    }

    /// Where a tagged struct may be null, a varint says so.
    fn tagged(&mut self, shape: &Shape, cur: &mut Cursor<'_>, at: At) -> Result<String> {
        match shape {
            Shape::Nullable(Shape::Struct(_)) if cur.uvarint()? == 0 => Ok("null".to_owned()),
            Shape::Nullable(inner @ Shape::Struct(_)) => self.print(inner, cur, at),
            shape => self.print(shape, cur, at),
        }
    }

    /// What consumers tell each other through a classic group; as bytes where it is something else.
    fn of_a_member(&mut self, shape: &StructShape, bytes: &[u8]) -> Result<String> {
        let mut cur = Cursor::new(bytes);
        let text = cur.i16().map_err(Into::into).and_then(|version| {
            let at = At { version, flexible: false };
            self.print_fields(shape, &mut cur, at)
        });
        text.or_else(|_: anyhow::Error| Ok(format!("\"{}\"", base64(bytes))))
    }

    fn print_fields(
        &mut self,
        shape: &StructShape,
        cur: &mut Cursor<'_>,
        at: At,
    ) -> Result<String> {
        let mut text = String::new();
        self.fields(&mut text, shape, cur, at)?;
        Ok(text)
    }
}

/// The length before a value; none for null.
fn length(shape: &Shape, cur: &mut Cursor<'_>, at: At) -> Result<Option<usize>> {
    let len = match shape {
        _ if at.flexible => i64::from(cur.uvarint()?) - 1,
        Shape::Str => cur.i16()?.into(),
        Shape::Bytes | Shape::Records | Shape::List(_) => cur.i32()?.into(),
        _ => bail!("{shape:?} has no length"),
    };
    Ok(usize::try_from(len).ok())
}

/// `topic_id` is `topicId`. A few have other names in Kafka.
fn field_name(of: &str, name: &str) -> String {
    match (of, name) {
        ("ConsumerGroupKey" | "ConsumerMemberKey" | "RegularExpressionKey", "group") => {
            return "groupId".to_owned();
        }
        ("ConsumerMemberKey", "member") => return "memberId".to_owned(),
        ("RegularExpressionKey", "pattern") => return "regularExpression".to_owned(),
        _ => {}
    }
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let (initial, rest) = word.split_at(1.min(word.len()));
        name.push_str(&initial.to_ascii_uppercase());
        name.push_str(rest);
        name
    })
}

/// A text as Jackson quotes it.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ..' ' => out.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out.push('"');
}

/// `ConsumerProtocolSubscription`.
const SUBSCRIPTION: StructShape = StructShape {
    name: "ConsumerProtocolSubscription",
    fields: &[
        (Spec::new("topics"), Shape::List(&Shape::Str)),
        (Spec::new("user_data"), Shape::Nullable(&Shape::Bytes)),
        (Spec::new("owned_partitions").since(1), Shape::List(&OWNED)),
        (Spec::new("generation_id").since(2), Shape::I32),
        (Spec::new("rack_id").since(3), Shape::Nullable(&Shape::Str)),
    ],
};

/// `ConsumerProtocolAssignment`.
const ASSIGNMENT: StructShape = StructShape {
    name: "ConsumerProtocolAssignment",
    fields: &[
        (Spec::new("assigned_partitions"), Shape::List(&OWNED)),
        (Spec::new("user_data"), Shape::Nullable(&Shape::Bytes)),
    ],
};

const OWNED: Shape = Shape::Struct(&StructShape {
    name: "TopicPartition",
    fields: &[
        (Spec::new("topic"), Shape::Str),
        (Spec::new("partitions"), Shape::List(&Shape::I32)),
    ],
});

/// Fields of PartitionChangeRecord that Kafka prints last.
const ELR: [&str; 2] = ["eligible_leader_replicas", "last_known_elr"];
