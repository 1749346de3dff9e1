//! The answer to a Fetch, put together from what its partitions have in memory.

use std::hint::black_box;

use engine::buf::Slice;
use engine::partition::ReadBound;
use futures_util::FutureExt;
use wire::api_key::ApiKey;
use wire::msg::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use wire::primitives::{Records, Uuid};
use wire::writer::{Encoded, Piece};

use super::log::{Scattered, Simulated, spec};
use super::{Op, codec};
use crate::input::FETCH_VERSION;

/// Looks at and reads some 10 KiB of each of `partitions` partitions, encodes the answer around
/// the slices, and lists its pieces as the vectored write takes them. The steps are the handler's;
/// its session, its budget and its way over the mesh are not in it.
#[must_use]
pub fn assemble(partitions: usize) -> Op {
    let logs: Vec<_> = (0..partitions).map(|_| Simulated::with_batches(BATCHES, 1, 1024)).collect();
    let mut from = Scattered::default();
    let mut spent = Encoded::default();
    let mut slices: Vec<Slice> = Vec::new();
    let mut ends = Vec::new();
    let run = move || {
        slices.clear();
        ends.clear();
        let read = logs.iter().zip(0..).map(|(log, index)| {
            let (partition, from) = (log.partition(), from.next(BATCHES / 2));
            let available = partition.available(from, ReadBound::HighWatermark);
            black_box(available.expect("a good offset"));
            let read = partition.read(spec(from, MAX_BYTES)).now_or_never();
            let read = read.expect("all of it is in memory").expect("a good offset");
            let token = u32::try_from(ends.len()).expect("few partitions");
            let len = u32::try_from(read.bytes).expect("limited");
            slices.extend(read.slices);
            ends.push(slices.len());
            PartitionData {
                partition_index: index,
                high_watermark: read.offsets.high_watermark.0,
                last_stable_offset: read.offsets.last_stable.0,
                log_start_offset: read.offsets.log_start.0,
                records: Some(Records::Spliced { token, len }),
                ..PartitionData::default()
            }
        });
        let partitions: Vec<PartitionData<'_>> = read.collect();
        let topics = [FetchableTopicResponse {
            topic_id: Uuid::ONE,
            partitions: (&partitions).into(),
            ..FetchableTopicResponse::default()
        }];
        let response = FetchResponse { responses: (&topics).into(), ..FetchResponse::default() };
        codec::encode(&mut spent, ApiKey::Fetch, FETCH_VERSION, |w| {
            response.encode(w, FETCH_VERSION).expect("a response of this version");
        });
        for piece in spent.pieces() {
            match piece {
                Piece::Head(bytes) => {
                    black_box(bytes);
                }
                Piece::Splice(splice) => {
                    let token = splice.token as usize;
                    let start = token.checked_sub(1).map_or(0, |before| ends[before]);
                    for slice in &slices[start..ends[token]] {
                        black_box(&**slice);
                    }
                }
            }
        }
    };
    Op::new(run).over(partitions * MAX_BYTES)
}

/// Batches of each partition.
const BATCHES: i64 = 200;

/// Asked of each partition.
const MAX_BYTES: usize = 10 << 10;
