//! What members of a classic `consumer` group and their leader write to each other.
//!
//! A subscription: version i16, topics as an array of strings, bytes of the member's own; since 1 the
//! partitions that it has, since 2 the generation in which it got them, since 3 its rack. An
//! assignment: version i16, partitions by topic, bytes of the assignor's own. Newer versions only add
//! to the end.

use std::collections::BTreeSet;

use wire::cursor::Cursor;

/// The type of groups whose metadata are subscriptions.
pub(super) const CONSUMER: &str = "consumer";

/// Adds the topics of a subscription; `None` where the bytes are none.
pub(super) fn read_topics(metadata: &[u8], topics: &mut BTreeSet<String>) -> Option<()> {
    let mut cur = Cursor::new(metadata);
    let version = cur.i16().ok()?;
    let count = cur.i32().ok()?;
    if version < 0 || count < 0 {
        return None;
    }
    for _ in 0..count {
        let len = usize::try_from(cur.i16().ok()?).ok()?;
        let name = cur.sub(len).ok()?;
        topics.insert(std::str::from_utf8(name.rest()).ok()?.to_owned());
    }
    Some(())
}

/// What a member says about itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) topics: Vec<String>,
    /// What it has, by topic; nothing where its version cannot say.
    pub(super) owned: ByTopic,
    pub(super) rack: Option<String>,
}

/// Partitions by the name of their topic.
pub(super) type ByTopic = Vec<(String, Vec<i32>)>;

impl Subscription {
    /// `None` where the bytes are none.
    pub(super) fn read(metadata: &[u8]) -> Option<Self> {
        let mut cur = Cursor::new(metadata);
        let version = read_version(&mut cur)?;
        let topics = array(&mut cur, |cur| text(cur)?)?;
        bytes(&mut cur)?;
        let owned = if version >= 1 { array(&mut cur, topic)? } else { Vec::new() };
        if version >= 2 {
            cur.i32().ok()?;
        }
        let rack = if version >= 3 { text(&mut cur)? } else { None };
        Some(Self { topics, owned, rack })
    }
}

/// The partitions of an assignment, and whether the assignor wrote something of its own.
pub(super) fn read_assignment(assignment: &[u8]) -> Option<(ByTopic, bool)> {
    let mut cur = Cursor::new(assignment);
    read_version(&mut cur)?;
    let partitions = array(&mut cur, topic)?;
    Some((partitions, bytes(&mut cur)? > 0))
}

/// An assignment, in the version of this member's metadata.
pub(super) fn write_assignment(metadata: &[u8], partitions: &ByTopic) -> Vec<u8> {
    let version = read_version(&mut Cursor::new(metadata)).unwrap_or(0).min(VERSION_MAX);
    let count = |len: usize| i32::try_from(len).expect("few enough to be in memory").to_be_bytes();
    let mut out = version.to_be_bytes().to_vec();
    out.extend(count(partitions.len()));
    for (topic, ids) in partitions {
        out.extend(u16::try_from(topic.len()).expect("topics have short names").to_be_bytes());
        out.extend(topic.as_bytes());
        out.extend(count(ids.len()));
        out.extend(ids.iter().flat_map(|id| id.to_be_bytes()));
    }
    out.extend(NONE.to_be_bytes());
    out
}

fn read_version(cur: &mut Cursor<'_>) -> Option<i16> {
    cur.i16().ok().filter(|version| *version >= 0)
}

fn array<'a, T>(
    cur: &mut Cursor<'a>,
    one: impl Fn(&mut Cursor<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = cur.i32().ok().filter(|count| *count >= 0)?;
    // Not made as large as it says: it may lie.
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(one(cur)?);
    }
    Some(all)
}

fn topic(cur: &mut Cursor<'_>) -> Option<(String, Vec<i32>)> {
    Some((text(cur)??, array(cur, |cur| cur.i32().ok())?))
}

/// A text, or none; outside, whether there is anything of the kind.
fn text(cur: &mut Cursor<'_>) -> Option<Option<String>> {
    let Ok(len) = usize::try_from(cur.i16().ok()?) else { return Some(None) };
    let text = cur.sub(len).ok()?;
    Some(Some(std::str::from_utf8(text.rest()).ok()?.to_owned()))
}

/// How many bytes there are; none are as many as no bytes.
fn bytes(cur: &mut Cursor<'_>) -> Option<usize> {
    let Ok(len) = usize::try_from(cur.i32().ok()?) else { return Some(0) };
    cur.sub(len).ok()?;
    Some(len)
}

/// The newest version of both.
const VERSION_MAX: i16 = 3;
/// Length of bytes that are none.
const NONE: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_of_all_versions_are_read() {
        let v0 = b"\0\0\0\0\0\x01\0\x01a\0\0\0\x01u";
        let read = Subscription::read(v0).expect("valid");
        assert_eq!(read, Subscription { topics: vec!["a".into()], ..Subscription::default() });
        let owned = b"\0\0\0\x01\0\x01a\0\0\0\x02\0\0\0\x03\0\0\0\x04";
        let v3 = [&b"\0\x03\0\0\0\x01\0\x01a\xff\xff\xff\xff"[..], owned, b"\0\0\0\x07\0\x01r"];
        let v3 = v3.concat();
        let read = Subscription::read(&v3).expect("valid");
        assert_eq!(read.owned, [("a".to_owned(), vec![3, 4])]);
        assert_eq!(read.rack.as_deref(), Some("r"));
        for len in 0..v3.len() {
            assert_eq!(Subscription::read(&v3[..len]), None, "{len} bytes");
        }
        let newer = [&b"\0\x09"[..], &v3[2..], b"behind"].concat();
        assert_eq!(Subscription::read(&newer), Some(read));
    }

    #[test]
    fn assignments_are_read_as_written() {
        let partitions = vec![("a".to_owned(), vec![1, 2]), ("b".to_owned(), vec![])];
        for (metadata, version) in [(&b"\0\x01"[..], 1), (b"\0\x63", 3), (b"", 0)] {
            let written = write_assignment(metadata, &partitions);
            assert_eq!(written[1], version);
            assert_eq!(read_assignment(&written), Some((partitions.clone(), false)));
        }
        assert_eq!(read_assignment(b"\0\0\0\0\0\0\0\0\0\x01u"), Some((vec![], true)));
        assert_eq!(read_assignment(b"\0\0\x7f\xff\xff\xff"), None);
    }

    fn read(metadata: &[u8]) -> Option<Vec<String>> {
        let mut topics = BTreeSet::new();
        read_topics(metadata, &mut topics)?;
        Some(topics.into_iter().collect())
    }

    #[test]
    fn topics_are_found_in_any_version() {
        let v0 = b"\0\0\0\0\0\x02\0\x01b\0\x01a\xff\xff\xff\xff";
        assert_eq!(read(v0), Some(vec!["a".into(), "b".into()]));
        let newer = b"\0\x09\0\0\0\x01\0\x01abehind";
        assert_eq!(read(newer), Some(vec!["a".into()]));
    }

    #[test]
    fn damage_is_told() {
        for bytes in
            [&b""[..], b"\xff\xff\0\0\0\0", b"\0\0\x7f\xff\xff\xff", b"\0\0\0\0\0\x01\xff\xff"]
        {
            assert_eq!(read(bytes), None);
        }
    }
}
