//! Requests decoded and responses encoded, with their headers.

use std::hint::black_box;

use wire::api_key::ApiKey;
use wire::cursor::Cursor;
use wire::header::{RequestHeader, ResponseHeader};
use wire::msg::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use wire::msg::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use wire::primitives::{Records, Uuid};
use wire::writer::{Encoded, Writer};

use super::Op;
use crate::input::{self, FETCH_VERSION, PRODUCE_VERSION};

/// Decodes a Produce request and walks it once, as its handler does.
#[must_use]
pub fn decode_produce(partitions: i32) -> Op {
    let bytes = input::produce_request(partitions, &input::batch(1, 100));
    Op::new(move || {
        let mut cur = Cursor::new(black_box(&bytes));
        let header = RequestHeader::decode(&mut cur).expect("just encoded");
        let request = ProduceRequest::decode(&mut cur, header.api_version).expect("just encoded");
        for topic in &request.topic_data {
            for partition in &topic.partition_data {
                black_box(partition);
            }
        }
    })
}

/// Encodes the answer to a Produce request, into buffers that were used before.
#[must_use]
pub fn encode_produce_answer(partitions: i32) -> Op {
    let partitions: Vec<_> = (0..partitions)
        .map(|index| PartitionProduceResponse {
            index,
            base_offset: 1_000_000,
            log_start_offset: 0,
            ..PartitionProduceResponse::default()
        })
        .collect();
    let mut spent = Encoded::default();
    Op::new(move || {
        let topics = [TopicProduceResponse {
            topic_id: Uuid::ONE,
            partition_responses: black_box(&partitions).into(),
            ..TopicProduceResponse::default()
        }];
        let response =
            ProduceResponse { responses: (&topics).into(), ..ProduceResponse::default() };
        encode(&mut spent, ApiKey::Produce, PRODUCE_VERSION, |w| {
            response.encode(w, PRODUCE_VERSION).expect("a response of this version");
        });
    })
}

/// Decodes a Fetch request and walks it once, as its handler does.
#[must_use]
pub fn decode_fetch(partitions: i32) -> Op {
    let bytes = input::fetch_request(partitions);
    Op::new(move || {
        let mut cur = Cursor::new(black_box(&bytes));
        let header = RequestHeader::decode(&mut cur).expect("just encoded");
        let request = FetchRequest::decode(&mut cur, header.api_version).expect("just encoded");
        for topic in &request.topics {
            for partition in &topic.partitions {
                black_box(partition);
            }
        }
    })
}

/// Encodes the answer to a Fetch request around records that stay where they are.
#[must_use]
pub fn encode_fetch_answer(partitions: u32) -> Op {
    let partitions: Vec<_> = (0..partitions)
        .map(|token| PartitionData {
            partition_index: token.cast_signed(),
            high_watermark: 2_000_000,
            last_stable_offset: 2_000_000,
            log_start_offset: 0,
            records: Some(Records::Spliced { token, len: 64 << 10 }),
            ..PartitionData::default()
        })
        .collect();
    let mut spent = Encoded::default();
    Op::new(move || {
        let topics = [FetchableTopicResponse {
            topic_id: Uuid::ONE,
            partitions: black_box(&partitions).into(),
            ..FetchableTopicResponse::default()
        }];
        let response = FetchResponse { responses: (&topics).into(), ..FetchResponse::default() };
        encode(&mut spent, ApiKey::Fetch, FETCH_VERSION, |w| {
            response.encode(w, FETCH_VERSION).expect("a response of this version");
        });
    })
}

/// One frame, into the buffers of the one before.
pub(super) fn encode(
    spent: &mut Encoded,
    api: ApiKey,
    version: i16,
    body: impl FnOnce(&mut Writer),
) {
    let mut w = Writer::recycle(std::mem::take(spent));
    let frame = w.begin_frame();
    ResponseHeader { correlation_id: 7 }.encode(&mut w, api, version);
    body(&mut w);
    w.end_frame(frame).expect("a short frame");
    *spent = black_box(w.finish());
}
