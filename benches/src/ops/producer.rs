//! The sequence of an idempotent producer, judged and taken in.

use std::hint::black_box;

use engine::batch::validate::Origin;
use engine::batch::{BatchHeader, BatchOptions, BatchView};
use engine::ids::{Offset, ProducerEpoch, ProducerId};
use engine::producer::{AppendPlan, PlanRules, ProducerLimits, ProducerStates, Step};

use super::Op;
use crate::input;

/// The next batch of one of `producers` producers that the partition remembers.
#[must_use]
pub fn next_batch(producers: i64) -> Op {
    let first = BatchOptions {
        producer_id: ProducerId(0),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        ..BatchOptions::default()
    };
    let bytes = input::batch_with(first, 1, 100);
    let mut header = *BatchView::decode(&bytes).expect("a whole batch").header();
    let mut states = ProducerStates::new(ProducerLimits::default(), Offset::ZERO);
    for id in 0..producers {
        header.producer_id = ProducerId(id);
        take(&mut states, &header);
        header.base_offset.0 += 1;
    }
    header.producer_id = ProducerId(producers / 3);
    Op::new(move || {
        header.base_sequence = header.base_sequence.wrapping_add(1) & i32::MAX;
        take(&mut states, black_box(&header));
        header.base_offset.0 += 1;
    })
}

fn take(states: &mut ProducerStates, header: &BatchHeader) {
    let mut plan = AppendPlan::new(PlanRules::trusting(Origin::Client));
    let step = plan.add(states, header, None);
    assert!(matches!(step, Ok(Step::Append)), "the next sequence");
    black_box(states.apply(plan, 1));
}
