//! Control records: what brokers write to each other through a partition's log.
//!
//! Key: {version i16, type i16}. A transaction marker's value: {version i16, coordinatorEpoch
//! i32}; the values of the metadata log's control records are schemas of the wire crate.

use super::builder::{BatchBuilder, BatchOptions, NewRecord};
use super::header::BatchView;
use super::records::{RecordError, Records};
use crate::compress::{Codec, Codecs, DecompressError};

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The transaction of this producer id ends here, without effect.
    Abort,
    /// The transaction of this producer id ends here, with effect.
    Commit,
    /// A leader of the metadata quorum starts its epoch.
    LeaderChange,
    /// First record of a metadata snapshot.
    SnapshotHeader,
    /// Last record of a metadata snapshot.
    SnapshotFooter,
    /// The quorum's protocol version (KIP-853).
    KraftVersion,
    /// The quorum's voters (KIP-853).
    KraftVoters,
    /// One that this version does not know.
    Unknown(i16),
}

impl ControlType {
    /// The type's number in the key.
    #[must_use]
    pub fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KraftVersion => 5,
            Self::KraftVoters => 6,
            Self::Unknown(id) => id,
        }
    }

    /// The type with this number.
    #[must_use]
    pub fn from_id(id: i16) -> Self {
        match id {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KraftVersion,
            6 => Self::KraftVoters,
            id => Self::Unknown(id),
        }
    }

    /// The key of a control record of this type.
    #[must_use]
    pub fn key(self) -> [u8; 4] {
        let [a, b] = self.id().to_be_bytes();
        [0, 0, a, b]
    }

    /// Reads a control record's key. A later key version reads as this one.
    ///
    /// # Errors
    /// When the key is too short or its version negative.
    pub fn decode_key(key: Option<&[u8]>) -> Result<Self, ControlError> {
        let key = key.unwrap_or_default();
        let fields = key.first_chunk::<4>().ok_or(ControlError::Key { len: key.len() })?;
        let [version @ .., a, b] = *fields;
        let version = i16::from_be_bytes(version);
        if version < 0 {
            return Err(ControlError::Version { version });
        }
        Ok(Self::from_id(i16::from_be_bytes([a, b])))
    }
}

/// The end of one producer's transaction on one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Whether the records take effect.
    pub commit: bool,
    /// Epoch of the transaction coordinator that wrote the marker; an older one is fenced.
    pub coordinator_epoch: i32,
    /// Unix ms.
    pub timestamp: i64,
}

impl EndTxnMarker {
    /// The marker as a batch; `options` name the producer, and say transactional and control by
    /// themselves.
    #[must_use]
    pub fn to_batch(self, options: BatchOptions) -> Vec<u8> {
        let kind = if self.commit { ControlType::Commit } else { ControlType::Abort };
        let mut value = [0; 6];
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        let record = NewRecord {
            timestamp: self.timestamp,
            key: Some(&kind.key()),
            value: Some(&value),
            headers: &[],
        };
        let options = BatchOptions { transactional: true, control: true, ..options };
        let mut builder = BatchBuilder::new(options);
        builder.push(&record);
        builder.build(&mut Codecs::default())
    }

    /// The marker in a control batch that has a producer id; `None` when compaction emptied it.
    ///
    /// # Errors
    /// When the batch holds something else.
    pub fn of_batch(batch: &BatchView<'_>) -> Result<Option<Self>, ControlError> {
        let mut opened = Vec::new();
        let payload = match batch.attributes.codec() {
            Some(Codec::None) => batch.payload(),
            codec => {
                // Nobody is known to compress a marker, but nothing forbids it.
                let id = batch.attributes.codec_id();
                let codec = codec.ok_or(ControlError::Codec { id })?;
                let mut codecs = Codecs::default();
                codecs.decompress(codec, batch.payload(), MARKER_BYTES_MAX, &mut opened)?;
                &opened
            }
        };
        let Some(record) = Records::new(payload, batch.records_count)?.next() else {
            return Ok(None);
        };
        let record = record?;
        let commit = match ControlType::decode_key(record.key)? {
            ControlType::Commit => true,
            ControlType::Abort => false,
            other => return Err(ControlError::NotAMarker { id: other.id() }),
        };
        let value = record.value.unwrap_or_default();
        let fields = value.first_chunk::<6>().ok_or(ControlError::Value { len: value.len() })?;
        let [v0, v1, epoch @ ..] = *fields;
        let version = i16::from_be_bytes([v0, v1]);
        if version < 0 {
            return Err(ControlError::Version { version });
        }
        let coordinator_epoch = i32::from_be_bytes(epoch);
        Ok(Some(Self { commit, coordinator_epoch, timestamp: record.timestamp(batch) }))
    }
}

/// Why a control batch can't be understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The records themselves are broken.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The batch is compressed and does not open.
    #[error(transparent)]
    Compressed(#[from] DecompressError),
    /// The batch is compressed in a way that nobody defined.
    #[error("control batch has unknown compression type id {id}")]
    Codec {
        /// The id in the attributes.
        id: u8,
    },
    /// The key is shorter than version and type.
    #[error(
        "Invalid value size found for control record key. Must have at least 4 bytes, but found only {len}"
    )]
    Key {
        /// Its bytes.
        len: usize,
    },
    /// A transaction marker's value is shorter than version and coordinator epoch.
    #[error(
        "Invalid value size found for end transaction marker. Must have at least 6 bytes, but found only {len}"
    )]
    Value {
        /// Its bytes.
        len: usize,
    },
    /// A negative version.
    #[error("Invalid version found for control record: {version}. May indicate data corruption")]
    Version {
        /// The version.
        version: i16,
    },
    /// A batch with a producer id holds a control record that ends no transaction.
    #[error("Invalid control record type for end transaction marker {id}")]
    NotAMarker {
        /// The type in the key.
        id: i16,
    },
}

/// A marker's record takes under 30 bytes.
const MARKER_BYTES_MAX: usize = 4 * 1024;
