//! No bytes make a decoder panic, and none make it allocate more than they are worth: requests and
//! responses nothing at all, records what their length justifies.

// A panic is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use support::Rng;
use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::frame;
use wire::header::{RequestHeader, ResponseHeader};
use wire::msg::fetch::{FetchPartition, FetchRequest, FetchTopic};
use wire::msg::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use wire::msg::{AnyRequest, AnyResponse};
use wire::primitives::Records;
use wire::record::control::{
    ControlRecord, EndTxnMarker, KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord,
    SnapshotHeaderRecord, VotersRecord,
};
use wire::record::group::GroupRecord;
use wire::record::metadata::MetadataRecord;
use wire::schema::{At, Value};
use wire::writer::Writer;

/// Counts what the current thread asks of the allocator.
struct Counting;

thread_local! {
    static ALLOCATED_BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all of it is the system allocator's; counting touches only a constant-initialized
// thread local without a destructor, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED_BYTES.set(ALLOCATED_BYTES.get() + layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` allocates, bytes.
fn allocated<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATED_BYTES.get();
    let result = work();
    (result, ALLOCATED_BYTES.get() - before)
}

type Decode = Box<dyn Fn(&[u8]) -> bool>;

/// A decoder, and bytes that it accepts.
struct Target {
    name: String,
    valid: Vec<u8>,
    /// Whether the bytes were accepted; an accepted message is encoded again.
    decode: Decode,
}

/// Every decoder there is, each version with its own bytes.
fn targets() -> Vec<Target> {
    let mut targets = Vec::new();
    for api in AnyRequest::APIS.iter().copied() {
        for version in api.versions() {
            let at = At { version, flexible: api.is_flexible(version) };
            targets.push(Target {
                name: format!("{api} request v{version}"),
                valid: support::message(&AnyRequest::shape(api).unwrap(), at, 7),
                decode: Box::new(move |bytes| request(bytes, api, version)),
            });
            targets.push(Target {
                name: format!("{api} response v{version}"),
                valid: support::message(&AnyResponse::shape(api).unwrap(), at, 7),
                decode: Box::new(move |bytes| response(bytes, api, version)),
            });
        }
    }
    for record in MetadataRecord::samples() {
        for version in 0..=record.max_version() {
            let at = At { version, flexible: true };
            let mut valid = Writer::new();
            for number in [1, record.key() as u32, version as u32] {
                valid.uvarint(number);
            }
            valid.bytes(&support::message(&record.shape(), at, 7));
            targets.push(Target {
                name: format!("{} v{version}", record.name()),
                valid: valid.into_bytes(),
                decode: Box::new(metadata_record),
            });
        }
    }
    for record in support::group_records() {
        for version in 0..=record.versions {
            targets.push(Target {
                name: format!("{} v{version}", record.name),
                valid: record.value(version, 7),
                decode: Box::new(move |bytes| group_record(&record.key(7), bytes)),
            });
        }
        targets.push(Target {
            name: format!("{} key", record.name),
            valid: record.key(7),
            decode: Box::new(move |bytes| group_record(bytes, &record.value(record.versions, 7))),
        });
    }
    let kraft = [
        (1, EndTxnMarker::SHAPE, false),
        (2, LeaderChangeMessage::SHAPE, true),
        (3, SnapshotHeaderRecord::SHAPE, true),
        (4, SnapshotFooterRecord::SHAPE, true),
        (5, KRaftVersionRecord::SHAPE, true),
        (6, VotersRecord::SHAPE, true),
    ];
    for (control_type, shape, flexible) in kraft {
        let mut valid = vec![0, 0];
        valid.extend(support::message(&shape, At { version: 0, flexible }, 7));
        targets.push(Target {
            name: format!("control record {control_type}"),
            valid,
            decode: Box::new(move |bytes| control_record(bytes, control_type)),
        });
    }
    targets.push(Target {
        name: "request header".into(),
        valid: b"\0\x01\0\x0c\0\0\0\x05\0\x02me\x01\x00\x01x".to_vec(),
        decode: Box::new(|bytes| RequestHeader::decode(&mut Cursor::new(bytes)).is_ok()),
    });
    targets.push(Target {
        name: "response header".into(),
        valid: b"\0\0\0\x05\x01\x00\x01x".to_vec(),
        decode: Box::new(|bytes| {
            ResponseHeader::decode(&mut Cursor::new(bytes), ApiKey::Fetch, 12).is_ok()
        }),
    });
    targets
}

/// Two levels of arrays at 16 KiB for a claimed count each, and per byte the largest element in
/// memory over its least size on the wire, twice because vectors double.
fn record_budget(len: usize) -> usize {
    2 * 16 * 1024 + 64 * len
}

fn request(bytes: &[u8], api: ApiKey, version: i16) -> bool {
    let (request, cost) = allocated(|| AnyRequest::decode(&mut Cursor::new(bytes), api, version));
    assert_eq!(cost, 0, "{api} v{version}");
    let Ok(request) = request else { return false };
    let mut w = Writer::new();
    request.encode(&mut w, version).expect("what was decoded can be encoded");
    true
}

fn response(bytes: &[u8], api: ApiKey, version: i16) -> bool {
    let (response, cost) = allocated(|| AnyResponse::decode(&mut Cursor::new(bytes), api, version));
    assert_eq!(cost, 0, "{api} v{version}");
    let Ok(response) = response else { return false };
    let mut w = Writer::new();
    response.encode(&mut w, version).expect("what was decoded can be encoded");
    true
}

