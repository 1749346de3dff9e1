//! Records that Kafka and Odradek keep in their own topics, in the words of Kafka's dump tool.

use anyhow::{Context, Result, bail};
use wire::cursor::Cursor;
use wire::record::control::{
    ControlRecord, KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord,
    SnapshotHeaderRecord, VotersRecord,
};
use wire::record::group::{
    ConsumerGroupKey, ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataValue,
    ConsumerMemberKey, ConsumerMemberMetadataValue, CurrentMemberAssignmentValue, GroupMetadataKey,
    GroupMetadataValue, OffsetCommitKey, OffsetCommitValue, RegularExpressionKey,
    RegularExpressionValue, TargetAssignmentMemberValue, TargetAssignmentMetadataValue,
};
use wire::record::metadata::MetadataRecord;
use wire::schema::{At, Message, Shape};

use super::json::Printer;

/// What is said of a record's key and value, where something is.
pub(super) type Said = (Option<String>, Option<String>);

/// A record of `__consumer_offsets`, as the dump tool tells it.
pub(super) fn of_groups(offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Said {
    let say = || {
        let Key { kind, form, data } = group_key(key.unwrap_or_default())?;
        let Some(form) = form else {
            return Ok((format!("Unknown record type {kind} at offset {offset}, skipping."), None));
        };
        let value = match value {
            None => "<DELETE>".to_owned(),
            Some(value) => {
                let (version, data) = group_value(form, value, Printer::of_members())?;
                format!("{{\"version\":\"{version}\",\"data\":{data}}}")
            }
        };
        anyhow::Ok((format!("{{\"type\":\"{kind}\",\"data\":{data}}}"), Some(value)))
    };
    match say() {
        Ok((key, value)) => (Some(key), value),
        Err(error) => (Some(format!("Error at offset {offset}, skipping. {error:#}")), None),
    }
}

/// A record of `__consumer_offsets` of these types, as the console consumer's formatters tell it;
/// nothing of others.
pub(crate) fn of_types(
    kinds: &[i16],
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<Option<String>> {
    let Some(key) = key else { return Ok(None) };
    let Key { kind, form: Some(form), data } = group_key(key)? else { return Ok(None) };
    if !kinds.contains(&kind) {
        return Ok(None);
    }
    let value = match value {
        None => "null".to_owned(),
        Some(value) => {
            let (version, data) = group_value(form, value, Printer::default())?;
            format!("{{\"version\":{version},\"data\":{data}}}")
        }
    };
    Ok(Some(format!("{{\"key\":{{\"type\":{kind},\"data\":{data}}},\"value\":{value}}}")))
}

/// A record of the cluster's metadata.
pub(super) fn of_metadata(offset: i64, value: Option<&[u8]>) -> Said {
    let text = metadata_value(value.unwrap_or_default())
        .unwrap_or_else(|error| format!("Error at {offset}, skipping. {error:#}"));
    (None, Some(text))
}

/// A record of a control batch.
pub(super) fn of_control(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<String> {
    let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
    let printed = |shape: Shape| {
        let mut cur = Cursor::new(value);
        let version = cur.i16()?;
        let message = Printer::default().print(&shape, &mut cur, At { version, flexible: true })?;
        // Kafka counts the version among the fields.
        let fields = message.strip_prefix('{').context("a message without fields")?;
        let comma = if fields == "}" { "" } else { "," };
        anyhow::Ok(format!("{{\"version\":{version}{comma}{fields}"))
    };
    Ok(match ControlRecord::decode(key, value)? {
        ControlRecord::Abort(marker) => {
            format!("endTxnMarker: ABORT coordinatorEpoch: {}", marker.coordinator_epoch)
        }
        ControlRecord::Commit(marker) => {
            format!("endTxnMarker: COMMIT coordinatorEpoch: {}", marker.coordinator_epoch)
        }
        ControlRecord::LeaderChange(_) => {
            format!("LeaderChange: {}", printed(shape::<LeaderChangeMessage>())?)
        }
        ControlRecord::SnapshotHeader(_) => {
            format!("SnapshotHeader {}", printed(shape::<SnapshotHeaderRecord>())?)
        }
        ControlRecord::SnapshotFooter(_) => {
            format!("SnapshotFooter {}", printed(shape::<SnapshotFooterRecord>())?)
        }
        ControlRecord::KRaftVersion(_) => {
            format!("KRaftVersion {}", printed(shape::<KRaftVersionRecord>())?)
        }
        ControlRecord::KRaftVoters(_) => {
            format!("KRaftVoters {}", printed(shape::<VotersRecord>())?)
        }
    })
}

/// A type of record of `__consumer_offsets`.
struct Form {
    kind: i16,
    key: Shape,
    value: Shape,
    /// Newest version of the value, and the first flexible one.
    version_max: i16,
    flexible_from: i16,
}

const fn form<K: Message<'static>, V: Message<'static>>(kind: i16) -> Form {
    let (version_max, flexible_from) = (V::MAX_VERSION, V::FLEXIBLE_FROM);
    Form { kind, key: K::SHAPE, value: V::SHAPE, version_max, flexible_from }
}

const fn shape<M: Message<'static>>() -> Shape {
    M::SHAPE
}

const FORMS: [Form; 10] = [
    form::<OffsetCommitKey, OffsetCommitValue>(0),
    form::<OffsetCommitKey, OffsetCommitValue>(1),
    form::<GroupMetadataKey, GroupMetadataValue>(2),
    form::<ConsumerGroupKey, ConsumerGroupMetadataValue>(3),
    form::<ConsumerGroupKey, ConsumerGroupPartitionMetadataValue>(4),
    form::<ConsumerMemberKey, ConsumerMemberMetadataValue>(5),
    form::<ConsumerGroupKey, TargetAssignmentMetadataValue>(6),
    form::<ConsumerMemberKey, TargetAssignmentMemberValue>(7),
    form::<ConsumerMemberKey, CurrentMemberAssignmentValue>(8),
    form::<RegularExpressionKey, RegularExpressionValue>(16),
];

/// A key of a record of `__consumer_offsets`.
struct Key {
    kind: i16,
    /// None where nothing is known of the type.
    form: Option<&'static Form>,
    data: String,
}

fn group_key(key: &[u8]) -> Result<Key> {
    let mut cur = Cursor::new(key);
    let kind = cur.i16().context("key")?;
    let form = FORMS.iter().find(|form| form.kind == kind);
    let at = At { version: 0, flexible: false };
    let data = match form {
        Some(form) => Printer::default().print(&form.key, &mut cur, at).context("key")?,
        None => String::new(),
    };
    Ok(Key { kind, form, data })
}

/// The version of a value, and what it says.
fn group_value(form: &Form, value: &[u8], mut printer: Printer) -> Result<(i16, String)> {
    let mut cur = Cursor::new(value);
    let version = cur.i16().context("value")?;
    if !(0..=form.version_max).contains(&version) {
        let (kind, max) = (form.kind, form.version_max);
        bail!("version {version} of a value of type {kind}, the newest known is {max}");
    }
    let at = At { version, flexible: version >= form.flexible_from };
    let data = printer.print(&form.value, &mut cur, at).context("value")?;
    Ok((version, data))
}

fn metadata_value(value: &[u8]) -> Result<String> {
    let (record, version) = MetadataRecord::decode(value)?;
    let mut cur = Cursor::new(value);
    // The frame, which was understood: its version, the record's type and version.
    for _ in 0..3 {
        cur.uvarint()?;
    }
    let at = At { version, flexible: true };
    let data = Printer::default().print(&record.shape(), &mut cur, at)?;
    let name = constant_case(record.name());
    Ok(format!("{{\"type\":\"{name}\",\"version\":{version},\"data\":{data}}}"))
}

/// `TopicRecord` is `TOPIC_RECORD`.
fn constant_case(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kafka 4.3.1 wrote these bytes, and its tool printed these lines.
    #[test]
    fn records_of_groups_are_printed_as_kafka_does() {
        let member = b"\0\x05\0\x03ng2\0\x01m";
        let value = b"\0\0\0\0\x02c\x03/h\x02\x02t\x01\0\x04\x93\xe0\0\x01\0\x01\0";
        let (key, value) = of_groups(4, Some(member), Some(value));
        let said = r#"{"type":"5","data":{"groupId":"ng2","memberId":"m"}}"#;
        assert_eq!(key.as_deref(), Some(said));
        let said = r#"{"version":"0","data":{"instanceId":null,"rackId":null,"clientId":"c","clientHost":"/h","subscribedTopicNames":["t"],"subscribedTopicRegex":"","rebalanceTimeoutMs":300000,"serverAssignor":null,"classicMemberMetadata":null}}"#;
        assert_eq!(value.as_deref(), Some(said));
        let (_, value) = of_groups(4, Some(member), None);
        assert_eq!(value.as_deref(), Some("<DELETE>"));
        let (_, value) = of_groups(4, Some(b"\0\x03\0\x02ng"), Some(b"\0\0\0\0\0\x03\0"));
        assert_eq!(value.as_deref(), Some(r#"{"version":"0","data":{"epoch":3}}"#));
    }

    #[test]
    fn what_classic_members_say_is_taken_apart() {
        let said = b"\0\x03\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff";
        let has = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x05\xff\xff\xff\xff";
        let head = |kind: &str| {
            let mut value = b"\0\x03".to_vec();
            value.extend((kind.len() as i16).to_be_bytes());
            value.extend(kind.as_bytes());
            value.extend(b"\0\0\0\x01\0\x05range\0\x01m\0\0\0\0\0\0\0\x07\0\0\0\x01");
            value.extend(b"\0\x01m\xff\xff\0\x01c\0\x02/h\0\0\0\x01\0\0\0\x02");
            for bytes in [&said[..], has] {
                value.extend((bytes.len() as i32).to_be_bytes());
                value.extend(bytes);
            }
            of_groups(0, Some(b"\0\x02\0\x01g"), Some(&value)).1.expect("a value")
        };
        let text = head("consumer");
        let end = r#""subscription":{"topics":["t"],"userData":null,"ownedPartitions":[],"generationId":-1,"rackId":null},"assignment":{"assignedPartitions":[{"topic":"t","partitions":[5]}],"userData":null}}]}}"#;
        assert!(text.ends_with(end), "{text}");
        assert!(head("connect").contains(r#""subscription":"AAMAAAAB"#));
    }

    #[test]
    fn formatters_tell_of_their_own_types() {
        let key = b"\0\x01\0\x01g\0\x01t\0\0\0\x02";
        let told = |kinds: &[i16]| of_types(kinds, Some(key), None).expect("Kafka's");
        let said =
            r#"{"key":{"type":1,"data":{"group":"g","topic":"t","partition":2}},"value":null}"#;
        assert_eq!(told(&[0, 1]).as_deref(), Some(said));
        assert_eq!(told(&[2]), None);
        assert_eq!(of_types(&[2], None, None).expect("no key"), None);
    }

    #[test]
    fn what_is_not_known_is_told() {
        let (key, value) = of_groups(7, Some(b"\0\x63"), Some(b"x"));
        assert_eq!(key.as_deref(), Some("Unknown record type 99 at offset 7, skipping."));
        assert_eq!(value, None);
        let (key, _) = of_groups(7, Some(b"\0\x02\0\x01g"), Some(b"\0\x09"));
        assert!(key.expect("an error").starts_with("Error at offset 7, skipping. version 9 of"));
        let (_, value) = of_metadata(7, Some(b"\x01\x63\0"));
        assert!(value.expect("an error").starts_with("Error at 7, skipping. "));
    }

    #[test]
    fn metadata_is_printed_as_kafka_does() {
        let topic = b"\x01\x02\0\x02t\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0";
        let said = r#"{"type":"TOPIC_RECORD","version":0,"data":{"name":"t","topicId":"AAAAAAAAAAAAAAAAAAAAAQ"}}"#;
        assert_eq!(of_metadata(0, Some(topic)).1.as_deref(), Some(said));
        let change = b"\x01\x05\x01\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\0\x05\x02\0\0\0\x01\x01\x04\0\0\0\x01";
        let said = r#"{"type":"PARTITION_CHANGE_RECORD","version":1,"data":{"partitionId":1,"topicId":"AAAAAAAAAAAAAAAAAAAAAQ","isr":[1],"leader":1}}"#;
        assert_eq!(of_metadata(0, Some(change)).1.as_deref(), Some(said));
        let leader = of_control(
            Some(b"\0\0\0\x02"),
            Some(b"\0\0\0\0\0\x01\x02\0\0\0\x01\0\x02\0\0\0\x01\0\0"),
        );
        let said = r#"LeaderChange: {"version":0,"leaderId":1,"voters":[{"voterId":1}],"grantingVoters":[{"voterId":1}]}"#;
        assert_eq!(leader.expect("Kafka's"), said);
    }
}
