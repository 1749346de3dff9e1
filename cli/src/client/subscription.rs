//! What members of a classic group of consumers tell each other: subscriptions and assignments.
//!
//! Both begin with a version (i16). Newer versions only add to the end, and are read as the first
//! one, which is what is written.

use anyhow::{Context, Result};
use wire::cursor::Cursor;
use wire::writer::Writer;

use super::partitions::{TopicPartition, by_topic};

/// The topics that a member wants.
pub(crate) fn encode_subscription(topics: &[String]) -> Vec<u8> {
    let mut w = Writer::new();
    w.i16(0);
    w.i32(topics.len() as i32);
    for topic in topics {
        string(&mut w, topic);
    }
    w.i32(NO_USER_DATA);
    w.into_bytes()
}

/// The topics that a member wants.
pub(crate) fn decode_subscription(bytes: &[u8]) -> Result<Vec<String>> {
    let mut cur = Cursor::new(bytes);
    let mut read = || -> Result<Vec<String>> {
        cur.i16()?;
        let count = cur.i32()?;
        (0..count).map(|_| text(&mut cur)).collect()
    };
    read().context("a subscription that can't be read")
}

/// The partitions that a member is given.
pub(crate) fn encode_assignment(partitions: &[TopicPartition]) -> Vec<u8> {
    let topics = by_topic(partitions.iter().map(|at| (at, ())));
    let mut w = Writer::new();
    w.i16(0);
    w.i32(topics.len() as i32);
    for (topic, partitions) in topics {
        string(&mut w, topic);
        w.i32(partitions.len() as i32);
        for (partition, ()) in partitions {
            w.i32(partition);
        }
    }
    w.i32(NO_USER_DATA);
    w.into_bytes()
}

/// The partitions that a member is given; none where the leader gave it nothing at all.
pub(crate) fn decode_assignment(bytes: &[u8]) -> Result<Vec<TopicPartition>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut cur = Cursor::new(bytes);
    let mut read = || -> Result<Vec<TopicPartition>> {
        cur.i16()?;
        let mut partitions = Vec::new();
        for _ in 0..cur.i32()? {
            let topic = text(&mut cur)?;
            for _ in 0..cur.i32()? {
                partitions.push(TopicPartition::new(&*topic, cur.i32()?));
            }
        }
        Ok(partitions)
    };
    let mut partitions = read().context("an assignment that can't be read")?;
    partitions.sort();
    Ok(partitions)
}

fn string(w: &mut Writer, text: &str) {
    w.i16(text.len() as i16);
    w.bytes(text.as_bytes());
}

fn text(cur: &mut Cursor<'_>) -> Result<String> {
    let len = usize::try_from(cur.i16()?)?;
    Ok(String::from_utf8(cur.take(len)?.to_vec())?)
}

/// The length of bytes that are null.
const NO_USER_DATA: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_come_back() {
        let topics = ["a".to_owned(), "b".to_owned()];
        let bytes = encode_subscription(&topics);
        assert_eq!(bytes, b"\0\0\0\0\0\x02\0\x01a\0\x01b\xff\xff\xff\xff");
        assert_eq!(decode_subscription(&bytes).expect("ours"), topics);
        let has =
            [TopicPartition::new("a", 0), TopicPartition::new("a", 2), TopicPartition::new("b", 1)];
        assert_eq!(decode_assignment(&encode_assignment(&has)).expect("ours"), has);
    }

    #[test]
    fn damage_is_told() {
        assert!(decode_assignment(b"").expect("nothing").is_empty());
        for bytes in [&b"\0"[..], b"\0\0\x7f\xff\xff\xff", b"\0\0\0\0\0\x01\xff\xff"] {
            assert!(decode_assignment(bytes).is_err() && decode_subscription(bytes).is_err());
        }
    }
}
