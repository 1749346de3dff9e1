//! Groups from their partition, read from its start to its end.

use std::collections::BTreeMap;

use engine::batch::control::EndTxnMarker;
use engine::batch::header::{BatchView, Batches};
use engine::batch::records::Records;
use engine::compress::{Codec, Codecs};
use engine::partition::{ReadBound, ReadSpec};
use wire::record::group::{GroupRecord, GroupRecordError};

use super::Host;

/// What transactions have written and neither committed nor aborted yet, by producer.
type Open = BTreeMap<i64, Vec<GroupRecord>>;

impl Host {
    /// Reads all there is. A record that cannot be understood ends it: without what it says, others
    /// could be told that something promised was never so.
    pub(super) async fn load(&self) -> Result<(), String> {
        let started = self.rt.now();
        let (mut at, end) = {
            let offsets = self.partition.offsets();
            (offsets.log_start, offsets.log_end)
        };
        let (mut codecs, mut open) = (Codecs::default(), Open::new());
        let mut bytes = Vec::new();
        while at < end {
            let spec = ReadSpec {
                from: at,
                max_bytes: self.load_bytes,
                at_least_one: true,
                up_to: ReadBound::LogEnd,
            };
            let read = self.partition.read(spec).await.map_err(|error| error.to_string())?;
            bytes.clear();
            read.slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
            let before = at;
            for batch in Batches::new(&bytes) {
                let batch = batch.map_err(|error| error.to_string())?;
                self.replay(&batch, &mut codecs, &mut open)
                    .map_err(|error| format!("at offset {}: {error}", batch.base_offset.0))?;
                at = batch.next_offset();
                self.rt.turn().await;
                if self.is_gone() {
                    return Err("no longer the leader".to_owned());
                }
            }
            if at == before {
                return Err(format!("nothing can be read at offset {}", at.0));
            }
        }
        if !open.is_empty() {
            let transactions = open.len();
            tracing::warn!(
                partition = &*self.partition.name(),
                transactions,
                "offsets of unfinished transactions are passed over"
            );
        }
        let groups = self.with(|shard, _| shard.len());
        if groups > 0 {
            let ms = u64::try_from(self.rt.now().since(started).as_millis()).unwrap_or(u64::MAX);
            tracing::info!(partition = &*self.partition.name(), groups, ms, "groups loaded");
        }
        Ok(())
    }

    fn replay(
        &self,
        batch: &BatchView<'_>,
        codecs: &mut Codecs,
        open: &mut Open,
    ) -> Result<(), String> {
        let producer = batch.producer_id.0;
        if batch.attributes.is_control() {
            let marker = EndTxnMarker::of_batch(batch).map_err(|error| error.to_string())?;
            let written = open.remove(&producer).unwrap_or_default();
            if marker.is_some_and(|marker| marker.commit) {
                self.with(|shard, _| written.into_iter().for_each(|record| shard.replay(record)));
            }
            return Ok(());
        }
        let mut inflated = Vec::new();
        let payload = match batch.attributes.codec() {
            Some(Codec::None) => batch.payload(),
            Some(codec) => {
                codecs
                    .decompress(codec, batch.payload(), OPENED_BYTES_MAX, &mut inflated)
                    .map_err(|error| error.to_string())?;
                &inflated
            }
            None => return Err(format!("unknown codec {}", batch.attributes.codec_id())),
        };
        let records = Records::new(payload, batch.records_count);
        for record in records.map_err(|error| error.to_string())? {
            let record = record.map_err(|error| error.to_string())?;
            let Some(key) = record.key else { continue };
            let record = match GroupRecord::decode(key, record.value) {
                Ok(record) => record,
                Err(GroupRecordError::UnknownType(_)) => continue,
                Err(error) => return Err(error.to_string()),
            };
            match batch.attributes.is_transactional() {
                true => open.entry(producer).or_default().push(record),
                false => {
                    supersede(open, &record);
                    self.with(|shard, _| shard.replay(record));
                }
            }
        }
        Ok(())
    }
}

/// An offset counts over those that transactions wrote before it, whenever they end.
fn supersede(open: &mut Open, record: &GroupRecord) {
    let GroupRecord::OffsetCommit(key, _) = record else { return };
    for written in open.values_mut() {
        written.retain(|other| !matches!(other, GroupRecord::OffsetCommit(of, _) if of == key));
    }
}

/// What a batch may open to.
const OPENED_BYTES_MAX: usize = 64 << 20;
