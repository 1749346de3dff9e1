//! All that is remembered of a partition's producers, for the log's own checkpoint.
//!
//! Kafka's snapshot file keeps one batch of each producer. After a crash a client sends again what
//! it had in flight, up to five batches, so the checkpoint keeps them all.

use rkyv::{Archive, Deserialize, Serialize};

use super::entry::{BatchMark, MARKS, ProducerEntry};
use super::{ProducerLimits, ProducerStates};
use crate::ids::{Offset, ProducerEpoch, ProducerId};

/// One producer.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ProducerImage {
    id: i64,
    epoch: i16,
    coordinator_epoch: i32,
    last_timestamp: i64,
    /// −1 for none.
    current_txn_first: i64,
    marks: Vec<MarkImage>,
}

/// One of its newest batches.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct MarkImage {
    last_sequence: i32,
    last_offset: i64,
    offset_delta: i32,
    timestamp: i64,
}

impl ProducerStates {
    /// Every producer, as of [`ProducerStates::end`].
    #[must_use]
    pub fn image(&self) -> Vec<ProducerImage> {
        self.entries.iter().map(|(id, entry)| image_of(*id, entry)).collect()
    }

    /// The producers of an image that was made at `end`. Replay the log from there.
    #[must_use]
    pub fn from_image(
        limits: ProducerLimits,
        images: &[ProducerImage],
        end: Offset,
        now: i64,
    ) -> Self {
        let mut states = Self::new(limits, end);
        for image in images {
            let (id, entry) = entry_of(image, now);
            if let Some(first) = entry.current_txn_first {
                states.txns.start(id, first);
            }
            states.entries.insert(id, entry);
        }
        states
    }
}

fn image_of(id: ProducerId, entry: &ProducerEntry) -> ProducerImage {
    let marks = entry.marks.iter().map(|mark| MarkImage {
        last_sequence: mark.last_sequence,
        last_offset: mark.last_offset.0,
        offset_delta: mark.offset_delta,
        timestamp: mark.timestamp,
    });
    ProducerImage {
        id: id.0,
        epoch: entry.epoch.0,
        coordinator_epoch: entry.coordinator_epoch,
        last_timestamp: entry.last_timestamp,
        current_txn_first: entry.current_txn_first.map_or(-1, |first| first.0),
        marks: marks.collect(),
    }
}

fn entry_of(image: &ProducerImage, now: i64) -> (ProducerId, ProducerEntry) {
    let mut entry = ProducerEntry::unknown();
    entry.epoch = ProducerEpoch(image.epoch);
    entry.coordinator_epoch = image.coordinator_epoch;
    entry.last_timestamp = image.last_timestamp;
    entry.current_txn_first =
        (image.current_txn_first >= 0).then_some(Offset(image.current_txn_first));
    entry.last_seen = now;
    entry.marks = image.marks.iter().take(MARKS).map(mark_of).collect();
    (ProducerId(image.id), entry)
}

fn mark_of(mark: &MarkImage) -> BatchMark {
    BatchMark {
        last_sequence: mark.last_sequence,
        last_offset: Offset(mark.last_offset),
        offset_delta: mark.offset_delta,
        timestamp: mark.timestamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::validate::Origin;
    use crate::batch::{BatchBuilder, BatchOptions, NewRecord};
    use crate::compress::Codecs;
    use crate::producer::{AppendPlan, PlanRules, Step};

    #[test]
    fn all_five_batches_are_still_known() {
        let limits = ProducerLimits::default();
        let mut states = ProducerStates::new(limits, Offset::ZERO);
        let header = |sequence: i32| {
            let mut builder = BatchBuilder::new(BatchOptions {
                base_offset: Offset(i64::from(sequence)),
                producer_id: ProducerId(5),
                producer_epoch: ProducerEpoch(1),
                base_sequence: sequence,
                ..BatchOptions::default()
            });
            builder.push(&NewRecord::default());
            let bytes = builder.build(&mut Codecs::default());
            crate::batch::header::BatchHeader::decode(&bytes).expect("a header")
        };
        for sequence in 0..7 {
            let mut plan = AppendPlan::new(PlanRules::trusting(Origin::Client));
            plan.add(&states, &header(sequence), None).expect("in order");
            states.apply(plan, 10);
        }
        let again = ProducerStates::from_image(limits, &states.image(), states.end(), 20);
        for sequence in 2..7 {
            let mut plan = AppendPlan::new(PlanRules::trusting(Origin::Client));
            let step = plan.add(&again, &header(sequence), None).expect("a duplicate");
            assert!(matches!(step, Step::Duplicate(at) if at.first.0 == i64::from(sequence)));
        }
        assert_eq!(again.image(), states.image());
        assert_eq!(again.end(), states.end());
    }
}
