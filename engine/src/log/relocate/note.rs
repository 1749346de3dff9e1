//! `moved.odradek`: where a log came from, and what was known of it when it was moved.
//!
//! In the directory of the log, from before the move is done until a checkpoint of the new log
//! directory has what it says. With it a start tells the log from the one that it was copied from,
//! and need not read it.

use std::io;
use std::path::Path;

use rkyv::rancor;
use rkyv::{Archive, Deserialize, Serialize};
use wire::primitives::Uuid;

use super::super::checkpoint::Entry;
use super::super::own::{self, Kind, OwnFileError};
use crate::error::LogError;
use crate::rt::Rt;

/// The file's payload.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct Note {
    /// The `directory.id` of the log directory that it came from.
    pub(crate) from: [u8; 16],
    /// Of the move.
    pub(crate) id: [u8; 16],
    /// What a checkpoint would have said when it was done.
    pub(crate) entry: Entry,
}

impl Note {
    pub(crate) const FILE: &str = "moved.odradek";

    /// The note in a log's directory, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, or is of a newer release. A damaged one was never whole.
    pub(crate) async fn read(rt: &Rt, place: &Path) -> Result<Option<Self>, LogError> {
        let path = place.join(Self::FILE);
        let bytes = match rt.read_file(&path, NOTE_MAX).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LogError::io("read", &path, &error)),
        };
        match Self::decode(&bytes) {
            Ok(note) => Ok(Some(note)),
            Err(OwnFileError::Damaged) => {
                tracing::warn!(path = %path.display(), "damaged, and passed over");
                Ok(None)
            }
            Err(newer) => Err(LogError::io("read", &path, &io::Error::other(newer.to_string()))),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let payload = rkyv::to_bytes::<rancor::Error>(self);
        own::encode(KIND, &payload.expect("memory is the only thing that can fail"))
    }

    fn decode(file: &[u8]) -> Result<Self, OwnFileError> {
        own::restore(KIND, file)
    }

    /// Name of the file that says that the move of this id was given up at its last step: the log
    /// that has it is the right one.
    pub(crate) fn stayed(id: Uuid) -> String {
        let id: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("stayed-{id}.odradek")
    }
}

const KIND: Kind = Kind { name: *b"MOVE", version: 1 };
/// With as many producers as there can be.
const NOTE_MAX: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::checkpoint::tests::a_log;
    use crate::log::own::tests::check_damage;

    fn sample() -> Note {
        Note { from: [1; 16], id: [2; 16], entry: a_log() }
    }

    #[test]
    fn round_trip_and_damage() {
        let file = sample().encode();
        assert_eq!(Note::decode(&file), Ok(sample()));
        check_damage(&file, |bad| Note::decode(bad).is_ok());
    }

    #[test]
    fn the_released_format_is_still_read() {
        let released = include_bytes!("../fixtures/moved-v1.bin");
        assert_eq!(Note::decode(released), Ok(sample()));
    }
}
