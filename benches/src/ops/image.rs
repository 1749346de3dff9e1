//! Look-ups in the metadata image.

use std::hint::black_box;

use engine::ids::{PartitionId, TopicId};
use replication::image::Image;
use wire::primitives::Uuid;
use wire::record::metadata::{MetadataRecord, PartitionRecord, TopicRecord};

use super::Op;

/// A partition of a topic that a client named.
#[must_use]
pub fn by_name(topics: u64) -> Op {
    let image = image(topics);
    let names: Vec<String> = (0..topics).map(name).collect();
    let mut at = 0;
    Op::new(move || {
        at = (at + STRIDE) % names.len();
        let topic = image.topics().named(black_box(&names[at])).expect("it exists");
        black_box(topic.partition(PartitionId(2)));
    })
}

/// A partition of a topic that a client gave the id of.
#[must_use]
pub fn by_id(topics: u64) -> Op {
    let image = image(topics);
    let ids: Vec<TopicId> = (0..topics).map(|topic| TopicId(id(topic))).collect();
    let mut at = 0;
    Op::new(move || {
        at = (at + STRIDE) % ids.len();
        let partition = image.topics().partition(black_box(ids[at]), PartitionId(2));
        black_box(partition.expect("it exists"));
    })
}

/// A broker's image of `topics` topics with four partitions each.
fn image(topics: u64) -> Image {
    let mut image = Image::default();
    let mut replay = |record: MetadataRecord| image.replay(&record).expect("a consistent record");
    for topic in 0..topics {
        let topic_id = id(topic);
        replay(TopicRecord { name: name(topic), topic_id }.into());
        for partition_id in 0..4 {
            let replicas = vec![1];
            let isr = vec![1];
            let directories = vec![Uuid([7; 16])];
            let record = PartitionRecord {
                partition_id,
                topic_id,
                replicas,
                isr,
                leader: 1,
                directories,
                ..PartitionRecord::default()
            };
            replay(record.into());
        }
    }
    image
}

fn name(topic: u64) -> String {
    format!("some.service.topic-{topic:05}")
}

/// As if random, and the same in every run.
fn id(topic: u64) -> Uuid {
    let high = (topic + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let low = (topic + 1).wrapping_mul(0xD1B5_4A32_D192_ED03);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    bytes[8..].copy_from_slice(&low.to_be_bytes());
    Uuid(bytes)
}

/// From one look-up to the next: neither neighbours nor a short cycle.
const STRIDE: usize = 379;
