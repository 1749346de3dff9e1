//! `odradek.state`: who used a log directory last.
//!
//! Kafka may run on our directory between two runs of ours, and rewrite what our checkpoint and
//! sidecars speak of. It leaves `.kafka_cleanshutdown` with another broker epoch, or none; our own
//! file says what we left. Where the two do not fit, a new `generation` begins, and nothing of an
//! older one is believed.

use std::io;
use std::path::Path;

use super::super::own::{self, Kind, OwnFileError};
use super::CleanShutdown;
use crate::error::DirError;
use crate::rt::Rt;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnState {
    /// Changes whenever somebody else may have changed the directory.
    pub generation: u64,
    /// Broker epoch with which we stopped in order; `None` while we run.
    pub stopped: Option<i64>,
}

impl OwnState {
    /// The file's name.
    pub const FILE: &'static str = "odradek.state";

    pub(super) async fn read(rt: &Rt, dir: &Path) -> Result<Option<Self>, DirError> {
        let path = dir.join(Self::FILE);
        let bytes = match rt.read_file(&path, 4096).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DirError::io("read", &path, &error)),
        };
        match own::decode(KIND, &bytes).map(Self::decode) {
            Ok(state) => Ok(state),
            Err(error @ OwnFileError::Newer { .. }) => {
                Err(DirError::unreadable(&path, error.to_string()))
            }
            Err(OwnFileError::Damaged) => {
                tracing::warn!(path = %path.display(), "damaged, and passed over");
                Ok(None)
            }
        }
    }

    pub(super) async fn write(self, rt: &Rt, dir: &Path) -> io::Result<()> {
        let mut payload = Vec::new();
        payload.extend_from_slice(&self.generation.to_le_bytes());
        payload.push(u8::from(self.stopped.is_some()));
        payload.extend_from_slice(&self.stopped.unwrap_or(-1).to_le_bytes());
        rt.replace_file(&dir.join(Self::FILE), &own::encode(KIND, &payload)).await
    }

    /// Removes the file, durably.
    pub(super) async fn forget(rt: &Rt, dir: &Path) -> io::Result<()> {
        match rt.remove_file(&dir.join(Self::FILE)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => rt.sync_dir(dir).await,
        }
    }

    /// Whether nobody else used the directory since, as far as can be told.
    pub(super) fn continues(&self, clean: Option<CleanShutdown>) -> bool {
        self.stopped == clean.map(|clean| clean.broker_epoch)
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let (generation, rest) = payload.split_first_chunk::<8>()?;
        let (&stopped, rest) = rest.split_first()?;
        let (epoch, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            generation: u64::from_le_bytes(*generation),
            stopped: (stopped != 0).then(|| i64::from_le_bytes(*epoch)),
        })
    }
}

const KIND: Kind = Kind { name: *b"STAT", version: 1 };
