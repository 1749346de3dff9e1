//! The topics in what a member of a `consumer` group sends with its protocols.
//!
//! Version i16, topics as an array of strings, and more that is of no interest here. Newer versions
//! only add to the end.

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

#[cfg(test)]
mod tests {
    use super::*;

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
