//! Reads records: one Fetch a leading broker at a time, over all of a topic's partitions.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use engine::batch::{BatchView, Batches, Records as BatchRecords};
use engine::compress::{Codec, Codecs};
use wire::error_code::ErrorCode;
use wire::msg::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use wire::msg::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use wire::primitives::{Records, Uuid};

use super::cluster::{Cluster, Partition, Topic};
use super::conn::check;
use crate::format::RecordView;

/// Between two attempts at what a broker can't serve at the moment.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// ListOffsets' names for the two ends.
pub(crate) const EARLIEST: i64 = -2;
pub(crate) const LATEST: i64 = -1;

/// Reads the partitions of one topic, each from its own position on.
pub(crate) struct Fetcher {
    cluster: Cluster,
    topic: Topic,
    codecs: Codecs,
    /// Next offset to read, by partition.
    positions: BTreeMap<i32, i64>,
    /// A broker said that it can't serve a partition now.
    stale: bool,
}

impl Fetcher {
    /// A fetcher of `topic` without positions.
    pub(crate) fn new(mut cluster: Cluster, topic: &str) -> Result<Self> {
        let topic = cluster.topic(topic, false)?;
        let (codecs, positions) = (Codecs::default(), BTreeMap::new());
        Ok(Self { cluster, topic, codecs, positions, stale: false })
    }

    /// The topic's partitions.
    pub(crate) fn partitions(&self) -> &[Partition] {
        &self.topic.partitions
    }

    /// The next offset to read of each partition.
    pub(crate) fn positions(&self) -> &BTreeMap<i32, i64> {
        &self.positions
    }

    /// Reads `partition` from `offset` on.
    pub(crate) fn seek(&mut self, partition: i32, offset: i64) {
        self.positions.insert(partition, offset);
    }

    /// The first offset at or after a time, or one of the ends; −1 where no record is so late.
    pub(crate) fn offset_at(&mut self, partition: i32, timestamp: i64) -> Result<i64> {
        let partitions =
            [ListOffsetsPartition { partition_index: partition, timestamp, ..Default::default() }];
        let topics =
            [ListOffsetsTopic { name: &self.topic.name, partitions: (&partitions).into() }];
        let request =
            ListOffsetsRequest { replica_id: -1, topics: (&topics).into(), ..Default::default() };
        let leader = leader_of(&self.topic, partition)?;
        let answer: ListOffsetsResponse<'_> = self.cluster.broker(leader)?.call(&request)?;
        let found = answer
            .topics
            .first()
            .and_then(|t| t.partitions.first())
            .context("the broker said nothing of the partition")?;
        check(found.error_code, &format!("partition {partition} of {}", self.topic.name))?;
        Ok(found.offset)
    }

