//! What members of a classic group and their leader write to each other: subscriptions and
//! assignments, as Kafka's consumers do.

use std::collections::BTreeSet;

use wire::cursor::Cursor;
use wire::error::DecodeError;

/// What a member says that reads a topic, and has nothing of it.
pub(super) fn subscription(topic: &str) -> Vec<u8> {
    let mut out = VERSION.to_be_bytes().to_vec();
    out.extend(1_i32.to_be_bytes());
    put_name(&mut out, topic);
    out.extend(NONE.to_be_bytes());
    out.extend(0_i32.to_be_bytes());
    out
}

/// Partitions of a topic for a member.
pub(super) fn assignment(topic: &str, partitions: &[i32]) -> Vec<u8> {
    let mut out = VERSION.to_be_bytes().to_vec();
    out.extend(1_i32.to_be_bytes());
    put_name(&mut out, topic);
    out.extend(i32::try_from(partitions.len()).expect("few").to_be_bytes());
    out.extend(partitions.iter().flat_map(|partition| partition.to_be_bytes()));
    out.extend(NONE.to_be_bytes());
    out
}

/// The partitions of an assignment, whatever their topic; no bytes are none.
pub(super) fn partitions(assignment: &[u8]) -> Result<BTreeSet<i32>, DecodeError> {
    let mut all = BTreeSet::new();
    if assignment.is_empty() {
        return Ok(all);
    }
    let mut cur = Cursor::new(assignment);
    cur.i16()?;
    for _ in 0..cur.i32()? {
        let len = cur.i16()?;
        cur.sub(usize::try_from(len).unwrap_or(0))?;
        for _ in 0..cur.i32()? {
            all.insert(cur.i32()?);
        }
    }
    Ok(all)
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    out.extend(i16::try_from(name.len()).expect("short").to_be_bytes());
    out.extend(name.as_bytes());
}

/// The first in which members say what they have.
const VERSION: i16 = 1;
/// Length of bytes that are none.
const NONE: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_as_written() {
        assert_eq!(partitions(&assignment("t", &[3, 1])), Ok(BTreeSet::from([1, 3])));
        assert_eq!(partitions(&[]), Ok(BTreeSet::new()));
        assert!(partitions(&assignment("t", &[3])[..14]).is_err());
        let said = b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(subscription("t"), said);
    }
}
