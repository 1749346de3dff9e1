//! Files in a log directory's root that Kafka reads, too.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::super::text;
use crate::error::DirError;
use crate::rt::Rt;

/// A partition as these files name it.
pub type TopicPartition = (String, i32);

/// Which of Kafka's checkpoint files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetFile {
    /// Offsets below which everything is synced.
    RecoveryPoint,
    /// High watermarks.
    HighWatermark,
    /// First offsets that a reader may ask for.
    LogStart,
    /// Offsets from which on a compacted topic was not cleaned yet.
    Cleaner,
}

impl OffsetFile {
    /// The file's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RecoveryPoint => "recovery-point-offset-checkpoint",
            Self::HighWatermark => "replication-offset-checkpoint",
            Self::LogStart => "log-start-offset-checkpoint",
            Self::Cleaner => "cleaner-offset-checkpoint",
        }
    }

    /// The offsets in the file below `dir`; none when it is absent.
    ///
    /// # Errors
    /// When it cannot be read or is of a newer version. A garbled one counts as absent, as it
    /// does for Kafka's own recovery, and is reported.
    pub async fn read(
        self,
        rt: &Rt,
        dir: &Path,
    ) -> Result<BTreeMap<TopicPartition, i64>, DirError> {
        let path = dir.join(self.name());
        let bytes = match rt.read_file(&path, CHECKPOINT_MAX).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(DirError::io("read", &path, &error)),
        };
        match Self::decode(&bytes) {
            Ok(entries) => Ok(entries),
            Err(reason) if reason.contains("newer release") => {
                Err(DirError::unreadable(&path, reason))
            }
            Err(reason) => {
                tracing::warn!(path = %path.display(), reason, "a checkpoint file is passed over");
                Ok(BTreeMap::new())
            }
        }
    }

    /// The offsets in a file of these bytes.
    ///
    /// # Errors
    /// What is wrong with it, as the rest of a sentence about the file.
    pub fn decode(bytes: &[u8]) -> Result<BTreeMap<TopicPartition, i64>, String> {
        text::decode(bytes)?.into_iter().map(entry).collect()
    }

    /// Replaces the file. One caller per directory at a time.
    ///
    /// # Errors
    /// What the file system reports; the old file stays.
    pub async fn write(
        self,
        rt: &Rt,
        dir: &Path,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> io::Result<()> {
        let lines = offsets
            .iter()
            .map(|((topic, partition), offset)| format!("{topic} {partition} {offset}"));
        let lines: Vec<String> = lines.collect();
        let text = text::encode(lines.into_iter());
        rt.replace_file(&dir.join(self.name()), text.as_bytes()).await
    }
}

fn entry(line: &str) -> Result<(TopicPartition, i64), String> {
    let bad = || format!("with a bad entry {line:?}");
    let (topic, numbers) = line.split_once(' ').ok_or_else(bad)?;
    let (partition, offset) = text::pair(numbers)?;
    Ok(((topic.to_owned(), partition), offset))
}

/// `.kafka_cleanshutdown`: the last one to use the directory stopped in order, as the broker
/// registration of this epoch (KIP-966).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanShutdown {
    /// −1 where the file is older than broker epochs.
    pub broker_epoch: i64,
}

impl CleanShutdown {
    /// The file's name.
    pub const FILE: &'static str = ".kafka_cleanshutdown";

    /// Reads the file below `dir`.
    ///
    /// # Errors
    /// What the file system reports, other than its absence.
    pub async fn read(rt: &Rt, dir: &Path) -> Result<Option<Self>, DirError> {
        let path = dir.join(Self::FILE);
        match rt.read_file(&path, 4096).await {
            Ok(bytes) => Ok(Some(Self { broker_epoch: broker_epoch(&bytes).unwrap_or(-1) })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DirError::io("read", &path, &error)),
        }
    }

    /// Writes the file, durably.
    ///
    /// # Errors
    /// What the file system reports.
    pub async fn write(self, rt: &Rt, dir: &Path) -> io::Result<()> {
        let text = format!("{{\"version\":0,\"brokerEpoch\":{}}}", self.broker_epoch);
        rt.replace_file(&dir.join(Self::FILE), text.as_bytes()).await
    }

    /// Removes the file, durably: whoever comes next must not trust what this run leaves behind.
    ///
    /// # Errors
    /// What the file system reports, other than its absence.
    pub async fn clear(rt: &Rt, dir: &Path) -> io::Result<()> {
        match rt.remove_file(&dir.join(Self::FILE)).await {
            Ok(()) => rt.sync_dir(dir).await,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The number behind `"brokerEpoch":` in the file's one JSON object.
fn broker_epoch(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (_, rest) = text.split_once("\"brokerEpoch\"")?;
    let number = rest.trim_start().strip_prefix(':')?.trim_start();
    let end = number.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

/// Bytes of a checkpoint file with a million entries.
const CHECKPOINT_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        assert_eq!(entry("t-1 3 99"), Ok((("t-1".to_owned(), 3), 99)));
        assert!(entry("t 3").is_err());
        assert!(entry("t 3 4 5").is_err());
    }

    #[test]
    fn broker_epochs() {
        assert_eq!(broker_epoch(br#"{"version":0,"brokerEpoch":13}"#), Some(13));
        assert_eq!(broker_epoch(br#"{ "brokerEpoch" : -1, "version": 0 }"#), Some(-1));
        assert_eq!(broker_epoch(b""), None);
    }
}