    /// Fetches once from every leader and hands over each record in turn, until `visit` breaks.
    /// Waits up to `wait_ms` at each broker that has nothing new.
    pub(crate) fn poll(
        &mut self,
        wait_ms: i32,
        mut visit: impl FnMut(&RecordView<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        if self.stale {
            // Leaders move; a topic that is gone ends the reading here.
            thread::sleep(RETRY_PAUSE);
            self.topic = self.cluster.topic(&self.topic.name, false)?;
            self.stale = false;
        }
        let mut leaders: BTreeMap<i32, Vec<(i32, i64)>> = BTreeMap::new();
        for (&partition, &offset) in &self.positions {
            leaders
                .entry(leader_of(&self.topic, partition)?)
                .or_default()
                .push((partition, offset));
        }
        for (leader, wanted) in leaders {
            if self.poll_broker(leader, &wanted, wait_ms, &mut visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn poll_broker(
        &mut self,
        leader: i32,
        wanted: &[(i32, i64)],
        wait_ms: i32,
        visit: &mut impl FnMut(&RecordView<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let conn = self.cluster.broker(leader)?;
        // Version 13 names topics by id alone, older ones by name alone.
        let by_id = conn.version::<FetchRequest<'_>>()? >= 13;
        let partitions: Vec<_> = wanted
            .iter()
            .map(|&(partition, fetch_offset)| FetchPartition {
                partition,
                fetch_offset,
                partition_max_bytes: PARTITION_BYTES_MAX,
                ..Default::default()
            })
            .collect();
        let topics = [FetchTopic {
            topic: if by_id { "" } else { &self.topic.name },
            topic_id: if by_id { self.topic.id } else { Uuid::ZERO },
            partitions: (&partitions).into(),
        }];
        let request = FetchRequest {
            max_wait_ms: wait_ms,
            min_bytes: 1,
            max_bytes: RESPONSE_BYTES_MAX,
            session_epoch: -1,
            topics: (&topics).into(),
            ..Default::default()
        };
        let answer: FetchResponse<'_> = conn.call(&request)?;
        check(answer.error_code, "Fetch")?;
        for topic in &answer.responses {
            for data in &topic.partitions {
                let partition = data.partition_index;
                if ErrorCode(data.error_code).is_retriable() {
                    self.stale = true;
                    continue;
                }
                check(data.error_code, &format!("partition {partition} of {}", self.topic.name))?;
                let Some(Records::Inline(bytes)) = data.records else { continue };
                let at = At { topic: &self.topic.name, partition };
                let position = self.positions.entry(partition).or_default();
                if read_batches(&mut self.codecs, bytes, at, position, visit)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Where batches come from.
#[derive(Clone, Copy)]
struct At<'a> {
    topic: &'a str,
    partition: i32,
}

/// Visits the records at and after `position` and moves it on. The last batch may be cut short by
/// the response's limit; the next Fetch brings it.
fn read_batches(
    codecs: &mut Codecs,
    bytes: &[u8],
    at: At<'_>,
    position: &mut i64,
    visit: &mut impl FnMut(&RecordView<'_>) -> Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    let mut opened = Vec::new();
    for batch in Batches::new(bytes).map_while(Result::ok) {
        if !batch.checksum_holds() {
            bail!(
                "the batch at offset {} of {}-{} fails its checksum",
                batch.base_offset,
                at.topic,
                at.partition
            );
        }
        if batch.next_offset().0 <= *position {
            continue;
        }
        if !batch.attributes.is_control() {
            let payload = open(codecs, &batch, &mut opened)?;
            for record in BatchRecords::new(payload, batch.records_count)? {
                let record = record?;
                let offset = record.offset(batch.header()).0;
                if offset < *position {
                    continue;
                }
                *position = offset + 1;
                let headers: Vec<_> = record
                    .headers
                    .map(|h| {
                        let name = String::from_utf8_lossy(h.key).into_owned();
                        (name, h.value.map(<[u8]>::to_vec))
                    })
                    .collect();
                let view = RecordView {
                    topic: at.topic,
                    partition: at.partition,
                    offset,
                    timestamp_ms: record.timestamp(batch.header()),
                    key: record.key,
                    value: record.value,
                    headers: &headers,
                };
                if visit(&view)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        *position = batch.next_offset().0;
    }
    Ok(ControlFlow::Continue(()))
}

/// The records of a batch, decompressed into `opened` where they are compressed.
pub(crate) fn open<'a>(
    codecs: &mut Codecs,
    batch: &BatchView<'a>,
    opened: &'a mut Vec<u8>,
) -> Result<&'a [u8]> {
    match batch.attributes.codec() {
        Some(Codec::None) => Ok(batch.payload()),
        Some(codec) => {
            codecs.decompress(codec, batch.payload(), OPENED_BYTES_MAX, opened)?;
            Ok(opened)
        }
        None => bail!(
            "the batch at offset {} has codec {}, which is unknown",
            batch.base_offset,
            batch.attributes.codec_id()
        ),
    }
}

fn leader_of(topic: &Topic, partition: i32) -> Result<i32> {
    topic.partitions.iter().find(|p| p.index == partition).map(|p| p.leader).with_context(|| {
        format!(
            "partition {partition} is not there: topic {} has partitions 0 to {}",
            topic.name,
            topic.partitions.len() - 1
        )
    })
}

const RESPONSE_BYTES_MAX: i32 = 50 << 20;
const PARTITION_BYTES_MAX: i32 = 1 << 20;

/// A batch that opens to more was not made by a client of good faith.
const OPENED_BYTES_MAX: usize = 1 << 30;
