//! Names of files and directories, which are Kafka's.
//!
//! Ours beside them end in `.odradek`: Kafka's loader looks at suffixes and passes over a file
//! whose suffix it does not know, in a partition's directory as in the root.

use std::path::{Path, PathBuf};

use wire::primitives::Uuid;

/// What a partition's directory holds per segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    /// Record batches.
    Log,
    /// Offset to position.
    Index,
    /// Timestamp to offset.
    TimeIndex,
    /// Aborted transactions.
    TxnIndex,
    /// Producer state as of the offset in the name.
    Snapshot,
    /// Block checksums (ours).
    Sidecar,
}

impl FileKind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Log, Self::Index, Self::TimeIndex, Self::TxnIndex, Self::Snapshot, Self::Sidecar];

    fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::Index => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TxnIndex => ".txnindex",
            Self::Snapshot => ".snapshot",
            Self::Sidecar => ".blocks.odradek",
        }
    }

    /// `00000000000000000042.log` and so on.
    pub(crate) fn name(self, base: i64) -> String {
        format!("{base:020}{}", self.suffix())
    }

    pub(crate) fn path(self, dir: &Path, base: i64) -> PathBuf {
        dir.join(self.name(base))
    }

    /// As [`FileKind::path`], with a suffix of compaction's behind it.
    pub(crate) fn path_at(self, dir: &Path, base: i64, stage: Stage) -> PathBuf {
        dir.join(format!("{}{}", self.name(base), stage.suffix()))
    }

    /// Kind and offset of a segment file's name.
    pub(crate) fn parse(name: &str) -> Option<(Self, i64)> {
        let (digits, _) = name.split_at_checked(20)?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let base = digits.parse().ok()?;
        let kind = Self::ALL.into_iter().find(|kind| kind.suffix() == &name[20..])?;
        Some((kind, base))
    }
}

/// How far compaction got with a file that is to take the place of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Being written: worth nothing yet.
    Cleaned,
    /// Whole and durable: whoever finds it finishes.
    Swap,
}

impl Stage {
    fn suffix(self) -> &'static str {
        match self {
            Self::Cleaned => ".cleaned",
            Self::Swap => ".swap",
        }
    }

    /// Stage, kind and offset of such a file's name.
    pub(crate) fn parse(name: &str) -> Option<(Self, FileKind, i64)> {
        [Self::Cleaned, Self::Swap].into_iter().find_map(|stage| {
            let (kind, base) = FileKind::parse(name.strip_suffix(stage.suffix())?)?;
            Some((stage, kind, base))
        })
    }
}

/// What a directory in the root is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DirKind {
    /// A partition in use.
    Partition {
        /// Topic name.
        topic: String,
        /// Index within the topic.
        partition: i32,
    },
    /// `<topic>-<p>.<uuid>-delete`: waits to be removed.
    Doomed,
    /// `<topic>-<p>.<uuid>-future`: the copy of a partition that moves here.
    Future {
        /// Topic name.
        topic: String,
        /// Index within the topic.
        partition: i32,
    },
    /// `-stray`: of no topic, left alone.
    Parked,
}

/// What the name of a directory in the root says; `None` for a foreign one.
pub(crate) fn dir_kind(name: &str) -> Option<DirKind> {
    if let Some(stem) = name.strip_suffix(DELETE_SUFFIX) {
        return stem.rsplit_once('.').map(|_| DirKind::Doomed);
    }
    if name.ends_with("-stray") {
        return name.rsplit_once('.').map(|_| DirKind::Parked);
    }
    if let Some(stem) = name.strip_suffix(FUTURE_SUFFIX) {
        let (topic, partition) = parse_partition(stem.rsplit_once('.')?.0)?;
        return Some(DirKind::Future { topic, partition });
    }
    let (topic, partition) = parse_partition(name)?;
    Some(DirKind::Partition { topic, partition })
}

fn parse_partition(name: &str) -> Option<(String, i32)> {
    let (topic, digits) = name.rsplit_once('-')?;
    if topic.is_empty() || digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((topic.to_owned(), digits.parse().ok()?))
}

/// Name of a partition's directory.
pub(crate) fn partition_dir(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// Name of the directory in which the copy of a partition grows that moves; longer than file systems
/// take if the topic's name is very long, as in Kafka.
pub(crate) fn future_dir(topic: &str, partition: i32, unique: Uuid) -> String {
    let unique: String = unique.0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{topic}-{partition}.{unique}{FUTURE_SUFFIX}")
}

/// Name that a partition's directory gets when it waits for removal; at most 255 bytes, for which
/// Kafka cuts the topic's end.
pub(crate) fn doomed_dir(topic: &str, partition: i32, unique: Uuid) -> String {
    let unique: String = unique.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let suffix = format!("-{partition}.{unique}{DELETE_SUFFIX}");
    let keep = topic.len().min(255 - suffix.len());
    format!("{}{suffix}", topic.get(..keep).unwrap_or(topic))
}

/// Where a file goes that waits for removal; Kafka removes such at its start, too.
pub(crate) fn deleted(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(DELETED_SUFFIX);
    PathBuf::from(name)
}

/// Name under which bytes that could not be read are kept.
pub(crate) fn aside(name: &str, label: &str) -> String {
    format!("{name}.{label}.aside.odradek")
}

/// Suffix of a file that waits for removal.
pub(crate) const DELETED_SUFFIX: &str = ".deleted";
const DELETE_SUFFIX: &str = "-delete";
const FUTURE_SUFFIX: &str = "-future";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_files() {
        assert_eq!(FileKind::Log.name(42), "00000000000000000042.log");
        for kind in FileKind::ALL {
            assert_eq!(FileKind::parse(&kind.name(i64::MAX)), Some((kind, i64::MAX)));
        }
        assert_eq!(FileKind::parse("00000000000000000042.log.deleted"), None);
        assert_eq!(FileKind::parse("leader-epoch-checkpoint"), None);
        assert_eq!(FileKind::parse("0000000000000000000\u{e9}.log"), None);
    }

    #[test]
    fn directories() {
        let partition = |topic: &str, partition| {
            Some(DirKind::Partition { topic: topic.to_owned(), partition })
        };
        assert_eq!(dir_kind("a-0"), partition("a", 0));
        assert_eq!(dir_kind("a-b-12"), partition("a-b", 12));
        assert_eq!(dir_kind("a-0.0123456789abcdef-delete"), Some(DirKind::Doomed));
        assert_eq!(dir_kind("a-0.0123456789abcdef-stray"), Some(DirKind::Parked));
        let future = DirKind::Future { topic: "a.b".to_owned(), partition: 3 };
        assert_eq!(dir_kind(&future_dir("a.b", 3, Uuid([1; 16]))), Some(future));
        assert_eq!(dir_kind("photos"), None);
        assert_eq!(dir_kind("-1"), None);
        let long = "t".repeat(249);
        let doomed = doomed_dir(&long, 7, Uuid([0xab; 16]));
        assert_eq!(doomed.len(), 255);
        assert_eq!(dir_kind(&doomed), Some(DirKind::Doomed));
    }
}