fn metadata_record(bytes: &[u8]) -> bool {
    let (record, cost) = allocated(|| MetadataRecord::decode(bytes));
    assert!(cost <= record_budget(bytes.len()), "{cost} bytes for {}", bytes.len());
    let Ok((record, version)) = record else { return false };
    record.to_bytes(version).expect("what was decoded can be encoded");
    true
}

fn group_record(key: &[u8], value: &[u8]) -> bool {
    let (record, cost) = allocated(|| GroupRecord::decode(key, Some(value)));
    let len = key.len() + value.len();
    assert!(cost <= record_budget(len), "{cost} bytes for {len}");
    let Ok(record) = record else { return false };
    record.key().expect("what was decoded can be encoded");
    record.value().expect("what was decoded can be encoded");
    true
}

fn control_record(value: &[u8], control_type: u8) -> bool {
    let key = [0, 0, 0, control_type];
    let (record, cost) = allocated(|| ControlRecord::decode(&key, value));
    assert!(cost <= record_budget(value.len()), "{cost} bytes for {}", value.len());
    let Ok(record) = record else { return false };
    record.value().expect("what was decoded can be encoded");
    true
}

#[test]
fn every_target_accepts_its_own_bytes() {
    for target in targets() {
        assert!((target.decode)(&target.valid), "{}", target.name);
    }
}

#[test]
fn truncation_at_every_byte() {
    for target in targets() {
        for len in 0..target.valid.len() {
            let (_, cost) = allocated(|| frame::next(&target.valid[..len], usize::MAX));
            assert_eq!(cost, 0);
            (target.decode)(&target.valid[..len]);
        }
    }
}

#[test]
fn counts_and_lengths_that_lie() {
    // The largest and the lowest counts, 32-bit, 16-bit and varint; tag counts and sizes likewise.
    let lies: [&[u8]; 8] = [
        b"\x7f\xff\xff\xff",
        b"\x80\0\0\0",
        b"\xff\xff\xff\xfe",
        b"\x7f\xff",
        b"\x80\0",
        b"\xff\xff\xff\xff\x0f",
        b"\xff\xff\xff\xff\x07",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for target in targets() {
        for at in 0..target.valid.len() {
            for lie in lies {
                // In place of what is there, and pushed in between.
                let (head, tail) = target.valid.split_at(at);
                let behind = tail.get(lie.len()..).unwrap_or_default();
                (target.decode)(&[head, lie, behind].concat());
                (target.decode)(&[head, lie, tail].concat());
            }
        }
    }
}

#[test]
fn random_bytes() {
    let mut rng = Rng(1);
    for target in targets() {
        for round in 0..200 {
            let len = rng.below(64) as usize;
            let mut bytes = rng.bytes(len);
            if round % 2 == 0 {
                // Small numbers get further: they are counts and lengths that can be true.
                bytes.iter_mut().for_each(|byte| *byte %= 4);
            }
            (target.decode)(&bytes);
            // A valid message with some bytes turned.
            let mut bytes = target.valid.clone();
            for _ in 0..=rng.below(3) {
                let at = rng.below(bytes.len().max(1) as u64) as usize;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = rng.next() as u8;
                }
            }
            (target.decode)(&bytes);
        }
    }
}

/// A known way to kill a broker: a claim of two billion topics in a body of twelve bytes.
#[test]
fn a_produce_body_of_twelve_bytes() {
    let body = b"\xff\xff\0\x01\0\0\0\x0a\x7f\xff\xff\xff";
    assert!(!request(body, ApiKey::Produce, 3));
    let flexible = b"\0\0\x01\0\0\0\x0a\xff\xff\xff\xff\x0f";
    assert!(!request(flexible, ApiKey::Produce, 13));
}

#[test]
fn a_hundred_partitions_cost_no_allocation() {
    let (_, counted) = allocated(|| std::hint::black_box(vec![0u8; 100]));
    assert_eq!(counted, 100, "the counter counts");

    let partitions: Vec<_> = (0..100)
        .map(|index| PartitionProduceData { index, records: Some(Records::Inline(&[9; 80])) })
        .collect();
    let topics =
        [TopicProduceData { partition_data: (&partitions).into(), ..TopicProduceData::default() }];
    let produce = ProduceRequest { topic_data: (&topics).into(), ..Default::default() };
    let mut w = Writer::new();
    produce.encode(&mut w, 13).unwrap();
    let bytes = w.into_bytes();
    let (sum, cost): (usize, _) = allocated(|| {
        let request = ProduceRequest::decode(&mut Cursor::new(&bytes), 13).unwrap();
        let topics = request.topic_data.iter();
        topics
            .map(|t| t.partition_data.iter().map(|p| p.records.unwrap().len()).sum::<usize>())
            .sum()
    });
    assert_eq!((sum, cost), (8000, 0));

    let partitions: Vec<_> = (0..100)
        .map(|partition| FetchPartition { partition, ..FetchPartition::default() })
        .collect();
    let topics = [FetchTopic { partitions: (&partitions).into(), ..FetchTopic::default() }];
    let fetch = FetchRequest { topics: (&topics).into(), ..Default::default() };
    let mut w = Writer::new();
    fetch.encode(&mut w, 18).unwrap();
    let bytes = w.into_bytes();
    let (sum, cost): (i32, _) = allocated(|| {
        let request = FetchRequest::decode(&mut Cursor::new(&bytes), 18).unwrap();
        let topics = request.topics.iter();
        topics.map(|t| t.partitions.iter().map(|p| p.partition).sum::<i32>()).sum()
    });
    assert_eq!((sum, cost), (4950, 0));
}
