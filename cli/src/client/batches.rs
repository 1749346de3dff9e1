//! What a Fetch brings: batches, opened and taken apart into records.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use anyhow::{Result, bail};
use engine::batch::header::TimestampType;
use engine::batch::{BatchView, Batches, Records};
use engine::compress::{Codec, Codecs};

use super::partitions::TopicPartition;
use crate::format::RecordView;

/// Where batches come from.
pub(super) struct Source<'a> {
    pub(super) at: &'a TopicPartition,
    pub(super) aborted: Aborted,
}

/// Which transactional batches are to be left out, known while reading in order of offsets.
pub(super) struct Aborted {
    /// First offset and producer, the latest one first.
    to_come: Vec<(i64, i64)>,
    /// Producers in the middle of a transaction that they aborted.
    open: BTreeSet<i64>,
}

impl Aborted {
    /// From first offsets and producers.
    pub(super) fn new(transactions: impl Iterator<Item = (i64, i64)>) -> Self {
        let mut to_come: Vec<_> = transactions.collect();
        to_come.sort_unstable_by(|a, b| b.cmp(a));
        Self { to_come, open: BTreeSet::new() }
    }

    /// Whether the next batch belongs to an aborted transaction.
    fn holds(&mut self, batch: &BatchView<'_>) -> bool {
        while let Some((_, producer)) =
            self.to_come.pop_if(|(first, _)| *first <= batch.last_offset().0)
        {
            self.open.insert(producer);
        }
        let producer = batch.producer_id.0;
        if batch.attributes.is_control() {
            self.open.remove(&producer);
            return false;
        }
        batch.attributes.is_transactional() && self.open.contains(&producer)
    }
}

/// Visits the records at and after `position` and moves it on. The last batch may be cut short by
/// the response's limit; the next Fetch brings it.
pub(super) fn read_batches(
    codecs: &mut Codecs,
    bytes: &[u8],
    mut source: Source<'_>,
    position: &mut i64,
    visit: &mut impl FnMut(&RecordView<'_>) -> Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    let mut opened = Vec::new();
    for batch in Batches::new(bytes).map_while(Result::ok) {
        if !batch.checksum_holds() {
            bail!("the batch at offset {} of {} fails its checksum", batch.base_offset, source.at);
        }
        if batch.next_offset().0 <= *position {
            continue;
        }
        let left_out = source.aborted.holds(&batch);
        if !batch.attributes.is_control() && !left_out {
            let payload = open(codecs, &batch, &mut opened)?;
            for record in Records::new(payload, batch.records_count)? {
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
                    topic: &source.at.topic,
                    partition: source.at.partition,
                    offset,
                    timestamp_ms: record.timestamp(batch.header()),
                    appended: batch.attributes.timestamp_type() == TimestampType::LogAppendTime,
                    leader_epoch: batch.leader_epoch.0,
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

/// A batch that opens to more was not made by a client of good faith.
const OPENED_BYTES_MAX: usize = 1 << 30;
