//! Requests built once and patched for every sending.
//!
//! A Produce frame is its own small bytes plus, for each partition, a body that all share:
//!
//! ```text
//! own   [ length, header, .. partition 0, batch up to the stamp's end | partition 1, .. | tags ]
//! body                                                    ^ shared              ^ shared
//! ```
//!
//! Per sending, four fields of a batch change: the stamp, the producer's id with epoch and base
//! sequence, and by these the checksum, which is patched too ([`CrcPatch`]) and not computed anew.

use std::sync::Arc;

use anyhow::{Context, Result};
use wire::msg::fetch::{FetchPartition, FetchRequest, FetchTopic};
use wire::msg::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use wire::primitives::{Records, Uuid};

use super::link::Output;
use crate::batch::{
    BASE_SEQUENCE_AT, BatchBuilder, CRC_AT, CRC_COVERS_FROM, CrcPatch, Identity, next_batch,
};
use crate::control::{TopicView, encode_frame};
use crate::stamp::{STAMP_BYTES, Stamp};
use crate::workload::{Codec, Consume, Produce};

/// The one batch that a raw load sends again and again.
#[derive(Debug)]
pub(crate) struct Mold {
    /// The batch up to the end of the stamp, which is zero here.
    prefix: Vec<u8>,
    stamp_at: usize,
    body: Arc<[u8]>,
    /// CRC-32C of the body.
    rest: u32,
    crc: u32,
    stamp_patch: CrcPatch,
    producer_patch: CrcPatch,
    pub(crate) records: u32,
    pub(crate) bytes: usize,
}

/// A Produce request for some partitions.
#[derive(Debug)]
pub(crate) struct ProduceTemplate {
    own: Vec<u8>,
    parts: Vec<Part>,
    pub(crate) partitions: Vec<u32>,
}

#[derive(Debug)]
struct Part {
    /// Where in `own` the batch begins, and where behind its prefix the body belongs.
    batch_at: usize,
    body_at: usize,
}

/// What one sending of a template says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    pub(crate) correlation: i32,
    pub(crate) run: u32,
    /// The lane of partition 0; the others follow.
    pub(crate) first_lane: u32,
    pub(crate) sequence: u64,
    pub(crate) sent_ns: u64,
    pub(crate) identity: Option<Identity>,
}

/// A Fetch request for some partitions.
#[derive(Debug)]
pub(crate) struct FetchTemplate {
    own: Vec<u8>,
    offsets_at: Vec<usize>,
}

impl Mold {
    /// The batch of a load: records of noise, the first with room for the stamp.
    pub(crate) fn new(load: &Produce, timestamp_ms: i64) -> Result<Self> {
        let mut builder = BatchBuilder::new(timestamp_ms, None);
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        for _ in 0..load.records_per_batch() {
            let at = builder.push(None, load.record.len());
            noise.fill(&mut builder.bytes_mut()[at..at + load.record.len()]);
        }
        let records = u32::try_from(builder.count()).context("that many records")?;
        let mut bytes = builder.finish(Codec::None, 0)?;
        let batch = next_batch(&mut &bytes[..])?.context("a whole batch")?;
        let (stamp_at, _) = batch.first_value().context("an uncompressed batch")?;
        let stamp_end = stamp_at + STAMP_BYTES;
        bytes[stamp_at..stamp_end].fill(0);
        let body: Arc<[u8]> = bytes[stamp_end..].into();
        Ok(Self {
            stamp_at,
            rest: crc32c::crc32c(&body),
            crc: crc32c::crc32c(&bytes[CRC_COVERS_FROM..]),
            stamp_patch: CrcPatch::new(bytes.len() - stamp_end),
            producer_patch: CrcPatch::new(bytes.len() - PRODUCER_AT - PRODUCER_BYTES),
            prefix: bytes[..stamp_end].to_vec(),
            records,
            bytes: bytes.len(),
            body,
        })
    }

    /// Writes the fields of one batch whose prefix lies at `at` in `output`.
    fn fill(&self, output: &mut Output, at: usize, partition: u32, sending: &Sending) {
        let stamp = Stamp {
            run: sending.run,
            lane: sending.first_lane + partition,
            to_batch_end: true,
            sequence: sending.sequence,
            sent_ns: sending.sent_ns,
            rest: self.rest,
        };
        let stamp = stamp.encode();
        let mut crc = self.crc ^ self.stamp_patch.change(&stamp);
        output.patch(at + self.stamp_at, &stamp);
        if let Some((id, epoch)) = sending.identity {
            let base = sending.sequence.wrapping_mul(u64::from(self.records)) & 0x7fff_ffff;
            let mut producer = [0; PRODUCER_BYTES];
            producer[..8].copy_from_slice(&id.to_be_bytes());
            producer[8..10].copy_from_slice(&epoch.to_be_bytes());
            producer[10..].copy_from_slice(&(base as i32).to_be_bytes());
            output.patch(at + PRODUCER_AT, &producer);
            // The mold has −1 in all three fields.
            crc ^= self.producer_patch.change(&producer.map(|byte| !byte));
        }
        output.patch(at + CRC_AT, &crc.to_be_bytes());
    }
}

