//! Keys whose value is one of a few words.

use std::fmt;

use crate::value::{Typed, Value};

macro_rules! choice {
    ($( $(#[$meta:meta])* $name:ident { $( $(#[$doc:meta])* $variant:ident = $text:literal, )+ } )+) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[$doc])* $variant, )+ }

        impl $name {
            /// The words, in the order in which Kafka's messages list them.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The word that is configured.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl Typed for $name {
            type Out = Self;

            fn read(value: &Value) -> Self {
                match value {
                    $( Value::Text(text) if text == $text => Self::$variant, )+
                    other => unreachable!("a {} row holds {other:?}", stringify!($name)),
                }
            }
        }
    )+ };
}

choice! {
    /// `compression.type`: what a batch's records are stored as.
    CompressionType {
        /// Not compressed, whatever the producer sent.
        Uncompressed = "uncompressed",
        /// Zstandard.
        Zstd = "zstd",
        /// LZ4 frames.
        Lz4 = "lz4",
        /// Snappy.
        Snappy = "snappy",
        /// Gzip.
        Gzip = "gzip",
        /// As the producer sent it.
        Producer = "producer",
    }

    /// `message.timestamp.type`: whose clock a record's timestamp is from.
    TimestampType {
        /// The producer's.
        CreateTime = "CreateTime",
        /// The broker's, at the append.
        LogAppendTime = "LogAppendTime",
    }

    /// `odradek.durability`: what an acknowledgement to `acks=all` promises.
    Durability {
        /// The record is on the device (fdatasync).
        Sync = "sync",
        /// The record is written, and synced within `odradek.write-cache.max.bytes` and `.ms`.
        WriteCache = "write-cache",
    }

    /// `odradek.batch.validation`: how far a compressed batch is opened before it is stored.
    BatchValidation {
        /// Its header and checksum only.
        Header = "header",
        /// Every record, as Kafka does.
        Records = "records",
    }

    /// `log.format`: how Odradek writes its own log lines.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }

    /// `log.level`: the least severe log lines that are written.
    LogLevel {
        /// Failures.
        Error = "error",
        /// And what may become one.
        Warn = "warn",
        /// And what happens.
        Info = "info",
        /// And why.
        Debug = "debug",
        /// And every step.
        Trace = "trace",
    }
}

/// `cleanup.policy`: what removes old records. With neither, records stay for ever (KIP-1161).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CleanupPolicy {
    /// Segments past `retention.ms` or `retention.bytes` are deleted.
    pub delete: bool,
    /// Only the newest record of each key is kept.
    pub compact: bool,
}

impl CleanupPolicy {
    /// The words of the list, in the order in which Kafka's messages list them.
    pub const NAMES: &'static [&'static str] = &["compact", "delete"];
}

impl Typed for CleanupPolicy {
    type Out = Self;

    fn read(value: &Value) -> Self {
        let Value::List(parts) = value else {
            unreachable!("a CleanupPolicy row holds {value:?}");
        };
        Self {
            delete: parts.iter().any(|part| part == "delete"),
            compact: parts.iter().any(|part| part == "compact"),
        }
    }
}
