//! What groups know of topics, and the one number that tells whether it has changed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use twox_hash::XxHash3_64;
use wire::primitives::Uuid;

use super::Pace;

/// The topics there are now, and what groups are told, as the metadata says.
pub trait TopicSource: fmt::Debug {
    /// Changes with the metadata.
    fn version(&self) -> i64;

    /// Id and number of partitions.
    fn find(&self, name: &str) -> Option<(Uuid, i32)>;

    /// The name of the topic with this id.
    fn name(&self, id: Uuid) -> Option<Arc<str>>;

    /// Racks of a partition's replicas, in order.
    fn racks(&self, topic: Uuid, partition: i32) -> Vec<Arc<str>>;

    /// What is configured for this group alone; none where it has no settings of its own.
    fn pace(&self, group: &str) -> Option<Pace>;
}

/// Kafka's hash of topics with their partitions and racks: the number changes when members have to be
/// assigned anew. Kafka would assign once more if it found another number than its own.
pub(super) fn metadata_hash<'a>(
    topics: &dyn TopicSource,
    names: impl Iterator<Item = &'a str>,
) -> i64 {
    let found = names.filter_map(|name| Some((name, topics.find(name)?)));
    let by_name: BTreeMap<&str, (Uuid, i32)> = found.collect();
    if by_name.is_empty() {
        return 0;
    }
    let mut all = Vec::with_capacity(by_name.len() * 8);
    for (name, (id, partitions)) in by_name {
        all.extend(topic_hash(topics, name, id, partitions).to_le_bytes());
    }
    XxHash3_64::oneshot(&all).cast_signed()
}

fn topic_hash(topics: &dyn TopicSource, name: &str, id: Uuid, partitions: i32) -> u64 {
    let mut bytes = vec![FORMAT];
    // Java's two halves of the id, each a number.
    let (high, low) = id.0.split_at(8);
    bytes.extend(high.iter().rev().chain(low.iter().rev()));
    put_text(&mut bytes, name);
    bytes.extend(partitions.to_le_bytes());
    for partition in 0..partitions {
        bytes.extend(partition.to_le_bytes());
        for rack in topics.racks(id, partition) {
            bytes.extend(utf16_len(&rack).to_le_bytes());
            put_text(&mut bytes, &rack);
        }
    }
    XxHash3_64::oneshot(&bytes)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    bytes.extend(utf16_len(text).to_le_bytes());
}

fn utf16_len(text: &str) -> i32 {
    i32::try_from(text.encode_utf16().count()).unwrap_or(i32::MAX)
}

/// First byte of what is hashed of a topic.
const FORMAT: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct One;

    impl TopicSource for One {
        fn version(&self) -> i64 {
            0
        }

        fn find(&self, name: &str) -> Option<(Uuid, i32)> {
            // B-v0Q_aQR32pg90egk6IsQ
            let id = [7, 235, 244, 67, 246, 144, 71, 125, 169, 131, 221, 30, 130, 78, 136, 177];
            (name == "t1").then_some((Uuid(id), 3))
        }

        fn name(&self, _: Uuid) -> Option<Arc<str>> {
            None
        }

        fn racks(&self, _: Uuid, _: i32) -> Vec<Arc<str>> {
            Vec::new()
        }

        fn pace(&self, _: &str) -> Option<Pace> {
            None
        }
    }

    #[test]
    fn the_hash_is_kafkas() {
        // From a record that Kafka 4.3.1 wrote.
        assert_eq!(metadata_hash(&One, ["t1"].into_iter()), -7_545_581_954_633_064_688);
        assert_eq!(metadata_hash(&One, ["none"].into_iter()), 0);
    }
}