impl ProduceTemplate {
    /// A request of `load` to `partitions` of `topic`.
    pub(crate) fn new(
        load: &Produce,
        mold: &Mold,
        topic: &TopicView,
        partitions: Vec<u32>,
        version: i16,
    ) -> Result<Self> {
        let data: Vec<_> = partitions
            .iter()
            .map(|&partition| PartitionProduceData {
                index: partition as i32,
                records: Some(Records::Spliced { token: partition, len: mold.bytes as u32 }),
            })
            .collect();
        let topics = [TopicProduceData {
            name: if version >= FIRST_BY_ID { "" } else { &topic.name },
            topic_id: if version >= FIRST_BY_ID { topic.id } else { Uuid::ZERO },
            partition_data: (&data).into(),
        }];
        let request = ProduceRequest {
            transactional_id: None,
            acks: load.acks_code(),
            timeout_ms: 30_000,
            topic_data: (&topics).into(),
        };
        let encoded = encode_frame(&request, version, 0)?;
        let mut own = Vec::with_capacity(encoded.head.len() + partitions.len() * 120);
        let mut parts = Vec::with_capacity(partitions.len());
        let mut done = 0;
        for splice in &encoded.splices {
            own.extend_from_slice(&encoded.head[done..splice.at]);
            done = splice.at;
            let batch_at = own.len();
            own.extend_from_slice(&mold.prefix);
            parts.push(Part { batch_at, body_at: own.len() });
        }
        own.extend_from_slice(&encoded.head[done..]);
        Ok(Self { own, parts, partitions })
    }

    /// Puts one sending of the request into `output`.
    pub(crate) fn send(&self, mold: &Mold, sending: &Sending, output: &mut Output) {
        let mut done = 0;
        for (number, (part, &partition)) in self.parts.iter().zip(&self.partitions).enumerate() {
            let at = output.push(&self.own[done..part.body_at]);
            if number == 0 {
                output.patch(at + CORRELATION_AT, &sending.correlation.to_be_bytes());
            }
            mold.fill(output, at + part.batch_at - done, partition, sending);
            output.push_body(&mold.body);
            done = part.body_at;
        }
        output.push(&self.own[done..]);
    }
}

impl FetchTemplate {
    /// A request of `load` for `partitions`, whose offsets are filled in later.
    pub(crate) fn new(
        load: &Consume,
        topic: &TopicView,
        partitions: &[u32],
        version: i16,
    ) -> Result<Self> {
        let fetch = i32::try_from(load.fetch.0).unwrap_or(i32::MAX);
        let asked: Vec<_> = partitions
            .iter()
            .enumerate()
            .map(|(i, &partition)| FetchPartition {
                partition: partition as i32,
                fetch_offset: OFFSET_MARK | i as i64,
                partition_max_bytes: fetch,
                ..Default::default()
            })
            .collect();
        let topics = [FetchTopic {
            topic: if version >= FIRST_BY_ID { "" } else { &topic.name },
            topic_id: if version >= FIRST_BY_ID { topic.id } else { Uuid::ZERO },
            partitions: (&asked).into(),
        }];
        let all = load.fetch.0.saturating_mul(partitions.len() as u64).min(FETCH_ALL_MAX);
        let request = FetchRequest {
            max_wait_ms: i32::try_from(load.max_wait.0.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: i32::try_from(all.max(load.fetch.0)).unwrap_or(i32::MAX),
            topics: (&topics).into(),
            ..Default::default()
        };
        let own = encode_frame(&request, version, 0)?.head;
        let mut offsets_at = Vec::with_capacity(partitions.len());
        let mut from = 0;
        for i in 0..partitions.len() {
            let mark = (OFFSET_MARK | i as i64).to_be_bytes();
            let found = own[from..].windows(8).position(|window| window == mark);
            let at = from + found.context("the offset's place in a Fetch request")?;
            offsets_at.push(at);
            from = at + 8;
        }
        Ok(Self { own, offsets_at })
    }

    /// Puts one sending of the request into `output`.
    pub(crate) fn send(
        &self,
        correlation: i32,
        offsets: impl Iterator<Item = i64>,
        output: &mut Output,
    ) {
        let at = output.push(&self.own);
        output.patch(at + CORRELATION_AT, &correlation.to_be_bytes());
        for (place, offset) in self.offsets_at.iter().zip(offsets) {
            output.patch(at + place, &offset.to_be_bytes());
        }
    }
}

/// Bytes that do not compress, the same in every run.
#[derive(Debug)]
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// The next number (xorshift*).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Fills `bytes`.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let noise = self.next().to_be_bytes();
            chunk.copy_from_slice(&noise[..chunk.len()]);
        }
    }
}

/// First version of Produce and of Fetch that names topics by id.
pub(crate) const FIRST_BY_ID: i16 = 13;
/// Behind the frame's length, the API key and the version.
const CORRELATION_AT: usize = 8;
/// Producer id, epoch and base sequence lie side by side.
const PRODUCER_AT: usize = 43;
const PRODUCER_BYTES: usize = 14;
const _: () = assert!(BASE_SEQUENCE_AT + 4 == PRODUCER_AT + PRODUCER_BYTES);
/// No other field of a request has this in its eight bytes.
const OFFSET_MARK: i64 = 0x7a5b_3c1d_0000_0000;
/// Kafka's consumer asks for 50 MiB over all partitions.
const FETCH_ALL_MAX: u64 = 50 << 20;
