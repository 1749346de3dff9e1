//! The produce path allocates nothing for a batch that is stored as it came.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use engine::batch::validate::{ChecksumCheck, Origin, Placement, ValidateOptions, validate};
use engine::batch::{BatchBuilder, BatchOptions, NewRecord, Scratch, TimestampType};
use engine::compress::{Codec, Codecs, Compression};
use engine::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use engine::producer::{AppendPlan, PlanRules, ProducerLimits, ProducerStates, Step};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

fn batch(codec: Codec, base_sequence: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: Compression::new(codec),
        producer_id: ProducerId(9),
        producer_epoch: ProducerEpoch(0),
        base_sequence,
        ..BatchOptions::default()
    });
    for i in 0..100 {
        builder.push(&NewRecord {
            timestamp: i,
            key: Some(b"key"),
            value: Some(&[7; 100]),
            headers: &[(b"header", Some(b"value"))],
        });
    }
    builder.build(&mut Codecs::default())
}

#[test]
fn validating_sequencing_and_copying_allocates_nothing() {
    let mut scratch = Scratch::default();
    let mut log = vec![0; 1 << 20];
    let mut producers = ProducerStates::new(ProducerLimits::default(), Offset::ZERO);
    // Only a producer's first batch makes an entry.
    let mut sequence = 0;
    for codec in [Codec::None].into_iter().chain(Codec::ALL) {
        for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
            for checksum in [ChecksumCheck::Now, ChecksumCheck::OnCopy] {
                let bytes = batch(codec, sequence);
                let options =
                    ValidateOptions { timestamp_type, checksum, ..ValidateOptions::default() };
                let count = allocations(|| {
                    let validated = validate(&bytes, &options, &mut scratch).expect("valid");
                    let batch = &validated.batches[0];
                    let placement = Placement::At(producers.end(), LeaderEpoch(2));
                    let mut plan = AppendPlan::new(PlanRules::trusting(Origin::Client));
                    let step = plan.add(&producers, &batch.header_at(placement), None);
                    assert_eq!(step, Ok(Step::Append));
                    let copied = batch.copy_to(&mut log[..batch.size()], &bytes, placement);
                    copied.expect("sound");
                    producers.apply(plan, 0);
                });
                assert!(count == 0 || sequence == 0, "{codec} {timestamp_type:?} {checksum:?}");
                sequence += 100;
            }
        }
    }
}
