//! Records of the metadata log as batches, and back.
//!
//! The schemas are `wire`'s; here they meet record batches. A batch of the metadata log holds
//! either metadata records (null keys, no headers) or, with the control bit, control records,
//! several of which may share a batch.

use engine::batch::header::BatchView;
use engine::batch::records::{self, Records};
use engine::batch::{BatchBuilder, BatchOptions, NewRecord};
use engine::compress::{Codec, Codecs, DecompressError};
use engine::ids::{LeaderEpoch, Offset};
use wire::error::EncodeError;
use wire::record::control::ControlRecordError;

pub use wire::record::control::ControlRecord;
pub use wire::record::metadata::{MetadataRecord, MetadataRecordError};

use crate::features::MetadataVersion;
use crate::image::BatchInfo;

/// Where and when a batch is written. The leader's log patches base and epoch on append; in a
/// snapshot file they stay as given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPlace {
    /// Offset of the first record.
    pub base: Offset,
    /// Epoch of the writer.
    pub epoch: LeaderEpoch,
    /// Unix milliseconds.
    pub timestamp_ms: i64,
}

/// An opened batch of the metadata log or of a snapshot.
#[derive(Debug)]
pub struct Opened {
    /// Offset, epoch and time.
    pub info: BatchInfo,
    /// Offset after the last record.
    pub end: Offset,
    /// The records.
    pub content: Content,
}

/// What a batch holds.
#[derive(Debug)]
pub enum Content {
    /// Metadata records in order.
    Metadata(Vec<MetadataRecord>),
    /// Control records with their offsets; types unknown here are left out, as Kafka does.
    Control(Vec<(Offset, ControlRecord)>),
}

/// Why a batch can't be opened. Fatal for a follower of the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The checksum does not match.
    #[error("batch at offset {0}: checksum does not match")]
    Checksum(Offset),
    /// Compressed in a way that does not open.
    #[error("batch at offset {offset}: {cause}")]
    Compressed {
        /// The batch.
        offset: Offset,
        /// Why.
        cause: DecompressError,
    },
    /// Compressed by a codec nobody defined.
    #[error("batch at offset {offset}: unknown compression type id {id}")]
    Codec {
        /// The batch.
        offset: Offset,
        /// The id.
        id: u8,
    },
    /// Not what a batch of records looks like.
    #[error("batch at offset {offset}: {cause}")]
    Records {
        /// The batch.
        offset: Offset,
        /// Why.
        cause: records::RecordError,
    },
    /// A metadata record without a value.
    #[error("offset {0}: a metadata record without a value")]
    NoValue(Offset),
    /// A metadata record of a type or version not known here, or damaged.
    #[error("offset {offset}: {cause}")]
    Metadata {
        /// The record.
        offset: Offset,
        /// Why.
        cause: MetadataRecordError,
    },
    /// A damaged control record.
    #[error("offset {offset}: {cause}")]
    Control {
        /// The record.
        offset: Offset,
        /// Why.
        cause: ControlRecordError,
    },
}

/// The values of metadata records, each in the version that the cluster's level writes.
///
/// # Errors
/// If a record can't be said in that version, or a string is beyond 32 767 bytes.
pub fn encode(
    records: &[MetadataRecord],
    version: MetadataVersion,
) -> Result<Vec<Vec<u8>>, EncodeError> {
    records.iter().map(|record| record.to_bytes(record.version_at(version.0))).collect()
}

/// How many of `values` (at least one) go into the next batch, where more than one is made.
pub(crate) fn batch_len<V: AsRef<[u8]>>(values: &[V]) -> usize {
    let mut bytes = 0;
    let fits = |value: &&V| {
        bytes += value.as_ref().len() + RECORD_OVERHEAD;
        bytes <= BATCH_BYTES
    };
    values.iter().take(BATCH_RECORDS_MAX).take_while(fits).count().max(1)
}

/// One batch of metadata records, from their values.
#[must_use]
pub fn metadata_batch<V: AsRef<[u8]>>(place: BatchPlace, values: &[V]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options(place, false));
    for value in values {
        let value = Some(value.as_ref());
        builder.push(&NewRecord { timestamp: place.timestamp_ms, value, ..NewRecord::default() });
    }
    builder.build(&mut Codecs::default())
}

