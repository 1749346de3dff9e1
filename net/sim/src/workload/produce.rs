//! What both kinds of producers do: make batches, send them, take in the answers.

use std::rc::Rc;

use engine::batch::{BatchBuilder, BatchOptions, NewRecord};
use engine::compress::{Codec, Codecs, Compression};
use engine::ids::{ProducerEpoch, ProducerId};
use wire::cursor::Cursor;
use wire::error::DecodeError;
use wire::error_code::ErrorCode;
use wire::msg::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};
use wire::primitives::Records;

use super::Scene;
use crate::history::{Batch, Place};
use crate::record::RecordId;
use crate::rng::Rng;

/// A batch ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    /// Its number in the history.
    pub(super) number: usize,
    pub(super) place: Place,
    pub(super) count: i32,
    pub(super) bytes: Rc<Vec<u8>>,
}

/// How large a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// A few bytes, or some KiB.
    Any,
    /// Some 100 KB.
    Large,
}

/// What the node says of one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) code: ErrorCode,
    pub(super) base: i64,
}

/// Makes a batch and enters it in the history.
pub(super) fn prepare(
    scene: &Scene,
    rng: &mut Rng,
    place: Place,
    acks: i16,
    producer: Option<(i64, i16, i32)>,
    size: Size,
) -> Prepared {
    let mut history = scene.history.borrow_mut();
    let number = history.batches.len();
    // Now and then past the end of a block of the disk, so that batches begin anywhere in one.
    let (count, filler) = match size {
        Size::Any => (*rng.pick(&[1, 1, 1, 2, 3, 8]), *rng.pick(&[0, 10, 60, 200, 900, 3_000])),
        Size::Large => *rng.pick(&[(1, 100_000), (4, 25_000), (5, 17_777), (2, 60_000)]),
    };
    let records: Vec<RecordId> = (0..count).map(|index| RecordId::of(number, index)).collect();
    let (id, epoch, base_sequence) = producer.unwrap_or((-1, -1, -1));
    let codec = match rng.below(16) {
        0 => Codec::Lz4,
        1 => Codec::Snappy,
        _ => Codec::None,
    };
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: Compression::new(codec),
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence,
        ..BatchOptions::default()
    });
    for record in &records {
        let value = record.value(filler);
        let timestamp = scene.rt.wall_ms();
        builder.push(&NewRecord { timestamp, value: Some(&value), ..NewRecord::default() });
    }
    let bytes = Rc::new(builder.build(&mut Codecs::default()));
    let (acked, refused) = (None, None);
    history.batches.push(Batch {
        place,
        acks,
        producer,
        records,
        attempts: 0,
        sent: None,
        acked,
        refused,
    });
    Prepared { number, place, count: i32::try_from(count).expect("few"), bytes }
}

/// The request for some batches, one for each partition at most.
pub(super) fn request<'a>(acks: i16, batches: &'a [&'a Prepared]) -> ProduceRequest<'a> {
    let topic = |batch: &&'a Prepared| {
        let data = PartitionProduceData {
            index: batch.place.partition,
            records: Some(Records::Inline(&batch.bytes)),
        };
        TopicProduceData {
            topic_id: batch.place.topic,
            partition_data: vec![data].into(),
            ..TopicProduceData::default()
        }
    };
    ProduceRequest {
        acks,
        timeout_ms: 2_000,
        topic_data: batches.iter().map(topic).collect(),
        ..ProduceRequest::default()
    }
}

/// Reads the answer to such a request.
pub(super) fn answers(cur: &mut Cursor<'_>, version: i16) -> Result<Vec<Told>, DecodeError> {
    let response = ProduceResponse::decode(cur, version)?;
    let mut told = Vec::new();
    for topic in &response.responses {
        told.extend(topic.partition_responses.iter().map(|partition| Told {
            code: ErrorCode(partition.error_code),
            base: partition.base_offset,
        }));
    }
    Ok(told)
}

/// Notes that batches are being sent.
pub(super) fn note_sent(scene: &Scene, batches: &[&Prepared]) {
    let mut history = scene.history.borrow_mut();
    for batch in batches {
        let noted = &mut history.batches[batch.number];
        noted.attempts += 1;
        noted.sent.get_or_insert(scene.now());
        let noted = &history.batches[batch.number];
        history.say(scene.now(), || {
            let Batch { place, acks, producer, .. } = noted;
            let (number, count) = (batch.number, batch.count);
            format!("produce batch {number} to {place}: {count} records, acks {acks}, {producer:?}")
        });
    }
}

/// Notes what became of a batch.
pub(super) fn note_told(scene: &Scene, batch: &Prepared, told: Told) {
    let now = scene.now();
    let mut history = scene.history.borrow_mut();
    history.say(now, || format!("batch {}: {} at {}", batch.number, told.code, told.base));
    let noted = &mut history.batches[batch.number];
    if !told.code.is_ok() {
        noted.refused = Some(told.code);
        return;
    }
    match noted.acked {
        None => noted.acked = Some(told.base),
        Some(before) if before != told.base => {
            let message = format!(
                "batch {} was acknowledged at {before}, and again at {}",
                batch.number, told.base
            );
            history.violate(now, "exactly_once", message);
        }
        Some(_) => {}
    }
}

/// Topic ids instead of names.
pub(super) const PRODUCE_VERSION: i16 = 13;
