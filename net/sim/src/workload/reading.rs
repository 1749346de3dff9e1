//! Fetching: the request, and what is in its answer, checked record by record.

use std::time::Duration;

use engine::batch::{BatchError, BatchView, Batches, Records as RecordsOf, Scratch};
use wire::cursor::Cursor;
use wire::error::DecodeError;
use wire::error_code::ErrorCode;
use wire::msg::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use wire::primitives::Records;

use super::Client;
use crate::history::{Place, Read, ReadBatch};
use crate::record::RecordId;

/// What to ask for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) places: Vec<(Place, i64)>,
    pub(super) max_wait_ms: i32,
    pub(super) min_bytes: i32,
    pub(super) max_bytes: i32,
    pub(super) partition_max_bytes: i32,
    /// Whether the leader epochs that the client knows are compared.
    pub(super) names_epoch: bool,
}

/// One partition's part of the answer.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) place: Place,
    pub(super) code: ErrorCode,
    pub(super) high_watermark: i64,
    pub(super) log_start: i64,
    /// The offset after the last record that was read, the one asked for if there was none.
    pub(super) next: i64,
}

/// As it came, before the history has it.
struct RawPart {
    place: Place,
    code: ErrorCode,
    high_watermark: i64,
    log_start: i64,
    batches: Result<Vec<ReadBatch>, String>,
}

impl Client {
    /// Fetches, and notes what was read; `None` when the connection was lost.
    pub(super) async fn fetch(&mut self, version: i16, wish: &Wish) -> Option<Vec<Part>> {
        let topics = wish.places.iter().map(|(place, from)| {
            let part = FetchPartition {
                partition: place.partition,
                current_leader_epoch: self.known_epoch(wish, *place),
                fetch_offset: *from,
                partition_max_bytes: wish.partition_max_bytes,
                ..FetchPartition::default()
            };
            let topic_id = place.topic;
            FetchTopic { topic_id, partitions: vec![part].into(), ..FetchTopic::default() }
        });
        let request = FetchRequest {
            max_wait_ms: wish.max_wait_ms,
            min_bytes: wish.min_bytes,
            max_bytes: wish.max_bytes,
            topics: topics.collect(),
            ..FetchRequest::default()
        };
        let sent = self.scene.now();
        let raw = self.ask(version, &request, raw_parts).await?;
        let mut parts = Vec::new();
        for raw in raw {
            let from = wish.places.iter().find(|(place, _)| *place == raw.place);
            let Some(&(_, from)) = from else {
                self.scene.violate("alive", format!("{} was not asked for", raw.place));
                continue;
            };
            let known_epoch = self.known_epoch(wish, raw.place);
            parts.push(self.take_in(raw, from, known_epoch, sent));
        }
        Some(parts)
    }

    /// As clients that know it say it, and the others don't.
    fn known_epoch(&self, wish: &Wish, place: Place) -> i32 {
        let known = self.epochs.get(&place).filter(|_| wish.names_epoch);
        known.copied().unwrap_or(-1)
    }

    fn take_in(&self, raw: RawPart, from: i64, known_epoch: i32, sent: Duration) -> Part {
        let RawPart { place, code, high_watermark, log_start, batches } = raw;
        let batches = batches.unwrap_or_else(|what| {
            self.scene.violate("stable", format!("{place} from {from}: {what}"));
            Vec::new()
        });
        let next = batches.last().map_or(from, |batch| batch.last + 1);
        if code.is_ok() {
            let got = self.scene.now();
            let read =
                Read { place, sent, got, from, known_epoch, high_watermark, log_start, batches };
            let mut history = self.scene.history.borrow_mut();
            history.say(got, || format!("{read:?}"));
            history.reads.push(read);
        }
        Part { place, code, high_watermark, log_start, next }
    }
}

fn raw_parts(cur: &mut Cursor<'_>, version: i16) -> Result<Vec<RawPart>, DecodeError> {
    let response = FetchResponse::decode(cur, version)?;
    let mut scratch = Scratch::default();
    let mut parts = Vec::new();
    for topic in &response.responses {
        for part in &topic.partitions {
            let bytes = match part.records {
                Some(Records::Inline(bytes)) => bytes,
                _ => &[],
            };
            parts.push(RawPart {
                place: Place { topic: topic.topic_id, partition: part.partition_index },
                code: ErrorCode(part.error_code),
                high_watermark: part.high_watermark,
                log_start: part.log_start_offset,
                batches: batches(&mut scratch, bytes),
            });
        }
    }
    Ok(parts)
}

/// The batches in `bytes`, opened, every checksum compared. The last may be cut short, as in
/// Kafka.
fn batches(scratch: &mut Scratch, bytes: &[u8]) -> Result<Vec<ReadBatch>, String> {
    let mut all = Vec::new();
    let mut walk = Batches::new(bytes);
    for batch in &mut walk {
        match batch {
            Ok(batch) => all.push(open(scratch, &batch)?),
            Err(BatchError::Truncated { .. }) => return Ok(all),
            Err(error) => return Err(error.to_string()),
        }
    }
    match walk.position() == bytes.len() {
        true => Ok(all),
        false => Err(format!("zeros from byte {} of {}", walk.position(), bytes.len())),
    }
}

fn open(scratch: &mut Scratch, batch: &BatchView<'_>) -> Result<ReadBatch, String> {
    let base = batch.base_offset;
    if !batch.checksum_holds() {
        return Err(format!("the checksum of batch {base} does not hold"));
    }
    let payload = scratch.open(batch, OPENED_MAX).map_err(|error| format!("{base}: {error}"))?;
    let records = RecordsOf::new(payload, batch.records_count);
    let records = records.map_err(|error| format!("{base}: {error}"))?;
    let mut ids = Vec::new();
    for (index, record) in (0..).zip(records) {
        let record = record.map_err(|error| format!("{base}: {error}"))?;
        if record.offset_delta != index {
            return Err(format!("record {index} of batch {base} is at {}", record.offset_delta));
        }
        let id = record.value.and_then(RecordId::read);
        ids.push(id.ok_or_else(|| format!("record {index} of batch {base} is damaged"))?);
    }
    let last = batch.last_offset();
    if last.0 - base.0 + 1 != ids.len() as i64 {
        return Err(format!("batch {base} to {last} has {} records", ids.len()));
    }
    Ok(ReadBatch { base: base.0, last: last.0, epoch: batch.leader_epoch.0, records: ids })
}

/// No batch of the workload comes near.
const OPENED_MAX: usize = 1 << 20;