/// One batch of control records.
///
/// # Errors
/// If a string in one is beyond 32 767 bytes.
pub fn control_batch(place: BatchPlace, records: &[ControlRecord]) -> Result<Vec<u8>, EncodeError> {
    let mut builder = BatchBuilder::new(options(place, true));
    for record in records {
        let (key, value) = (record.key(), record.value()?);
        builder.push(&NewRecord {
            timestamp: place.timestamp_ms,
            key: Some(&key),
            value: Some(&value),
            headers: &[],
        });
    }
    Ok(builder.build(&mut Codecs::default()))
}

/// Checks and decodes a batch.
///
/// # Errors
/// See [`OpenError`].
pub fn open(batch: &BatchView<'_>) -> Result<Opened, OpenError> {
    let offset = batch.base_offset;
    if !batch.checksum_holds() {
        return Err(OpenError::Checksum(offset));
    }
    let mut inflated = Vec::new();
    let payload = match batch.attributes.codec() {
        Some(Codec::None) => batch.payload(),
        Some(codec) => {
            Codecs::default()
                .decompress(codec, batch.payload(), INFLATED_BYTES_MAX, &mut inflated)
                .map_err(|cause| OpenError::Compressed { offset, cause })?;
            &inflated
        }
        None => return Err(OpenError::Codec { offset, id: batch.attributes.codec_id() }),
    };
    let records = Records::new(payload, batch.records_count);
    let records = records.map_err(|cause| OpenError::Records { offset, cause })?;
    let content = if batch.attributes.is_control() {
        control_records(batch, records).map(Content::Control)?
    } else {
        metadata_records(batch, records).map(Content::Metadata)?
    };
    let info =
        BatchInfo { base: offset, epoch: batch.leader_epoch.0, timestamp_ms: batch.max_timestamp };
    Ok(Opened { info, end: batch.next_offset(), content })
}

fn metadata_records(
    batch: &BatchView<'_>,
    records: Records<'_>,
) -> Result<Vec<MetadataRecord>, OpenError> {
    let mut found = Vec::new();
    for record in records {
        let offset = batch.base_offset;
        let record = record.map_err(|cause| OpenError::Records { offset, cause })?;
        let offset = record.offset(batch);
        let value = record.value.ok_or(OpenError::NoValue(offset))?;
        let (record, _) =
            MetadataRecord::decode(value).map_err(|cause| OpenError::Metadata { offset, cause })?;
        found.push(record);
    }
    Ok(found)
}

fn control_records(
    batch: &BatchView<'_>,
    records: Records<'_>,
) -> Result<Vec<(Offset, ControlRecord)>, OpenError> {
    let mut found = Vec::new();
    for record in records {
        let offset = batch.base_offset;
        let record = record.map_err(|cause| OpenError::Records { offset, cause })?;
        let offset = record.offset(batch);
        let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
        match ControlRecord::decode(key, value) {
            Ok(record) => found.push((offset, record)),
            Err(ControlRecordError::UnknownType(_)) => {}
            Err(cause) => return Err(OpenError::Control { offset, cause }),
        }
    }
    Ok(found)
}

fn options(place: BatchPlace, control: bool) -> BatchOptions {
    BatchOptions {
        base_offset: place.base,
        leader_epoch: place.epoch,
        control,
        ..BatchOptions::default()
    }
}

/// Kafka's limit on a batch of the metadata log.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// Records beyond which Kafka starts another batch.
pub(crate) const BATCH_RECORDS_MAX: usize = 10_000;

/// Size from which on a batch is closed, where more than one is made.
const BATCH_BYTES: usize = 1024 * 1024;

/// Bytes of a record beside its value, at most.
const RECORD_OVERHEAD: usize = 24;

/// A batch of the metadata log is at most 8 MiB as written; Kafka does not compress them, and
/// nothing that anybody wrote inflates to more than this.
const INFLATED_BYTES_MAX: usize = 64 * 1024 * 1024;
