//! From batches of the log to published images, with metadata transactions (KIP-868).
//!
//! Records between `BeginTransaction` and `EndTransaction` are gathered on the side and published
//! at the end, or dropped by `AbortTransaction`. There is one at a time.

use engine::ids::Offset;
use wire::record::metadata::{MetadataRecord, MetadataRecordError};

use super::{Image, Provenance, ReplayError};

/// Replays the log.
#[derive(Clone, Debug, Default)]
pub struct Loader {
    published: Image,
    open: Option<Open>,
}

/// A transaction that has begun and not ended.
#[derive(Clone, Debug)]
struct Open {
    name: Option<String>,
    image: Image,
}

/// What a batch of the log says beside its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchInfo {
    /// Offset of the first record.
    pub base: Offset,
    /// Epoch of the leader that wrote it.
    pub epoch: i32,
    /// Time of the batch, Unix milliseconds.
    pub timestamp_ms: i64,
}

/// Why the log can't be followed beyond some offset.
#[derive(Debug, thiserror::Error)]
#[error("metadata log, offset {offset}: {cause}")]
pub struct LoadError {
    /// The record.
    pub offset: Offset,
    /// What is wrong with it.
    pub cause: LoadFault,
}

/// What is wrong with a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadFault {
    /// Of an unknown type or version, or damaged.
    #[error(transparent)]
    Record(#[from] MetadataRecordError),
    /// Contradicts what came before.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// `BeginTransaction` inside a transaction.
    #[error("a transaction begins inside the transaction {name:?}")]
    Nested {
        /// The outer one.
        name: Option<String>,
    },
    /// `EndTransaction` or `AbortTransaction` outside of one.
    #[error("{0} outside of a transaction")]
    NotOpen(&'static str),
}

impl Loader {
    /// Goes on from `image`: one loaded from a snapshot, say.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self { published: image, open: None }
    }

    /// The newest image without a transaction's half-done work.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.published
    }

    /// Name of the transaction that is open, which a new leader must abort.
    #[must_use]
    pub fn open_transaction(&self) -> Option<Option<&str>> {
        self.open.as_ref().map(|open| open.name.as_deref())
    }

    /// Takes in a data batch: the values of its records in order.
    ///
    /// # Errors
    /// If a record can't be read or taken in. Fatal: the loader is at an undefined place then.
    pub fn apply_batch<'a>(
        &mut self,
        batch: BatchInfo,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), LoadError> {
        let mut offset = batch.base;
        for value in values {
            let at = |cause| LoadError { offset, cause };
            let (record, _) = MetadataRecord::decode(value).map_err(|cause| at(cause.into()))?;
            self.apply(offset, batch, &record).map_err(at)?;
            offset = offset.plus(1);
        }
        self.end_batch(offset, batch);
        Ok(())
    }

    /// Takes in records whose bytes are not at hand, as one batch.
    ///
    /// # Errors
    /// As [`Loader::apply_batch`].
    pub fn apply_records<'a>(
        &mut self,
        batch: BatchInfo,
        records: impl IntoIterator<Item = &'a MetadataRecord>,
    ) -> Result<(), LoadError> {
        let mut offset = batch.base;
        for record in records {
            self.apply(offset, batch, record).map_err(|cause| LoadError { offset, cause })?;
            offset = offset.plus(1);
        }
        self.end_batch(offset, batch);
        Ok(())
    }

    /// Passes over a control batch, which holds nothing of the image.
    pub fn skip_control(&mut self, batch: BatchInfo, end: Offset) {
        self.end_batch(end, batch);
    }

    fn apply(
        &mut self,
        offset: Offset,
        batch: BatchInfo,
        record: &MetadataRecord,
    ) -> Result<(), LoadFault> {
        match record {
            MetadataRecord::BeginTransaction(begin) => {
                if let Some(open) = &self.open {
                    return Err(LoadFault::Nested { name: open.name.clone() });
                }
                if offset > batch.base {
                    self.published.provenance = provenance(offset, batch, false);
                }
                let image = self.published.clone();
                self.open = Some(Open { name: begin.name.clone(), image });
            }
            MetadataRecord::EndTransaction(_) => {
                let open = self.open.take().ok_or(LoadFault::NotOpen("EndTransaction"))?;
                self.published = open.image;
            }
            MetadataRecord::AbortTransaction(_) => {
                self.open.take().ok_or(LoadFault::NotOpen("AbortTransaction"))?;
            }
            record => match &mut self.open {
                Some(open) => open.image.replay(record)?,
                None => self.published.replay(record)?,
            },
        }
        Ok(())
    }

    fn end_batch(&mut self, end: Offset, batch: BatchInfo) {
        if self.open.is_none() {
            self.published.provenance = provenance(end, batch, true);
        }
    }
}

fn provenance(end: Offset, batch: BatchInfo, batch_aligned: bool) -> Provenance {
    Provenance { end, epoch: batch.epoch, timestamp_ms: batch.timestamp_ms, batch_aligned }
}
