//! `__consumer_offsets`: which group is where, and the topic itself.

use config::Config;
use replication::controller::create::NewTopic;
use replication::image::Image;

/// The topic that groups are in.
pub(crate) const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// Whether the broker makes the topic for itself, in its own way.
pub(crate) fn is_hosted(topic: &str) -> bool {
    topic == CONSUMER_OFFSETS
}

/// The topic as it is made when the first group is looked for.
pub(crate) fn new_topic(config: &Config, image: &Image) -> NewTopic {
    let brokers = i16::try_from(image.brokers().unfenced().count()).unwrap_or(i16::MAX).max(1);
    let set = |key: &str, value: String| (key.to_owned(), Some(value));
    NewTopic {
        name: CONSUMER_OFFSETS.to_owned(),
        partitions: i32::try_from(config.offsets_topic_num_partitions).unwrap_or(i32::MAX),
        replication_factor: config.offsets_topic_replication_factor.min(brokers),
        configs: vec![
            set("cleanup.policy", "compact".to_owned()),
            set("compression.type", "producer".to_owned()),
            set("segment.bytes", config.offsets_topic_segment_bytes.to_string()),
        ],
        internal: true,
        ..NewTopic::default()
    }
}

/// The partition of a group: Java's hash of its id. Every tool computes it likewise.
pub(crate) fn partition_of(group: &str, partitions: usize) -> i32 {
    let step = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    let hash = group.encode_utf16().fold(0, step);
    let hash = if hash == i32::MIN { 0 } else { hash.abs() };
    let partitions = i32::try_from(partitions).unwrap_or(i32::MAX).max(1);
    hash % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_where_kafka_looks_for_them() {
        // As `Math.abs(group.hashCode()) % 50` in Java; the hash of "polygenelubricants" is the least
        // number there is, whose absolute value Kafka takes for 0.
        let known = [
            ("", 0),
            ("g", 3),
            ("my-group", 12),
            ("polygenelubricants", 0),
            ("größe", 7),
            ("console-consumer-12345", 6),
        ];
        for (group, partition) in known {
            assert_eq!(partition_of(group, 50), partition, "{group}");
        }
    }
}
